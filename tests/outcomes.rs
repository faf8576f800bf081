//! What counts against a version, what does not, and that it is counted once.

use std::time::Duration;

use serde_json::Value;

use crate::support::client::{Client, request};
use crate::support::eventually::{eventually, some};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};
use crate::support::wire::Framing;

const REASONS: [&str; 5] = ["connect", "reset", "status", "timeout", "truncated"];

/// haldane with all traffic on the canary, which a single failure rolls back.
fn strict(stable: &Upstream, canary: &Upstream) -> Proxy {
    Setup::canary(stable, canary, "100%")
        .by_user()
        .route("timeouts = { connect = \"100ms\", response = \"100ms\", idle_body = \"200ms\" }")
        .meltdown(1)
        .start()
}

/// How often the canary was counted as failed, by reason.
#[track_caller]
fn failures(proxy: &Proxy) -> Vec<(&'static str, u64)> {
    let mut client = Client::connect(proxy.admin_address);
    client.send(format!(
        "GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n",
        proxy.admin_address
    ));
    let text = client.answer_to("GET").text();
    let count = |reason| {
        let line = text.lines().find(|line| {
            line.starts_with("haldane_request_failures_total{")
                && line.contains("role=\"canary\"")
                && line.contains(&format!("reason=\"{reason}\""))
        });
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.and_then(|value| value.parse().ok()).expect("a count")
    };
    REASONS
        .iter()
        .map(|reason| (*reason, count(*reason)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Waits until this many requests were routed to the canary and have ended, and gives
/// its picture.
#[track_caller]
fn settled(proxy: &Proxy, requests: u64) -> Value {
    some("every exchange ends", || {
        let status = proxy.status();
        let canary = &status["versions"]["canary"];
        (canary["requests"] == requests && canary["in_flight"] == 0).then_some(status)
    })
}

#[test]
fn each_kind_of_failure_counts_once_under_its_name() {
    for (behaviour, reason) in [
        (Behaviour::Status(500), "status"),
        (Behaviour::Reset, "reset"),
        (Behaviour::Malformed, "reset"),
        (Behaviour::Silent, "timeout"),
        (Behaviour::Truncated, "truncated"),
    ] {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        canary.behave(behaviour);
        let proxy = strict(&stable, &canary);
        // The answer may be cut, which is one of the kinds.
        let mut client = proxy.client();
        client.send(request("GET", "/", &[("x-user", "a")], ""));
        client.answer_to("GET");
        let status = settled(&proxy, 1);
        assert_eq!(status["phase"], "rolled_back", "{behaviour:?}");
        let canary = &status["versions"]["canary"];
        assert_eq!(
            (&canary["requests"], &canary["failures"]),
            (&1.into(), &1.into())
        );
        assert_eq!(failures(&proxy), [(reason, 1)], "{behaviour:?}");
    }
    for canary in [Upstream::refusing(), Upstream::unreachable()] {
        let stable = Upstream::named("stable");
        let proxy = strict(&stable, &canary);
        proxy.get("/", &[("x-user", "a")]);
        assert_eq!(settled(&proxy, 1)["phase"], "rolled_back");
        assert_eq!(failures(&proxy), [("connect", 1)]);
    }
}

#[test]
fn a_body_that_stalls_counts_as_a_timeout() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    ] {
        let stable = Upstream::named("stable");
        let canary = Upstream::scripted(move |mut connection| {
            if connection.request().is_some() {
                connection.wire.write(answer);
                connection.end();
            }
        });
        let proxy = strict(&stable, &canary);
        let mut client = proxy.client();
        client.send(request("GET", "/", &[("x-user", "a")], ""));
        assert!(client.answer_to("GET").end.is_err(), "{answer:?}");
        assert_eq!(settled(&proxy, 1)["phase"], "rolled_back");
        assert_eq!(failures(&proxy), [("timeout", 1)], "{answer:?}");
    }
}

#[test]
fn a_truncated_failure_counts_once() {
    let stable = Upstream::named("stable");
    let canary = Upstream::closing("HTTP/1.1 500 X\r\nContent-Length: 10\r\n\r\nhello");
    let proxy = strict(&stable, &canary);
    let mut client = proxy.client();
    client.send(request("GET", "/", &[("x-user", "a")], ""));
    assert!(client.answer_to("GET").end.is_err());
    assert_eq!(settled(&proxy, 1)["versions"]["canary"]["failures"], 1);
    assert_eq!(failures(&proxy), [("status", 1)]);
}

#[test]
fn what_the_version_answered_below_500_is_a_success() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = strict(&stable, &canary);
    let mut client = proxy.client();
    for status in [
        200, 204, 301, 304, 400, 401, 403, 404, 408, 409, 413, 418, 429, 431, 499,
    ] {
        canary.behave(Behaviour::Status(status));
        client.send(request("HEAD", "/", &[("x-user", "a")], ""));
        assert_eq!(client.answer_to("HEAD").status, status);
    }
    let status = settled(&proxy, 15);
    assert_eq!(status["phase"], "idle");
    assert_eq!(status["versions"]["canary"]["failures"], 0);
}

/// A canary that announces a lot and sends on for as long as it is listened to.
fn endless() -> Upstream {
    Upstream::scripted(|mut connection| {
        if connection.request().is_some() {
            connection
                .wire
                .write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while connection.wire.write([b'x'; 16 * 1024]) {}
        }
    })
}

#[test]
fn a_client_that_leaves_is_no_evidence() {
    let (stable, silent) = (Upstream::named("stable"), Upstream::named("canary"));
    silent.behave(Behaviour::Silent);
    // Before the head. The timeout must not come first.
    let proxy = Setup::canary(&stable, &silent, "100%")
        .by_user()
        .meltdown(1)
        .start();
    for reset in [false, true] {
        let arrived = silent.log.len();
        let mut client = proxy.client();
        client.send(request("GET", "/", &[("x-user", "a")], ""));
        eventually("the request arrives", || silent.log.len() > arrived);
        if reset {
            client.wire.reset();
        }
    }
    assert_eq!(settled(&proxy, 2)["phase"], "idle");
    assert_eq!(failures(&proxy), []);

    // Within the body.
    let endless = endless();
    let proxy = Setup::canary(&stable, &endless, "100%")
        .by_user()
        .meltdown(1)
        .start();
    for reset in [false, true] {
        let mut client = proxy.client();
        client.send(request("GET", "/", &[("x-user", "a")], ""));
        assert!(matches!(client.response_head(), Ok((_, 200))));
        client.wire.read(100_000).expect("comes");
        if reset {
            client.wire.reset();
        }
    }
    assert_eq!(settled(&proxy, 2)["phase"], "idle");
    assert_eq!(failures(&proxy), []);
}

#[test]
fn a_client_that_reads_too_slowly_is_no_evidence() {
    let (stable, endless) = (Upstream::named("stable"), endless());
    let proxy = strict(&stable, &endless);
    let mut client = proxy.client();
    client.send(request("GET", "/", &[("x-user", "a")], ""));
    // It reads nothing, and is dropped after `idle_body`.
    assert_eq!(settled(&proxy, 1)["phase"], "idle");
    assert_eq!(failures(&proxy), []);
    assert!(client.answer_to("GET").end.is_err());
}

#[test]
fn a_request_that_the_client_breaks_is_no_evidence() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = strict(&stable, &canary);
    let head = "POST / HTTP/1.1\r\nHost: test\r\nx-user: a\r\n";
    // Refused before it is routed at all.
    for bad in [
        "Content-Length: x\r\n\r\n",
        "Expect: tea\r\n\r\n",
        "Host: b\r\n\r\n",
        " \r\n\r\n",
    ] {
        assert!(proxy.raw(format!("{head}{bad}")).status < 500);
    }
    assert_eq!(proxy.status()["versions"]["canary"]["requests"], 0);

    // Broken within its body: chunks that are none, the end of the connection, silence.
    let mut client = proxy.client();
    client.send(format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n"
    ));
    assert_eq!(client.answer_to("POST").error(), "client_body");
    let mut client = proxy.client();
    client.send(format!("{head}Content-Length: 10\r\n\r\nhello"));
    drop(client);
    let mut client = proxy.client();
    client.send(format!("{head}Content-Length: 10\r\n\r\nhello"));
    let answer = client.answer_to("POST");
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (408, "client_too_slow")
    );

    assert_eq!(settled(&proxy, 3)["phase"], "idle");
    assert_eq!(failures(&proxy), []);
}

#[test]
fn an_upstream_that_does_not_take_the_body_counts_as_a_timeout() {
    let stable = Upstream::named("stable");
    let (_running, over) = std::sync::mpsc::channel::<()>();
    let over = std::sync::Mutex::new(over);
    let canary = Upstream::scripted(move |mut connection| {
        connection.head();
        // It reads no more, and keeps the connection open until the test is over.
        over.lock().unwrap().recv().ok();
    });
    let proxy = strict(&stable, &canary);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nx-user: a\r\nContent-Length: 100000000\r\n\r\n");
    while client.wire.write([0; 64 * 1024]) && proxy.status()["phase"] == "idle" {}
    assert_eq!(settled(&proxy, 1)["phase"], "rolled_back");
    assert_eq!(failures(&proxy), [("timeout", 1)]);
}

#[test]
fn an_answer_before_the_end_of_the_request_is_a_success() {
    let stable = Upstream::named("stable");
    let canary = Upstream::scripted(|mut connection| {
        if connection.head().is_some() {
            connection
                .wire
                .write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
            let (_, _) = connection.wire.body(Framing::UntilClose);
        }
    });
    let proxy = strict(&stable, &canary);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nx-user: a\r\nContent-Length: 1000\r\n\r\nhello");
    let answer = client.answer_to("POST");
    assert_eq!((answer.status, answer.text().as_str()), (413, "no"));
    drop(client);
    assert_eq!(settled(&proxy, 1)["phase"], "idle");
    assert_eq!(failures(&proxy), []);
}

#[test]
fn the_numbers_add_up_under_a_mixed_load() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "40%")
        .by_user()
        .meltdown(1_000_000)
        .start();
    let behaviours = [
        Behaviour::Good,
        Behaviour::Status(500),
        Behaviour::Reset,
        Behaviour::Truncated,
    ];
    let mut failed = 0;
    for round in 0..400 {
        canary.behave(behaviours[round % 4]);
        let mut client = proxy.client();
        client.wire.patience(Duration::from_secs(10));
        client.send(request("POST", "/", &[("x-user", &round.to_string())], "x"));
        let answer = client.answer_to("POST");
        failed += u64::from(answer.status >= 500 || answer.end.is_err());
    }
    let status = settled(&proxy, canary.log.len() as u64);
    let versions = &status["versions"];
    assert_eq!(versions["canary"]["failures"], failed);
    assert_eq!(versions["stable"]["requests"], stable.log.len());
    assert_eq!(versions["stable"]["failures"], 0);
    assert_eq!(canary.log.len() + stable.log.len(), 400);
}
