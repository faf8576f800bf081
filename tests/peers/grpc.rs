//! gRPC as Python's grpcio speaks it: all kinds of calls, and how they end.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Between, Certificate, assert_counted, metric};
use crate::support::eventually::{eventually, some};
use crate::support::proxy::Proxy;
use crate::support::tools::{Server, report, script};

/// What counts against a version by default, as numbers, and how often the scenarios
/// `statuses` and `late_statuses` end with it.
const FAILURES: [(&str, usize); 5] = [("2", 1), ("4", 1), ("13", 2), ("14", 2), ("15", 1)];

/// What does not.
const OTHERS: [(&str, usize); 11] = [
    ("1", 1),
    ("3", 1),
    ("5", 2),
    ("6", 1),
    ("7", 1),
    ("8", 1),
    ("9", 1),
    ("10", 1),
    ("11", 1),
    ("12", 1),
    ("16", 1),
];

fn server(name: &str) -> Server {
    Server::start(script("grpc_server.py").args(["--name", name]))
}

fn client(target: &str, scenarios: &[&str]) -> Command {
    let mut command = script("grpc_client.py");
    command.args(["--target", target]).args(scenarios);
    command
}

/// Runs scenarios of the client through haldane.
#[track_caller]
fn through(proxy: &Proxy, scenarios: &[&str]) -> Value {
    report(&mut client(&proxy.address.to_string(), scenarios))
}

/// haldane in front of a server without TLS.
fn in_front_of(server: &Server) -> Proxy {
    Between::stable(&server.url())
        .route("upstream_protocol = \"h2\"")
        .start()
}

#[test]
fn the_peers_understand_each_other() {
    let server = server("direct");
    let scenarios = [
        "unary",
        "client_stream",
        "server_stream",
        "bidi",
        "metadata",
        "statuses",
        "late_statuses",
        "big",
        "compression",
        "many",
        "deadline",
        "cancel",
    ];
    let target = server.address().to_string();
    let seen = report(&mut client(&target, &scenarios));
    assert_eq!(seen["unary"]["instance"], "direct");
    // The one whose deadline was over, and the one that was cancelled.
    server.event("cancelled");
    server.event("cancelled");
    assert!(!server.tells("event", Duration::from_millis(200)));
}

#[test]
fn every_kind_of_call_passes() {
    let server = server("stable");
    let proxy = in_front_of(&server);
    let scenarios = ["unary", "client_stream", "server_stream", "bidi", "many"];
    let seen = through(&proxy, &scenarios);
    assert_eq!(seen["unary"]["instance"], "stable");
    let calls = 2 + 1 + 1 + 1 + 100;
    assert_counted(
        &proxy,
        "haldane_requests_total",
        &[("grpc_status", "0")],
        calls,
    );
    assert_counted(&proxy, "haldane_requests_total", &[], calls);
    assert_counted(&proxy, "haldane_request_failures_total", &[], 0);
}

#[test]
fn what_calls_carry_arrives_as_it_was() {
    let server = server("stable");
    let proxy = in_front_of(&server);
    through(&proxy, &["metadata", "compression", "big"]);
    assert_counted(&proxy, "haldane_requests_total", &[("grpc_status", "0")], 4);
}

#[test]
fn calls_pass_encrypted_on_both_sides() {
    let certificate = Certificate::new("grpc");
    let pair = [
        "--cert",
        &certificate.cert(),
        "--key",
        &certificate.key(),
        "--name",
        "encrypted",
    ];
    let server = Server::start(script("grpc_server.py").args(pair));
    let url = format!("https://localhost:{}", server.port);
    let proxy = Between::encrypted(&url, &certificate)
        .route("upstream_protocol = \"h2\"")
        .tls(&certificate)
        .start();
    let target = format!("localhost:{}", proxy.address.port());
    let scenarios = ["unary", "bidi", "metadata", "big", "many"];
    let seen = report(client(&target, &scenarios).args(["--ca", &certificate.ca()]));
    assert_eq!(seen["unary"]["instance"], "encrypted");
    assert_counted(
        &proxy,
        "haldane_requests_total",
        &[("grpc_status", "0")],
        2 + 1 + 1 + 2 + 100,
    );
}

#[test]
fn every_status_is_passed_on_and_counted() {
    let server = server("stable");
    let proxy = in_front_of(&server);
    through(&proxy, &["statuses", "late_statuses"]);
    for (status, count) in FAILURES.into_iter().chain(OTHERS) {
        let labels = [("grpc_status", status), ("code", "200")];
        assert_counted(&proxy, "haldane_requests_total", &labels, count);
    }
    let failures = FAILURES.iter().map(|(_, count)| count).sum();
    assert_counted(
        &proxy,
        "haldane_request_failures_total",
        &[("reason", "grpc")],
        failures,
    );
    assert_counted(&proxy, "haldane_request_failures_total", &[], failures);
}

#[test]
fn a_deadline_passes_and_ends_the_call_on_both_sides() {
    let server = server("stable");
    let proxy = in_front_of(&server);
    through(&proxy, &["deadline"]);
    server.event("cancelled");
    // Whether the client or the server was first to say that it is over is open; what
    // is not is that the call of the client's own time limit is nobody's breakdown.
    let broken = [("reason", "truncated")];
    assert_counted(&proxy, "haldane_request_failures_total", &broken, 0);
}

#[test]
fn a_cancelled_call_ends_at_the_server_and_says_nothing_about_it() {
    let server = server("stable");
    let proxy = in_front_of(&server);
    through(&proxy, &["cancel"]);
    server.event("cancelled");
    assert_counted(&proxy, "haldane_requests_total", &[("grpc_status", "0")], 1);
    assert_counted(&proxy, "haldane_request_failures_total", &[], 0);
}

#[test]
fn the_death_of_a_server_is_never_ok() {
    let mut server = server("stable");
    let proxy = in_front_of(&server);
    let target = proxy.address.to_string();
    let reader = Server::spawn(&mut client(&target, &["until_broken"]));
    reader.event("streaming");
    server.kill();
    let seen = reader.end();
    let status = &seen["until_broken"]["status"];
    let expected = ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"];
    assert!(expected.iter().any(|name| status == name), "{seen}");
    assert_counted(&proxy, "haldane_request_failures_total", &[], 1);
    assert_counted(&proxy, "haldane_requests_total", &[("grpc_status", "0")], 0);
}

#[test]
fn calls_under_way_are_finished_when_haldane_drains() {
    let server = server("stable");
    let mut proxy = Between::stable(&server.url())
        .route("upstream_protocol = \"h2\"")
        .drain("20s")
        .start();
    let target = proxy.address.to_string();
    let calls = Server::spawn(&mut client(&target, &["slow"]));
    let in_flight = || metric(&proxy, "haldane_requests_in_flight", &[("role", "stable")]);
    eventually("three calls are under way", || in_flight() > 2.5);
    proxy.begin_drain();
    assert_eq!(calls.end()["slow"], json!({ "calls": 3, "messages": 20 }));
    proxy.join();
}

#[test]
fn a_canary_whose_calls_fail_is_rolled_back() {
    let stable = server("stable");
    let failing = ["--name", "canary", "--fail", "UNAVAILABLE"];
    let canary = Server::start(script("grpc_server.py").args(failing));
    let gate = "gate = [{ name = \"meltdown\", metric = \"consecutive_failures\", rollback = 5 }]";
    let proxy = Between::stable(&stable.url())
        .canary(&canary.url(), "50%")
        .route("upstream_protocol = \"h2\"")
        .route(gate)
        .start();
    let target = proxy.address.to_string();
    let seen = report(client(&target, &["users"]).args(["--count", "300"]));
    // One after another, so the fifth failure is the last.
    assert_eq!(
        seen["users"],
        json!({ "UNAVAILABLE": 5, "stable": 295 }),
        "{seen}"
    );
    assert_eq!(proxy.status()["phase"], "rolled_back");
    let event = some("the event of the rollback", || {
        let events = proxy.events(0);
        events
            .into_iter()
            .find(|event| event["kind"] == "rolled_back")
    });
    assert_eq!(event["canary_requests"], 5, "{event}");
    let canary = [("role", "canary"), ("grpc_status", "14")];
    assert_counted(&proxy, "haldane_requests_total", &canary, 5);
    assert!(metric(&proxy, "haldane_rollbacks_total", &[("gate", "meltdown")]) > 0.0);
}
