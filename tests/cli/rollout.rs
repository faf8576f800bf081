//! The verbs that steer a rollout, and what a pipeline sees of it.

use serde_json::Value;

use super::super::support::eventually::eventually;
use super::super::support::proxy::{Proxy, Setup};
use super::super::support::upstream::Upstream;
use super::{ask, file, run};

const PLAN: &str = "[route.rollout]\nsteps = [\"5% for 1h\", \"50% for 1h\", \"100%\"]";

fn setup(upstreams: &[Upstream; 2]) -> Setup {
    Setup::stable(&upstreams[0])
        .route(&format!(
            "canary = {{ version = \"v2\", upstream = \"{}\" }}",
            upstreams[1].url()
        ))
        .section(PLAN)
}

fn walking() -> (Proxy, [Upstream; 2]) {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let proxy = setup(&upstreams).start();
    eventually("it begins", || proxy.status()["phase"] == "progressing");
    (proxy, upstreams)
}

#[test]
fn each_command_says_where_the_rollout_stands_then() {
    let (proxy, _upstreams) = walking();
    let admin = proxy.admin_address;
    for (args, said) in [
        (
            &["pause", "--reason", "lunch"][..],
            "route default is paused at step 1 of 3, generation 1, canary has 5%\n",
        ),
        (
            &["pause"],
            "nothing changed: route default is paused at step 1 of 3, generation 1, canary has 5%\n",
        ),
        (
            &["resume"],
            "route default is progressing at step 1 of 3, generation 1, canary has 5%\n",
        ),
        (
            &["promote", "default"],
            "route default is progressing at step 2 of 3, generation 1, canary has 50%\n",
        ),
        (&["freeze"], "frozen: no rollout starts or advances\n"),
        (&["unfreeze"], "not frozen: rollouts start and advance\n"),
        (
            &["promote", "--full"],
            "route default is promoted at step 3 of 3, generation 1, canary has 100%\n",
        ),
        (
            &["rollback"],
            "route default is rolled back, generation 1, canary has 0%\n",
        ),
    ] {
        let ran = ask(admin, args);
        assert_eq!((ran.code, &*ran.out), (0, said), "{args:?}: {ran:?}");
    }
    let ran = ask(admin, &["promote"]);
    assert_eq!(ran.code, 14, "{ran:?}");
    assert!(ran.err.contains("retry starts a new generation"), "{ran:?}");
}

#[test]
fn waiting_ends_with_what_a_pipeline_can_tell_apart() {
    let (proxy, _upstreams) = walking();
    let admin = proxy.admin_address;
    let wait = |state| ask(admin, &["status", "--wait", state, "--timeout", "300ms"]).code;
    assert_eq!(wait("progressing"), 0);
    assert_eq!(wait("complete"), 12);
    ask(admin, &["pause"]);
    assert_eq!(wait("complete"), 13);
    assert_eq!(wait("paused"), 0);
    ask(admin, &["promote", "--full"]);
    assert_eq!(wait("promoted"), 0);
    ask(admin, &["rollback"]);
    assert_eq!(wait("complete"), 10);
}

#[test]
fn the_status_shows_the_plan_and_what_it_waits_for() {
    let (proxy, _upstreams) = walking();
    let ran = ask(proxy.admin_address, &["status"]);
    for part in [
        "route default: progressing, generation 1, canary has 5%, plan [5%] 50% 100%",
        "waits for its hold: ",
        " promote default",
        " pause default",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    ask(proxy.admin_address, &["freeze", "--reason", "incident 42"]);
    let ran = ask(proxy.admin_address, &["status"]);
    assert!(ran.out.contains("frozen: incident 42"), "{}", ran.out);
}

#[test]
fn a_check_against_what_runs_says_what_would_happen() {
    let (proxy, upstreams) = walking();
    let text = setup(&upstreams).with("\"v2\"", "\"v3\"").text();
    let path = file("against-running.toml", &text);
    let path = path.to_str().expect("is text");
    let ran = ask(proxy.admin_address, &["check", path, "--against-running"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "route default: another canary\n",
        "generation 2 begins at its first step, 5%, instead of progressing at step 1 with 5%",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
}

#[test]
fn a_preflight_tries_addresses_and_gates() {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let good = file("preflight.toml", &setup(&upstreams).text());
    let ran = run(&["preflight", good.to_str().expect("is text")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in ["takes connections", "tripped after", "a rollout can begin"] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let lax = setup(&upstreams).meltdown(1_000_000);
    let lax = file("preflight-lax.toml", &lax.text());
    let ran = run(&["preflight", lax.to_str().expect("is text"), "-o", "json"]);
    assert_eq!(ran.code, 14, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).expect("is JSON");
    assert_eq!(report["schema"], "haldane.preflight/1");
    assert_eq!(report["ok"], false);
    let dead = setup(&upstreams).with(&upstreams[1].url(), "http://127.0.0.1:1");
    let dead = file("preflight-dead.toml", &dead.text());
    let ran = run(&["preflight", dead.to_str().expect("is text")]);
    assert_eq!(ran.code, 14, "{ran:?}");
    assert!(ran.out.contains("canary 127.0.0.1:1"), "{}", ran.out);
}

#[test]
fn a_live_check_connects_to_all_that_is_named() {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let told = upstreams[0].url();
    let notify = |url: &str| {
        format!(
            "{}\n[[notify]]\nurl = \"{url}/hook\"\n",
            setup(&upstreams).text()
        )
    };
    let good = file("live.toml", &notify(&told));
    let ran = run(&["check", good.to_str().expect("is text"), "--live"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let remote = format!("remote {told}: takes connections");
    for part in ["is valid", "stable 127.0.0.1", "canary 127.0.0.1", &remote] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let deaf = file("live-deaf.toml", &notify("http://127.0.0.1:1"));
    let deaf = deaf.to_str().expect("is text");
    assert_eq!(run(&["check", deaf]).code, 0);
    for verb in [vec!["check", deaf, "--live"], vec!["preflight", deaf]] {
        let ran = run(&verb);
        assert_eq!(ran.code, 14, "{ran:?}");
        assert!(
            ran.out.contains("FAIL  remote http://127.0.0.1:1: "),
            "{}",
            ran.out
        );
    }
}

/// Gates that would let anything pass keep the plan from beginning.
#[test]
fn a_plan_whose_gates_do_not_trip_does_not_begin() {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let proxy = setup(&upstreams).meltdown(1_000_000).start();
    eventually("it says so", || {
        let status = proxy.status();
        status["drill"]["tripped"] == false
            && status["waits_for"]
                .as_str()
                .is_some_and(|waits| waits.contains("in the fire drill the gates let"))
    });
    let status = proxy.status();
    assert_eq!(
        (&status["phase"], &status["weight"]),
        (&"idle".into(), &"0%".into())
    );
    let ran = ask(proxy.admin_address, &["promote"]);
    assert_eq!(ran.code, 14, "{ran:?}");
}
