//! The handshake and what follows it, where both speak HTTP/1.1.

use std::sync::mpsc;

use super::{ACCEPT, FAILURES, HANDSHAKE, KEY, TEXT, echo, frame, in_sessions, open, welcome};
use crate::support::client::request;
use crate::support::eventually::PATIENCE;
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;
use crate::support::wire::Broken;

#[test]
fn a_handshake_passes_and_then_every_byte() {
    let upstream = Upstream::scripted(|mut connection| {
        if let Some(head) = connection.head() {
            welcome(&mut connection, &head, b"at once");
            while let Ok(byte) = connection.wire.read(1) {
                connection.wire.write(byte);
            }
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    client.send(request("GET", "/chat?room=1", &HANDSHAKE, "") + "early");
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
    for name in ["content-length", "transfer-encoding"] {
        assert_eq!(head.one(name), None);
    }
    assert_eq!(client.wire.read(12).as_deref(), Ok(&b"at onceearly"[..]));
    let sent = upstream.log.only().head;
    assert_eq!(sent.start, "GET /chat?room=1 HTTP/1.1");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, superchat"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(sent.one(name).as_deref(), Some(value), "{name}");
    }
    client.send(frame(TEXT, b"hello", true));
    let echo = frame(TEXT, b"hello", true);
    assert_eq!(client.wire.read(echo.len()), Ok(echo));
}

#[test]
fn frames_may_be_large() {
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let (sent, expected) = (frame(TEXT, &large, false), frame(TEXT, &large, true));
    let (tell, told) = mpsc::channel();
    let answer = sent.clone();
    let upstream = in_sessions(move |connection| {
        tell.send(connection.wire.read(3_000_014)).unwrap();
        connection.wire.write(&answer);
        connection.end();
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client = open(&proxy);
    client.send(&expected);
    assert!(told.recv_timeout(PATIENCE).unwrap() == Ok(expected));
    assert!(client.wire.read(sent.len()) == Ok(sent));
}

#[test]
fn one_side_may_end_before_the_other() {
    let upstream = in_sessions(|connection| {
        // What comes after the end of the other side.
        assert_eq!(connection.end(), Broken::Closed);
        connection.wire.write("still here");
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client = open(&proxy);
    client.send("bye");
    client.wire.finish();
    assert_eq!(client.wire.read(10).as_deref(), Ok(&b"still here"[..]));
    assert!(client.is_closed());
    assert_eq!(proxy.settled("stable", 1)["failures"], 0);
}

#[test]
fn whoever_dies_takes_the_other_along() {
    let (tell, told) = mpsc::channel();
    let upstream = in_sessions(move |connection| {
        tell.send(connection.end()).unwrap();
    });
    let proxy = Setup::stable(&upstream).start();
    for reset in [false, true] {
        let client = open(&proxy);
        if reset {
            client.wire.reset();
        } else {
            drop(client);
        }
        let end = told.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(end, Broken::Closed | Broken::Reset), "{end:?}");
    }
    assert_eq!(proxy.settled("stable", 2)["failures"], 0);
    let (leave, left) = mpsc::channel::<()>();
    let left = std::sync::Mutex::new(left);
    let dying = in_sessions(move |_| {
        left.lock().unwrap().recv().ok();
    });
    let proxy = Setup::stable(&dying).start();
    let mut client = open(&proxy);
    leave.send(()).unwrap();
    assert!(client.is_closed());
}

#[test]
fn any_protocol_may_be_switched_to() {
    let upstream = Upstream::scripted(|mut connection| {
        if connection.head().is_some() {
            connection
                .wire
                .write("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: raw/2\r\n\r\nwelcome");
            while let Ok(byte) = connection.wire.read(1) {
                connection.wire.write(byte);
            }
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    let fields = [("connection", "upgrade"), ("upgrade", "raw/1, raw/2")];
    client.send(request("GET", "/", &fields, ""));
    let (head, status) = client.response_head().unwrap();
    assert_eq!(
        (status, head.one("upgrade").as_deref()),
        (101, Some("raw/2"))
    );
    client.send([0, 1, 2, 0xff]);
    assert_eq!(
        client.wire.read(11).as_deref(),
        Ok(&b"welcome\x00\x01\x02\xff"[..])
    );
    let sent = upstream.log.only().head;
    assert_eq!(sent.one("upgrade").as_deref(), Some("raw/1, raw/2"));
    assert_eq!(sent.one("sec-websocket-key"), None);
}

#[test]
fn what_is_no_request_to_switch_is_a_request() {
    let upstream = Upstream::named("one");
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    let asks = ("connection", "upgrade");
    for (fields, body) in [
        // By which requests are smuggled past proxies.
        (&[asks, ("upgrade", "h2c")][..], ""),
        (&[asks, ("upgrade", "websocket, h2c")], ""),
        // Nobody was asked.
        (&[("upgrade", "websocket")], ""),
        (&[asks], ""),
        // What follows belongs to the request.
        (&HANDSHAKE, "body"),
    ] {
        let answer = client.request("GET", "/", fields, body);
        assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
    }
    for arrival in upstream.log.arrivals() {
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(arrival.head.one(name), None, "{}", arrival.head.start);
        }
    }
}

#[test]
fn a_refusal_is_an_answer() {
    // Also one that sounds like an acceptance.
    for status in [403, 200, 426] {
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 {status} No\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Content-Length: 7\r\n\r\nnot you"
        ));
        let proxy = Setup::stable(&upstream).start();
        let mut client = proxy.client();
        for _ in 0..3 {
            let answer = client.get("/chat", &HANDSHAKE);
            assert_eq!((answer.status, answer.text().as_str()), (status, "not you"));
            assert_eq!(client.get("/", &[]).status, status);
        }
        assert_eq!(upstream.log.connections(), 1, "{status}");
    }
}

#[test]
fn a_switch_that_was_not_asked_for_is_a_broken_answer() {
    let unasked =
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1";
    let other = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";
    let unnamed = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n";
    for (answer, fields) in [
        (unasked, &[][..]),
        (unasked, &[("connection", "upgrade"), ("upgrade", "h2c")]),
        (other, &HANDSHAKE),
        (unnamed, &HANDSHAKE),
    ] {
        let upstream = Upstream::answering(answer);
        let proxy = Setup::stable(&upstream).start();
        let response = proxy.get("/", fields);
        assert_eq!(response.status, 502, "{answer:?}");
        assert_eq!(response.error(), "upstream_response");
        assert_eq!(proxy.metric(FAILURES, &["reason=\"reset\""]), 1);
        // The connection is not used again.
        proxy.get("/", fields);
        assert_eq!(upstream.log.connections(), 2);
    }
}

#[test]
fn sessions_do_not_share_what_they_say() {
    let upstream = Upstream::scripted(echo);
    let proxy = Setup::stable(&upstream).start();
    let mut clients: Vec<_> = (0..20).map(|_| open(&proxy)).collect();
    for round in 0..10 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(frame(TEXT, format!("{number} {round}").as_bytes(), true));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let expected = frame(TEXT, format!("{number} {round}").as_bytes(), true);
            assert_eq!(client.wire.read(expected.len()), Ok(expected));
        }
    }
}
