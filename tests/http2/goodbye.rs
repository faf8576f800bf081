//! Connections end without a request being lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use h2::Reason;
use tokio::sync::watch;

use crate::support::eventually::{eventually, now};
use crate::support::http2::{H2Client, read, request, wait};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};

const FAILURES: &str = "haldane_request_failures_total";

/// Answers what is asked on `/held` with a head at once and the rest when told to, what is
/// asked on `/silent` never, and the others with a word.
fn held() -> (H2Upstream, watch::Sender<bool>) {
    let (release, told) = watch::channel(false);
    let upstream = H2Upstream::scripted(move |mut call: Call| {
        let mut told = told.clone();
        async move {
            drop(read(&mut call.body).await);
            match call.path() {
                "/held" => {
                    let mut stream = call.begin(200, &[]);
                    told.wait_for(|told| *told).await.expect("is told");
                    stream.send_data("word".into(), true).expect("is sent");
                }
                "/silent" => drop(call.given_up().await),
                _ => call.reply(200, "word"),
            }
        }
    });
    (upstream, release)
}

#[test]
fn a_drain_lets_streams_finish_and_takes_no_more() {
    let (upstream, release) = held();
    let mut proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .top("workers = 2\ndrain = { linger = \"0s\", timeout = \"60s\" }")
        .start();
    let (busy, idle) = (
        H2Client::connect(proxy.address),
        H2Client::connect(proxy.address),
    );
    assert_eq!(idle.get("/", &[]).text(), "word");
    let streams: Vec<_> = (0..10)
        .map(|_| busy.open(request("GET", "/held", &[]), true).head())
        .collect();
    let since = now();
    proxy.begin_drain();
    eventually("the busy one is told", || !busy.takes_streams());
    eventually("the idle one ends", || idle.ended().is_some());
    assert_eq!(idle.ended(), Some(Ok(())));
    assert_eq!(busy.ended(), None);
    release.send(true).unwrap();
    for (begun, _upload) in streams {
        let answer = wait("the rest", begun.rest());
        assert_eq!(answer.text(), "word");
        assert!(answer.end.is_ok(), "{answer:?}");
    }
    eventually("the busy one ends", || busy.ended().is_some());
    assert_eq!(busy.ended(), Some(Ok(())));
    proxy.join();
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "not by its timeout"
    );
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let (upstream, release) = held();
    let proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .table("[limits]\nidle_timeout = \"300ms\"")
        .start();
    let (busy, idle, unused) = (
        H2Client::connect(proxy.address),
        H2Client::connect(proxy.address),
        H2Client::connect(proxy.address),
    );
    let (begun, _upload) = busy.open(request("GET", "/held", &[]), true).head();
    for _ in 0..3 {
        assert_eq!(idle.get("/", &[]).text(), "word");
    }
    for client in [&idle, &unused] {
        eventually("it is closed", || client.ended().is_some());
        assert_eq!(client.ended(), Some(Ok(())));
    }
    assert_eq!(busy.ended(), None);
    assert!(busy.takes_streams());
    release.send(true).unwrap();
    assert_eq!(wait("the rest", begun.rest()).text(), "word");
    eventually("it is closed", || busy.ended().is_some());
}

/// A client that always has something under way.
fn keep_asking(proxy: &Proxy, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    let (client, stop) = (H2Client::connect(proxy.address), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut count = 0;
        while !stop.load(Ordering::SeqCst) {
            let several = ["GET", "POST", "GET", "PUT"]
                .map(|method| client.open(request(method, "/", &[]), true));
            for exchange in several {
                let answer = exchange.answer();
                assert_eq!((answer.status, answer.text().as_str()), (200, "word"));
                count += 1;
            }
        }
        count
    })
}

#[test]
fn an_upstream_that_says_goodbye_loses_no_request() {
    const GOODBYES: usize = 50;
    let (upstream, _release) = held();
    let proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .top("workers = 1")
        .start();
    let stop = Arc::<AtomicBool>::default();
    let clients: Vec<_> = (0..8).map(|_| keep_asking(&proxy, &stop)).collect();
    for goodbye in 0..GOODBYES {
        eventually("a connection", || upstream.log.connections() > goodbye);
        let before = upstream.log.len();
        eventually("it is used", || upstream.log.len() > before + 20);
        upstream.log.go_away(goodbye);
    }
    stop.store(true, Ordering::SeqCst);
    let count: usize = clients
        .into_iter()
        .map(|client| client.join().expect("every answer is good"))
        .sum();
    assert!(count > 20 * GOODBYES, "{count}");
    assert_eq!(proxy.metric(FAILURES, &[]), 0);
    eventually("those that said goodbye are closed", || {
        upstream.log.open() <= 1
    });
}

/// Refuses as often as told, before or after it has read the request.
fn refusing(times: usize, reads_first: bool) -> H2Upstream {
    let left = Arc::new(AtomicUsize::new(times));
    H2Upstream::scripted(move |mut call: Call| {
        let left = Arc::clone(&left);
        async move {
            let refuse = call.path() != "/warm"
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok();
            if reads_first || !refuse {
                drop(read(&mut call.body).await);
            }
            if refuse {
                call.respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                call.reply(200, "word");
            }
        }
    })
}

/// It says that it has not begun (RFC 9113 §8.7), so it is asked once more.
#[test]
fn a_refused_request_is_sent_once_more() {
    for warm in [false, true] {
        for (method, times, status, arrivals) in [
            ("GET", 1, 200, 2),
            ("POST", 1, 200, 2),
            ("GET", 2, 502, 2),
            ("POST", 9, 502, 2),
        ] {
            let upstream = refusing(times, false);
            let proxy = Setup::stable_at(&upstream.url())
                .upstreams_in_h2()
                .top("workers = 1")
                .start();
            let client = H2Client::connect(proxy.address);
            if warm {
                assert_eq!(client.get("/warm", &[]).status, 200);
            }
            let answer = client.ask(request(method, "/", &[]), b"");
            assert_eq!(answer.status, status, "{method} {times} {warm}");
            assert_eq!(upstream.log.len(), arrivals + usize::from(warm), "{method}");
            let failed = u64::from(status == 502);
            assert_eq!(proxy.metric(FAILURES, &["reason=\"reset\""]), failed);
        }
    }
}

/// What was sent of a body is gone.
#[test]
fn a_refused_request_is_not_sent_once_more_without_its_body() {
    let upstream = refusing(1, true);
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let client = H2Client::connect(proxy.address);
    let answer = client.ask(request("PUT", "/", &[]), b"body");
    assert_eq!(answer.status, 502);
    assert_eq!(upstream.log.len(), 1);
    assert_eq!(client.ask(request("PUT", "/", &[]), b"body").status, 200);
}

/// It may be the connection that is dead.
#[test]
fn a_connection_on_which_a_request_has_timed_out_gets_no_more() {
    let (upstream, release) = held();
    let proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .top("workers = 1")
        .route("timeouts = { response = \"200ms\" }")
        .start();
    let client = H2Client::connect(proxy.address);
    let (begun, _upload) = client.open(request("GET", "/held", &[]), true).head();
    assert_eq!(client.get("/silent", &[]).status, 504);
    assert_eq!(client.get("/", &[]).text(), "word");
    let arrivals = upstream.log.arrivals();
    let connections: Vec<_> = arrivals.iter().map(|arrival| arrival.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
    release.send(true).unwrap();
    assert_eq!(wait("the rest", begun.rest()).text(), "word");
    eventually("the old one is closed", || upstream.log.open() == 1);
}

/// What is idle at an upstream that went away is not noticed by anybody.
#[test]
fn an_upstream_that_dies_between_requests_is_asked_again() {
    let (upstream, _release) = held();
    let proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .top("workers = 1")
        .start();
    let client = H2Client::connect(proxy.address);
    for round in 0..20 {
        assert_eq!(client.get("/", &[]).text(), "word");
        upstream.log.die(round);
    }
    assert_eq!(proxy.metric(FAILURES, &[]), 0);
}
