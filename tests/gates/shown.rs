//! What is said of a decision, and where.

use serde_json::Value;

use super::{Load, gate, rolled_back, users};
use crate::support::client::Client;
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

fn evidence_metric(proxy: &Proxy, gate: &str) -> f64 {
    let mut client = Client::connect(proxy.admin_address);
    client.send(format!(
        "GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n",
        proxy.admin_address
    ));
    let text = client.answer_to("GET").text();
    let series = format!("haldane_gate_evidence_ratio{{route=\"default\",gate=\"{gate}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {series} in {text}"))
        .parse()
        .expect("a number")
}

#[test]
fn evidence_and_an_example_are_shown_wherever_a_decision_is() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "10%").by_user().start();
    let load = Load::start(&proxy, 6, users);
    load.go_on(500);
    let before = gate(&proxy, "errors");
    assert!(before["evidence"].as_f64().unwrap() < 1.0, "{before}");
    assert_eq!(before["example"], Value::Null);
    assert_eq!(before["verdict"], "inconclusive");
    assert_eq!(before["reason"], "evidence");
    assert!(before["needs"].as_u64() > Some(0), "{before}");
    assert!(before["needs_seconds"].as_f64() > Some(0.0), "{before}");
    for role in ["canary", "stable"] {
        let estimate = &before[role];
        let number = |of: &str| estimate[of].as_f64().expect("a number");
        assert!(number("low") <= number("value"), "{before}");
        assert!(
            number("value") <= number("high") && number("high") < 1.0,
            "{before}"
        );
    }
    canary.behave(Behaviour::Status(500));
    let event = rolled_back(&proxy);
    load.end();
    let by = &event["by"];
    assert!(by["evidence"].as_f64() >= Some(1.0), "{event}");
    let example = by["example"].as_str().expect("an example");
    assert!(example.starts_with("request-"), "{event}");
    let asked = canary.log.arrivals();
    assert!(
        asked
            .iter()
            .any(|arrival| arrival.head.one("x-request-id").as_deref() == Some(example))
    );

    let after = gate(&proxy, "errors");
    assert_eq!(after["verdict"], "fail");
    assert_eq!(
        (&after["evidence"], &after["example"]),
        (&by["evidence"], &by["example"])
    );
    let (_, verdict) = proxy.admin("GET", "/v1/routes/default/verdict", &Value::Null);
    assert_eq!(
        (&verdict["ok"], &verdict["verdict"]),
        (&false.into(), &"fail".into())
    );
    let sentence = verdict["sentence"].as_str().unwrap();
    let end = format!("; for example request {example}");
    assert!(
        sentence.starts_with("rolled back: errors: canary failed "),
        "{sentence}"
    );
    assert!(sentence.ends_with(&end), "{sentence}");
    assert!(evidence_metric(&proxy, "errors") >= 1.0);
    assert!(evidence_metric(&proxy, "latency") < 1.0);
}

#[test]
fn a_request_without_a_name_is_called_by_its_trace() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%").meltdown(1).start();
    canary.behave(Behaviour::Status(500));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    proxy.get("/", &[("traceparent", trace)]);
    let event = rolled_back(&proxy);
    assert_eq!(event["by"]["example"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(event["by"]["evidence"], 0.0, "a limit that acts on counts");
}

/// Stable is looked at before the canary gets anything.
#[test]
fn who_fails_anyway_is_known_when_the_rollout_begins() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "0%")
        .by_user()
        .section("[[route.gate]]\nname = \"errors\"\nmetric = \"error_rate\"\nrollback = \"stable + 0.1pp\"")
        .start();
    stable.behave(Behaviour::Status(500));
    let mut client = proxy.client();
    let unlucky: Vec<String> = (0..60).map(|user| format!("unlucky-{user}")).collect();
    for _ in 0..3 {
        for user in &unlucky {
            assert_eq!(client.get("/", &[("x-user", user)]).status, 500);
        }
    }
    stable.behave(Behaviour::Good);
    canary.behave(Behaviour::Status(500));
    proxy.set_weight("50%");
    for user in &unlucky {
        client.get("/", &[("x-user", user)]);
    }
    assert_eq!(proxy.status()["phase"], "idle");
    let mut others = 0;
    eventually("the others count", || {
        others += 1;
        client.get("/", &[("x-user", &format!("other-{others}"))]);
        proxy.status()["phase"] == "rolled_back"
    });
    assert!((20..80).contains(&others), "{others}");
}
