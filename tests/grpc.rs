//! Calls by gRPC: how they end is what counts.

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request};
use tokio::sync::watch;

use crate::support::eventually::eventually;
use crate::support::http2::{self, Answer, Exchange, H2Client, one, read, read_some, wait};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};

/// Calls of a version that is rolled back.
mod eviction;

const FAILURES: &str = "haldane_request_failures_total";
const REQUESTS: &str = "haldane_requests_total";

/// One message of three bytes: its prefix and itself.
const MESSAGE: &[u8] = b"\x00\x00\x00\x00\x03abc";

/// Answers as the path says: `/trailers/5`, `/only/5` (without a body), `/none` (without a
/// status), `/code/503`, `/held` (a message, the rest when told), `/silent` (never).
fn server() -> (H2Upstream, watch::Sender<bool>) {
    let (release, told) = watch::channel(false);
    let upstream = H2Upstream::scripted(move |mut call: Call| {
        let mut told = told.clone();
        async move {
            let path = call.path().to_owned();
            let (kind, detail) = path[1..]
                .split_once('/')
                .unwrap_or_else(|| (&path[1..], ""));
            if kind == "silent" {
                drop(call.given_up().await);
                return;
            }
            if kind == "held" {
                let mut stream = call.begin(200, &[("content-type", "application/grpc")]);
                stream.send_data(MESSAGE.into(), false).ok();
                tokio::select! {
                    _ = std::future::poll_fn(|cx| stream.poll_reset(cx)) => {}
                    released = told.wait_for(|told| *told) => {
                        released.expect("is told");
                        finish(stream, "0");
                    }
                }
                return;
            }
            drop(read(&mut call.body).await);
            let answer = [
                ("content-type", "application/grpc"),
                ("grpc-status", detail),
            ];
            match kind {
                "only" => drop(call.head(200, &answer, true)),
                "code" => call.reply(detail.parse().expect("is a status"), "no call"),
                _ => {
                    let mut stream = call.begin(200, &answer[..1]);
                    stream.send_data(MESSAGE.into(), kind == "none").ok();
                    if kind == "trailers" {
                        finish(stream, detail);
                    }
                }
            }
        }
    });
    (upstream, release)
}

fn finish(mut stream: h2::SendStream<Bytes>, status: &str) {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().expect("is a status"));
    trailers.insert("grpc-message", "as told".parse().expect("is a message"));
    // Whoever called may have left.
    stream.send_trailers(trailers).ok();
}

fn call(path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let kind = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-user", "a"),
    ];
    http2::request("POST", path, &[&kind, fields].concat())
}

/// Sends a message and leaves the call open.
#[track_caller]
fn begin(client: &H2Client, path: &str) -> Exchange {
    let mut exchange = client.open(call(path, &[]), false);
    let sending = http2::send(&mut exchange.upload, MESSAGE.into(), false);
    wait("the message is taken", sending).expect("is sent");
    exchange
}

/// The status of a call, wherever it stands.
#[track_caller]
fn status_of(answer: &Answer) -> Option<String> {
    let trailers = answer.end.as_ref().expect("the stream is complete");
    one(trailers, "grpc-status").or_else(|| answer.one("grpc-status"))
}

/// haldane with all traffic on a canary that is never rolled back.
fn tolerant(upstream: &H2Upstream, more: &str) -> Proxy {
    Setup::canary_at("http://127.0.0.1:9", &upstream.url(), "100%")
        .upstreams_in_h2()
        .route(more)
        .by_user()
        .meltdown(1000)
        .start()
}

/// How the canary has failed after one call of each path.
#[track_caller]
fn counted(more: &str, paths: &[&str]) -> Vec<bool> {
    let (upstream, _release) = server();
    let proxy = tolerant(&upstream, more);
    let client = H2Client::connect(proxy.address);
    let mut before = 0;
    let mut failed = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        client.ask(call(path, &[]), MESSAGE);
        proxy.settled("canary", index as u64 + 1);
        let after = proxy.metric(FAILURES, &["role=\"canary\"", "reason=\"grpc\""]);
        assert_eq!(after, proxy.metric(FAILURES, &[]), "for no other reason");
        failed.push(after > before);
        before = after;
    }
    failed
}

const STATUSES: [&str; 17] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
];

#[test]
fn the_status_at_the_end_decides() {
    for kind in ["trailers", "only"] {
        let paths = STATUSES.map(|status| format!("/{kind}/{status}"));
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let failed = counted("", &paths);
        let numbers: Vec<_> = (0..17).filter(|number| failed[*number]).collect();
        assert_eq!(numbers, [2, 4, 13, 14, 15], "{kind}");
    }
    assert_eq!(counted("", &["/none", "/trailers/x"]), [true, true]);
}

#[test]
fn the_failures_are_those_of_the_configuration() {
    let paths = ["/trailers/0", "/trailers/5", "/only/14", "/none"];
    for (list, expected) in [
        ("[]", [false; 4]),
        ("[\"NOT_FOUND\"]", [false, true, false, false]),
        ("[\"UNAVAILABLE\"]", [false, false, true, false]),
        ("[\"UNKNOWN\"]", [false, false, false, true]),
    ] {
        let failed = counted(&format!("grpc_failures = {list}"), &paths);
        assert_eq!(failed, expected, "{list}");
    }
}

/// What is no call any more counts by its status code, and once.
#[test]
fn an_error_of_http_is_one() {
    let (upstream, _release) = server();
    let proxy = tolerant(&upstream, "grpc_failures = []");
    let client = H2Client::connect(proxy.address);
    let answer = client.ask(call("/code/503", &[]), MESSAGE);
    assert_eq!((answer.status, answer.text().as_str()), (503, "no call"));
    assert_eq!(client.ask(call("/code/404", &[]), MESSAGE).status, 404);
    let version = proxy.settled("canary", 2);
    assert_eq!(version["failures"], 1);
    assert_eq!(proxy.metric(FAILURES, &["reason=\"status\""]), 1);
    assert_eq!(proxy.metric(REQUESTS, &["code=\"503\""]), 1);
}

#[test]
fn the_metrics_know_the_statuses() {
    let (upstream, _release) = server();
    let proxy = tolerant(&upstream, "");
    let client = H2Client::connect(proxy.address);
    for path in [
        "/trailers/0",
        "/trailers/0",
        "/trailers/14",
        "/only/5",
        "/none",
    ] {
        assert_eq!(client.ask(call(path, &[]), MESSAGE).status, 200);
    }
    proxy.settled("canary", 5);
    for (status, count) in [("0", 2), ("14", 1), ("5", 1), ("none", 1), ("1", 0)] {
        let label = format!("grpc_status=\"{status}\"");
        let labels = ["role=\"canary\"", "code=\"200\"", &label];
        assert_eq!(proxy.metric(REQUESTS, &labels), count, "{status}");
    }
    assert_eq!(proxy.metric(REQUESTS, &["role=\"canary\""]), 5, "each once");
}

#[test]
fn messages_and_what_is_said_beside_them_pass() {
    let (upstream, _release) = server();
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let client = H2Client::connect(proxy.address);
    let fields = [
        ("grpc-timeout", "1500m"),
        ("grpc-encoding", "gzip"),
        ("x-trace-bin", "AAECAwQ"),
    ];
    for (path, body) in [("/trailers/5", MESSAGE), ("/only/5", b"")] {
        let answer = client.ask(call(path, &fields), MESSAGE);
        assert_eq!((answer.status, &answer.body[..]), (200, body), "{path}");
        assert_eq!(status_of(&answer).as_deref(), Some("5"));
        assert_eq!(
            answer.one("content-type").as_deref(),
            Some("application/grpc")
        );
    }
    for arrival in upstream.log.arrivals() {
        for (name, value) in fields {
            assert_eq!(one(&arrival.parts.headers, name).as_deref(), Some(value));
        }
        assert_eq!(
            one(&arrival.parts.headers, "te").as_deref(),
            Some("trailers")
        );
    }
}

#[test]
fn messages_pass_both_ways_at_the_same_time() {
    let upstream = H2Upstream::scripted(|mut call: Call| async move {
        let mut stream = call.begin(200, &[("content-type", "application/grpc")]);
        while let Some(Ok(data)) = call.body.data().await {
            drop(call.body.flow_control().release_capacity(data.len()));
            http2::send(&mut stream, data, false)
                .await
                .expect("is sent");
        }
        finish(stream, "0");
    });
    let proxy = Setup::stable_at(&upstream.url()).upstreams_in_h2().start();
    let client = H2Client::connect(proxy.address);
    let (mut begun, mut upload) = begin(&client, "/echo").head();
    assert_eq!(
        wait("an echo", read_some(&mut begun.body, MESSAGE.len())),
        MESSAGE
    );
    for _ in 0..100 {
        wait(
            "it is taken",
            http2::send(&mut upload, MESSAGE.into(), false),
        )
        .expect("is sent");
        assert_eq!(
            wait("an echo", read_some(&mut begun.body, MESSAGE.len())),
            MESSAGE
        );
    }
    upload.send_data(Bytes::new(), true).expect("is open");
    assert_eq!(
        status_of(&wait("the end", begun.rest())).as_deref(),
        Some("0")
    );
}

#[test]
fn a_client_that_cancels_is_counted_and_is_no_failure() {
    let (upstream, _release) = server();
    let proxy = tolerant(&upstream, "");
    let client = H2Client::connect(proxy.address);
    for _ in 0..3 {
        let (begun, mut upload) = begin(&client, "/held").head();
        upload.send_reset(Reason::CANCEL);
        drop(begun);
    }
    assert_eq!(proxy.settled("canary", 3)["failures"], 0);
    assert_eq!(proxy.metric(REQUESTS, &["grpc_status=\"1\""]), 3);
    assert_eq!(proxy.metric(FAILURES, &[]), 0);
}

#[test]
fn a_canary_whose_calls_fail_is_rolled_back() {
    let ((stable, _), (canary, _)) = (server(), server());
    let proxy = Setup::canary_at(&stable.url(), &canary.url(), "100%")
        .upstreams_in_h2()
        .by_user()
        .meltdown(3)
        .start();
    let client = H2Client::connect(proxy.address);
    for number in 0..10 {
        client.ask(call("/trailers/14", &[]), MESSAGE);
        assert_eq!(canary.log.len(), (number + 1).min(3));
    }
    assert_eq!(proxy.status()["phase"], "rolled_back");
}

/// A call is never answered by what only a browser understands.
#[test]
fn errors_of_haldane_are_statuses_of_grpc() {
    let (upstream, _release) = server();
    let refused = "http://127.0.0.1:9";
    let silent = "timeouts = { response = \"100ms\" }";
    for (url, more, path, status, code) in [
        (refused, "", "/", "14", "upstream_connect"),
        (&upstream.url(), silent, "/silent", "4", "upstream_timeout"),
        (
            &upstream.url(),
            "match = { path = \"/x\" }",
            "/",
            "12",
            "haldane_no_route",
        ),
    ] {
        let proxy = Setup::stable_at(url).upstreams_in_h2().route(more).start();
        let client = H2Client::connect(proxy.address);
        let answer = client.ask(call(path, &[]), MESSAGE);
        assert_eq!(answer.status, 200, "{code}");
        assert_eq!(answer.one("grpc-status").as_deref(), Some(status), "{code}");
        assert_eq!(answer.one("x-haldane-error").as_deref(), Some(code));
        assert_eq!(
            answer.one("content-type").as_deref(),
            Some("application/grpc")
        );
        assert!(answer.one("grpc-message").is_some() && answer.body.is_empty());
        assert!(answer.end.as_ref().is_ok_and(HeaderMap::is_empty));
    }
}

/// Without progress for longer than bodies may be.
#[test]
fn a_silent_call_is_not_cut() {
    let (upstream, release) = server();
    let proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .route("timeouts = { idle_body = \"100ms\", response = \"100ms\" }")
        .start();
    let client = H2Client::connect(proxy.address);
    let (begun, _upload) = begin(&client, "/held").head();
    // What is no call is cut meanwhile.
    let body = client.open(http2::request("GET", "/held", &[]), true);
    assert_eq!(body.answer().reset(), Some(Reason::INTERNAL_ERROR));
    eventually("only the call is left", || {
        proxy.status()["versions"]["stable"]["in_flight"] == 1
    });
    release.send(true).expect("somebody waits");
    let answer = wait("the end", begun.rest());
    assert_eq!(status_of(&answer).as_deref(), Some("0"));
}
