//! However a request fails, and whoever answers it: it is there once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{TRACE, requests, says, tolerant};
use crate::support::client::request;
use crate::support::eventually::eventually;
use crate::support::http2::{self, H2Client};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

#[track_caller]
fn only(proxy: &Proxy) -> Value {
    requests(proxy, 1).remove(0)
}

#[test]
fn every_reason_is_told_with_what_is_known() {
    let stable = Upstream::named("stable");
    for (behaviour, reason, status) in [
        (Behaviour::Status(599), "status", json!(599)),
        (Behaviour::Reset, "reset", Value::Null),
        (Behaviour::Malformed, "reset", Value::Null),
        (Behaviour::Silent, "timeout", Value::Null),
        (Behaviour::Truncated, "truncated", json!(200)),
    ] {
        let canary = Upstream::named("canary");
        canary.behave(behaviour);
        let proxy = tolerant(&stable, &canary)
            .route("timeouts = { connect = \"20s\", response = \"300ms\" }")
            .start();
        let mut client = proxy.client();
        client.send(request("GET", "/a", &[("x-user", "a")], ""));
        client.answer_to("GET");
        let address = canary.address.to_string();
        let expected = json!({
            "reason": reason, "status": status, "address": address, "shielded": false, "path": "/a",
        });
        says(&only(&proxy), &expected);
    }
}

#[test]
fn what_haldane_answers_for_a_version_is_its_failure() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::refusing());
    let proxy = tolerant(&stable, &canary)
        .route("ejection = { failures = 1, time = \"60s\", max = \"60s\" }")
        .start();
    let status = |path: &str| proxy.get(path, &[("x-user", "a")]).status;
    assert_eq!(status("/refused"), 502);
    eventually("nobody is asked any more", || status("/unhealthy") == 503);
    let kept = super::tap(&proxy, "");
    let kept = kept["requests"].as_array().expect("a list");
    let connect = json!({ "reason": "connect", "status": null, "role": "canary" });
    for request in kept {
        says(request, &connect);
    }
    let unhealthy = json!({ "path": "/unhealthy", "address": null });
    says(&kept[0], &unhealthy);
    let address = canary.address.to_string();
    let refused = json!({ "path": "/refused", "address": address });
    says(kept.last().expect("is there"), &refused);
}

#[test]
fn what_stable_answers_instead_shows_what_the_canary_did() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(503));
    let proxy = tolerant(&stable, &canary).shielded().start();
    assert_eq!(proxy.get("/a", &[("x-user", "a")]).text(), "stable");
    proxy.settled("stable", 1);
    let of_canary = json!({
        "role": "canary", "version": "v2", "status": 503, "reason": "status", "shielded": true,
        "address": canary.address.to_string(),
    });
    says(&only(&proxy), &of_canary);
    // Both fail: the canary has failed it, and stable only stood in.
    stable.behave(Behaviour::Status(500));
    assert_eq!(proxy.get("/b", &[("x-user", "a")]).status, 500);
    proxy.settled("stable", 2);
    let both = requests(&proxy, 2);
    says(&both[0], &of_canary);
    says(&both[0], &json!({ "path": "/b" }));
}

/// One is recalled and given to stable, one goes on and is answered after all.
#[test]
fn who_has_waited_for_too_long_is_there_once() {
    let stable = Upstream::named("stable");
    let released = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&released);
    let canary = Upstream::scripted(move |mut connection| {
        while let Some(head) = connection.request() {
            match head.word(1) {
                "/hang" => {
                    connection.wire.patience(Duration::from_secs(60));
                    connection.end();
                    return;
                }
                "/late" => eventually("it is told", || told.load(Ordering::Relaxed)),
                _ => {}
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary";
            connection.wire.write(answer);
        }
    });
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .shielded()
        .route("timeouts = { connect = \"60s\", response = \"60s\" }")
        .section(
            "[[route.gate]]\nname = \"slow\"\nmetric = \"ttfb\"\nrollback = { p99 = \"10x stable\" }",
        )
        .start();
    let users = proxy.users_of_canary();
    proxy.wait_for_limits();
    let fields = [("x-user", &*users[0])];
    assert_eq!(proxy.get("/hang", &fields).text(), "stable");
    let address = canary.address.to_string();
    let stalled = json!({
        "role": "canary", "reason": "stalled", "status": null, "shielded": true, "path": "/hang",
        "address": address,
    });
    says(&only(&proxy), &stalled);
    let mut late = proxy.client();
    late.send(request("POST", "/late", &fields, ""));
    let stalls = ["reason=\"stalled\"", "role=\"canary\""];
    eventually("it has failed", || {
        proxy.metric("haldane_request_failures_total", &stalls) == 2
    });
    requests(&proxy, 1);
    released.store(true, Ordering::Relaxed);
    assert_eq!(late.answer_to("POST").text(), "canary");
    let two = requests(&proxy, 2);
    let late = json!({
        "role": "canary", "reason": "stalled", "status": 200, "shielded": false, "path": "/late",
        "method": "POST", "address": address,
    });
    says(&two[0], &late);
    assert!(two[0]["duration_ms"].as_f64() >= Some(1000.0), "{}", two[0]);
}

/// Over HTTP/2 on both sides: `/call/STATUS` ends a call, `/cut` breaks an answer off when
/// told.
#[test]
fn streams_and_calls_are_shown_like_others() {
    let (release, told) = watch::channel(false);
    let canary = H2Upstream::scripted(move |mut call: Call| {
        let mut told = told.clone();
        async move {
            drop(http2::read(&mut call.body).await);
            let path = call.path().to_owned();
            if let Some(status) = path.strip_prefix("/call/") {
                let mut stream = call.begin(200, &[("content-type", "application/grpc")]);
                stream
                    .send_data(Bytes::from_static(b"\0\0\0\0\x03abc"), false)
                    .ok();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().expect("is a status"));
                stream.send_trailers(trailers).ok();
            } else if path == "/cut" {
                let mut stream = call.begin(200, &[]);
                stream.send_data(Bytes::from_static(b"half"), false).ok();
                told.wait_for(|told| *told).await.expect("is told");
                stream.send_reset(h2::Reason::INTERNAL_ERROR);
            } else {
                call.reply(500, "no");
            }
        }
    });
    let proxy = Setup::canary_at("http://127.0.0.1:9", &canary.url(), "100%")
        .upstreams_in_h2()
        .by_user()
        .meltdown(1_000_000)
        .start();
    let client = H2Client::connect(proxy.address);
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let fields = [("x-user", "a"), ("traceparent", &*traceparent)];
    let call = [
        &fields[..],
        &[("content-type", "application/grpc"), ("te", "trailers")],
    ]
    .concat();
    client.ask(http2::request("POST", "/call/0", &call), b"");
    client.ask(http2::request("POST", "/call/5", &call), b"");
    client.ask(http2::request("POST", "/call/14", &call), b"");
    says(
        &only(&proxy),
        &json!({
            "protocol": "grpc", "reason": "grpc", "status": 200, "grpc_status": 14,
            "method": "POST", "path": "/call/14", "trace_id": TRACE,
            "address": canary.url().trim_start_matches("http://"),
        }),
    );
    client.ask(http2::request("GET", "/500?q=s3cret", &fields), b"");
    let h2 = json!({ "protocol": "h2", "reason": "status", "status": 500, "path": "/500" });
    says(&requests(&proxy, 2)[0], &h2);
    let exchange = client.open(http2::request("GET", "/cut", &fields), true);
    let (begun, _upload) = exchange.head();
    release.send(true).expect("is awaited");
    let answer = http2::wait("the answer breaks off", begun.rest());
    assert!(answer.end.is_err(), "{answer:?}");
    let cut = json!({ "protocol": "h2", "reason": "truncated", "status": 200, "path": "/cut" });
    says(&requests(&proxy, 3)[0], &cut);
}
