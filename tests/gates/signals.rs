//! What versions, or others, report about their results.

use serde_json::{Value, json};

use super::{Load, gate, rolled_back, users};
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

const GATE: &str = "[[route.gate]]\nname = \"orders\"\nmetric = \"signal:order_completed\"\n\
                    rollback = \"stable - 5pp\"\nadvance = \"stable - 1pp\"";

fn report(proxy: &Proxy, name: &str, body: &Value) -> (u16, Value) {
    proxy.admin("POST", &format!("/v1/routes/default/signals/{name}"), body)
}

fn etag(proxy: &Proxy) -> String {
    let mut client = crate::support::client::Client::connect(proxy.admin_address);
    client.send(format!(
        "GET /v1/routes/default HTTP/1.1\r\nhost: {}\r\n\r\n",
        proxy.admin_address
    ));
    client.answer_to("GET").head.one("etag").expect("a tag")
}

/// A version that answers with this field.
fn reporting(field: &str) -> Upstream {
    Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\n{field}content-length: 2\r\n\r\nok"
    ))
}

#[test]
fn results_that_are_reported_roll_a_canary_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "10%").section(GATE).start();
    let before = etag(&proxy);
    let (status, answer) = report(
        &proxy,
        "order_completed",
        &json!({ "role": "stable", "good": 88, "bad": 2 }),
    );
    assert_eq!((status, &answer["good"]), (200, &json!(88)), "{answer}");
    let mut reports = 0;
    eventually("a rollback", || {
        for (role, good, bad) in [("stable", 88, 2), ("canary", 2, 8)] {
            let body = json!({ "role": role, "good": good, "bad": bad });
            assert_eq!(report(&proxy, "order_completed", &body).0, 200);
        }
        reports += 1;
        if reports == 1 {
            assert_eq!(etag(&proxy), before, "a report is no change of the release");
        }
        proxy.status()["phase"] == "rolled_back"
    });
    let event = rolled_back(&proxy);
    assert_eq!(event["by"]["gate"], "orders", "{event}");
    assert_eq!(event["by"]["measure"]["signal"], "order_completed");
}

#[test]
fn a_report_that_nobody_waits_for_is_refused() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "10%").section(GATE).start();
    let good = json!({ "role": "canary", "good": 1 });
    let (status, problem) = report(&proxy, "order_completd", &good);
    assert_eq!(status, 404);
    assert_eq!(problem["type"], "urn:haldane:problem:unknown-signal");
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains("order_completed"), "{hint}");
    for body in [
        json!({}),
        json!({ "role": "other", "good": 1 }),
        json!({ "role": "canary", "good": -1 }),
        json!({ "role": "canary", "good": 1.5 }),
        json!({ "role": "canary", "god": 1 }),
        json!({ "role": "canary", "bad": 1_000_000_001_u64 }),
    ] {
        let (status, problem) = report(&proxy, "order_completed", &body);
        assert_eq!(status, 400, "{body}: {problem}");
    }
    let (status, _) = proxy.admin(
        "GET",
        "/v1/routes/default/signals/order_completed",
        &Value::Null,
    );
    assert_eq!(status, 405);
    let (status, _) = proxy.admin("POST", "/v1/routes/other/signals/order_completed", &good);
    assert_eq!(status, 404);
    assert_eq!(gate(&proxy, "orders")["samples"], 0);

    let without = Setup::canary(&stable, &canary, "10%").start();
    let (status, problem) = report(&without, "order_completed", &good);
    assert_eq!(status, 404);
    assert!(
        problem["hint"].as_str().unwrap().contains("signal:NAME"),
        "{problem}"
    );
}

#[test]
fn results_in_responses_are_counted_and_not_passed_on() {
    let stable = reporting("x-haldane-signal: order_completed=1, unknown=0\r\n");
    let canary = reporting(
        "X-Haldane-Signal: order_completed=0\r\nx-haldane-signal: order_completed=2,=1,order_completed\r\n",
    );
    let proxy = Setup::canary(&stable, &canary, "10%")
        .by_user()
        .section(GATE)
        .start();
    let load = Load::start(&proxy, 8, users);
    let event = rolled_back(&proxy);
    load.end();
    assert_eq!(event["by"]["gate"], "orders", "{event}");
    assert_eq!(event["by"]["stable"]["count"], 0, "{event}");
    let canary = &event["by"]["canary"];
    assert_eq!(canary["count"], canary["samples"], "{event}");
    let answer = proxy.get("/", &[("x-user", "a")]);
    assert_eq!(answer.head.one("x-haldane-signal"), None);
}
