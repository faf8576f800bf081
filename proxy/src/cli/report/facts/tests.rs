//! What is reported of which generation.

use serde_json::json;

use super::*;
use crate::cli::happened::event;

fn version(name: &str, requests: u64, failures: u64) -> Value {
    json!({"version": name, "owner": "team-a", "requests": requests, "in_flight": 0,
        "failures": failures,
        "ttfb_seconds": {"mean": 0.002, "p50": 0.001, "p95": 0.004, "p99": 0.008}})
}

/// A rolled-back first generation, and a second one that goes on.
pub(in crate::cli::report) fn facts(generation: u32) -> Facts {
    let status = json!({"route": "shop", "at": 90_000_000, "phase": "progressing",
        "rolled_back_at": null, "cause": null, "generation": 2, "weight": "5%",
        "configured_weight": "5%", "verdict": "inconclusive", "waits_for": "its hold: 9s left",
        "gates": [], "commands": ["pause", "rollback"],
        "versions": {"stable": version("v1", 1000, 1), "canary": version("v2", 160, 8)}});
    let of = |value: Value| event(value);
    Facts {
        generation,
        status: serde_json::from_value(status).expect("is a route"),
        gates: Vec::new(),
        events: vec![
            of(
                json!({"seq": 1, "at": 10_000_000, "route": "shop", "generation": 1, "version": "v2",
                "kind": "started", "weight": "5%", "by": {"kind": "plan"}, "canary_requests": 0}),
            ),
            of(json!({"seq": 2, "at": 11_000_000, "kind": "frozen", "actor": "ann"})),
            of(
                json!({"seq": 3, "at": 12_000_000, "route": "api", "generation": 1,
                "kind": "started"}),
            ),
            of(
                json!({"seq": 4, "at": 30_000_000, "route": "shop", "generation": 1, "version": "v2",
                "kind": "rolled_back", "from": "5%", "cause": "errors: canary failed",
                "by": {"kind": "breach", "gate": "errors"}, "canary_requests": 60,
                "rollback_micros": 17, "severity": "critical"}),
            ),
            of(
                json!({"seq": 5, "at": 33_000_000, "route": "shop", "generation": 1,
                "kind": "rollback_verified", "seconds": 3.0}),
            ),
            of(
                json!({"seq": 6, "at": 40_000_000, "route": "shop", "generation": 2, "version": "v2",
                "kind": "retried", "weight": "5%", "by": {"kind": "command", "actor": "ann"},
                "canary_requests": 60}),
            ),
            of(json!({"seq": 7, "at": 41_000_000, "kind": "unfrozen"})),
        ],
        exposure: Some(json!({"users": {"count": 7, "exact": true},
            "saw_error": {"count": 1, "exact": false}})),
        shielded: Some(4),
        tap: None,
    }
}

fn report(generation: u32) -> Value {
    let report = Report::of(facts(generation)).expect("is known");
    serde_json::to_value(report).expect("is JSON")
}

fn kinds(report: &Value) -> Vec<&str> {
    let timeline = report["timeline"].as_array().expect("a list");
    timeline
        .iter()
        .filter_map(|entry| entry["kind"].as_str())
        .collect()
}

#[test]
fn the_generation_that_goes_on_is_reported_with_its_numbers() {
    let report = report(2);
    assert_eq!(report["schema"], "haldane.report/1");
    assert_eq!(report["outcome"], "progressing");
    assert_eq!(
        report["headline"],
        "v2 is in progress at 5%: it waits for its hold: 9s left"
    );
    assert_eq!(report["began_at"], "1970-01-01T00:00:40.000Z");
    assert_eq!(
        (&report["ended_at"], &report["seconds"]),
        (&Value::Null, &json!(50.0))
    );
    assert_eq!(kinds(&report), ["retried", "unfrozen"]);
    assert_eq!(report["versions"]["canary"]["counts"]["failure_rate"], 0.05);
    assert_eq!(
        report["users"],
        json!({"on_canary": 7, "saw_error": 1, "exact": false, "shielded_requests": 4})
    );
    assert_eq!(report["rollback"], Value::Null);
    assert_eq!(report["next"]["commands"], json!(["pause", "rollback"]));
    // A hundred requests of this generation in fifty seconds.
    assert_eq!(
        report["result"],
        json!({"success": false, "rollbackRequired": false,
            "metrics": {"errorRate": 0.05, "averageLatency": 2.0, "throughput": 2.0}})
    );
}

#[test]
fn of_an_earlier_generation_events_tell() {
    let report = report(1);
    assert_eq!(
        (&report["outcome"], &report["current"]),
        (&json!("rolled_back"), &json!(false))
    );
    assert_eq!(
        report["headline"],
        "v2 was rolled back: errors: canary failed"
    );
    assert_eq!(report["seconds"], 20.0);
    assert_eq!(
        kinds(&report),
        ["started", "frozen", "rolled_back", "rollback_verified"]
    );
    assert_eq!(report["timeline"][2]["weight"], "0%");
    assert_eq!(report["rollback"]["micros"], 17);
    assert_eq!(report["rollback"]["verified"], true);
    assert_eq!(report["versions"]["canary"]["counts"], Value::Null);
    assert_eq!(report["users"], Value::Null);
    assert_eq!(report["result"]["rollbackRequired"], true);
    assert_eq!(report["result"]["metrics"]["errorRate"], Value::Null);
}

#[test]
fn a_generation_that_nothing_is_known_of_is_no_report() {
    let why = Report::of(facts(3)).map(|report| report.headline);
    let why = why.expect_err("is not known");
    assert_eq!(
        why,
        "nothing is known of generation 3 of shop; the current one is 2"
    );
}

#[test]
fn a_count_that_began_anew_gives_no_throughput() {
    let mut facts = facts(2);
    facts
        .status
        .versions
        .canary
        .as_mut()
        .expect("is there")
        .requests = 3;
    let report = Report::of(facts).expect("is known");
    let report = serde_json::to_value(report).expect("is JSON");
    assert_eq!(report["result"]["metrics"]["throughput"], Value::Null);
}

#[test]
fn failing_requests_are_those_of_the_canary_in_this_generation() {
    let request = |path: &str, role: &str, generation: u32| {
        json!({"at": "1970-01-01T00:00:50.000Z", "role": role, "generation": generation,
            "method": "GET", "path": path, "status": 500, "shielded": true})
    };
    let mut facts = facts(2);
    facts.tap = Some(json!({"requests": [
        request("/meant", "canary", 2),
        request("/stable", "stable", 2),
        request("/before", "canary", 1),
    ]}));
    let report = Report::of(facts).expect("is known");
    let failing = report.failing_requests.expect("is known");
    let paths: Vec<&Value> = failing.iter().map(|request| &request["path"]).collect();
    assert_eq!(paths, ["/meant"]);
}

#[test]
fn shielded_requests_are_those_of_the_route() {
    let metrics =
        "haldane_shielded_total{route=\"a\"} 1\nhaldane_shielded_total{route=\"b\\\"\"} 22\n";
    assert_eq!(shielded(metrics, "b\""), Some(22));
    assert_eq!(shielded(metrics, "c"), None);
}

#[test]
fn the_time_from_the_first_failure_is_known_if_no_failure_is_forgotten() {
    for (dropped, seconds) in [(0, json!(1.5)), (1, Value::Null)] {
        let mut facts = facts(1);
        let request = |at: &str| json!({"at": at, "role": "canary", "generation": 1});
        facts.tap = Some(json!({"dropped": dropped, "requests": [
            request("1970-01-01T00:00:29.900Z"),
            request("1970-01-01T00:00:28.500Z"),
        ]}));
        let report = Report::of(facts).expect("is known");
        let report = serde_json::to_value(report).expect("is JSON");
        assert_eq!(report["rollback"]["seconds_from_first_failure"], seconds);
    }
}

#[test]
fn what_is_first_told_of_a_generation_need_not_be_its_beginning() {
    let mut facts = facts(1);
    facts.events.remove(0);
    let report = serde_json::to_value(Report::of(facts).expect("is known")).expect("is plain");
    assert_eq!(report["began_at"], Value::Null);
    assert_eq!(report["seconds"], Value::Null);
    assert_eq!(report["ended_at"], "1970-01-01T00:00:30.000Z");
}
