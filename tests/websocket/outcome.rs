//! What a session says about its version.

use std::time::Duration;

use super::{
    FAILURES, TEXT, close, echo, frame, in_sessions, on_canary, open, open_h2, tunnelling,
};
use crate::support::eventually::{eventually, now};
use crate::support::http2::wait;
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;
use crate::support::wire::Broken;

const TRUNCATED: &[&str] = &["role=\"canary\"", "reason=\"truncated\""];

#[test]
fn a_session_that_the_upstream_breaks_off_is_one_failure() {
    let stable = Upstream::named("stable");
    for (said, failures) in [
        (frame(TEXT, b"and then", false), 1),
        (vec![], 1),
        // Within a frame.
        (frame(TEXT, b"and then", false)[..5].to_vec(), 1),
        (close(1000, false), 0),
        (close(1011, false), 0),
    ] {
        let canary = in_sessions({
            let said = said.clone();
            move |connection| {
                connection.wire.write(&said);
            }
        });
        let proxy = on_canary(&stable, &canary, "");
        let mut client = open(&proxy);
        assert_eq!(client.wire.read(said.len()).as_ref(), Ok(&said));
        assert!(matches!(client.wire.end(), Broken::Closed | Broken::Reset));
        drop(client);
        let version = proxy.settled("canary", 1);
        assert_eq!(version["failures"], failures, "{said:?}");
        assert_eq!(proxy.metric(FAILURES, TRUNCATED), failures);
        assert_eq!(proxy.metric(FAILURES, &[]), failures, "for no other reason");
    }
}

#[test]
fn a_session_that_breaks_off_ends_the_stream_of_its_client_alone() {
    let stable = Upstream::named("stable");
    let canary = in_sessions(|connection| {
        connection.wire.write(frame(TEXT, b"and then", false));
    });
    let proxy = on_canary(&stable, &canary, "");
    let client = tunnelling(&proxy);
    let (begun, _upload) = open_h2(&client);
    // All that was said, and no close frame: the client sees what has happened.
    let answer = wait("the end", begun.rest());
    assert_eq!(answer.body, frame(TEXT, b"and then", false));
    assert_eq!(proxy.settled("canary", 1)["failures"], 1);
    assert!(client.takes_streams());
}

#[test]
fn a_session_counts_once_with_the_status_of_its_switch() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::scripted(echo));
    let proxy = on_canary(&stable, &canary, "");
    for _ in 0..5 {
        let mut client = open(&proxy);
        client.send(close(1000, true));
        assert_eq!(client.wire.read(8), Ok(close(1000, true)));
        client.wire.finish();
        client.wire.end();
    }
    let version = proxy.settled("canary", 5);
    assert_eq!(version["failures"], 0, "{version}");
    let requests = "haldane_requests_total";
    assert_eq!(
        proxy.metric(requests, &["role=\"canary\"", "code=\"101\""]),
        5
    );
    assert_eq!(proxy.metric(requests, &["role=\"canary\""]), 5);
}

#[test]
fn canaries_that_break_sessions_off_are_rolled_back() {
    let stable = Upstream::scripted(echo);
    let canary = in_sessions(|_| {});
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(3)
        .start();
    for _ in 0..3 {
        assert_eq!(proxy.status()["phase"], "idle");
        open(&proxy).wire.end();
        eventually("it is counted", || {
            proxy.status()["versions"]["canary"]["in_flight"] == 0
        });
    }
    assert_eq!(proxy.status()["phase"], "rolled_back");
    let mut client = open(&proxy);
    client.send("hello");
    assert_eq!(client.wire.read(5).as_deref(), Ok(&b"hello"[..]));
    assert_eq!(canary.log.len(), 3);
}

#[test]
fn a_session_outlives_what_requests_may_take() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::scripted(echo));
    let timeouts = "response = \"100ms\", idle_body = \"100ms\"";
    let proxy = on_canary(&stable, &canary, timeouts);
    let mut client = open(&proxy);
    assert!(client.stays_open(Duration::from_millis(600)));
    client.send("hello");
    assert_eq!(client.wire.read(5).as_deref(), Ok(&b"hello"[..]));
}

/// By nobody's doing.
#[test]
fn a_session_in_which_nothing_moves_ends() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::scripted(echo));
    let proxy = on_canary(&stable, &canary, "idle_session = \"500ms\"");
    let mut client = open(&proxy);
    let since = now();
    for _ in 0..4 {
        assert!(client.stays_open(Duration::from_millis(200)));
        client.send("hello");
        assert_eq!(client.wire.read(5).as_deref(), Ok(&b"hello"[..]));
    }
    assert!(since.elapsed() > Duration::from_millis(500));
    assert!(client.is_closed());
    assert_eq!(proxy.settled("canary", 1)["failures"], 0);
}
