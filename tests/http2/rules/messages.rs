//! What makes a request (§8.1 to §8.3): everything else is an error of its stream, and reaches
//! nobody.

use super::*;
use crate::support::http2_raw::{fields as head, literal};

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "test");
const ALL: [(&str, &str); 4] = [METHOD, SCHEME, PATH, AUTHORITY];

/// All pseudo fields, and then these.
fn with<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&ALL[..], fields].concat()
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn what_is_no_request_is_an_error_of_its_stream() {
    let bench = Bench::new();
    let heads = [
        ("8.2.1 a name in upper case", with(&[("X-A", "b")])),
        ("8.2.1 a name with a colon in it", with(&[("x:a", "b")])),
        ("8.2.1 a name with a space", with(&[("x a", "b")])),
        (
            "8.2.1 a name with a byte above all",
            with(&[("x\u{e4}", "b")]),
        ),
        ("8.2.1 a name that is empty", with(&[("", "b")])),
        // §8.2.1 names few characters, RFC 9110 §5.1 the others; `http` takes this one.
        ("8.2.1 a name with a quotation mark", with(&[("x\"a", "b")])),
        ("8.2.1 NUL in a value", with(&[("x", "a\0b")])),
        ("8.2.1 CR in a value", with(&[("x", "a\rb")])),
        ("8.2.1 LF in a value", with(&[("x", "a\nb")])),
        ("8.2.2 connection", with(&[("connection", "keep-alive")])),
        (
            "8.2.2 proxy-connection",
            with(&[("proxy-connection", "keep-alive")]),
        ),
        ("8.2.2 keep-alive", with(&[("keep-alive", "timeout=5")])),
        (
            "8.2.2 transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
        ),
        ("8.2.2 upgrade", with(&[("upgrade", "h2c")])),
        (
            "8.2.2 te that is more than trailers",
            with(&[("te", "trailers, deflate")]),
        ),
        ("8.3 an unknown pseudo field", with(&[(":test", "ok")])),
        ("8.3 a pseudo field of answers", with(&[(":status", "200")])),
        (
            "8.3 a pseudo field after others",
            [&[("x", "y")][..], &ALL].concat(),
        ),
        (
            "8.3 one in between",
            vec![METHOD, SCHEME, ("x", "y"), PATH, AUTHORITY],
        ),
        (
            "8.3.1 an empty path",
            vec![METHOD, SCHEME, (":path", ""), AUTHORITY],
        ),
        ("8.3.1 no method", vec![SCHEME, PATH, AUTHORITY]),
        ("8.3.1 no scheme", vec![METHOD, PATH, AUTHORITY]),
        ("8.3.1 no path", vec![METHOD, SCHEME, AUTHORITY]),
        ("8.3.1 two methods", [&ALL[..], &[METHOD]].concat()),
        ("8.3.1 two schemes", [&ALL[..], &[SCHEME]].concat()),
        ("8.3.1 two paths", [&ALL[..], &[PATH]].concat()),
        ("8.3.1 two authorities", [&ALL[..], &[AUTHORITY]].concat()),
        (
            "8.3.1 an authority with a user",
            vec![METHOD, SCHEME, PATH, (":authority", "u@test")],
        ),
        (
            "8.3.1 an authority that is none",
            vec![METHOD, SCHEME, PATH, (":authority", "a b")],
        ),
        (
            "8.3.1 an authority and another host",
            with(&[("host", "other")]),
        ),
        ("8.3.1 no authority and no host", vec![METHOD, SCHEME, PATH]),
        (
            "8.3.1 a method that is no token",
            vec![(":method", "G T"), SCHEME, PATH, AUTHORITY],
        ),
        (
            "8.3.1 a path with a space",
            vec![METHOD, SCHEME, (":path", "/a b"), AUTHORITY],
        ),
        (
            "8.3.1 a path that does not begin as one",
            vec![METHOD, SCHEME, (":path", "a"), AUTHORITY],
        ),
        (
            "8.3.1 a path with a line break",
            vec![METHOD, SCHEME, (":path", "/ HTTP/1.1\r\nx: y"), AUTHORITY],
        ),
        (
            "8.3.1 a path in absolute form",
            vec![METHOD, SCHEME, (":path", "http://other/"), AUTHORITY],
        ),
        (
            "8.3.1 a path that is for OPTIONS",
            vec![METHOD, SCHEME, (":path", "*"), AUTHORITY],
        ),
        (
            "8.3.1 a method with a line break",
            vec![
                (":method", "GET / HTTP/1.1\r\nx: y"),
                SCHEME,
                PATH,
                AUTHORITY,
            ],
        ),
        (
            "8.3.1 a scheme with a line break",
            vec![METHOD, (":scheme", "http\r\nx: y"), PATH, AUTHORITY],
        ),
        (
            "8.3.1 an authority with a line break",
            vec![METHOD, SCHEME, PATH, (":authority", "test\r\nx: y")],
        ),
        (
            "8.3.1 an authority with a path",
            vec![METHOD, SCHEME, PATH, (":authority", "test/a")],
        ),
        (
            "8.3.1 two hosts",
            with(&[("host", "test"), ("host", "other")]),
        ),
        (
            "8.1.1 a length of a request that has ended",
            with(&[("content-length", "4")]),
        ),
        (
            "8.1.1 two lengths",
            with(&[("content-length", "0"), ("content-length", "1")]),
        ),
        (
            "8.1.1 a length that is none",
            with(&[("content-length", "x")]),
        ),
        (
            "8.5 CONNECT with a path",
            vec![(":method", "CONNECT"), PATH, AUTHORITY],
        ),
        (
            "8.5 a protocol without CONNECT",
            with(&[(":protocol", "websocket")]),
        ),
    ];
    let mut wrong = Vec::new();
    for (what, fields) in heads {
        let mut raw = RawH2::connect(bench.proxy.address);
        say(
            &mut raw,
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &head(&fields),
        );
        bench.look(what, &mut raw, &[Reset(PROTOCOL), Refused], &mut wrong);
    }
    bench.conclude(&wrong);
    let arrivals = bench.upstream.log.arrivals();
    let forwarded = arrivals.iter().find(|arrival| {
        let path = arrival.head.word(1);
        !["/other", "/after"].contains(&path)
    });
    assert!(forwarded.is_none(), "{forwarded:?}");
}

/// A POST that says that five bytes follow.
fn announce_five(raw: &mut RawH2) {
    let asked = [POST, &literal("content-length", "5")].concat();
    say(raw, HEADERS, END_HEADERS, 1, &asked);
}

/// The end of stream 1, with these fields.
fn trailers(raw: &mut RawH2, list: &[(&str, &str)]) {
    say(raw, HEADERS, END_HEADERS | END_STREAM, 1, &head(list));
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn what_comes_after_the_head_fits_it() {
    let bench = Bench::new();
    bench.check(&[
        (
            "8.1 a second head that does not end the stream",
            |raw| {
                open(raw);
                say(raw, HEADERS, END_HEADERS, 1, &head(&ALL));
            },
            &[Reset(PROTOCOL), Refused],
        ),
        // The RFC has it malformed; `h2` only takes the field out.
        (
            "8.1 trailers with a pseudo field",
            |raw| {
                open(raw);
                trailers(raw, &[PATH]);
            },
            &[Served],
        ),
        (
            "8.1 trailers in upper case",
            |raw| {
                open(raw);
                trailers(raw, &[("X-A", "b")]);
            },
            &[Reset(PROTOCOL), Refused],
        ),
        (
            "8.1 trailers with a quotation mark in a name",
            |raw| {
                open(raw);
                trailers(raw, &[("x\"a", "b")]);
            },
            &[Reset(PROTOCOL), Refused],
        ),
        (
            "8.1 trailers with a field of the connection",
            |raw| {
                open(raw);
                trailers(raw, &[("transfer-encoding", "chunked")]);
            },
            &[Reset(PROTOCOL), Refused],
        ),
        (
            "8.1 trailers",
            |raw| {
                open(raw);
                say(raw, DATA, 0, 1, b"word");
                trailers(raw, &[("x-a", "b")]);
            },
            &[Served],
        ),
        (
            "8.1.1 less than the length says",
            |raw| {
                announce_five(raw);
                say(raw, DATA, END_STREAM, 1, b"word");
            },
            &[Reset(PROTOCOL), Refused],
        ),
        (
            "8.1.1 more than the length says, in pieces",
            |raw| {
                announce_five(raw);
                say(raw, DATA, 0, 1, b"word");
                say(raw, DATA, END_STREAM, 1, b"word");
            },
            &[Reset(PROTOCOL), Refused],
        ),
        // The end alone (CVE-2026-33555).
        (
            "8.1.1 a length and an end without any of it",
            |raw| {
                announce_five(raw);
                say(raw, DATA, END_STREAM, 1, b"");
            },
            &[Reset(PROTOCOL), Refused],
        ),
        (
            "8.1.1 less than the length says, and trailers",
            |raw| {
                announce_five(raw);
                say(raw, DATA, 0, 1, b"word");
                trailers(raw, &[("x-a", "b")]);
            },
            &[Reset(PROTOCOL), Refused],
        ),
        (
            "8.1.1 the length that it says",
            |raw| {
                let asked = [POST, &literal("content-length", "8")].concat();
                say(raw, HEADERS, END_HEADERS, 1, &asked);
                say(raw, DATA, 0, 1, b"word");
                say(raw, DATA, END_STREAM, 1, b"word");
            },
            &[Served],
        ),
    ]);
    // What was cut short never looked whole, and no pseudo field became a trailer.
    let posts = bench.upstream.log.arrivals().into_iter();
    let posts = posts.filter(|arrival| arrival.head.word(0) == "POST");
    let whole: Vec<_> = posts
        .map(|arrival| arrival.body)
        .filter(|body| !body.bytes.is_empty())
        .map(|body| (body.bytes, body.trailers.len()))
        .collect();
    assert_eq!(whole, [(b"word".to_vec(), 1), (b"wordword".to_vec(), 0)]);
}
