//! Where a message ends: what is ambiguous is refused, what breaks off never looks
//! complete.

use crate::support::client::{Client, request};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;
use crate::support::wire::{Broken, Framing};

/// Sends `bytes` to haldane and expects this refusal, and the end of the connection.
#[track_caller]
fn refused(proxy: &Proxy, upstream: &Upstream, bytes: &[u8], status: u16, code: &str) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let mut client = proxy.client();
    client.send(bytes);
    let answer = client.answer_to("GET");
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (status, code),
        "{shown:?}"
    );
    assert_eq!(
        answer.head.one("connection").as_deref(),
        Some("close"),
        "{shown:?}"
    );
    assert!(client.is_closed(), "still open after {shown:?}");
    assert_eq!(upstream.log.len(), 0, "forwarded: {shown:?}");
}

/// A POST with these framing fields and what could be taken for a second request.
fn smuggler(version: &str, fields: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/{version}\r\nHost: test\r\n{fields}\r\n\
         0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_request_with_an_ambiguous_length_is_refused() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\ncONTENT-lENGTH: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: five\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: \r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, \r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunke\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    ] {
        let bytes = smuggler("1.1", fields);
        refused(&proxy, &upstream, &bytes, 400, "client_framing");
    }
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let bytes = smuggler("1.0", fields);
        refused(&proxy, &upstream, &bytes, 400, "client_framing");
    }
}

#[test]
fn a_request_that_hides_its_framing_is_refused() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    for fields in [
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\0\r\n",
        "Transfer-Encoding: chunked\rX: y\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "\0Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding\0: chunked\r\n",
        "Transfer Encoding: chunked\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\x01: 5\r\n",
        "X: y\r\n Content-Length: 5\r\n",
    ] {
        let bytes = smuggler("1.1", fields);
        refused(&proxy, &upstream, &bytes, 400, "client_head");
    }
}

#[test]
fn a_head_that_is_not_http_is_refused() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    for (bytes, status, code) in [
        (
            &b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            400,
            "client_head",
        ),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "client_head"),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "client_head"),
        (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "client_head"),
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "client_head"),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "client_head"),
        (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "client_head"),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400, "client_head"),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "client_head"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "client_head"),
        (b"GET / HTTP/1.1\rHost: a\r\r", 400, "client_head"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            400,
            "client_head",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
            400,
            "client_head",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
            400,
            "client_head",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
            400,
            "client_head",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
            400,
            "client_head",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
            400,
            "client_head",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n",
            400,
            "client_head",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "client_version"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "client_version"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "client_version"),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "client_version"),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", 505, "client_version"),
    ] {
        refused(&proxy, &upstream, bytes, status, code);
    }
}

#[test]
fn a_request_without_one_clear_destination_is_refused() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    for (text, status, code) in [
        ("GET / HTTP/1.1\r\n", 400, "client_host"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
            400,
            "client_host",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
            400,
            "client_host",
        ),
        (
            "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n",
            400,
            "client_host",
        ),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n", 400, "client_host"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n", 400, "client_host"),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n", 400, "client_host"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n", 400, "client_host"),
        ("GET / HTTP/1.1\r\nHost: a\\b\r\n", 400, "client_host"),
        ("GET / HTTP/1.1\r\nHost: a?b\r\n", 400, "client_host"),
        ("GET / HTTP/1.1\r\nHost: a#b\r\n", 400, "client_host"),
        ("GET a HTTP/1.1\r\nHost: a\r\n", 400, "client_target"),
        ("GET * HTTP/1.1\r\nHost: a\r\n", 400, "client_target"),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n", 400, "client_target"),
        (
            "GET http://user@a/ HTTP/1.1\r\nHost: a\r\n",
            400,
            "client_target",
        ),
        (
            "GET http:///a HTTP/1.1\r\nHost: a\r\n",
            400,
            "client_target",
        ),
        (
            "GET http://a?b HTTP/1.1\r\nHost: a\r\n",
            400,
            "client_target",
        ),
        (
            "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n",
            405,
            "client_method",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n",
            417,
            "client_expectation",
        ),
    ] {
        let bytes = format!("{text}\r\n");
        refused(&proxy, &upstream, bytes.as_bytes(), status, code);
    }
}

#[test]
fn a_head_over_the_limits_is_refused() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream)
        .table("[limits]\nheader_bytes = \"4KiB\"\nheaders = 8")
        .start();
    let long = "x".repeat(5000);
    for (bytes, status, code) in [
        (
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            414,
            "client_target_too_long",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
            431,
            "client_head_too_large",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(8)),
            431,
            "client_head_too_large",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}",
                format!("a: {}\r\n", "b".repeat(500)).repeat(7)
            ) + &long,
            431,
            "client_head_too_large",
        ),
    ] {
        refused(&proxy, &upstream, bytes.as_bytes(), status, code);
    }
    let most = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(7));
    assert_eq!(proxy.raw(most).status, 200);
}

/// The head is passed on before the body is seen, so the upstream sees the request
/// break off: it must never see its end.
#[test]
fn a_chunked_request_that_is_not_the_coding_is_cut() {
    for body in [
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        "5;\n\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff0\r\nhello\r\n0\r\n\r\n",
        "0000000000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: b\n\r\n\r\n",
        "5\r\nhello\r\n0\r\nA : b\r\n\r\n",
        "5\r\nhello\r\n0\r\n A: b\r\n\r\n",
    ] {
        let (told, heard) = std::sync::mpsc::channel();
        let upstream = Upstream::scripted(move |mut connection| {
            // Where the error was seen at once, not even the head was sent.
            let end = match connection.head() {
                Some(_) => connection.wire.body(Framing::Chunked).1,
                None => Err(Broken::Closed),
            };
            // The test may be over.
            told.send(end).ok();
        });
        let proxy = Setup::stable(&upstream).start();
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(body);
        let answer = client.answer_to("POST");
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, "client_body"),
            "{body:?}"
        );
        assert!(client.is_closed(), "{body:?}");
        let end = heard.recv_timeout(crate::support::eventually::PATIENCE);
        assert!(
            matches!(end, Ok(Err(Broken::Closed | Broken::Cut | Broken::Reset))),
            "{body:?}: {end:?}"
        );
    }
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\n\r\n",
    );
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n00A;\"q\"\r\n0123456789\r\n0\r\nX-Up: 2\r\nHost: evil\r\nAuthorization: no\r\n\r\n",
        );
        let answer = client.answer_to("POST");
        assert_eq!(answer.end, Ok(()));
        assert_eq!(answer.text(), "hello world");
        assert_eq!(answer.body.trailers, [("X-Sum".to_owned(), b"1".to_vec())]);
    }
    for arrival in upstream.log.arrivals() {
        assert_eq!(arrival.body.bytes, b"abc0123456789");
        assert_eq!(arrival.body.trailers, [("X-Up".to_owned(), b"2".to_vec())]);
    }
    assert_eq!(upstream.log.connections(), 1, "the connection was reused");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::scripted(|mut connection| {
        while let Some(head) = connection.request() {
            let path = head.word(1).to_owned();
            connection.wire.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}",
                path.len()
            ));
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    let mut all = String::new();
    for index in 0..200 {
        let body = if index % 3 == 0 { "some body" } else { "" };
        all.push_str(&request("POST", &format!("/{index}"), &[], body));
    }
    all.push_str("GET / HTTP/1.1\r\nbroken\r\n\r\nGET /never HTTP/1.1\r\nHost: test\r\n\r\n");
    client.send(&all);
    for index in 0..200 {
        let answer = client.answer_to("POST");
        assert_eq!((answer.status, answer.text()), (200, format!("/{index}")));
    }
    assert_eq!(client.answer_to("GET").status, 400);
    assert!(client.is_closed());
    let paths: Vec<_> = upstream.log.arrivals();
    assert_eq!(paths.len(), 200);
    assert!(paths.iter().all(|arrival| arrival.head.word(1) != "/never"));
}

#[test]
fn a_request_in_pieces_is_the_same_request() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    let text = "\r\nPOST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in text.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.answer_to("POST").text(), "stable");
    assert_eq!(upstream.log.only().body.bytes, b"abc");
}

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
        assert!(!client.wire.has_more(std::time::Duration::from_millis(20)));
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
        let (heard, answer_sent) = (answer.clone(), std::sync::Barrier::new(2));
        let sent = std::sync::Arc::new(answer_sent);
        let told = std::sync::Arc::clone(&sent);
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
fn http_1_0_clients_get_what_they_understand() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    );
    let proxy = Setup::stable(&upstream).start();
    for text in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send(text);
        let answer = client.answer_to("GET");
        assert_eq!(answer.head.all("transfer-encoding"), [""; 0]);
        assert_eq!(answer.head.one("connection").as_deref(), Some("close"));
        assert_eq!((answer.text().as_str(), answer.end), ("hello", Ok(())));
    }

    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer_to("GET").text(), "stable");
    assert!(client.is_closed());

    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let answer = client.answer_to("GET");
        assert_eq!(answer.text(), "stable");
        assert_eq!(answer.head.one("connection").as_deref(), Some("keep-alive"));
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

#[test]
fn interim_responses_are_passed_on_to_those_who_understand_them() {
    let upstream = Upstream::answering(
        "HTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </b>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    );
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.get("/", &[]);
        assert_eq!(answer.text(), "hello");
        let links: Vec<_> = answer.interim.iter().map(|head| head.one("link")).collect();
        let expected = ["</a>; rel=preload", "</b>; rel=preload"];
        assert_eq!(links, expected.map(|link| Some(link.to_owned())));
    }
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = client.answer_to("GET");
    assert_eq!((answer.interim.len(), answer.text().as_str()), (0, "hello"));
}

#[test]
fn an_upstream_that_never_comes_to_the_point_is_given_up() {
    let upstream = Upstream::scripted(|mut connection| {
        if connection.request().is_some() {
            while connection.wire.write("HTTP/1.1 102 Processing\r\n\r\n") {}
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let answer = proxy.get("/", &[]);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (502, "upstream_response")
    );
}

#[test]
fn expectations_are_relayed() {
    let upstream = Upstream::scripted(|mut connection| {
        while let Some(head) = connection.head() {
            assert_eq!(head.one("expect").as_deref(), Some("100-Continue"));
            connection.wire.write("HTTP/1.1 100 Continue\r\n\r\n");
            let (body, end) = connection.wire.body(Framing::Length(4));
            if end.is_err() || body.bytes != b"body" {
                return;
            }
            connection
                .wire
                .write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(
            "PUT / HTTP/1.1\r\nHost: test\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n",
        );
        assert!(matches!(client.response_head(), Ok((_, 100))));
        client.send("body");
        assert_eq!(client.answer_to("PUT").status, 200);
    }
}

#[test]
fn a_final_status_before_the_body_is_delivered_and_poisons_nothing() {
    let upstream = Upstream::scripted(|mut connection| {
        if connection.head().is_some() {
            connection
                .wire
                .write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            // What comes next must not be a request: its bytes would be a body's.
            while connection.head().is_some() {}
        }
    });
    let proxy = Setup::stable(&upstream).top("workers = 1").start();
    for _ in 0..2 {
        let mut client = proxy.client();
        client.send(
            "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 99\r\n\r\n",
        );
        let answer = client.answer_to("POST");
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
        assert_eq!(answer.head.one("connection").as_deref(), Some("close"));
        assert!(client.is_closed());
    }
    let arrivals = upstream.log.arrivals();
    assert_eq!(arrivals.len(), 2);
    assert_ne!(arrivals[0].connection, arrivals[1].connection);
}

#[test]
fn an_unread_body_is_never_taken_for_a_request() {
    let upstream = Upstream::refusing();
    let proxy = Setup::stable(&upstream).start();
    let mut client: Client = proxy.client();
    client.send(request(
        "POST",
        "/",
        &[],
        "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n",
    ));
    assert_eq!(client.answer_to("POST").status, 502);
    assert!(client.is_closed());
}
