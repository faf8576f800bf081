//! Nobody is sent more than is read, and nobody waits for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;

use crate::support::eventually::{eventually, now, some};
use crate::support::http2::{self, Begun, H2Client, driver, read, read_some, request, wait};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;
use crate::support::wire::Framing;

/// What may be on its way between two that speak HTTP/2: the windows of two streams, and
/// what either end and haldane keep for sending.
const ON_THE_WAY_MAX: u64 = 2 * 1024 * 1024;

/// The same with a connection in HTTP/1.1 in it, for which the system has buffers.
const IN_SOCKETS_MAX: u64 = 48 * 1024 * 1024;

/// Without progress for this long, nobody reads.
const STANDSTILL: Duration = Duration::from_millis(300);

/// A piece of a body.
const PIECE: &[u8] = &[b'x'; 16 * 1024];

/// Sends for as long as somebody takes it, and counts.
async fn flood(mut stream: SendStream<Bytes>, sent: Arc<AtomicU64>) {
    while http2::send(&mut stream, Bytes::from_static(PIECE), false)
        .await
        .is_ok()
    {
        sent.fetch_add(PIECE.len() as u64, Ordering::SeqCst);
    }
}

/// Waits until the count stands still; where.
#[track_caller]
fn standstill(sent: &AtomicU64) -> u64 {
    let mut last = (0, now());
    some("a standstill", || {
        let count = sent.load(Ordering::SeqCst);
        if count != last.0 {
            last = (count, now());
        }
        (count > 0 && last.1.elapsed() > STANDSTILL).then_some(count)
    })
}

/// A client whose connection has room for what many streams have not read.
fn roomy(proxy: &Proxy) -> H2Client {
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(16 * 1024 * 1024);
    H2Client::connect_as(proxy.address, &builder)
}

/// Sends endlessly on `/flood`, and a word on all else.
fn flooding(sent: &Arc<AtomicU64>) -> H2Upstream {
    let sent = Arc::clone(sent);
    H2Upstream::scripted(move |mut call: Call| {
        let sent = Arc::clone(&sent);
        async move {
            if call.path() == "/flood" {
                flood(call.begin(200, &[]), sent).await;
            } else {
                call.reply(200, "word");
            }
        }
    })
}

fn flooding_h1(sent: &Arc<AtomicU64>) -> Upstream {
    let sent = Arc::clone(sent);
    Upstream::scripted(move |mut connection| {
        while let Some(head) = connection.request() {
            if head.word(1) == "/flood" {
                let start = "HTTP/1.1 200 X\r\nContent-Length: 1000000000000\r\n\r\n";
                connection.wire.write(start);
                while connection.wire.write(PIECE) {
                    sent.fetch_add(PIECE.len() as u64, Ordering::SeqCst);
                }
                return;
            }
            let word = "HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\nword";
            connection.wire.write(word);
        }
    })
}

#[track_caller]
fn goes_on(client: &H2Client) {
    for _ in 0..20 {
        assert_eq!(client.get("/", &[]).text(), "word");
    }
}

/// Reads on, and what was held up moves again.
#[track_caller]
fn moves_again(begun: &mut Begun, sent: &AtomicU64, held: u64) {
    wait("the rest", read_some(&mut begun.body, held as usize + 1));
    eventually("the upstream sends on", || {
        sent.load(Ordering::SeqCst) > held
    });
}

#[test]
fn a_client_that_does_not_read_stops_its_upstream_alone() {
    let sent = Arc::<AtomicU64>::default();
    let (one, other) = (flooding(&sent), flooding_h1(&sent));
    let to_h2 = Setup::stable_at(&one.url()).upstreams_in_h2();
    for (setup, most) in [
        (to_h2, ON_THE_WAY_MAX),
        (Setup::stable(&other), IN_SOCKETS_MAX),
    ] {
        sent.store(0, Ordering::SeqCst);
        let proxy = setup.top("workers = 1").start();
        let client = roomy(&proxy);
        let exchange = client.open(request("GET", "/flood", &[]), true);
        let (mut begun, _upload) = exchange.head();
        let held = standstill(&sent);
        assert!(held < most, "{held} bytes for nobody");
        goes_on(&client);
        moves_again(&mut begun, &sent, held);
    }
}

/// One upstream connection serves many clients: what some of them do not read is not
/// what the others wait for.
#[test]
fn many_clients_that_do_not_read_hold_up_nobody_else() {
    let sent = Arc::<AtomicU64>::default();
    let upstream = flooding(&sent);
    let proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .top("workers = 1")
        .start();
    let slow: Vec<_> = (0..16)
        .map(|_| {
            let client = roomy(&proxy);
            let exchange = client.open(request("GET", "/flood", &[]), true);
            (exchange.head(), client)
        })
        .collect();
    standstill(&sent);
    goes_on(&roomy(&proxy));
    assert_eq!(upstream.log.connections(), 1);
    drop(slow);
}

#[test]
fn an_upstream_that_does_not_read_stops_its_client_alone() {
    let (read_on, told) = tokio::sync::watch::channel(false);
    let mut builder = h2::server::Builder::new();
    builder.initial_connection_window_size(16 * 1024 * 1024);
    let one = H2Upstream::with(builder, move |mut call: Call| {
        let mut told = told.clone();
        async move {
            if call.path() == "/flood" {
                told.wait_for(|told| *told).await.expect("is told");
            }
            let (body, _) = read(&mut call.body).await;
            call.reply(200, &body.len().to_string());
        }
    });
    let (go, going) = mpsc::channel::<()>();
    let going = std::sync::Mutex::new(going);
    let other = Upstream::scripted(move |mut connection| {
        while let Some(head) = connection.head() {
            if head.word(1) == "/flood" {
                going.lock().unwrap().recv().ok();
            }
            let (body, _) = connection.wire.body(match head.framing() {
                Ok(Some(framing)) => framing,
                _ => Framing::Length(0),
            });
            let length = body.bytes.len().to_string();
            connection.wire.write(format!(
                "HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{length}",
                length.len()
            ));
        }
    });
    let to_h2 = Setup::stable_at(&one.url()).upstreams_in_h2();
    for (setup, most) in [
        (to_h2, ON_THE_WAY_MAX),
        (Setup::stable(&other), IN_SOCKETS_MAX),
    ] {
        let proxy = setup.top("workers = 1").start();
        let client = H2Client::connect(proxy.address);
        let sent = Arc::<AtomicU64>::default();
        let held = client.open(request("POST", "/flood", &[]), false);
        let task = driver().spawn(flood(held.upload, Arc::clone(&sent)));
        let until = standstill(&sent);
        assert!(until < most, "{until} bytes to nobody");
        for _ in 0..20 {
            let answer = client.ask(request("POST", "/", &[]), &[1; 100_000]);
            assert_eq!(answer.text(), "100000");
        }
        if most == ON_THE_WAY_MAX {
            read_on.send(true).expect("somebody waits");
        } else {
            go.send(()).expect("somebody waits");
        }
        eventually("the client sends on", || {
            sent.load(Ordering::SeqCst) > until
        });
        task.abort();
    }
}
