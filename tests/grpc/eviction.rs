//! Calls of a version that is rolled back: they get a grace, and an end that says what to do.

use h2::Reason;

use super::{begin, call, server, status_of};
use crate::support::eventually::{eventually, now};
use crate::support::http2::{H2Client, read_some, wait};
use crate::support::http2_upstream::H2Upstream;
use crate::support::proxy::{Proxy, Setup};

fn serving(stable: &H2Upstream, canary: &H2Upstream, grace: &str) -> Proxy {
    Setup::canary_at(&stable.url(), &canary.url(), "100%")
        .upstreams_in_h2()
        .route(&format!("timeouts = {{ session_grace = \"{grace}\" }}"))
        .by_user()
        .meltdown(1000)
        .start()
}

#[test]
fn a_call_of_a_rolled_back_canary_ends_after_the_grace() {
    let ((stable, _), (canary, _release)) = (server(), server());
    let proxy = serving(&stable, &canary, "1s");
    let client = H2Client::connect(proxy.address);
    let (mut begun, _upload) = begin(&client, "/held").head();
    wait("a message", read_some(&mut begun.body, 8));
    let waiting = begin(&client, "/silent");
    eventually("both arrive", || canary.log.len() == 2);
    let since = now();
    proxy.roll_back();
    let answer = wait("the end", begun.rest());
    assert!(since.elapsed().as_millis() >= 1000, "{:?}", since.elapsed());
    assert_eq!(status_of(&answer).as_deref(), Some("14"));
    assert_eq!(answer.one("grpc-status"), None, "its head was gone");
    // One that has no head gets one with everything in it.
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.one("grpc-status").as_deref(), Some("14"));
    assert_eq!(
        answer.one("x-haldane-error").as_deref(),
        Some("haldane_rolled_back")
    );
    eventually("the client is told to connect anew", || {
        !client.takes_streams()
    });
    let version = proxy.settled("canary", 2);
    assert_eq!(version["failures"], 0, "it is no failure: {version}");
    let labels = ["role=\"canary\"", "grpc_status=\"14\""];
    assert_eq!(proxy.metric("haldane_requests_total", &labels), 1);
    let next = H2Client::connect(proxy.address);
    next.ask(call("/trailers/0", &[]), b"");
    assert_eq!(stable.log.len(), 1);
}

#[test]
fn what_the_upstream_had_is_cancelled() {
    let (stable, _) = server();
    let (tell, told) = std::sync::mpsc::channel();
    let canary = H2Upstream::scripted(move |mut call| {
        let tell = tell.clone();
        async move {
            let mut stream = call.begin(200, &[("content-type", "application/grpc")]);
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            tell.send(reason.ok()).expect("somebody listens");
        }
    });
    let proxy = serving(&stable, &canary, "10ms");
    let client = H2Client::connect(proxy.address);
    let (begun, _upload) = begin(&client, "/").head();
    proxy.roll_back();
    let reason = told.recv_timeout(crate::support::eventually::PATIENCE);
    assert_eq!(reason, Ok(Some(Reason::CANCEL)));
    let answer = wait("the end", begun.rest());
    assert_eq!(status_of(&answer).as_deref(), Some("14"));
}

#[test]
fn calls_of_stable_and_what_is_no_call_go_on() {
    let ((stable, release), (canary, finish)) = (server(), server());
    let proxy = serving(&stable, &canary, "10ms");
    let client = H2Client::connect(proxy.address);
    let download = crate::support::http2::request("GET", "/held", &[("x-user", "a")]);
    let (body, _upload) = client.open(download, true).head();
    let evicted = begin(&client, "/held").head();
    proxy.roll_back();
    let other = H2Client::connect(proxy.address);
    let (begun, _upload) = begin(&other, "/held").head();
    assert_eq!(stable.log.len(), 1);
    // By then the other two have been looked at as often.
    let answer = wait("the end of the first", evicted.0.rest());
    assert_eq!(status_of(&answer).as_deref(), Some("14"));
    release.send(true).expect("somebody waits");
    finish.send(true).expect("somebody waits");
    let answer = wait("the end of the call", begun.rest());
    assert_eq!(status_of(&answer).as_deref(), Some("0"));
    let answer = wait("the end of the body", body.rest());
    assert!(answer.end.is_ok(), "{answer:?}");
}

#[test]
fn a_call_that_ends_within_the_grace_ends_as_it_does() {
    let ((stable, _), (canary, release)) = (server(), server());
    let proxy = serving(&stable, &canary, "60s");
    let client = H2Client::connect(proxy.address);
    let (begun, _upload) = begin(&client, "/held").head();
    proxy.roll_back();
    release.send(true).expect("somebody waits");
    let answer = wait("the end", begun.rest());
    assert_eq!(status_of(&answer).as_deref(), Some("0"));
    assert!(client.takes_streams());
}
