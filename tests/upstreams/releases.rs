//! A canary that cannot be reached has failed; a dead stable does not get everything.

use serde_json::Value;

use super::{failures, is_healthy, readiness};
use crate::support::client::request;
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

/// One request of a user with a connection of its own; its status.
fn ask(proxy: &Proxy, user: usize) -> u16 {
    let mut client = proxy.client();
    client.send(request("GET", "/", &[("x-user", &user.to_string())], ""));
    client.answer_to("GET").status
}

/// The kinds of all events.
fn kinds(proxy: &Proxy) -> Vec<String> {
    let events = proxy.events(0);
    let kinds = events.iter().map(|event| event["kind"].as_str().unwrap());
    kinds.map(str::to_owned).collect()
}

fn gate(rule: &str) -> String {
    format!("[[route.gate]]\nname = \"gate\"\n{rule}")
}

#[test]
fn a_canary_that_nobody_can_reach_is_rolled_back() {
    for (rule, most) in [
        ("metric = \"consecutive_failures\"\nrollback = 10", 10),
        ("metric = \"error_rate\"\nrollback = \"5%\"", 80),
    ] {
        let (stable, canary) = (Upstream::named("stable"), Upstream::refusing());
        let proxy = Setup::canary(&stable, &canary, "50%")
            .by_user()
            .section(&gate(rule))
            .start();
        let mut user = 0;
        eventually("it is rolled back", || {
            user += 1;
            ask(&proxy, user);
            proxy.status()["phase"] == "rolled_back"
        });
        let status = proxy.status();
        let failed = failures(&proxy, "canary").as_u64().unwrap();
        assert!(failed <= most, "{rule}: {failed} had to fail");
        assert_eq!(status["versions"]["canary"]["requests"], failed);
        assert_eq!(status["by"]["gate"], "gate", "{rule}: {status}");
        assert!(!is_healthy(&proxy, "canary", &canary));
        // A dead canary is no reason to keep traffic away, nor does it get any.
        assert_eq!(readiness(&proxy).0, 200);
        assert!((0..40).all(|user| ask(&proxy, user) == 200));
    }
}

/// Both serve half; then stable dies, and this is known.
fn dying_stable(stable: &Upstream, canary: &Upstream) -> Proxy {
    let proxy = Setup::canary(stable, canary, "50%")
        .by_user()
        .meltdown(3)
        .start();
    let mut user = 0;
    eventually("stable is known to be dead", || {
        user += 1;
        ask(&proxy, user);
        !is_healthy(&proxy, "stable", stable)
    });
    proxy
}

/// Requests until the canary's failures had to have an effect.
fn fail(proxy: &Proxy, canary: &Upstream) {
    canary.behave(Behaviour::Status(500));
    let before = canary.log.len();
    let mut user = 0;
    eventually("the canary fails", || {
        user += 1;
        ask(proxy, user);
        canary.log.len() >= before + 20
    });
}

fn refused(proxy: &Proxy) -> Value {
    let status = proxy.status();
    assert_eq!(
        (&status["phase"], &status["weight"]),
        (&"idle".into(), &"50%".into())
    );
    assert_eq!(status["verdict"], "fail");
    assert!(status["rollback_refused_at"].is_u64(), "{status}");
    status
}

#[test]
fn a_dead_stable_is_not_made_to_take_everything() {
    let (mut stable, canary) = (Upstream::refusing(), Upstream::named("canary"));
    let proxy = dying_stable(&stable, &canary);
    fail(&proxy, &canary);
    let status = refused(&proxy);
    let sentence = status["rollback_refused"].as_str().unwrap();
    assert!(
        sentence.starts_with("stable cannot be reached; meltdown: "),
        "{sentence}"
    );
    assert_eq!(kinds(&proxy), ["rollback_refused"], "told once");
    assert_eq!(proxy.events(0)[0]["by"]["gate"], "meltdown");
    // The canary still fails when stable is back: now it acts, as soon as stable has
    // answered more than it had failed.
    stable.revive("stable");
    let mut user = 0;
    eventually("it is rolled back", || {
        user += 1;
        ask(&proxy, user);
        proxy.status()["phase"] == "rolled_back"
    });
    assert_eq!(kinds(&proxy), ["rollback_refused", "rolled_back"]);
    assert_eq!(proxy.status()["rollback_refused_at"], Value::Null);
    assert!((0..20).all(|user| ask(&proxy, user) == 200));
}

#[test]
fn a_person_rolls_back_whatever_stable_does() {
    let (stable, canary) = (Upstream::refusing(), Upstream::named("canary"));
    let proxy = dying_stable(&stable, &canary);
    fail(&proxy, &canary);
    refused(&proxy);
    assert_eq!(proxy.roll_back()["phase"], "rolled_back");
    assert_eq!(kinds(&proxy), ["rollback_refused", "rolled_back"]);
}

/// At 100 % stable gets no request that would find out.
#[test]
fn a_stable_without_traffic_is_known_to_be_dead_all_the_same() {
    let (stable, canary) = (Upstream::refusing(), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .route("ejection = { failures = 2 }")
        .meltdown(3)
        .start();
    eventually("it is known", || !is_healthy(&proxy, "stable", &stable));
    canary.behave(Behaviour::Status(500));
    for user in 0..10 {
        assert_eq!(ask(&proxy, user), 500);
    }
    assert_eq!(kinds(&proxy), ["rollback_refused"]);
    assert_eq!(proxy.status()["weight"], "100%");
}
