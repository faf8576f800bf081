//! Where a message ends: what is ambiguous is refused, what breaks off never looks
//! complete.

use crate::support::eventually::PATIENCE;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;
use crate::support::wire::{Broken, Framing};

/// Whole exchanges: both bodies, interim responses, expectations, old clients.
mod exchange;
/// What an upstream may send, and what becomes of the rest.
mod response;

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
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked chunked\r\n",
        "Transfer-Encoding: chun\tked\r\n",
        "Transfer-Encoding: 'chunked'\r\n",
        "Transfer-Encoding: chunked\u{a0}\r\n",
        "Transfer-Encoding: c\u{203a}hunked\r\n",
        "Transfer-Encoding: chun\u{212a}ed\r\n",
        "Transfer-Encoding: x=chunked\r\n",
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
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 505, "client_version"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "client_version"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "client_version"),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "client_version"),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", 505, "client_version"),
    ] {
        refused(&proxy, &upstream, bytes, status, code);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
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
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n", 400, "client_target"),
        ("GET /a?b# HTTP/1.1\r\nHost: a\r\n", 400, "client_target"),
        (
            "GET http://a/b#c HTTP/1.1\r\nHost: a\r\n",
            400,
            "client_target",
        ),
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
        ("GET http://a/ HTTP/1.1\r\n", 400, "client_host"),
        (
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
            400,
            "client_host",
        ),
        (
            "GET http://a/ HTTP/1.1\r\nHost: b/c\r\n",
            400,
            "client_host",
        ),
        (
            "GET http://a:b/ HTTP/1.1\r\nHost: a\r\n",
            400,
            "client_target",
        ),
        (
            "GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n",
            400,
            "client_target",
        ),
        (
            "OPTIONS http://a?b HTTP/1.1\r\nHost: a\r\n",
            400,
            "client_target",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n",
            417,
            "client_expectation",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, tea\r\n",
            417,
            "client_expectation",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: y 100-continue\r\n",
            417,
            "client_expectation",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: tea\r\n",
            417,
            "client_expectation",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect:\r\n",
            417,
            "client_expectation",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect:\r\n 100-continue\r\n",
            400,
            "client_head",
        ),
    ] {
        let bytes = format!("{text}\r\n");
        refused(&proxy, &upstream, bytes.as_bytes(), status, code);
    }
}

#[test]
fn a_host_that_is_none_is_refused() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    for host in [
        "a:b", "a:1:2", "a:65536", "a:-1", ":80", "[::1", "[a]", "[::1]x", "a]", "a%zz", "a%2",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        refused(&proxy, &upstream, bytes.as_bytes(), 400, "client_host");
        let bytes = format!("GET http://{host}/ HTTP/1.1\r\nHost: a\r\n\r\n");
        refused(&proxy, &upstream, bytes.as_bytes(), 400, "client_target");
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
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\r\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;=b\r\nhello\r\n0\r\n\r\n",
        "5;a b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n",
        "5;\"a\"\r\nhello\r\n0\r\n\r\n",
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
        let end = heard.recv_timeout(PATIENCE);
        assert!(
            matches!(end, Ok(Err(Broken::Closed | Broken::Cut | Broken::Reset))),
            "{body:?}: {end:?}"
        );
    }
}
