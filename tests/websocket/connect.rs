//! The handshake in HTTP/2 (RFC 8441), and from one version of HTTP to the other.

use bytes::Bytes;
use h2::SendStream;

use super::{
    ACCEPT, HANDSHAKE, TEXT, connect_request, echo, echo_h2, frame, open, open_h2, tunnelling,
};
use crate::support::client::request;
use crate::support::http2::{self, Begun, one, read, read_some, wait};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;
use crate::support::wire::Broken;

/// Says something and hears it again.
#[track_caller]
fn talk(begun: &mut Begun, upload: &mut SendStream<Bytes>) {
    for round in 0..20 {
        let said = frame(TEXT, format!("said {round}").as_bytes(), true);
        let sending = http2::send(upload, said.clone().into(), false);
        wait("it is taken", sending).expect("is sent");
        let heard = wait("an echo", read_some(&mut begun.body, said.len()));
        assert_eq!(heard, said);
    }
}

#[test]
fn a_tunnel_becomes_an_upgrade() {
    let upstream = Upstream::scripted(echo);
    let proxy = Setup::stable(&upstream).start();
    let client = tunnelling(&proxy);
    let (mut begun, mut upload) = open_h2(&client);
    assert_eq!(
        one(&begun.fields, "sec-websocket-protocol").as_deref(),
        Some("chat")
    );
    for name in ["sec-websocket-accept", "upgrade", "connection"] {
        assert_eq!(one(&begun.fields, name), None, "{name}");
    }
    talk(&mut begun, &mut upload);
    // Another request of the same connection meanwhile.
    let mut other = open_h2(&client);
    talk(&mut other.0, &mut other.1);
    let sent = &upstream.log.arrivals()[0].head;
    assert_eq!(sent.start, "GET /chat HTTP/1.1");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("host", "test"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, superchat"),
    ] {
        assert_eq!(sent.one(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(sent.one("sec-websocket-key").map(|key| key.len()), Some(24));
    assert_eq!(sent.one("content-length"), None);
    upload.send_data(Bytes::new(), true).expect("is open");
    assert!(wait("the end", begun.rest()).end.is_ok());
    drop(other);
    assert_eq!(proxy.settled("stable", 2)["failures"], 0);
}

/// It has read no handshake that answers with anything else.
#[test]
fn an_upstream_that_answers_to_another_key_has_not_switched() {
    for accept in ["", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"] {
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{accept}\r\n"
        ));
        let proxy = Setup::stable(&upstream).start();
        let client = tunnelling(&proxy);
        let answer = client.open(connect_request(), false).answer();
        assert_eq!(answer.status, 502, "{accept:?}");
        assert_eq!(
            answer.one("x-haldane-error").as_deref(),
            Some("upstream_response")
        );
    }
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let upstream = echo_h2();
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let mut client = proxy.client();
    client.send(request("GET", "/chat", &HANDSHAKE, ""));
    let (head, status) = client.response_head().expect("is answered");
    assert_eq!(status, 101);
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", ACCEPT),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(head.one(name).as_deref(), Some(value), "{name}");
    }
    for _ in 0..20 {
        let said = frame(TEXT, b"said", true);
        client.send(&said);
        assert_eq!(client.wire.read(said.len()), Ok(said));
    }
    let parts = &upstream.log.arrivals()[0].parts;
    assert_eq!(
        (parts.method.as_str(), parts.uri.path()),
        ("CONNECT", "/chat")
    );
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    assert_eq!(protocol.map(h2::ext::Protocol::as_str), Some("websocket"));
    for name in [
        "sec-websocket-key",
        "upgrade",
        "connection",
        "content-length",
    ] {
        assert_eq!(one(&parts.headers, name), None, "{name}");
    }
    client.wire.finish();
    assert_eq!(client.wire.end(), Broken::Closed);
    assert_eq!(proxy.settled("stable", 1)["failures"], 0);
}

/// HTTP/2 carries any bytes in the name of a protocol; in HTTP/1.1 they would be lines.
#[test]
fn the_name_of_a_protocol_is_no_more_than_a_name() {
    let upstream = Upstream::scripted(echo);
    let proxy = Setup::stable(&upstream).start();
    let client = tunnelling(&proxy);
    for name in [
        "websocket\r\nx-forwarded-for: 10.0.0.1",
        "websocket\r\n\r\nGET /admin HTTP/1.1\r\nhost: a",
        "websocket\nx: y",
        "websocket\0",
        "web socket",
        "websocket, h2c",
    ] {
        let mut request = connect_request();
        let protocol = h2::ext::Protocol::from(name);
        request.extensions_mut().insert(protocol);
        let answer = client.open(request, false).answer();
        assert_eq!(answer.status, 400, "{name:?}");
        let code = answer.one("x-haldane-error");
        assert_eq!(code.as_deref(), Some("client_head"), "{name:?}");
    }
    assert_eq!(upstream.log.len(), 0);
    // The connection goes on.
    let (mut begun, mut upload) = open_h2(&client);
    talk(&mut begun, &mut upload);
}

#[test]
fn a_tunnel_stays_a_tunnel() {
    let upstream = echo_h2();
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let client = tunnelling(&proxy);
    let (mut begun, mut upload) = open_h2(&client);
    talk(&mut begun, &mut upload);
    upload.send_data(Bytes::new(), true).expect("is open");
    assert!(wait("the end", begun.rest()).end.is_ok());
    let sessions: Vec<_> = (0..10).map(|_| open_h2(&client)).collect();
    for (mut begun, mut upload) in sessions {
        talk(&mut begun, &mut upload);
    }
    assert_eq!(upstream.log.connections(), 1);
}

#[test]
fn an_upstream_in_http2_that_takes_no_tunnels_gets_none() {
    let upstream = H2Upstream::scripted(|mut call: Call| async move {
        drop(read(&mut call.body).await);
        call.reply(200, "word");
    });
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let client = tunnelling(&proxy);
    let mut other = proxy.client();
    for _ in 0..3 {
        let answer = client.open(connect_request(), false).answer();
        assert_eq!(answer.status, 501);
        assert_eq!(
            answer.one("x-haldane-error").as_deref(),
            Some("haldane_no_tunnel")
        );
        assert_eq!(other.get("/chat", &HANDSHAKE).status, 501);
        assert_eq!(client.get("/", &[]).text(), "word");
    }
    assert_eq!(upstream.log.len(), 3);
    assert_eq!(proxy.status()["versions"]["stable"]["failures"], 0);
}

#[test]
fn a_refusal_of_a_tunnel_is_an_answer() {
    let h1 = Upstream::answering("HTTP/1.1 403 No\r\nContent-Length: 7\r\n\r\nnot you");
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let h2 = H2Upstream::with(builder, |mut call: Call| async move {
        call.reply(403, "not you");
    });
    for setup in [
        Setup::stable(&h1),
        Setup::stable_at(&h2.url()).upstreams_in_h2(),
    ] {
        let proxy = setup.start();
        let client = tunnelling(&proxy);
        for _ in 0..3 {
            let answer = client.open(connect_request(), false).answer();
            assert_eq!((answer.status, answer.text().as_str()), (403, "not you"));
            assert!(answer.end.is_ok(), "{answer:?}");
        }
        let mut other = proxy.client();
        let answer = other.get("/chat", &HANDSHAKE);
        assert_eq!((answer.status, answer.text().as_str()), (403, "not you"));
        assert_eq!(other.get("/", &[]).status, 403);
    }
}

/// Whoever goes away in one version of HTTP goes away in the other.
#[test]
fn a_session_ends_on_both_sides() {
    let (tell, told) = std::sync::mpsc::channel();
    let upstream = super::in_sessions(move |connection| {
        tell.send(connection.end()).unwrap();
    });
    let proxy = Setup::stable(&upstream).start();
    let client = tunnelling(&proxy);
    let (begun, mut upload) = open_h2(&client);
    upload.send_reset(h2::Reason::CANCEL);
    drop(begun);
    let end = told.recv_timeout(crate::support::eventually::PATIENCE);
    assert!(matches!(end, Ok(Broken::Closed | Broken::Reset)), "{end:?}");
    let ending = Upstream::scripted(|mut connection| {
        if let Some(head) = connection.head() {
            super::welcome(&mut connection, &head, &super::close(1000, false));
        }
    });
    let proxy = Setup::stable(&ending).start();
    let (begun, _upload) = open_h2(&tunnelling(&proxy));
    let answer = wait("the end", begun.rest());
    assert_eq!(answer.body, super::close(1000, false));
    let mut other = open(&proxy);
    assert_eq!(other.wire.read(4), Ok(super::close(1000, false)));
    assert!(other.is_closed());
}
