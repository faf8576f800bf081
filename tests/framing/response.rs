//! What an upstream may send, and what becomes of the rest.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;
use crate::support::wire::{Broken, Framing};

#[test]
fn head_204_and_304_have_no_body_whatever_they_claim() {
    for (method, status, fields) in [
        ("HEAD", 200, "Content-Length: 5\r\n"),
        ("HEAD", 200, "Transfer-Encoding: chunked\r\n"),
        ("HEAD", 200, ""),
        ("HEAD", 404, "Content-Length: 5\r\n"),
        ("GET", 204, ""),
        ("GET", 204, "Content-Length: 5\r\n"),
        ("GET", 204, "Transfer-Encoding: chunked\r\n"),
        ("GET", 304, "Content-Length: 5\r\n"),
        ("GET", 304, "Transfer-Encoding: chunked\r\n"),
    ] {
        let upstream = Upstream::answering(format!("HTTP/1.1 {status} X\r\n{fields}\r\n"));
        let proxy = Setup::stable(&upstream).top("workers = 1").start();
        let mut client = proxy.client();
        for _ in 0..2 {
            let answer = client.request(method, "/", &[], "");
            assert_eq!(answer.status, status, "{method} {status} {fields:?}");
            if status == 204 {
                assert_eq!(answer.head.all("content-length"), [""; 0], "RFC 9110 8.6");
            }
        }
        assert!(client.stays_open(Duration::from_millis(20)));
        assert_eq!(
            upstream.log.connections(),
            1,
            "{method} {status} {fields:?}"
        );
    }
}

#[test]
fn haldane_answers_head_without_a_body() {
    let upstream = Upstream::refusing();
    let proxy = Setup::stable(&upstream)
        .route("match = { path = \"/only\" }")
        .start();
    let mut client = proxy.client();
    for (path, status) in [("/only", 502), ("/other", 404), ("/only", 502)] {
        let answer = client.request("HEAD", path, &[], "");
        assert_eq!(answer.status, status);
        assert!(answer.head.one("content-length").is_some());
    }
    assert_eq!(
        client.get("/only", &[]).text(),
        "The service cannot be reached.\n"
    );
}

#[test]
fn a_response_that_is_not_http_becomes_a_502() {
    for answer in [
        "",
        "garbage\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Len",
    ] {
        let upstream = Upstream::closing(answer);
        let proxy = Setup::stable(&upstream).start();
        let mut client = proxy.client();
        for _ in 0..2 {
            let got = client.get("/", &[]);
            assert_eq!(got.status, 502, "{answer:?}");
            let told = String::from_utf8_lossy(&got.head.raw).into_owned() + &got.text();
            assert!(
                !told.contains(&upstream.address.port().to_string()),
                "where upstreams are is nobody's business: {told}"
            );
            let code = got.error();
            assert!(
                ["upstream_response", "upstream_reset"].contains(&code.as_str()),
                "{answer:?}: {code}"
            );
        }
        assert_eq!(upstream.log.connections(), 2, "reused after {answer:?}");
    }
}

#[test]
fn a_response_head_over_the_limits_becomes_a_502() {
    for fields in [
        format!("X: {}\r\n", "x".repeat(5000)),
        "a: b\r\n".repeat(20),
    ] {
        let upstream = Upstream::answering(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        let proxy = Setup::stable(&upstream)
            .table("[limits]\nheader_bytes = \"4KiB\"\nheaders = 8")
            .start();
        let answer = proxy.get("/", &[]);
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (502, "upstream_response")
        );
    }
}

/// Whatever breaks off, the client must be able to tell.
#[test]
fn a_response_that_breaks_off_never_looks_complete() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, reset) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_owned(),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_owned(),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_owned(),
            true,
        ),
        (CHUNKED.to_owned(), false),
        (format!("{CHUNKED}5\r\nhello\r\n"), false),
        (format!("{CHUNKED}5\r\nhello\r\n"), true),
        (format!("{CHUNKED}5\r\nhel"), false),
        (format!("{CHUNKED}5\r\nhello\r\n0\r\n"), false),
        (format!("{CHUNKED}5\r\nhello\r\n0\r\nX: y\r\n"), false),
        (format!("{CHUNKED}5\r\nhello\r\nx\r\n\r\n"), false),
        (format!("{CHUNKED}5\r\nhelloo\r\n0\r\n\r\n"), false),
        ("HTTP/1.1 200 OK\r\n\r\nhello".to_owned(), true),
        ("HTTP/1.0 200 OK\r\n\r\nhello".to_owned(), true),
    ] {
        let (heard, sent) = (answer.clone(), Arc::new(Barrier::new(2)));
        let told = Arc::clone(&sent);
        let upstream = Upstream::scripted(move |mut connection| {
            connection.request();
            connection.wire.write(&heard);
            if reset {
                // Not before haldane has passed on what came: a reset overtakes data.
                told.wait();
                connection.wire.reset();
            }
        });
        let proxy = Setup::stable(&upstream).start();
        for version in ["1.1", "1.0"] {
            let mut client = proxy.client();
            client.send(format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n"));
            if reset {
                let seen = client.response_head();
                assert!(seen.is_ok(), "{seen:?} {answer:?}");
                sent.wait();
                let framing = seen
                    .ok()
                    .and_then(|(head, _)| head.framing().ok().flatten());
                let (_, end) = client.wire.body(framing.unwrap_or(Framing::UntilClose));
                assert_ne!(end, Ok(()), "HTTP/{version} {answer:?} reset");
            } else {
                // An HTTP/1.0 client may lose the head to the reset, and knows as much.
                let end = client
                    .try_answer_to("GET")
                    .and_then(|response| response.end);
                assert!(
                    matches!(end, Err(Broken::Cut | Broken::Reset)),
                    "HTTP/{version} {answer:?}: {end:?}"
                );
            }
        }
    }
}

#[test]
fn an_upstream_that_ends_its_body_by_closing_is_passed_on_whole() {
    for version in ["1.0", "1.1"] {
        let upstream = Upstream::closing(format!("HTTP/{version} 200 OK\r\n\r\nhello"));
        let proxy = Setup::stable(&upstream).start();
        let mut client = proxy.client();
        for _ in 0..2 {
            let answer = client.get("/", &[]);
            assert_eq!(answer.text(), "hello");
            assert_eq!(
                answer.head.one("transfer-encoding").as_deref(),
                Some("chunked")
            );
        }
    }
}
