//! What waits for a canary when it is rolled back, or takes far too long.

use std::time::Duration;

use super::{IDEMPOTENT, is_of_stable, settled, shielded};
use crate::support::client::{Client, request};
use crate::support::eventually::{eventually, now};
use crate::support::http2::{H2Client, request as h2_request};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

const STALLED: [&str; 2] = ["reason=\"stalled\"", "role=\"canary\""];

/// haldane that waits for ever.
fn patient(stable: &Upstream, canary: &Upstream, weight: &str) -> Setup {
    Setup::canary(stable, canary, weight)
        .by_user()
        .shielded()
        .route("timeouts = { connect = \"60s\", response = \"60s\" }")
}

fn send(proxy: &Proxy, method: &str, body: &str) -> Client {
    let mut client = proxy.client();
    client.send(request(method, "/", &[("x-user", "a")], body));
    client
}

#[test]
fn what_waits_for_a_hung_canary_is_answered_from_stable_when_it_is_rolled_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Silent);
    let proxy = patient(&stable, &canary, "100%")
        .top("workers = 2")
        .meltdown(1_000_000)
        .start();
    let mut clients: Vec<_> = IDEMPOTENT
        .iter()
        .map(|method| {
            let body = ["", "a body"][usize::from(*method == "PUT")];
            (*method, send(&proxy, method, body))
        })
        .collect();
    let _posts = [send(&proxy, "POST", ""), send(&proxy, "POST", "x")];
    // Half of its body is still to come.
    let mut slow = proxy.client();
    slow.send("PUT / HTTP/1.1\r\nhost: test\r\nx-user: a\r\ncontent-length: 4\r\n\r\nab");
    let stream = H2Client::connect(proxy.address);
    let stream = stream.open(h2_request("GET", "/", &[("x-user", "a")]), true);
    eventually("all of them wait", || {
        proxy.status()["versions"]["canary"]["in_flight"] == 10
    });
    eventually("they have arrived", || canary.log.len() == 10);
    let since = now();
    proxy.roll_back();
    for (method, client) in &mut clients {
        let answer = client.answer_to(method);
        assert!(is_of_stable(&answer, method), "{method}: {answer:?}");
    }
    slow.send("cd");
    assert!(is_of_stable(&slow.answer_to("PUT"), "PUT"));
    assert_eq!(stream.answer().text(), "stable");
    let took = since.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let arrivals = stable.log.arrivals();
    let mut bodies: Vec<_> = arrivals
        .into_iter()
        .filter(|one| one.head.word(0) == "PUT")
        .map(|one| String::from_utf8_lossy(&one.body.bytes).into_owned())
        .collect();
    bodies.sort();
    assert_eq!(bodies, ["a body", "abcd"]);
    // What must not be repeated goes on.
    let status = proxy.status();
    assert_eq!(status["versions"]["canary"]["in_flight"], 2, "{status}");
    assert_eq!(status["versions"]["canary"]["failures"], 0, "{status}");
    assert_eq!(shielded(&proxy), 8);
    assert_eq!(proxy.metric("haldane_request_failures_total", &[]), 0);
    assert_eq!(stable.log.len(), 8);
}

/// Nothing was sent yet.
#[test]
fn what_waits_for_a_connection_is_answered_from_stable_on_a_rollback() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::unreachable());
    let proxy = patient(&stable, &canary, "100%")
        .meltdown(1_000_000)
        .start();
    let mut client = send(&proxy, "GET", "");
    eventually("it waits", || {
        proxy.status()["versions"]["canary"]["in_flight"] == 1
    });
    let since = now();
    proxy.roll_back();
    assert!(is_of_stable(&client.answer_to("GET"), "GET"));
    assert!(since.elapsed() < Duration::from_secs(5));
    let [of_canary, _] = settled(&proxy, 1, 1);
    assert_eq!(of_canary["failures"], 0);
}

#[test]
fn whoever_has_waited_for_far_too_long_is_answered_from_stable_and_counts_once() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = patient(&stable, &canary, "50%")
        .section(
            "[[route.gate]]\nname = \"slow\"\nmetric = \"ttfb\"\nrollback = { p99 = \"10x stable\" }",
        )
        .start();
    let users = proxy.users_of_canary();
    proxy.wait_for_limits();
    canary.behave(Behaviour::Silent);
    let asked = |method: &str| {
        let mut client = proxy.client();
        client.send(request(method, "/", &[("x-user", &users[0])], ""));
        client
    };
    let since = now();
    let (mut get, _post) = (asked("GET"), asked("POST"));
    assert!(is_of_stable(&get.answer_to("GET"), "GET"));
    assert!(since.elapsed() < Duration::from_secs(8));
    let failures = || proxy.metric("haldane_request_failures_total", &STALLED);
    eventually("both are failures", || failures() == 2);
    let status = proxy.status();
    assert_eq!(status["versions"]["canary"]["in_flight"], 1, "{status}");
    assert_eq!(status["versions"]["canary"]["failures"], 2, "{status}");
    assert_eq!(status["phase"], "idle");
    assert_eq!(shielded(&proxy), 1);
    assert_eq!(
        proxy.metric("haldane_request_failures_total", &["role=\"canary\""]),
        2
    );
}

/// A rollback that comes from what one request has done reaches those of other workers.
#[test]
fn the_failure_that_decides_frees_all_that_wait() {
    let stable = Upstream::named("stable");
    let canary = Upstream::scripted(|mut connection| {
        while let Some(head) = connection.request() {
            if head.word(1) == "/hang" {
                connection.wire.patience(Duration::from_secs(60));
                connection.end();
                return;
            }
            connection
                .wire
                .write("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let proxy = patient(&stable, &canary, "100%")
        .top("workers = 4")
        .meltdown(3)
        .start();
    let mut hung: Vec<_> = (0..20)
        .map(|_| {
            let mut client = proxy.client();
            client.send(request("GET", "/hang", &[("x-user", "a")], ""));
            client
        })
        .collect();
    eventually("they wait", || canary.log.len() == 20);
    for _ in 0..3 {
        let answer = proxy.get("/", &[("x-user", "a")]);
        assert!(is_of_stable(&answer, "GET"), "{answer:?}");
    }
    assert_eq!(proxy.status()["phase"], "rolled_back");
    for client in &mut hung {
        assert!(is_of_stable(&client.answer_to("GET"), "GET"));
    }
    let [of_canary, _] = settled(&proxy, 23, 23);
    assert_eq!(of_canary["failures"], 3);
    let event = &proxy.events(0)[0];
    assert_eq!(event["canary_requests"], 23, "{event}");
}
