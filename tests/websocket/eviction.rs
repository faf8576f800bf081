//! Sessions of a version that is rolled back: they get a grace, and an end that says what
//! to do.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use super::{TEXT, close, echo, frame, in_sessions, on_canary, open, open_h2, tunnelling};
use crate::support::eventually::{PATIENCE, eventually, now};
use crate::support::http2::wait;
use crate::support::upstream::Upstream;
use crate::support::wire::Broken;

/// The service restarts; the client may connect again.
const RESTART: u16 = 1012;
/// The endpoint is going away.
const AWAY: u16 = 1001;

#[test]
fn a_session_of_a_rolled_back_canary_ends_after_the_grace() {
    let stable = Upstream::scripted(echo);
    let (tell, told) = mpsc::channel();
    let canary = in_sessions(move |connection| {
        let hello = connection.wire.read(11).expect("comes");
        connection.wire.write(hello);
        tell.send(connection.wire.read(8))
            .expect("somebody listens");
        connection.end();
    });
    let proxy = on_canary(&stable, &canary, "session_grace = \"1s\"");
    let mut client = open(&proxy);
    proxy.roll_back();
    let since = now();
    let mut next = open(&proxy);
    assert_eq!(stable.log.len(), 1, "new ones are on stable at once");
    // It lives on for the grace.
    assert!(client.stays_open(Duration::from_millis(700)));
    let hello = frame(TEXT, b"hello", true);
    client.send(&hello);
    assert_eq!(client.wire.read(hello.len()).as_ref(), Ok(&hello));
    assert_eq!(client.wire.read(4), Ok(close(RESTART, false)));
    assert!(
        since.elapsed() >= Duration::from_secs(1),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(close(AWAY, true))));
    client.send(close(RESTART, true));
    assert_eq!(client.wire.end(), Broken::Closed);
    let version = proxy.settled("canary", 1);
    assert_eq!(version["failures"], 0, "it is no failure: {version}");
    // By then that of stable has been looked at as often.
    next.send("hello");
    assert_eq!(next.wire.read(5).as_deref(), Ok(&b"hello"[..]));
}

/// A client that does not answer is not waited for for ever.
#[test]
fn a_client_that_says_nothing_is_let_go() {
    let (stable, canary) = (Upstream::scripted(echo), Upstream::scripted(echo));
    let proxy = on_canary(&stable, &canary, "session_grace = \"10ms\"");
    let mut client = open(&proxy);
    proxy.roll_back();
    assert_eq!(client.wire.read(4), Ok(close(RESTART, false)));
    assert_eq!(client.wire.end(), Broken::Closed);
    proxy.settled("canary", 1);
}

/// Nobody can look in between, and the session is of the attempt that failed.
#[test]
fn a_retry_at_once_does_not_keep_a_session_of_what_was_rolled_back() {
    let (stable, canary) = (Upstream::scripted(echo), Upstream::scripted(echo));
    let proxy = on_canary(&stable, &canary, "session_grace = \"10ms\"");
    let mut before = open(&proxy);
    proxy.roll_back();
    proxy.retry();
    let mut after = open(&proxy);
    assert_eq!(before.wire.read(4), Ok(close(RESTART, false)));
    // That of the next attempt has been looked at as often.
    let hello = frame(TEXT, b"hello", true);
    after.send(&hello);
    assert_eq!(after.wire.read(hello.len()).as_ref(), Ok(&hello));
}

/// Never inside of a frame: what the upstream has begun is passed on to its end first.
#[test]
fn a_close_frame_stands_between_frames() {
    let stable = Upstream::scripted(echo);
    let (finish, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let said = frame(TEXT, &[b'x'; 1000], false);
    let halves = said.clone();
    let canary = in_sessions(move |connection| {
        connection.wire.write(&halves[..500]);
        told.lock().unwrap().recv().expect("is told");
        connection.wire.write(&halves[500..]);
        connection.end();
    });
    let proxy = on_canary(&stable, &canary, "session_grace = \"10ms\"");
    let mut client = open(&proxy);
    assert_eq!(client.wire.read(500).as_deref(), Ok(&said[..500]));
    proxy.roll_back();
    // The close frame is due by then, and cannot stand here.
    assert!(client.stays_open(Duration::from_millis(1500)));
    finish.send(()).expect("somebody waits");
    assert_eq!(client.wire.read(504).as_deref(), Ok(&said[500..]));
    assert_eq!(client.wire.read(4), Ok(close(RESTART, false)));
    client.send(close(RESTART, true));
    assert_eq!(client.wire.end(), Broken::Closed);
}

/// A frame that has no end is not waited for for ever, and nothing is put into it.
#[test]
fn a_frame_that_does_not_end_gets_no_close_frame_inside() {
    let stable = Upstream::scripted(echo);
    let said = frame(TEXT, &[b'x'; 1000], false);
    let half = said[..500].to_vec();
    let canary = in_sessions(move |connection| {
        connection.wire.write(&half);
        connection.end();
    });
    let proxy = on_canary(&stable, &canary, "session_grace = \"10ms\"");
    let mut client = open(&proxy);
    assert_eq!(client.wire.read(500).as_deref(), Ok(&said[..500]));
    proxy.roll_back();
    assert!(client.is_closed(), "and not another byte");
    proxy.settled("canary", 1);
}

#[test]
fn over_http2_the_client_is_told_to_connect_anew() {
    let (stable, canary) = (Upstream::scripted(echo), Upstream::scripted(echo));
    let proxy = on_canary(&stable, &canary, "session_grace = \"10ms\"");
    let client = tunnelling(&proxy);
    let (begun, mut upload) = open_h2(&client);
    proxy.roll_back();
    let answer = wait("the end", async {
        let mut begun = begun;
        let frame = crate::support::http2::read_some(&mut begun.body, 4).await;
        assert_eq!(frame, close(RESTART, false));
        let answered = crate::support::http2::send(&mut upload, close(RESTART, true).into(), true);
        answered.await.expect("is sent");
        begun.rest().await
    });
    assert_eq!(
        (answer.body.len(), answer.end.is_ok()),
        (0, true),
        "{answer:?}"
    );
    eventually("it is told", || !client.takes_streams());
    eventually("the connection ends", || client.ended().is_some());
    assert_eq!(client.ended(), Some(Ok(())));
    assert_eq!(proxy.settled("canary", 1)["failures"], 0);
}
