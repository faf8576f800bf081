//! A canary that takes requests and answers none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use haldane_decide::role::Role;
use haldane_decide::split::Salt;
use haldane_decide::weight::Weight;

use super::{Load, failures, rolled_back};
use crate::support::client::request;
use crate::support::eventually::{elapse, eventually, now};
use crate::support::proxy::Setup;
use crate::support::upstream::{Behaviour, Upstream};

/// 7 users of the canary at 10 %, and ten times as many of stable.
fn few_of_the_canary(client: u64, _: u64) -> Vec<(&'static str, String)> {
    let weight: Weight = "10%".parse().expect("a share");
    let salt = Salt::from_text("tests");
    let wanted = if client < 7 {
        Role::Canary
    } else {
        Role::Stable
    };
    let users = (0..).map(|number| format!("{client}-{number}"));
    let mut fitting = users.filter(|user| salt.split_key(user.as_bytes()).role(weight) == wanted);
    vec![("x-user", fitting.next().expect("there is one"))]
}

#[test]
fn a_hung_canary_is_rolled_back_long_before_its_requests_time_out() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "10%")
        .by_user()
        .top("workers = 2")
        .route("timeouts = { response = \"60s\" }")
        .start();
    let load = Load::start(&proxy, 77, few_of_the_canary);
    load.go_on(3000);
    canary.behave(Behaviour::Silent);
    let hung = now();
    let event = rolled_back(&proxy);
    let took = hung.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}: {event}");
    assert_eq!(event["by"]["gate"], "errors", "{event}");
    // All of them still go on, and are failures already.
    let in_flight = proxy.status()["versions"]["canary"]["in_flight"].as_u64();
    let stalled = proxy.metric(
        "haldane_request_failures_total",
        &["reason=\"stalled\"", "role=\"canary\""],
    );
    assert!((5..=7).contains(&stalled), "{stalled}: {event}");
    assert!(in_flight >= Some(stalled), "{in_flight:?} {stalled}");
    assert_eq!(failures(&proxy, "canary"), stalled);
    let verdict = proxy.status()["cause"].as_str().unwrap().to_owned();
    assert!(verdict.starts_with("errors: "), "{verdict}");
    load.stop.store(true, Ordering::Relaxed);
    drop(proxy);
    load.end();
}

/// Whatever comes of a request that was reported, it is not counted again.
#[test]
fn a_request_that_stalls_counts_once_and_goes_on() {
    let stable = Upstream::named("stable");
    let canary = Upstream::scripted(|mut connection| {
        while let Some(head) = connection.request() {
            let status = match head.word(1) {
                "/late" | "/later" => {
                    elapse(Duration::from_millis(1800));
                    if head.word(1) == "/late" { 200 } else { 500 }
                }
                _ => 200,
            };
            connection.wire.write(format!(
                "HTTP/1.1 {status} X\r\ncontent-length: 6\r\n\r\ncanary"
            ));
        }
    });
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .section(
            "[[route.gate]]\nname = \"slow\"\nmetric = \"ttfb\"\nrollback = { p99 = \"10x stable\" }",
        )
        .start();
    let users = proxy.users_of_canary();
    proxy.wait_for_limits();
    let ask = |path: &str| {
        let mut client = proxy.client();
        client.send(request("GET", path, &[("x-user", &users[0])], ""));
        client
    };
    let (mut late, mut later) = (ask("/late"), ask("/later"));
    let stalled = || {
        proxy.metric(
            "haldane_request_failures_total",
            &["reason=\"stalled\"", "role=\"canary\""],
        )
    };
    eventually("both are failures", || stalled() == 2);
    assert_eq!(proxy.status()["versions"]["canary"]["in_flight"], 2);
    assert_eq!(late.answer_to("GET").status, 200);
    assert_eq!(later.answer_to("GET").status, 500);
    eventually("both end", || {
        proxy.status()["versions"]["canary"]["in_flight"] == 0
    });
    assert_eq!((stalled(), failures(&proxy, "canary")), (2, 2));
    assert_eq!(proxy.status()["phase"], "idle");
}

/// As long as a client sends, it is not the version that keeps anybody waiting.
#[test]
fn an_upload_that_takes_its_time_does_not_stall() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .section(
            "[[route.gate]]\nname = \"slow\"\nmetric = \"ttfb\"\nrollback = { p99 = \"10x stable\" }",
        )
        .start();
    let mut client = proxy.client();
    for user in 0..200 {
        client.get("/", &[("x-user", &user.to_string())]);
    }
    proxy.wait_for_limits();
    for fields in ["", "expect: 100-continue\r\n"] {
        for user in 0..4 {
            client.send(format!(
                "POST / HTTP/1.1\r\nhost: test\r\nx-user: {user}\r\n{fields}content-length: 2\r\n\r\n"
            ));
            client.send("a");
            elapse(Duration::from_millis(1300));
            client.send("b");
            let answer = client.answer_to("POST");
            assert_eq!(answer.status, 200);
        }
    }
    assert_eq!(
        proxy.metric("haldane_request_failures_total", &["reason=\"stalled\""]),
        0
    );
}
