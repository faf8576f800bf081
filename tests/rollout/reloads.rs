//! Other plans and other versions while one is walked.

use super::*;
use crate::reload::{File, put, reload};

/// What a file of this test says.
fn text(stable: &Upstream, canary: &Upstream, rollout: &str) -> Setup {
    setup(stable, canary, rollout).section(GATE)
}

#[test]
fn other_steps_move_no_weight() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let first = text(&stable, &canary, "steps = [\"5% for 1h\", \"100%\"]");
    let file = File::new("rollout-steps", &first);
    let proxy = file.start();
    some("it progresses", || {
        (proxy.status()["phase"] == "progressing").then_some(())
    });
    let second = text(
        &stable,
        &canary,
        "steps = [\"1% for 1h\", \"5% for 1h\", \"50% for 1h\", \"100%\"]",
    );
    let changes = reload(&proxy, &file, &second);
    assert_eq!(changes, json!(["route default: plan changed"]));
    let status = proxy.status();
    assert_eq!(
        (&status["phase"], &status["weight"]),
        (&json!("progressing"), &json!("5%"))
    );
    assert_eq!(status["rollout"]["step"], 2);
    assert_eq!(status["rollout"]["next_weight"], "50%");
}

#[test]
fn a_plan_for_a_canary_that_had_none_waits_for_a_person() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let fixed = Setup::canary(&stable, &canary, "5%").by_user();
    let file = File::new("rollout-added", &fixed);
    let proxy = file.start();
    let planned = fixed
        .with("weight = \"5%\"\n", "")
        .section("[route.rollout]\nplan = \"aggressive\"");
    reload(&proxy, &file, &planned);
    let status = proxy.status();
    assert_eq!(
        (&status["phase"], &status["weight"]),
        (&json!("paused"), &json!("5%"))
    );
    assert_eq!(status["rollout"]["step"], 2);
}

#[test]
fn another_canary_begins_at_the_first_step() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let next = Upstream::named("next");
    let plan = "steps = [\"5% for 1h\", \"100%\"]";
    let file = File::new("rollout-next", &text(&stable, &canary, plan));
    let proxy = file.start();
    proxy.admin(
        "POST",
        "/v1/routes/default/promote",
        &json!({ "full": true }),
    );
    reload(
        &proxy,
        &file,
        &text(&stable, &next, plan).with("\"v2\"", "\"v3\""),
    );
    let status = some("it begins", || {
        let status = proxy.status();
        (status["phase"] == "progressing").then_some(status)
    });
    assert_eq!(
        (&status["generation"], &status["weight"]),
        (&json!(2), &json!("5%"))
    );
}

/// After a promotion the canary becomes stable in the file, and nobody notices.
#[test]
fn roles_are_swapped_without_a_lost_request() {
    let (old, new) = (Upstream::named("old"), Upstream::named("new"));
    let file = File::new("rollout-swap", &text(&old, &new, "plan = \"blue-green\""));
    let proxy = file.start();
    some("it begins", || {
        (proxy.status()["phase"] == "progressing").then_some(())
    });
    let load = Load::on(&proxy);
    proxy.admin("POST", "/v1/routes/default/promote", &json!({}));
    let swapped = format!(
        "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
         drain = {{ linger = \"0s\", timeout = \"200ms\" }}\n\
         [[route]]\nstable = {{ version = \"v2\", upstream = \"{}\" }}\n",
        new.url()
    );
    put(&proxy, &file, &swapped);
    let seen = old.log.len();
    for user in 0..50 {
        assert_eq!(
            proxy.get("/", &[("x-user", &user.to_string())]).text(),
            "new"
        );
    }
    assert_eq!(load.end(), 0);
    assert_eq!(old.log.len(), seen, "nothing goes to the old version");
    assert_eq!(proxy.status()["phase"], "idle");
}

#[test]
fn a_check_says_what_the_file_would_do_to_the_rollout() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let first = text(&stable, &canary, "steps = [\"5% for 1h\", \"100%\"]");
    let file = File::new("rollout-check", &first);
    let proxy = file.start();
    some("it progresses", || {
        (proxy.status()["phase"] == "progressing").then_some(())
    });
    let check = |setup: &Setup| {
        let (status, answer) = proxy.admin(
            "POST",
            "/v1/config/check",
            &json!({ "config": setup.text() }),
        );
        assert_eq!(status, 200, "{answer}");
        answer["rollouts"].clone()
    };
    assert_eq!(check(&first), json!([]));
    let other = first.with("\"v2\"", "\"v3\"");
    assert_eq!(
        check(&other),
        json!([
            "route default: another canary: generation 2 begins at its first step, 5%, instead of progressing at step 1 with 5%"
        ])
    );
    let steps = text(&stable, &canary, "steps = [\"1% for 1h\", \"100%\"]");
    assert_eq!(
        check(&steps),
        json!(["route default: progressing at step 1 with 5% goes on; its hold begins anew"])
    );
    // Nothing has happened by asking.
    assert_eq!(proxy.status()["generation"], 1);
}
