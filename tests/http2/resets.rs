//! A stream that breaks off never looks complete, and whose doing it was is known.

use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use h2::Reason;

use crate::support::eventually::PATIENCE;
use crate::support::http2::{self, H2Client, request, wait};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;
use crate::support::wire::{Broken, Framing};

const FAILURES: &str = "haldane_request_failures_total";

/// The codes that a client may give a stream up with.
const REASONS: [Reason; 4] = [
    Reason::CANCEL,
    Reason::ENHANCE_YOUR_CALM,
    Reason::INTERNAL_ERROR,
    Reason::NO_ERROR,
];

/// Where the exchange is when its client gives it up.
const PATHS: [(&str, &str); 4] = [
    ("GET", "/silent"),
    ("GET", "/begun"),
    ("POST", "/silent"),
    ("POST", "/begun"),
];

/// Asks, waits until the upstream has begun, and gives the stream up.
#[track_caller]
fn give_up(client: &H2Client, (method, path): (&str, &str), reason: Reason, arrived: &dyn Fn()) {
    let mut exchange = client.open(request(method, path, &[]), method == "GET");
    if method == "POST" {
        let sending = http2::send(&mut exchange.upload, Bytes::from_static(b"half"), false);
        wait("the first half is taken", sending).expect("is sent");
    }
    arrived();
    if path == "/begun" {
        let (begun, mut upload) = exchange.head();
        assert_eq!(begun.status, 200);
        upload.send_reset(reason);
        drop(begun);
    } else {
        exchange.upload.send_reset(reason);
        drop(exchange);
    }
}

/// Nothing of this says anything about the version.
#[track_caller]
fn says_nothing(proxy: &Proxy, requests: u64) {
    let version = proxy.settled("stable", requests);
    assert_eq!(version["failures"], 0, "{version}");
}

#[test]
fn a_client_that_resets_a_stream_resets_that_of_the_upstream() {
    let (tell, told) = mpsc::channel();
    let (arrive, arrived) = mpsc::channel();
    let upstream = H2Upstream::scripted(move |mut call: Call| {
        let (tell, arrive) = (tell.clone(), arrive.clone());
        async move {
            // Only while the test runs.
            arrive.send(()).ok();
            let reason = if call.path() == "/begun" {
                let mut stream = call.begin(200, &[]);
                std::future::poll_fn(|cx| stream.poll_reset(cx)).await
            } else {
                call.given_up().await
            };
            tell.send(reason.map_err(|error| error.to_string())).ok();
        }
    });
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let client = H2Client::connect(proxy.address);
    let begun = || arrived.recv_timeout(PATIENCE).expect("it arrives");
    let mut requests = 0;
    for reason in REASONS {
        for exchange in PATHS {
            give_up(&client, exchange, reason, &begun);
            let seen = told.recv_timeout(PATIENCE).expect("it is told");
            assert_eq!(seen, Ok(reason), "{exchange:?}");
            requests += 1;
        }
    }
    says_nothing(&proxy, requests);
    assert_eq!(upstream.log.connections(), upstream.log.open());
}

#[test]
fn a_client_that_resets_a_stream_closes_the_connection_of_the_upstream() {
    let (tell, told) = mpsc::channel();
    let (arrive, arrived) = mpsc::channel();
    let upstream = Upstream::scripted(move |mut connection| {
        if let Some(head) = connection.head() {
            arrive.send(()).ok();
            if head.word(1) == "/begun" {
                let start = "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nhello";
                connection.wire.write(start);
            }
            tell.send(connection.end()).ok();
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let client = H2Client::connect(proxy.address);
    let begun = || arrived.recv_timeout(PATIENCE).expect("it arrives");
    let mut requests = 0;
    for reason in REASONS {
        for exchange in PATHS {
            give_up(&client, exchange, reason, &begun);
            let seen = told.recv_timeout(PATIENCE).expect("it is told");
            assert!(
                matches!(seen, Broken::Closed | Broken::Reset),
                "{exchange:?} {seen:?}"
            );
            requests += 1;
        }
    }
    says_nothing(&proxy, requests);
}

/// A client that goes away with its connection gives all its streams up.
#[test]
fn a_client_that_dies_ends_all_its_streams() {
    let (tell, told) = mpsc::channel();
    let upstream = H2Upstream::scripted(move |mut call: Call| {
        let tell = tell.clone();
        async move {
            let mut stream = call.begin(200, &[]);
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            tell.send(reason.is_ok()).ok();
        }
    });
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let client = H2Client::connect(proxy.address);
    let streams: Vec<_> = (0..10)
        .map(|_| client.open(request("GET", "/", &[]), true).head())
        .collect();
    client.kill();
    for _ in &streams {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
    }
    says_nothing(&proxy, 10);
}

/// What tells an upstream, from the client's side, to go on.
type Signal<T> = (mpsc::Sender<T>, Arc<Mutex<mpsc::Receiver<T>>>);

fn signal<T>() -> Signal<T> {
    let (tell, told) = mpsc::channel();
    (tell, Arc::new(Mutex::new(told)))
}

/// How the stream of a client ends that has read `hello` before its upstream broke off.
#[track_caller]
fn broken_off(proxy: &Proxy, break_off: impl FnOnce()) -> Option<Reason> {
    let before = proxy.metric(FAILURES, &["reason=\"truncated\""]);
    let client = H2Client::connect(proxy.address);
    let (mut begun, _upload) = client.open(request("GET", "/", &[]), true).head();
    assert_eq!(begun.status, 200);
    let hello = wait("the beginning", http2::read_some(&mut begun.body, 5));
    assert_eq!(hello, b"hello");
    break_off();
    let answer = wait("the end", begun.rest());
    assert_eq!(answer.text(), "");
    let after = proxy.metric(FAILURES, &["reason=\"truncated\""]);
    assert_eq!(after, before + 1, "it is one failure");
    assert_eq!(proxy.metric(FAILURES, &[]), after, "and no other");
    // The stream was lost, the connection was not.
    assert!(client.takes_streams());
    answer.reset()
}

/// Says `hello` and waits.
async fn hello(call: &mut Call) -> h2::SendStream<Bytes> {
    let mut stream = call.begin(200, &[]);
    let sending = http2::send(&mut stream, Bytes::from_static(b"hello"), false);
    sending.await.expect("is sent");
    stream
}

#[test]
fn an_upstream_that_resets_a_stream_within_a_body_resets_that_of_the_client() {
    let (tell, told) = tokio::sync::mpsc::channel(1);
    let told = Arc::new(tokio::sync::Mutex::new(told));
    let upstream = H2Upstream::scripted(move |mut call: Call| {
        let told = Arc::clone(&told);
        async move {
            let mut stream = hello(&mut call).await;
            let reason = told.lock().await.recv().await;
            stream.send_reset(reason.expect("is told"));
        }
    });
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    for (reason, passed) in [
        (Reason::CANCEL, Reason::CANCEL),
        (Reason::ENHANCE_YOUR_CALM, Reason::ENHANCE_YOUR_CALM),
        (Reason::INTERNAL_ERROR, Reason::INTERNAL_ERROR),
        (Reason::NO_ERROR, Reason::INTERNAL_ERROR),
        (Reason::REFUSED_STREAM, Reason::INTERNAL_ERROR),
    ] {
        let seen = broken_off(&proxy, || tell.try_send(reason).expect("somebody waits"));
        assert_eq!(seen, Some(passed), "{reason:?}");
    }
}

/// Where only chunks, a length, or the end of the connection tell.
#[test]
fn a_client_in_http1_sees_that_a_stream_broke_off() {
    for fields in [&[][..], &[("content-length", "10")]] {
        let upstream = H2Upstream::scripted(move |mut call: Call| async move {
            let mut stream = call.begin(200, fields);
            let sending = http2::send(&mut stream, Bytes::from_static(b"hello"), false);
            sending.await.expect("is sent");
            // The request is over once its client has read what there was.
            std::future::pending::<()>().await;
        });
        let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
        for version in ["1.1", "1.0"] {
            let mut client = proxy.client();
            client.send(format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n"));
            let (head, status) = client.response_head().expect("is answered");
            assert_eq!(status, 200);
            assert!(client.wire.has_more(PATIENCE));
            upstream.log.die(upstream.log.connections() - 1);
            let framing = head.framing().expect("is clear");
            let (_, end) = client.wire.body(framing.unwrap_or(Framing::UntilClose));
            assert!(
                matches!(end, Err(Broken::Cut | Broken::Reset)),
                "HTTP/{version} {fields:?}: {end:?}"
            );
        }
        assert_eq!(proxy.metric(FAILURES, &["reason=\"truncated\""]), 2);
    }
}

#[test]
fn an_upstream_that_dies_within_a_body_resets_the_stream_of_the_client() {
    let upstream = H2Upstream::scripted(|mut call: Call| async move {
        let _stream = hello(&mut call).await;
        std::future::pending::<()>().await;
    });
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let seen = broken_off(&proxy, || upstream.log.die(0));
    assert_eq!(seen, Some(Reason::INTERNAL_ERROR));
}

const CUT: [&str; 2] = [
    "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nhello",
    "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
];

#[test]
fn an_upstream_that_is_cut_within_a_body_resets_the_stream_of_the_client() {
    for start in CUT {
        for reset in [false, true] {
            let (cut, told) = signal();
            let upstream = Upstream::scripted(move |mut connection| {
                if connection.request().is_some() {
                    connection.wire.write(start);
                    told.lock().unwrap().recv().ok();
                    if reset {
                        connection.wire.reset();
                    }
                }
            });
            let proxy = Setup::stable(&upstream).start();
            let seen = broken_off(&proxy, || cut.send(()).expect("somebody waits"));
            assert_eq!(seen, Some(Reason::INTERNAL_ERROR), "{start:?} {reset}");
        }
    }
}

/// Also what comes together with the end.
#[test]
fn what_came_before_the_end_is_passed_on() {
    for start in CUT {
        let upstream = Upstream::closing(start);
        let proxy = Setup::stable(&upstream).start();
        for _ in 0..20 {
            let client = H2Client::connect(proxy.address);
            let answer = client.open(request("GET", "/", &[]), true).answer();
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
            assert_eq!(answer.reset(), Some(Reason::INTERNAL_ERROR), "{start:?}");
        }
    }
}

#[test]
fn an_upstream_that_resets_before_it_answers_is_answered_for() {
    for reason in [
        Reason::CANCEL,
        Reason::INTERNAL_ERROR,
        Reason::NO_ERROR,
        Reason::PROTOCOL_ERROR,
    ] {
        let upstream = H2Upstream::scripted(move |mut call: Call| async move {
            call.respond.send_reset(reason);
        });
        let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
        let client = H2Client::connect(proxy.address);
        for (method, requests) in [("GET", 1), ("POST", 2)] {
            let answer = client.ask(request(method, "/", &[]), b"");
            assert_eq!(answer.status, 502, "{reason:?}");
            assert_eq!(
                answer.one("x-haldane-error").as_deref(),
                Some("upstream_reset")
            );
            assert_eq!(upstream.log.len(), requests, "it is sent once");
        }
        assert_eq!(proxy.metric(FAILURES, &["reason=\"reset\""]), 2);
    }
}

/// An upstream may answer without having read the request, and say so (RFC 9113 §8.1).
#[test]
fn an_answer_that_does_not_wait_for_the_request_is_complete() {
    let upstream = H2Upstream::scripted(|mut call: Call| async move {
        // A stream that ends so is reset, for the reason that nothing is wrong.
        call.reply(413, "enough");
    });
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let client = H2Client::connect(proxy.address);
    for _ in 0..20 {
        let mut exchange = client.open(request("POST", "/", &[]), false);
        let sending = http2::send(&mut exchange.upload, Bytes::from_static(b"half"), false);
        // The answer may be there already.
        drop(wait("the first half is taken", sending));
        let answer = exchange.answer();
        assert_eq!((answer.status, answer.text().as_str()), (413, "enough"));
        assert!(answer.end.is_ok(), "{answer:?}");
    }
    assert_eq!(proxy.metric(FAILURES, &[]), 0);
}
