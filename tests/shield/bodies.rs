//! Bodies are sent once more whole, or not at all.

use std::sync::mpsc;

use super::{ask, is_of_stable, settled, setup, shielded};
use crate::support::proxy::Setup;
use crate::support::upstream::{Behaviour, Upstream};
use crate::support::wire::Framing;

const KIB: usize = 1024;

/// haldane that keeps a KiB.
fn keeping_a_kib(stable: &Upstream, canary: &Upstream) -> Setup {
    setup(stable, canary).table("[limits]\nreplay_bytes = \"1KiB\"")
}

/// A body in chunks of this size, with a trailer.
fn chunked(body: &str, size: usize) -> String {
    let mut text = String::new();
    for piece in body.as_bytes().chunks(size) {
        text += &format!(
            "{:x}\r\n{}\r\n",
            piece.len(),
            String::from_utf8_lossy(piece)
        );
    }
    text + "0\r\nx-sum: 7\r\n\r\n"
}

/// Digits, so that what is lost or repeated shows.
fn body(length: usize) -> String {
    let digits = (0..).flat_map(|number: u32| format!("{number} ").into_bytes());
    digits.take(length).map(char::from).collect()
}

#[test]
fn a_body_is_repeated_up_to_what_is_kept() {
    for (length, fits) in [
        (1, true),
        (KIB - 1, true),
        (KIB, true),
        (KIB + 1, false),
        (100 * KIB, false),
    ] {
        for in_chunks in [false, true] {
            let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
            canary.behave(Behaviour::Status(500));
            let proxy = keeping_a_kib(&stable, &canary).start();
            let body = body(length);
            let mut client = proxy.client();
            client.send("PUT / HTTP/1.1\r\nhost: test\r\nx-user: a\r\n");
            client.send(if in_chunks {
                format!("transfer-encoding: chunked\r\n\r\n{}", chunked(&body, 700))
            } else {
                format!("content-length: {length}\r\n\r\n{body}")
            });
            let answer = client.answer_to("PUT");
            let first = canary.log.only();
            assert_eq!(first.body.bytes, body.as_bytes(), "{length} {in_chunks}");
            if fits {
                assert!(is_of_stable(&answer, "PUT"), "{length}: {answer:?}");
                let second = stable.log.only();
                assert_eq!(second.body.bytes, body.as_bytes(), "{length} {in_chunks}");
                assert_eq!(second.body.trailers, first.body.trailers);
                assert_eq!(second.body.trailers.len(), usize::from(in_chunks));
                // Nothing of it is left to be taken for the next request.
                let next = client.request("DELETE", "/next", &[("x-user", "a")], "");
                assert!(is_of_stable(&next, "DELETE"), "{next:?}");
            } else {
                assert_eq!((answer.status, answer.text().as_str()), (500, "canary"));
                assert_eq!(stable.log.len(), 0, "{length} {in_chunks}");
            }
            let count = u64::from(fits) * 2;
            assert_eq!(shielded(&proxy), count, "{length} {in_chunks}");
        }
    }
}

#[test]
fn nothing_is_kept_where_that_is_said() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Reset);
    let setup = setup(&stable, &canary).table("[limits]\nreplay_bytes = \"0B\"");
    let proxy = setup.start();
    assert_eq!(ask(&proxy, "PUT", "/", "x").status, 502);
    assert!(is_of_stable(&ask(&proxy, "PUT", "/", ""), "PUT"));
    assert_eq!(shielded(&proxy), 1);
}

/// The canary answers when half of the body has come, and stable gets all of it.
#[test]
fn what_comes_after_the_failure_goes_to_stable_only() {
    for in_chunks in [false, true] {
        let stable = Upstream::named("stable");
        let (tell, told) = mpsc::channel();
        let canary = Upstream::scripted(move |mut connection| {
            if let Some(head) = connection.head() {
                if head.word(0) == "PUT" {
                    connection.wire.read(3).ok();
                }
                connection
                    .wire
                    .write("HTTP/1.1 500 X\r\ncontent-length: 2\r\n\r\nno");
                connection.end();
                // The test may be over.
                tell.send(()).ok();
            }
        });
        let proxy = setup(&stable, &canary).start();
        // What is announced to be too much is not kept at all.
        let body = body(if in_chunks { 200 * KIB } else { 60 * KIB });
        let (half, rest) = body.split_at(10 * KIB);
        let mut client = proxy.client();
        client.send("PUT / HTTP/1.1\r\nhost: test\r\nx-user: a\r\n");
        if in_chunks {
            client.send(format!(
                "transfer-encoding: chunked\r\n\r\n{:x}\r\n",
                half.len()
            ));
            client.send(half);
        } else {
            client.send(format!("content-length: {}\r\n\r\n{half}", body.len()));
        }
        told.recv().expect("the canary has done with it");
        client.send(if in_chunks {
            format!("\r\n{}", chunked(rest, 50_000))
        } else {
            rest.to_owned()
        });
        let answer = client.answer_to("PUT");
        assert!(is_of_stable(&answer, "PUT"), "{answer:?}");
        assert!(
            stable.log.only().body.bytes == body.as_bytes(),
            "{in_chunks}"
        );
        let next = client.request("GET", "/next", &[("x-user", "a")], "");
        assert!(is_of_stable(&next, "GET"), "{next:?}");
    }
}

/// A client that waits to be told to continue is told by either of them, and may be by both.
#[test]
fn a_body_that_waits_to_be_asked_for_is_sent_to_stable() {
    for first in ["", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let stable = Upstream::scripted(|mut connection| {
            if connection.head().is_some() {
                connection.wire.write("HTTP/1.1 100 Continue\r\n\r\n");
                let (body, _) = connection.wire.body(Framing::Length(4));
                let text = String::from_utf8_lossy(&body.bytes).into_owned();
                connection.wire.write(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{text}"
                ));
            }
        });
        let canary = Upstream::closing(format!(
            "{first}HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
        ));
        let canary = if first.is_empty() {
            canary
        } else {
            // It asks for the body, reads it, and fails.
            Upstream::scripted(move |mut connection| {
                if connection.head().is_some() {
                    connection.wire.write(first);
                    let (_, _) = connection.wire.body(Framing::Length(4));
                    connection
                        .wire
                        .write("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n");
                }
            })
        };
        let proxy = setup(&stable, &canary).start();
        let mut client = proxy.client();
        let head = "PUT / HTTP/1.1\r\nhost: test\r\nx-user: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
        client.send(head);
        if first.is_empty() {
            // The canary reads the whole request first.
            client.send("body");
        } else {
            assert!(matches!(client.response_head(), Ok((_, 100))));
            client.send("body");
        }
        let answer = client.answer_to("PUT");
        assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
        settled(&proxy, 1, 1);
    }
}

/// A connection of stable that was closed while it was idle is no reason to fail.
#[test]
fn a_body_is_sent_to_stable_on_a_new_connection_if_the_pooled_one_is_stale() {
    let stable = Upstream::scripted(|mut connection| {
        while connection.request().is_some() {
            connection
                .wire
                .write("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstable");
            if connection.number == 0 {
                // The next one is read, and never answered.
                connection.request();
                return;
            }
        }
    });
    let canary = Upstream::named("canary");
    canary.behave(Behaviour::Status(500));
    let proxy = setup(&stable, &canary).top("workers = 1").start();
    assert!(is_of_stable(&ask(&proxy, "GET", "/first", ""), "GET"));
    let answer = ask(&proxy, "PUT", "/again", "a body");
    assert!(is_of_stable(&answer, "PUT"), "{answer:?}");
    let arrivals = stable.log.arrivals();
    let connections: Vec<_> = arrivals.iter().map(|one| one.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
    assert_eq!(arrivals[2].body.bytes, b"a body");
}
