//! Many requests share few connections.

use std::sync::Arc;

use tokio::sync::Barrier;

use crate::support::eventually::eventually;
use crate::support::http2::{H2Client, read, request, wait};
use crate::support::http2_raw::{
    DATA, END_HEADERS, END_STREAM, GET, HEADERS, RST_STREAM, RawH2, SETTINGS, frame,
};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::Setup;

/// Answers once so many requests have come that are all under way at once.
fn meeting(of: usize, builder: h2::server::Builder) -> H2Upstream {
    let all = Arc::new(Barrier::new(of));
    H2Upstream::with(builder, move |mut call: Call| {
        let all = Arc::clone(&all);
        async move {
            drop(read(&mut call.body).await);
            all.wait().await;
            call.reply(200, "met");
        }
    })
}

/// Asks so often at once, from one connection.
#[track_caller]
fn meet(client: &H2Client, count: usize) {
    let exchanges: Vec<_> = (0..count)
        .map(|_| client.open(request("GET", "/", &[]), true))
        .collect();
    for exchange in exchanges {
        let answer = exchange.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "met"));
        assert!(answer.end.is_ok());
    }
}

#[test]
fn concurrent_requests_share_one_connection() {
    let upstream = meeting(50, h2::server::Builder::new());
    let setup = Setup::stable_at(&upstream.url()).upstreams_in_h2();
    let proxy = setup.top("workers = 1").start();
    let client = H2Client::connect(proxy.address);
    for _ in 0..5 {
        meet(&client, 50);
        assert_eq!(upstream.log.connections(), 1);
    }
}

/// Also at the very first, when nobody knows yet how many streams there may be.
#[test]
fn more_requests_than_one_connection_takes_get_another() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(10);
    let upstream = meeting(35, builder);
    let setup = Setup::stable_at(&upstream.url()).upstreams_in_h2();
    let proxy = setup.top("workers = 1").start();
    let client = H2Client::connect(proxy.address);
    for _ in 0..5 {
        meet(&client, 35);
        assert_eq!(upstream.log.connections(), 4);
    }
    let mut by_connection = [0; 4];
    for arrival in upstream.log.arrivals() {
        by_connection[arrival.connection] += 1;
    }
    assert!(by_connection.iter().all(|count| *count <= 50));
}

#[test]
fn more_streams_than_a_client_may_have_are_refused() {
    let upstream = H2Upstream::scripted(|mut call: Call| async move {
        // Never answers.
        drop(call.given_up().await);
    });
    let proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .table("[limits]\nstreams = 5")
        .start();
    let mut client = RawH2::connect(proxy.address);
    for stream in [1, 3, 5, 7, 9, 11, 13] {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, GET);
    }
    for stream in [11, 13] {
        let frame = client.until(RST_STREAM).expect("is refused");
        assert_eq!(
            (frame.stream, &frame.payload[..]),
            (stream, &[0, 0, 0, 7][..])
        );
    }
    eventually("the others arrive", || upstream.log.len() == 5);
    // One that is given up makes room for another.
    client.send(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 15, GET);
    eventually("the next one arrives", || upstream.log.len() == 6);
    assert_eq!(proxy.metric("haldane_request_failures_total", &[]), 0);
}

/// A client that follows the rules waits for its turn.
#[test]
fn a_client_that_knows_the_limit_is_not_refused() {
    let upstream = H2Upstream::named("one");
    let proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .table("[limits]\nstreams = 5")
        .start();
    let client = H2Client::connect(proxy.address);
    assert_eq!(client.get("/", &[]).text(), "one");
    let asked = (0..100).map(|_| client.open(request("GET", "/", &[]), true));
    for exchange in asked.collect::<Vec<_>>() {
        assert_eq!(
            wait("an answer", exchange.answered()).unwrap().text(),
            "one"
        );
    }
}

/// Calls with many small messages, which come all at once. They go on in fewer frames than
/// there are, or this upstream would close the connection of all.
#[test]
fn small_messages_are_never_punished() {
    let upstream = H2Upstream::scripted(async move |mut call: Call| {
        let (body, _) = read(&mut call.body).await;
        call.reply(200, &body.len().to_string());
    });
    let setup = Setup::stable_at(&upstream.url()).upstreams_in_h2();
    let proxy = setup.top("workers = 1").start();
    let mut client = RawH2::connect(proxy.address);
    // Windows are as large as haldane says once that is acknowledged.
    client.until(SETTINGS).expect("settings");
    for number in 0..4 {
        let stream = 2 * number + 1;
        client.send(HEADERS, END_HEADERS, stream, b"\x83\x84\x86\x41\x04test");
        assert!(
            client
                .wire
                .write(frame(DATA, 0, stream, b"a small message").repeat(5000))
        );
        client.send(DATA, END_STREAM, stream, b"");
        let mut answer = Vec::new();
        loop {
            let frame = client.until(DATA).expect("an answer");
            answer.extend(frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        assert_eq!(answer, b"75000");
    }
    assert_eq!(upstream.log.connections(), 1);
}
