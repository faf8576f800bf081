//! What is passed on, in both directions, and what is not.

use std::time::Duration;

use crate::support::client::{Response, request};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;
use crate::support::wire::Head;

/// A network that the tests are not in.
const STRANGERS: &str = "10.0.0.0/8";

const NONE: &[&str] = &[];

/// The head that the upstream gets of a GET with these lines, where this network is
/// trusted.
#[track_caller]
fn passed_up(trusted: &str, lines: impl AsRef<[u8]>) -> Head {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream)
        .top(&format!("trusted_proxies = [\"{trusted}\"]"))
        .start();
    let start = b"GET /path HTTP/1.1\r\nHost: test:81\r\n";
    let bytes = [&start[..], lines.as_ref(), b"\r\n"].concat();
    assert_eq!(proxy.raw(bytes).status, 200);
    upstream.log.only().head
}

/// What the client gets of a 200 with these lines.
#[track_caller]
fn passed_down(lines: impl AsRef<[u8]>) -> Response {
    let start = b"HTTP/1.1 200 Very Well\r\nContent-Length: 2\r\n";
    let upstream = Upstream::answering([&start[..], lines.as_ref(), b"\r\nok"].concat());
    let response = Setup::stable(&upstream).start().get("/", &[]);
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    response
}

/// Checks all values of each of these fields.
#[track_caller]
fn has_exactly(head: &Head, expected: &[(&str, &[&str])]) {
    for (name, values) in expected {
        assert_eq!(head.all(name), *values, "{name}");
    }
}

#[test]
fn a_request_reaches_its_upstream_and_the_answer_its_client() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    let response = proxy.get("/a?b=c", &[]);
    assert_eq!((response.status, response.text().as_str()), (200, "stable"));
    assert_eq!(upstream.log.only().head.start, "GET /a?b=c HTTP/1.1");
}

#[test]
fn hop_by_hop_fields_stop_here_both_ways() {
    let lines = "Connection: keep-alive, X-Gone\r\n\
        CONNECTION:\tx-gone-too , ,X-LAST,,\r\n\
        X-Gone: 1\r\nx-GONE: 2\r\nX-Gone-Too: 3\r\nx-last: 4\r\n\
        Keep-Alive: timeout=5\r\npROXY-connection: keep-alive\r\nTE: gzip\r\n\
        Trailer: X-Sum\r\nUPGRADE: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP\r\n\
        Proxy-Authorization: Basic YTpi\r\nProxy-Authenticate: Basic\r\n\
        X-Kept: 5\r\nX-Gone-Not: 6\r\n";
    for head in [passed_up(STRANGERS, lines), passed_down(lines).head] {
        for name in [
            "connection",
            "http2-settings",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "upgrade",
            "x-gone",
            "x-gone-too",
            "x-last",
        ] {
            has_exactly(&head, &[(name, NONE)]);
        }
        has_exactly(&head, &[("x-kept", &["5"]), ("x-gone-not", &["6"])]);
    }
}

#[test]
fn te_survives_as_trailers_alone() {
    for (lines, expected) in [
        ("TE: trailers\r\n", &["trailers"][..]),
        (
            "TE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n",
            &["trailers"],
        ),
        ("TE: gzip\r\nTE: trailers\r\n", &["trailers"]),
        ("TE: gzip\r\nConnection: te\r\n", NONE),
        ("TE: xtrailers\r\n", NONE),
    ] {
        let head = passed_up(STRANGERS, lines);
        assert_eq!(head.all("te"), expected, "{lines:?}");
        let nominated = if expected.is_empty() { NONE } else { &["te"] };
        assert_eq!(head.all("connection"), nominated, "{lines:?}");
    }
}

#[test]
fn a_client_cannot_take_away_what_haldane_says() {
    let names = [
        "content-length",
        "host",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-haldane-role",
        "x-haldane-version",
    ];
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    let nominated = names.join(", ");
    proxy
        .client()
        .request("POST", "/", &[("connection", &nominated)], "body");
    let arrival = upstream.log.only();
    for name in names {
        assert!(arrival.head.one(name).is_some(), "{name}");
    }
    assert_eq!(arrival.body.bytes, b"body");
}

#[test]
fn the_claims_of_a_peer_that_is_not_trusted_are_replaced() {
    let lines = "X-Forwarded-For: 1.2.3.4\r\nX-FORWARDED-FOR: 5.6.7.8\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: evil\r\nForwarded: for=1.2.3.4\r\nX-Haldane-Version: v9\r\n\
        x-haldane-ROLE: canary\r\nX-Haldane-Anything: x\r\nVia: 1.0 older\r\n\
        X_Forwarded_For: 1.2.3.4\r\nx-forwarded_for: 1.2.3.4\r\nX_Forwarded_Proto: https\r\n\
        x_forwarded-host: evil\r\nX_Haldane_Role: canary\r\nX-Haldane_Version: v9\r\n\
        X_Unrelated: kept\r\n";
    let head = passed_up(STRANGERS, lines);
    has_exactly(
        &head,
        &[
            ("x-forwarded-for", &["127.0.0.1"]),
            ("x-forwarded-proto", &["http"]),
            ("x-forwarded-host", &["test:81"]),
            ("forwarded", NONE),
            ("x-haldane-version", &["v1"]),
            ("x-haldane-role", &["stable"]),
            ("x-haldane-anything", NONE),
            ("via", &["1.0 older", "1.1 haldane"]),
            ("host", &["test:81"]),
        ],
    );
    let underscored = head.fields.iter().filter(|(name, _)| name.contains('_'));
    let underscored: Vec<_> = underscored.map(|(name, _)| name.as_str()).collect();
    assert_eq!(underscored, ["X_Unrelated"]);
}

/// What other proxies tell of a client, and what servers take for fields that they are not.
#[test]
fn nothing_else_that_proxies_say_is_believed_of_a_stranger() {
    let claims = "X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /a\r\nX-FORWARDED-Ssl: on\r\n\
        X-Forwarded-Server: a\r\nX-Real-IP: 1.2.3.4\r\n";
    let twins = "X_Forwarded_Port: 2\r\nX-Forwarded_Prefix: /b\r\nX_Real_IP: 6.6.6.6\r\n\
        Content_Length: 5\r\nTransfer_Encoding: chunked\r\ntransfer_encoding: x\r\n\
        Proxy: http://evil\r\nX_Unrelated: kept\r\n";
    let lines = format!("{claims}{twins}");
    for (trusted, port, client) in [
        (STRANGERS, NONE, NONE),
        ("127.0.0.0/8", &["1"][..], &["1.2.3.4"][..]),
    ] {
        let head = passed_up(trusted, &lines);
        has_exactly(
            &head,
            &[
                ("x-forwarded-port", port),
                ("x-real-ip", client),
                ("proxy", NONE),
            ],
        );
        let believed = head.fields.iter().filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name.starts_with("x-forwarded-") && name != "x-forwarded-port"
        });
        let told = if port.is_empty() { 3 } else { 6 };
        assert_eq!(believed.count(), told, "{:?}", head.fields);
        let underscored = head.fields.iter().filter(|(name, _)| name.contains('_'));
        let underscored: Vec<_> = underscored.map(|(name, _)| name.as_str()).collect();
        assert_eq!(underscored, ["X_Unrelated"]);
    }
}

#[test]
fn a_trusted_peer_is_believed_and_its_address_added() {
    let lines = "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nX-Forwarded-For: 9.9.9.9\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example.com\r\n\
        Forwarded: for=1.2.3.4\r\nX_Forwarded_For: 6.6.6.6\r\nX-Haldane-Role: canary\r\n";
    has_exactly(
        &passed_up("127.0.0.0/8", lines),
        &[
            ("x-forwarded-for", &["1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1"]),
            ("x-forwarded-proto", &["https"]),
            ("x-forwarded-host", &["shop.example.com"]),
            ("forwarded", &["for=1.2.3.4"]),
            ("x_forwarded_for", NONE),
            ("x-haldane-role", &["stable"]),
        ],
    );
}

#[test]
fn via_tells_what_the_client_spoke() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    assert_eq!(proxy.raw("GET / HTTP/1.0\r\n\r\n").status, 200);
    let head = upstream.log.only().head;
    assert_eq!(head.start, "GET / HTTP/1.1");
    has_exactly(&head, &[("via", &["1.0 haldane"])]);
}

#[test]
fn each_version_is_told_what_it_is_and_clients_only_where_configured() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let setup = Setup::canary(&stable, &canary, "50%").by_user();
    for exposed in [false, true] {
        let line = format!("expose_version = {exposed}");
        let proxy = setup.clone().route(&line).start();
        let mut client = proxy.client();
        for user in 0..40 {
            let answer = client.get("/", &[("x-user", &user.to_string())]);
            let version = match answer.text().as_str() {
                "canary" => "v2",
                _ => "v1",
            };
            let told = if exposed { &[version][..] } else { NONE };
            assert_eq!(answer.head.all("x-haldane-version"), told);
        }
    }
    for (upstream, version, role) in [(&stable, "v1", "stable"), (&canary, "v2", "canary")] {
        assert!(upstream.log.len() > 0, "{role} got nothing");
        for arrival in upstream.log.arrivals() {
            has_exactly(
                &arrival.head,
                &[
                    ("x-haldane-version", &[version]),
                    ("x-haldane-role", &[role]),
                ],
            );
        }
    }
}

#[test]
fn what_an_upstream_says_in_the_name_of_haldane_is_dropped() {
    let lines =
        "X-Haldane-Version: v9\r\nx-haldane-role: canary\r\nX-HALDANE-ERROR: upstream_reset\r\n";
    has_exactly(
        &passed_down(lines).head,
        &[
            ("x-haldane-version", NONE),
            ("x-haldane-role", NONE),
            ("x-haldane-error", NONE),
        ],
    );
}

#[test]
fn methods_and_targets_pass_byte_for_byte() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    for (sent, expected, host) in [
        (
            "GET /a//b/../c/./%2e%2E/%2F;x=y?q=1&q=2&&=%00+%20?",
            "",
            "test",
        ),
        ("GET /%zz%/\"<>`{}|\\^[]~!$&'()*+,;=:@", "", "test"),
        ("GET /?http://a/b", "", "test"),
        ("GET //double", "", "test"),
        ("PURGE /a", "", "test"),
        ("M-SEARCH /a", "", "test"),
        ("get /lower", "", "test"),
        ("OPTIONS *", "", "test"),
        ("GET http://other:82/x?y", "GET /x?y", "other:82"),
        ("GET HTTPS://other:82", "GET /", "other:82"),
    ] {
        let arrived = upstream.log.len();
        client.send(format!("{sent} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!(client.answer_to("GET").status, 200, "{sent}");
        let head = &upstream.log.arrivals()[arrived].head;
        let expected = if expected.is_empty() { sent } else { expected };
        assert_eq!(head.start, format!("{expected} HTTP/1.1"));
        has_exactly(head, &[("host", &[host])]);
    }
}

/// The fields in front, as they arrived.
#[track_caller]
fn begins_with(fields: &[(String, Vec<u8>)], expected: &[(&str, &[u8])]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .collect();
    assert_eq!(fields[..expected.len()], expected);
}

#[test]
fn fields_pass_byte_for_byte_and_in_their_order() {
    let lines = b"X-Odd: \xe4\xf6\xfc \xff\t\"a\" , b\r\nx-Case: KEPT\r\nAccept: a\r\nX-Empty:\r\n\
        Cookie: a=1; b=\"2\"\r\nAuthorization: Bearer x\r\nAccept: b, c\r\nCookie: c=3\r\n\
        !#$%&'*+-.^_`|~9: z\r\n";
    let head = passed_up(STRANGERS, lines);
    // The first is Host.
    begins_with(
        &head.fields[1..],
        &[
            ("X-Odd", b"\xe4\xf6\xfc \xff\t\"a\" , b"),
            ("x-Case", b"KEPT"),
            ("Accept", b"a"),
            ("X-Empty", b""),
            ("Cookie", b"a=1; b=\"2\""),
            ("Authorization", b"Bearer x"),
            ("Accept", b"b, c"),
            ("Cookie", b"c=3"),
            ("!#$%&'*+-.^_`|~9", b"z"),
        ],
    );

    let lines = b"Set-Cookie: a=1; Path=/\r\nX-Odd: \xe4\xff\r\nset-cookie: b=2, c\r\nVary: a\r\n\
        SET-COOKIE: a=3\r\nVary: b\r\nServer: x\r\nETag: \"y\"\r\n";
    let head = passed_down(lines).head;
    assert_eq!(head.start, "HTTP/1.1 200 Very Well");
    // The first is Content-Length.
    begins_with(
        &head.fields[1..],
        &[
            ("Set-Cookie", b"a=1; Path=/"),
            ("X-Odd", b"\xe4\xff"),
            ("set-cookie", b"b=2, c"),
            ("Vary", b"a"),
            ("SET-COOKIE", b"a=3"),
            ("Vary", b"b"),
            ("Server", b"x"),
            ("ETag", b"\"y\""),
        ],
    );
}

#[test]
fn there_is_exactly_one_date() {
    let given = "Sun, 06 Nov 1994 08:49:37 GMT";
    let other = "Mon, 07 Nov 1994 08:49:37 GMT";
    for lines in [
        format!("Date: {given}\r\n"),
        format!("DATE: {given}\r\nDate: {other}\r\n"),
    ] {
        has_exactly(&passed_down(lines).head, &[("date", &[given])]);
    }

    let added = passed_down("").head.one("date").expect("is added");
    let added = httpdate::parse_http_date(&added).expect("is a date");
    let apart = added.elapsed().unwrap_or_else(|later| later.duration());
    assert!(apart < Duration::from_secs(60), "{apart:?} off");
}

#[test]
fn an_error_of_the_upstream_is_passed_on_as_it_is() {
    let body = "<h1>\u{1f4a5}</h1>";
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 503 Out of tea\r\nRetry-After: 7\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let answer = Setup::stable(&upstream).start().get("/", &[]);
    assert_eq!(answer.head.start, "HTTP/1.1 503 Out of tea");
    assert_eq!(answer.text(), body);
    has_exactly(
        &answer.head,
        &[("retry-after", &["7"]), ("x-haldane-error", NONE)],
    );
}

/// Status and code of an answer of haldane itself, which must not tell where
/// upstreams are.
#[track_caller]
fn own_answer(proxy: &Proxy, upstream: &Upstream) -> (u16, String) {
    let answer = proxy.get("/here", &[]);
    let all = String::from_utf8_lossy(&answer.head.raw).into_owned() + &answer.text();
    let port = format!(":{}", upstream.address.port());
    assert!(!all.contains(&port) && !all.contains("127.0.0.1"), "{all}");
    assert!(answer.head.one("date").is_some(), "{all}");
    (answer.status, answer.error())
}

#[test]
fn an_answer_of_haldane_says_whose_doing_it_was() {
    for (upstream, expected) in [
        (Upstream::refusing(), (502, "upstream_connect")),
        (Upstream::unreachable(), (504, "upstream_connect_timeout")),
        (Upstream::closing(""), (502, "upstream_reset")),
        (Upstream::closing("HTTP/1.1 200"), (502, "upstream_reset")),
        (Upstream::closing("tea\r\n\r\n"), (502, "upstream_response")),
        (
            Upstream::scripted(|mut connection| drop(connection.end())),
            (504, "upstream_timeout"),
        ),
    ] {
        let proxy = Setup::stable(&upstream)
            .route("timeouts = { connect = \"100ms\", response = \"100ms\" }")
            .start();
        let (status, code) = own_answer(&proxy, &upstream);
        assert_eq!((status, code.as_str()), expected);
    }
}

#[test]
fn a_request_that_no_route_takes_leaves_the_connection_usable() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream)
        .route("match = { host = \"shop.example.com\" }")
        .start();
    let (status, code) = own_answer(&proxy, &upstream);
    assert_eq!((status, code.as_str()), (404, "haldane_no_route"));
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(request("GET", "/", &[], "").replace("test", "SHOP.example.com:80"));
        assert_eq!(client.answer_to("GET").status, 200);
        client.send(request("GET", "/", &[], ""));
        assert_eq!(client.answer_to("GET").status, 404);
    }
    assert_eq!(upstream.log.len(), 2);
}

#[test]
fn a_trace_passes_as_it_is() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
    let lines = format!("Traceparent: {trace}\r\ntracestate: {state}\r\ntracestate: b=2\r\n");
    let head = passed_up(STRANGERS, lines);
    has_exactly(
        &head,
        &[("traceparent", &[trace]), ("tracestate", &[state, "b=2"])],
    );
}
