//! Sessions after a switch of protocols, however it was asked for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::client::{Client, request};
use crate::support::eventually::eventually;
use crate::support::http2::{self, Begun, H2Client};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Connection, Upstream};
use crate::support::wire::Head;

/// The handshake in HTTP/2, and from one to the other.
mod connect;
/// Sessions of a version that is rolled back.
mod eviction;
/// What a session says about its version.
mod outcome;
/// The handshake and what follows it, where both speak HTTP/1.1.
mod upgrade;

const FAILURES: &str = "haldane_request_failures_total";

/// The key of RFC 6455 §1.3, and the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a client asks with.
const HANDSHAKE: [(&str, &str); 5] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-key", KEY),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat, superchat"),
];

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;

/// A frame, with a mask of zeros where it is a client's.
fn frame(opcode: u8, payload: &[u8], from_client: bool) -> Vec<u8> {
    let mask = if from_client { 0x80 } else { 0 };
    let mut bytes = vec![0x80 | opcode];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..=125) => bytes.push(mask | length.to_be_bytes()[1]),
        Ok(length) => {
            bytes.push(mask | 126);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(mask | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if from_client {
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}

fn close(code: u16, from_client: bool) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes(), from_client)
}

/// What a server answers to a key (RFC 6455 §4.2.2).
fn accept_of(key: &str) -> String {
    let salted = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let algorithm = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
    STANDARD.encode(aws_lc_rs::digest::digest(algorithm, salted.as_bytes()))
}

/// Takes the handshake, with these bytes right behind it.
fn welcome(connection: &mut Connection, head: &Head, behind: &[u8]) {
    let key = head.one("sec-websocket-key").unwrap_or_default();
    let accept = accept_of(&key);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
    connection.wire.write([answer.as_bytes(), behind].concat());
}

/// Takes every handshake and echoes what comes.
fn echo(mut connection: Connection) {
    if let Some(head) = connection.head() {
        welcome(&mut connection, &head, b"");
        while let Ok(byte) = connection.wire.read(1) {
            if !connection.wire.write(byte) {
                return;
            }
        }
    }
}

/// Runs `script` in each session, after the handshake.
fn in_sessions(script: impl Fn(&mut Connection) + Send + Sync + 'static) -> Upstream {
    Upstream::scripted(move |mut connection| {
        if let Some(head) = connection.head() {
            welcome(&mut connection, &head, b"");
            script(&mut connection);
        }
    })
}

/// A session of a client that speaks HTTP/1.1.
#[track_caller]
fn open(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(request(
        "GET",
        "/chat",
        &[&HANDSHAKE[..], &[("x-user", "a")]].concat(),
        "",
    ));
    let (head, status) = client.response_head().expect("is answered");
    assert_eq!(status, 101, "{head:?}");
    client
}

/// The request of a client that speaks HTTP/2 (RFC 8441 §4).
fn connect_request() -> http::Request<()> {
    let fields = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, superchat"),
        ("x-user", "a"),
    ];
    let mut request = http2::request("CONNECT", "/chat", &fields);
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    request
}

/// A connection in HTTP/2 that takes tunnels.
#[track_caller]
fn tunnelling(proxy: &Proxy) -> H2Client {
    let client = H2Client::connect(proxy.address);
    eventually("it takes tunnels", || client.may_tunnel());
    client
}

/// A session of a client that speaks HTTP/2.
#[track_caller]
fn open_h2(client: &H2Client) -> (Begun, h2::SendStream<bytes::Bytes>) {
    let (begun, upload) = client.open(connect_request(), false).head();
    assert_eq!(begun.status, 200);
    (begun, upload)
}

/// An upstream in HTTP/2 that takes tunnels, and echoes.
fn echo_h2() -> H2Upstream {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    H2Upstream::with(builder, |mut call: Call| async move {
        let mut stream = call.begin(200, &[("sec-websocket-protocol", "chat")]);
        while let Some(Ok(data)) = call.body.data().await {
            drop(call.body.flow_control().release_capacity(data.len()));
            if http2::send(&mut stream, data, false).await.is_err() {
                return;
            }
        }
        stream.send_data(bytes::Bytes::new(), true).ok();
    })
}

/// A canary that has all traffic, until it is rolled back.
fn on_canary(stable: &Upstream, canary: &Upstream, timeouts: &str) -> Proxy {
    Setup::canary(stable, canary, "100%")
        .route(&format!("timeouts = {{ {timeouts} }}"))
        .by_user()
        .meltdown(1000)
        .start()
}
