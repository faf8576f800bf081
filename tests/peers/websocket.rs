//! WebSocket as Python's `websockets` speaks it.

use std::process::Command;

use super::{Between, Certificate, assert_counted};
use crate::support::proxy::Proxy;
use crate::support::tools::{Server, report, script};

/// All that one client finds out in sessions that end by themselves, and how many
/// sessions that are.
const SCENARIOS: [(&str, usize); 9] = [
    ("echo", 1),
    ("name", 1),
    ("subprotocol", 1),
    ("codes", 7),
    ("own_code", 1),
    ("push", 1),
    ("ping", 2),
    ("big", 1),
    ("many", 50),
];

fn server(name: &str) -> Server {
    Server::start(script("ws_server.py").args(["--name", name]))
}

fn client(target: &str, scenarios: &[&str]) -> Command {
    let mut command = script("ws_client.py");
    command.args(["--target", target]).args(scenarios);
    command
}

fn through(proxy: &Proxy) -> String {
    format!("ws://{}", proxy.address)
}

fn all() -> [&'static str; SCENARIOS.len()] {
    SCENARIOS.map(|(name, _)| name)
}

fn sessions() -> usize {
    SCENARIOS.iter().map(|(_, sessions)| sessions).sum()
}

#[test]
fn the_peers_understand_each_other() {
    let server = server("direct");
    let target = format!("ws://{}", server.address());
    let seen = report(client(&target, &all()).arg("refused"));
    assert_eq!(seen["name"]["name"], "direct");
}

#[test]
fn sessions_pass_as_they_are_and_count_once() {
    let server = server("stable");
    let proxy = Between::stable(&server.url()).start();
    let seen = report(&mut client(&through(&proxy), &all()));
    assert_eq!(seen["name"]["name"], "stable");
    let switched = [("code", "101")];
    assert_counted(&proxy, "haldane_requests_total", &switched, sessions());
    assert_counted(&proxy, "haldane_requests_total", &[], sessions());
    assert_counted(&proxy, "haldane_request_failures_total", &[], 0);
}

#[test]
fn sessions_pass_encrypted() {
    let (server, certificate) = (server("stable"), Certificate::new("websocket"));
    let proxy = Between::stable(&server.url()).tls(&certificate).start();
    let target = format!("wss://localhost:{}", proxy.address.port());
    report(client(&target, &all()).args(["--ca", &certificate.ca()]));
    let switched = [("code", "101")];
    assert_counted(&proxy, "haldane_requests_total", &switched, sessions());
}

#[test]
fn sessions_pass_to_an_upstream_that_speaks_http2() {
    let server = Server::start(&mut script("web_server.py"));
    let proxy = Between::stable(&server.url())
        .route("upstream_protocol = \"h2\"")
        .start();
    // This server answers a close frame and then waits for the client to end the stream.
    let mut client = client(&through(&proxy), &["echo", "big", "many"]);
    report(client.args(["--close-timeout", "0.3"]));
    assert_eq!(server.event("opened")["version"], "2");
    assert_counted(&proxy, "haldane_requests_total", &[], 1 + 1 + 50);
    assert_counted(&proxy, "haldane_request_failures_total", &[], 0);
}

#[test]
fn a_refusal_arrives_as_it_is() {
    let server = server("stable");
    let proxy = Between::stable(&server.url()).start();
    report(&mut client(&through(&proxy), &["refused", "echo"]));
    let labels = [("code", "403")];
    assert_counted(&proxy, "haldane_requests_total", &labels, 1);
}

#[test]
fn a_rollback_ends_the_sessions_of_the_canary_with_1012_and_no_other() {
    let (stable, canary) = (server("stable"), server("canary"));
    let proxy = Between::stable(&stable.url())
        .canary(&canary.url(), "50%")
        .route("timeouts = { session_grace = \"100ms\" }")
        .start();
    let target = through(&proxy);
    let open = |user: &str| {
        let mut command = client(&target, &["until_closed"]);
        let session = Server::spawn(command.args(["--user", user]));
        let name = session.event("open")["name"].clone();
        (session, name)
    };
    let sessions: Vec<_> = (0..8).map(|user| open(&format!("user-{user}"))).collect();
    let on = |version: &str| sessions.iter().filter(|(_, name)| name == version).count();
    assert!(on("canary") > 0 && on("stable") > 0, "all on one version");
    proxy.roll_back();
    let (on_canary, on_stable): (Vec<_>, Vec<_>) =
        sessions.into_iter().partition(|(_, name)| name == "canary");
    for (session, _) in on_canary {
        let end = session.end()["until_closed"].clone();
        assert_eq!(end["code"], 1012, "{end}");
    }
    for (session, _) in on_stable {
        let end = session.finish()["until_closed"].clone();
        assert_eq!(end["code"], "still open", "{end}");
    }
    assert_counted(&proxy, "haldane_request_failures_total", &[], 0);
}

#[test]
fn a_drain_ends_sessions_with_1012() {
    let server = server("stable");
    let mut proxy = Between::stable(&server.url())
        .drain("10s")
        .route("timeouts = { session_grace = \"100ms\" }")
        .start();
    let target = through(&proxy);
    let sessions: Vec<_> = (0..3)
        .map(|_| {
            let session = Server::spawn(&mut client(&target, &["until_closed"]));
            session.event("open");
            session
        })
        .collect();
    proxy.begin_drain();
    for session in sessions {
        let end = session.end()["until_closed"].clone();
        assert_eq!(end["code"], 1012, "{end}");
    }
    proxy.join();
}

#[test]
fn a_canary_that_breaks_sessions_off_is_rolled_back() {
    let stable = server("stable");
    let mut canary = server("canary");
    let gate = "gate = [{ name = \"meltdown\", metric = \"consecutive_failures\", rollback = 3 }]";
    let proxy = Between::stable(&stable.url())
        .canary(&canary.url(), "100%")
        .route(gate)
        .start();
    let target = through(&proxy);
    let sessions: Vec<_> = (0..3)
        .map(|_| {
            let session = Server::spawn(&mut client(&target, &["until_closed"]));
            assert_eq!(session.event("open")["name"], "canary");
            session
        })
        .collect();
    canary.kill();
    for session in sessions {
        let end = session.end()["until_closed"].clone();
        assert!(end["code"].is_null(), "{end}");
    }
    assert_counted(
        &proxy,
        "haldane_request_failures_total",
        &[("role", "canary"), ("reason", "truncated")],
        3,
    );
    let seen = report(&mut client(&target, &["name"]));
    assert_eq!(seen["name"]["name"], "stable");
}
