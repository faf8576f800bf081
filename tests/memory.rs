//! Memory depends on what is under way at one moment, not on sizes, and goes back.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream as AsyncStream};

use super::support::client::Client;
use super::support::eventually::eventually;
use super::support::process::Process;
use super::support::upstream::{Connection, Upstream};
use super::support::wire::{Framing, Wire};

const MIB: usize = 1024 * 1024;
const GIB: usize = 1024 * MIB;

/// What a process may have grown by, in KiB, whatever went through it.
const GROWTH_MAX: u64 = 24 * 1024;

/// With less, the ends of a test wait for each other most of the time.
const WINDOW: u32 = 1024 * 1024;

/// Clients that ask for a lot and read nothing.
const SLOW: usize = 200;

/// Descriptors that a process opens for itself after it has said that it listens.
const OWN: usize = 16;

/// Connections on which nothing happens.
const IDLE: usize = 10_000;

/// Answers a request with a GiB, or with the number of bytes that it has had.
fn serve(mut connection: Connection) {
    let block = vec![b'x'; MIB];
    while let Some(head) = connection.head() {
        let mut received = 0;
        if let Ok(Some(Framing::Length(length))) = head.framing() {
            while received < length {
                match connection.wire.read((length - received).min(MIB)) {
                    Ok(data) => received += data.len(),
                    Err(_) => return,
                }
            }
        }
        let body = if received == 0 { GIB } else { 0 };
        let head =
            format!("HTTP/1.1 200 OK\r\nx-received: {received}\r\ncontent-length: {body}\r\n\r\n");
        if !connection.wire.write(head) {
            return;
        }
        for _ in 0..body / MIB {
            if !connection.wire.write(&block) {
                return;
            }
        }
    }
}

fn configuration(stable: &str, more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
         [limits]\nconnections = 20000\nidle_timeout = \"1h\"\n\
         [[route]]\nstable = \"{stable}\"\n{more}\n"
    )
}

#[test]
fn a_gib_goes_through_http1_in_both_directions() {
    let upstream = Upstream::scripted(serve);
    let haldane = Process::start("memory-http1", &configuration(&upstream.url(), ""));
    let (before, _) = haldane.resident();
    let mut client = Client::connect(haldane.data);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let (_, status) = client.response_head().expect("answers");
    assert_eq!(status, 200);
    let mut received = 0;
    while received < GIB {
        received += client.wire.read(MIB).expect("comes").len();
    }
    client.send(format!(
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {GIB}\r\n\r\n"
    ));
    let block = vec![b'x'; MIB];
    for _ in 0..GIB / MIB {
        client.send(&block);
    }
    let answer = client.answer_to("PUT");
    assert_eq!(answer.head.one("x-received"), Some(GIB.to_string()));
    let (_, most) = haldane.resident();
    assert!(most < before + GROWTH_MAX, "{most} KiB after {before} KiB");
}

#[test]
fn a_gib_goes_through_http2_in_both_directions() {
    let upstream = echo_streams();
    let more = "upstream_protocol = \"h2\"";
    let haldane = Process::start(
        "memory-http2",
        &configuration(&format!("http://{upstream}"), more),
    );
    let (before, _) = haldane.resident();
    let runtime = runtime();
    let received = runtime.block_on(async {
        let stream = AsyncStream::connect(haldane.data).await.expect("connects");
        let greeted = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(stream);
        let (mut sender, connection) = greeted.await.expect("greets");
        tokio::spawn(connection);
        let request = Request::put("http://a/").body(()).expect("request");
        let (response, mut body) = sender.send_request(request, false).expect("is sent");
        let sending = async move {
            let block = Bytes::from(vec![b'x'; 64 * 1024]);
            for _ in 0..GIB / block.len() {
                let mut left = block.clone();
                while !left.is_empty() {
                    body.reserve_capacity(left.len());
                    let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
                    let room = room.expect("is open").expect("is taken").min(left.len());
                    body.send_data(left.split_to(room), false).expect("is sent");
                }
            }
            body.send_data(Bytes::new(), true).expect("is sent");
        };
        tokio::spawn(sending);
        let mut incoming = response.await.expect("answers").into_body();
        let mut received = 0;
        while let Some(data) = incoming.data().await {
            let data = data.expect("comes");
            received += data.len();
            incoming
                .flow_control()
                .release_capacity(data.len())
                .expect("was received");
        }
        received
    });
    assert_eq!(received, GIB);
    let (_, most) = haldane.resident();
    assert!(most < before + GROWTH_MAX, "{most} KiB after {before} KiB");
}

#[test]
fn slow_and_idle_clients_cost_little_and_give_it_back() {
    let upstream = Upstream::scripted(serve);
    let haldane = Process::start("memory-many", &configuration(&upstream.url(), ""));
    let (before, _) = haldane.resident();
    let descriptors = haldane.descriptors();
    let idle: Vec<Wire> = (0..IDLE).map(|_| Wire::connect(haldane.data)).collect();
    eventually("all are let in", || {
        haldane.descriptors() >= descriptors + IDLE
    });
    let (resident, _) = haldane.resident();
    let each = (resident - before) * 1024 / IDLE as u64;
    assert!(each < 6 * 1024, "{each} bytes for an idle connection");
    let slow: Vec<TcpStream> = (0..SLOW)
        .map(|_| {
            let mut wire = Wire::connect(haldane.data);
            assert!(wire.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
            assert!(wire.has_more(Duration::from_secs(10)), "it is answered");
            wire.stream().try_clone().expect("can be kept")
        })
        .collect();
    let (resident, _) = haldane.resident();
    let each = resident.saturating_sub(before) / (SLOW as u64);
    assert!(each < 512, "{each} KiB for a client that does not read");
    drop((idle, slow));
    eventually("all are gone", || {
        haldane.descriptors() <= descriptors + OWN
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("starts a runtime")
}

/// Sends back what comes in a stream. It ends with the process of the test.
fn echo_streams() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let address = listener.local_addr().expect("has an address");
    listener.set_nonblocking(true).expect("can be set");
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::from_std(listener).expect("is usable");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let greeted = h2::server::Builder::new()
                        .initial_window_size(WINDOW)
                        .initial_connection_window_size(WINDOW)
                        .handshake(stream);
                    let mut connection = greeted.await.ok()?;
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(echo_stream(request, respond));
                    }
                    Some(())
                });
            }
        });
    });
    address
}

async fn echo_stream(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Option<Infallible> {
    let mut incoming = request.into_body();
    let mut outgoing = respond.send_response(Response::new(()), false).ok()?;
    while let Some(Ok(mut data)) = incoming.data().await {
        let length = data.len();
        while !data.is_empty() {
            outgoing.reserve_capacity(data.len());
            let room = std::future::poll_fn(|cx| outgoing.poll_capacity(cx)).await?;
            let room = room.ok()?.min(data.len());
            outgoing.send_data(data.split_to(room), false).ok()?;
        }
        incoming.flow_control().release_capacity(length).ok()?;
    }
    outgoing.send_data(Bytes::new(), true).ok()?;
    None
}
