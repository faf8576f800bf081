//! What is refused reaches nobody and harms nobody else.

use http::Request;

use crate::support::http2::{H2Client, request};
use crate::support::http2_raw::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, RawH2};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::Broken;

fn serving() -> (H2Upstream, Proxy) {
    let upstream = H2Upstream::named("one");
    let proxy = limited(&upstream);
    (upstream, proxy)
}

/// What may be in a head is little.
fn limited(upstream: &H2Upstream) -> Proxy {
    Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .table("[limits]\nheaders = 20\nheader_bytes = \"4KiB\"")
        .start()
}

fn with_fields(count: usize, length: usize) -> Request<()> {
    let mut built = request("GET", "/", &[]);
    for number in 0..count {
        let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
        let value = "v".repeat(length).parse().unwrap();
        built.headers_mut().append(name, value);
    }
    built
}

#[test]
fn what_may_not_be_forwarded_is_refused_and_the_connection_goes_on() {
    let (upstream, proxy) = serving();
    let client = H2Client::connect(proxy.address);
    let connect = Request::builder()
        .method("CONNECT")
        .uri("test:443")
        .body(())
        .unwrap();
    for (refused, status, code) in [
        (
            request("GET", "/", &[("host", "other")]),
            400,
            "client_head",
        ),
        (
            request("GET", "/", &[("expect", "tea")]),
            417,
            "client_expectation",
        ),
        (connect, 405, "client_method"),
        (with_fields(30, 1), 431, "client_head_too_large"),
    ] {
        let uri = refused.uri().clone();
        let answer = client.ask(refused, b"");
        assert_eq!(answer.status, status, "{uri}");
        assert_eq!(answer.one("x-haldane-error").as_deref(), Some(code));
        assert!(answer.end.is_ok(), "{answer:?}");
    }
    assert_eq!(upstream.log.len(), 0, "nothing is forwarded");
    assert_eq!(client.get("/", &[]).text(), "one");
    assert_eq!(client.ask(with_fields(10, 1), b"").text(), "one");
    assert_eq!(proxy.status()["versions"]["stable"]["failures"], 0);
}

/// A refusal does not wait for a body.
#[test]
fn what_is_refused_may_have_a_body() {
    let (upstream, proxy) = serving();
    let client = H2Client::connect(proxy.address);
    for _ in 0..50 {
        let exchange = client.open(request("POST", "/", &[("expect", "tea")]), false);
        let answer = exchange.answer();
        assert_eq!(answer.status, 417);
        assert!(answer.end.is_ok(), "{answer:?}");
    }
    assert_eq!(upstream.log.len(), 0);
    assert_eq!(client.get("/", &[]).text(), "one");
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let (upstream, proxy) = serving();
    let client = H2Client::connect(proxy.address);
    let exchange = client.open(with_fields(15, 1000), true);
    assert_eq!(exchange.answer().status, 431);
    assert_eq!(upstream.log.len(), 0);
    assert_eq!(client.get("/", &[]).text(), "one");
}

/// What the rules of HTTP/2 forbid is an error of its stream (RFC 9113 §8.1.1).
#[test]
fn a_malformed_request_is_no_request() {
    let (upstream, proxy) = serving();
    let heads: [&[u8]; 5] = [
        // No path.
        b"\x82\x86\x41\x04test",
        // A field in upper case.
        b"\x82\x84\x86\x41\x04test\x40\x01X\x01y",
        // `connection`, which HTTP/2 has not.
        b"\x82\x84\x86\x41\x04test\x40\x0aconnection\x05close",
        // `transfer-encoding`, which would be a second framing.
        b"\x82\x84\x86\x41\x04test\x40\x11transfer-encoding\x07chunked",
        // A line break within a value.
        b"\x82\x84\x86\x41\x04test\x40\x01x\x0aa\r\nb: c\r\n\r\n",
    ];
    for head in heads {
        let mut client = RawH2::connect(proxy.address);
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
        // The stream ends, or with it the connection.
        let end = loop {
            match client.next() {
                Ok(frame) if frame.kind == RST_STREAM || frame.kind == GOAWAY => break Ok(()),
                Ok(frame) => assert!(frame.kind != HEADERS, "{head:?} {frame:?}"),
                Err(broken) => break Err(broken),
            }
        };
        assert_ne!(end, Err(Broken::Silent), "{head:?}");
    }
    assert_eq!(upstream.log.len(), 0, "nothing is forwarded");
}

/// Lengths that do not agree with what follows are an error too.
#[test]
fn a_length_that_is_wrong_is_never_complete() {
    let (upstream, proxy) = serving();
    let client = H2Client::connect(proxy.address);
    for (length, body) in [("5", "four"), ("3", "four")] {
        let asked = request("POST", "/", &[("content-length", length)]);
        let mut exchange = client.open(asked, false);
        let body = bytes::Bytes::from_static(body.as_bytes());
        exchange.upload.send_data(body, true).unwrap();
        let ended = crate::support::http2::wait("an end", exchange.answered());
        assert!(
            !matches!(&ended, Ok(answer) if answer.status == 200),
            "{ended:?}"
        );
    }
    assert_eq!(client.get("/", &[]).text(), "one");
    assert_eq!(
        proxy.settled("stable", upstream.log.len() as u64)["failures"],
        0
    );
}

/// Crumbs are fields, however small.
#[test]
fn a_cookie_of_too_many_crumbs_is_refused() {
    let (upstream, proxy) = serving();
    let client = H2Client::connect(proxy.address);
    let mut crumbs = request("GET", "/", &[]);
    for _ in 0..21 {
        let crumb = "a=b".parse().unwrap();
        crumbs.headers_mut().append(http::header::COOKIE, crumb);
    }
    let answer = client.ask(crumbs, b"");
    assert_eq!(answer.status, 431);
    assert_eq!(upstream.log.len(), 0);
}

/// What HTTP/1.1 would be refused for, from either side.
#[test]
fn an_answer_whose_head_is_too_large_becomes_a_502() {
    let upstream = H2Upstream::scripted(async move |mut call: Call| {
        let (count, length) = match call.path() {
            "/long" => (1, 5_000),
            "/sum" => (15, 300),
            "/many" => (30, 1),
            _ => (1, 1),
        };
        let names: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
        let value = "v".repeat(length);
        let fields: Vec<_> = names.iter().map(|name| (&**name, &*value)).collect();
        drop(call.head(200, &fields, true));
    });
    let proxy = limited(&upstream);
    let client = H2Client::connect(proxy.address);
    for path in ["/long", "/sum", "/many"] {
        let answer = client.get(path, &[]);
        assert_eq!(answer.status, 502, "{path}");
        assert_eq!(
            answer.one("x-haldane-error").as_deref(),
            Some("upstream_response")
        );
        assert_eq!(proxy.get(path, &[]).status, 502, "{path}");
    }
    assert_eq!(client.get("/", &[]).status, 200);
}
