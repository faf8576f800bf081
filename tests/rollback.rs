//! A canary that fails loses its traffic with the failure that decides, and gets none back.

use serde_json::{Value, json};

use crate::support::client::request;
use crate::support::eventually::{eventually, some};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

/// The decision, thousands of times, against the canary's own log.
mod aftermath;
mod decision;

/// The first event after event `since` that tells of a breach.
fn breach_after(proxy: &Proxy, since: u64) -> Value {
    some("a rollback", || {
        let events = proxy.events(since);
        events
            .into_iter()
            .find(|event| event.get("rollback_micros").is_some())
    })
}

fn canary_count(status: &Value, of: &str) -> u64 {
    status["versions"]["canary"][of].as_u64().expect("a count")
}

#[test]
fn one_client_after_another_sees_exactly_as_many_failures_as_the_limit_says() {
    for behaviour in [
        Behaviour::Status(500),
        Behaviour::Status(503),
        Behaviour::Status(599),
        Behaviour::Reset,
        Behaviour::Malformed,
        Behaviour::Silent,
        Behaviour::Truncated,
    ] {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        let proxy = Setup::canary(&stable, &canary, "100%")
            .by_user()
            .route("timeouts = { response = \"500ms\" }")
            .meltdown(3)
            .start();
        // Not repeated by haldane, so that each arrives once.
        let post = |user: &str| {
            let mut client = proxy.client();
            client.send(request("POST", "/", &[("x-user", user)], "x"));
            client.answer_to("POST")
        };
        for user in 0..10 {
            assert_eq!(post(&user.to_string()).text(), "canary");
        }
        canary.behave(behaviour);
        for failure in 1..=3 {
            assert_eq!(proxy.status()["phase"], "idle", "{behaviour:?} {failure}");
            let answer = post("a");
            assert!(
                answer.status >= 500 || answer.end.is_err(),
                "{behaviour:?}: {}",
                answer.head.start
            );
        }
        for user in 0..30 {
            assert_eq!(post(&user.to_string()).text(), "stable", "{behaviour:?}");
        }
        assert_eq!(canary.log.len(), 13, "{behaviour:?}");
        let event = breach_after(&proxy, 0);
        assert_eq!(event["canary_requests"], 13, "{event}");
        let status = proxy.status();
        assert_eq!(status["phase"], "rolled_back");
        assert_eq!(status["verdict"], "fail");
        assert_eq!(canary_count(&status, "failures"), 3);
        assert_eq!(proxy.events(0).len(), 1, "one rollback, once");
    }
}

#[test]
fn a_canary_that_refuses_or_cannot_be_reached_is_rolled_back() {
    for (canary, status) in [(Upstream::refusing(), 502), (Upstream::unreachable(), 504)] {
        let stable = Upstream::named("stable");
        let proxy = Setup::canary(&stable, &canary, "100%")
            .by_user()
            .route("timeouts = { connect = \"100ms\" }")
            .meltdown(3)
            .start();
        let mut client = proxy.client();
        let statuses: Vec<_> = (0..10)
            .map(|_| client.get("/", &[("x-user", "a")]).status)
            .collect();
        assert_eq!(statuses[..3], [status; 3]);
        assert_eq!(statuses[3..], [200; 7]);
    }
}

#[test]
fn an_error_rate_rolls_back_with_the_response_that_decides() {
    for limit in ["20%", "20% hard", "stable + 1pp", "3x stable"] {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        let proxy = Setup::canary(&stable, &canary, "50%")
            .by_user()
            .section(&format!(
                "[[route.gate]]\nname = \"errors\"\nmetric = \"error_rate\"\nrollback = \"{limit}\""
            ))
            .start();
        canary.behave(Behaviour::Status(500));
        let mut client = proxy.client();
        let (mut user, mut failed) = (0_u64, 0_u64);
        while proxy.live.events.last() == 0 {
            user += 1;
            assert!(user < 200, "{limit}: never rolled back");
            let answer = client.get("/", &[("x-user", &user.to_string())]);
            failed += u64::from(answer.status == 500);
        }
        let event = breach_after(&proxy, 0);
        assert_eq!(event["by"]["gate"], "errors", "{limit}: {event}");
        assert_eq!(event["canary_requests"], failed, "{limit}: {event}");
        assert_eq!(event["canary_in_flight"], 1, "{limit}: {event}");
        assert_eq!(canary.log.len() as u64, failed, "{limit}");
        assert!((10..=20).contains(&failed), "{limit}: {failed}");
        for user in 0..50 {
            let answer = client.get("/", &[("x-user", &user.to_string())]);
            assert_eq!(answer.text(), "stable", "{limit}");
        }
    }
}

#[test]
fn a_rolled_back_generation_stays_at_zero() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(1)
        .start();
    canary.behave(Behaviour::Status(500));
    proxy.get("/", &[("x-user", "a")]);
    canary.behave(Behaviour::Good);
    let (status, _) = proxy.admin(
        "PUT",
        "/v1/routes/default/weight",
        &json!({ "weight": "50%" }),
    );
    assert_eq!(status, 409);
    proxy.roll_back();
    let mut client = proxy.client();
    for user in 0..200 {
        let answer = client.get("/", &[("x-user", &user.to_string())]);
        assert_eq!(answer.text(), "stable");
    }
    assert_eq!(canary.log.len(), 1);
    assert_eq!(proxy.status()["generation"], 1);
    proxy.retry();
    assert_eq!(client.get("/", &[("x-user", "a")]).text(), "canary");
}

#[test]
fn a_success_between_failures_starts_the_count_anew() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(3)
        .start();
    let mut client = proxy.client();
    for round in 0..20 {
        canary.behave(Behaviour::Status(500));
        client.get("/", &[("x-user", "a")]);
        client.get("/", &[("x-user", "b")]);
        canary.behave(Behaviour::Good);
        let good = client.get("/", &[("x-user", "c")]);
        assert_eq!(good.text(), "canary", "{round}");
    }
    canary.behave(Behaviour::Status(500));
    for _ in 0..3 {
        assert_eq!(client.get("/", &[("x-user", "a")]).text(), "canary");
    }
    assert_eq!(client.get("/", &[("x-user", "a")]).text(), "stable");
}

#[test]
fn a_failing_status_is_judged_before_its_body_ends() {
    let stable = Upstream::named("stable");
    let canary = Upstream::scripted(|mut connection| {
        if connection.request().is_some() {
            connection
                .wire
                .write("HTTP/1.1 500 X\r\nContent-Length: 1000\r\n\r\nslow");
            connection.end();
        }
    });
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(1)
        .start();
    let mut first = proxy.client();
    first.send(request("GET", "/", &[("x-user", "a")], ""));
    assert!(matches!(first.response_head(), Ok((_, 500))));
    assert_eq!(proxy.get("/", &[("x-user", "a")]).text(), "stable");
    assert_eq!(canary_count(&proxy.status(), "in_flight"), 1);
}

#[test]
fn failures_of_stable_roll_nothing_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .meltdown(1)
        .start();
    stable.behave(Behaviour::Status(500));
    let mut client = proxy.client();
    let mut failed = 0;
    for user in 0..50 {
        let answer = client.get("/", &[("x-user", &user.to_string())]);
        failed += u32::from(answer.status == 500);
    }
    assert!(failed > 0);
    let status = proxy.status();
    assert_eq!(status["phase"], "idle");
    assert_eq!(status["versions"]["stable"]["failures"], failed);
}

#[test]
fn what_an_earlier_generation_left_behind_is_no_evidence_about_the_next() {
    let stable = Upstream::named("stable");
    let (fail, told_to_fail) = std::sync::mpsc::channel::<()>();
    let told_to_fail = std::sync::Mutex::new(told_to_fail);
    let canary = Upstream::scripted(move |mut connection| {
        while let Some(head) = connection.request() {
            let answer = if head.word(1) == "/slow" {
                told_to_fail.lock().unwrap().recv().ok();
                "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
            } else {
                "HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\ncanary"
            };
            connection.wire.write(answer);
        }
    });
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(1)
        .start();
    let mut slow = proxy.client();
    slow.send(request("GET", "/slow", &[("x-user", "a")], ""));
    eventually("the slow request arrives", || canary.log.len() == 1);
    proxy.roll_back();
    proxy.retry();
    fail.send(()).unwrap();
    assert_eq!(slow.answer_to("GET").status, 500);
    let status = proxy.status();
    assert_eq!(
        (&status["phase"], &status["generation"]),
        (&json!("idle"), &json!(2))
    );
    assert_eq!(proxy.get("/", &[("x-user", "a")]).text(), "canary");
}
