//! Whoever keeps haldane waiting is given up after the configured time, and not before.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::client::{Client, request};
use crate::support::eventually::{PATIENCE, now};
use crate::support::proxy::Setup;
use crate::support::upstream::{Behaviour, Connection, Upstream};
use crate::support::wire::Broken;

const HEAD: &str = "HTTP/1.1 200 OK\r\n";

/// A deadline is kept in steps, and looked at by a machine that may be busy.
const EARLY: Duration = Duration::from_millis(100);

/// Far more than any time that is configured here.
const LATE: Duration = Duration::from_secs(5);

/// That a wait that began at `since` was ended by a limit of `millis`.
#[track_caller]
fn was_cut_after(since: Instant, millis: u64) {
    let (took, limit) = (since.elapsed(), Duration::from_millis(millis));
    assert!(took >= limit - EARLY, "too early: {took:?} of {limit:?}");
    assert!(took < LATE, "too late: {took:?} of {limit:?}");
}

/// Runs `script` for each connection, and tells how haldane ended it.
fn watched(
    script: impl Fn(&mut Connection) + Send + Sync + 'static,
) -> (Upstream, mpsc::Receiver<Broken>) {
    let (tell, ends) = mpsc::channel();
    let upstream = Upstream::scripted(move |mut connection| {
        script(&mut connection);
        // Nobody listens once the test is over.
        tell.send(connection.end()).ok();
    });
    (upstream, ends)
}

/// Waits this long without sleeping: nothing comes meanwhile.
#[track_caller]
fn nothing_comes(client: &mut Client, during: Duration) {
    assert!(!client.wire.has_more(during), "an answer before its time");
}

#[test]
fn an_upstream_that_lets_nobody_in_is_given_up() {
    let upstream = Upstream::unreachable();
    let proxy = Setup::stable(&upstream)
        .route("timeouts = { connect = \"400ms\" }")
        .start();
    let mut client = proxy.client();
    for _ in 0..2 {
        // The client's connection is not harmed.
        let since = now();
        let answer = client.get("/", &[]);
        was_cut_after(since, 400);
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (504, "upstream_connect_timeout")
        );
    }
}

#[test]
fn a_head_that_does_not_come_is_given_up_and_its_connection_closed() {
    for beginning in ["", "HTTP/1.1 200 OK\r\nContent-"] {
        let (upstream, ends) = watched(move |connection| {
            if connection.request().is_some() {
                connection.wire.write(beginning);
            }
        });
        let proxy = Setup::stable(&upstream)
            .route("timeouts = { response = \"400ms\" }")
            .start();
        let mut client = proxy.client();
        for _ in 0..2 {
            let since = now();
            let answer = client.get("/", &[]);
            was_cut_after(since, 400);
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (504, "upstream_timeout")
            );
            let end = ends.recv_timeout(PATIENCE).expect("is told");
            assert!(matches!(end, Broken::Closed | Broken::Reset), "{end:?}");
        }
        // Not tried again: it may be at work.
        assert_eq!(upstream.log.len(), 2);
    }
}

#[test]
fn the_time_for_a_head_counts_from_the_end_of_the_request() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream)
        .route("timeouts = { response = \"500ms\" }")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n");
    for _ in 0..10 {
        nothing_comes(&mut client, Duration::from_millis(100));
        client.send("x");
    }
    assert_eq!(client.answer_to("POST").status, 200);
    assert_eq!(upstream.log.only().body.bytes, b"xxxxxxxxxx");
    // And it does count from there.
    upstream.behave(Behaviour::Silent);
    client.send(request("POST", "/", &[], "x"));
    assert_eq!(client.answer_to("POST").status, 504);
}

#[test]
fn a_body_that_stalls_is_cut_and_never_looks_complete() {
    for (framing, beginning) in [
        ("Content-Length: 10", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("Connection: close", "hello"),
    ] {
        let (upstream, ends) = watched(move |connection| {
            if connection.request().is_some() {
                connection
                    .wire
                    .write(format!("{HEAD}{framing}\r\n\r\n{beginning}"));
            }
        });
        let proxy = Setup::stable(&upstream)
            .route("timeouts = { response = \"200ms\", idle_body = \"600ms\" }")
            .start();
        let mut client = proxy.client();
        let since = now();
        client.send(request("GET", "/", &[], ""));
        let answer = client.answer_to("GET");
        was_cut_after(since, 600);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        assert!(answer.end.is_err(), "{framing}");
        let end = ends.recv_timeout(PATIENCE).expect("is told");
        assert!(matches!(end, Broken::Closed | Broken::Reset), "{end:?}");
    }
}

#[test]
fn a_body_that_goes_on_may_take_as_long_as_it_likes() {
    let (upstream, _ends) = watched(|connection| {
        if connection.request().is_none() {
            return;
        }
        connection
            .wire
            .write(format!("{HEAD}Content-Length: 10\r\n\r\n"));
        for _ in 0..10 {
            connection.wire.has_more(Duration::from_millis(100));
            connection.wire.write("y");
        }
    });
    let proxy = Setup::stable(&upstream)
        .route("timeouts = { response = \"300ms\", idle_body = \"500ms\" }")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..10 {
        nothing_comes(&mut client, Duration::from_millis(100));
        client.send("1\r\nx\r\n");
    }
    client.send("0\r\n\r\n");
    let answer = client.answer_to("POST");
    assert_eq!((answer.text().as_str(), answer.end), ("yyyyyyyyyy", Ok(())));
    assert_eq!(upstream.log.only().body.bytes, b"xxxxxxxxxx");
}

#[test]
fn a_request_body_that_stalls_is_answered_in_time() {
    let (upstream, ends) = watched(|connection| {
        connection.head();
    });
    let proxy = Setup::stable(&upstream)
        .route("timeouts = { response = \"100ms\", idle_body = \"500ms\" }")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    let since = now();
    let answer = client.answer_to("POST");
    was_cut_after(since, 500);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (408, "client_too_slow")
    );
    assert!(client.is_closed());
    // The upstream must not take what it has for the whole.
    let end = ends.recv_timeout(PATIENCE).expect("is told");
    assert!(matches!(end, Broken::Closed | Broken::Reset), "{end:?}");
}

/// Begins a request and goes on with `drop` until there is an answer.
fn drips(client: &mut Client, beginning: &str, drop: &str) {
    let since = now();
    client.send(beginning);
    while since.elapsed() < LATE && !client.wire.has_more(Duration::from_millis(20)) {
        client.wire.write(drop);
    }
    let answer = client.answer_to("GET");
    was_cut_after(since, 500);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (408, "client_too_slow"),
        "{beginning:?} {drop:?}"
    );
    assert_eq!(answer.head.one("connection").as_deref(), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn a_head_that_drips_in_gets_no_more_time_than_one_that_stops() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream)
        .table("[limits]\nheader_timeout = \"500ms\"")
        .start();
    let start = "GET / HTTP/1.1\r\nHost: test\r\n";
    std::thread::scope(|scope| {
        for (beginning, drop) in [
            ("G", ""),
            (start, ""),
            (start, "x: y\r\n"),
            (start, "y"),
            // Empty lines before a request are skipped, and are no way to stay.
            ("\r\n", "\r\n"),
        ] {
            scope.spawn({
                let mut client = proxy.client();
                move || drips(&mut client, beginning, drop)
            });
            // A later request has no more time than the first.
            let mut client = proxy.client();
            assert_eq!(client.get("/", &[]).status, 200);
            scope.spawn(move || drips(&mut client, beginning, drop));
        }
    });
    assert_eq!(upstream.log.len(), 5);
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream)
        .table("[limits]\nheader_timeout = \"400ms\"\nidle_timeout = \"60s\"")
        .start();
    let since = now();
    let mut client = proxy.client();
    assert!(client.is_closed());
    was_cut_after(since, 400);
}

#[test]
fn between_requests_a_connection_has_the_idle_time() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream)
        .table("[limits]\nheader_timeout = \"400ms\"\nidle_timeout = \"1200ms\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.get("/", &[]).status, 200);
    nothing_comes(&mut client, Duration::from_millis(700));
    assert_eq!(client.get("/", &[]).status, 200);
    let since = now();
    assert!(client.is_closed());
    was_cut_after(since, 1200);
}

#[test]
fn slow_clients_keep_nobody_else_waiting() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream)
        .top("workers = 1")
        .table("[limits]\nheader_timeout = \"1s\"")
        .start();
    let mut slow: Vec<_> = (0..200)
        .map(|n| {
            let mut client = proxy.client();
            client.send(&"GET / HTTP/1.1\r\nHost: test\r\n"[..n % 20]);
            client
        })
        .collect();
    let mut client = proxy.client();
    let since = now();
    while since.elapsed() < Duration::from_millis(1500) {
        let asked = now();
        assert_eq!(client.get("/", &[]).status, 200);
        // Far less than what the others are allowed to waste.
        assert!(asked.elapsed() < Duration::from_millis(700));
    }
    for (n, client) in slow.iter_mut().enumerate() {
        if n % 20 > 0 {
            assert_eq!(client.answer_to("GET").status, 408);
        }
        assert!(client.is_closed());
    }
}
