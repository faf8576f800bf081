//! How requests end that do not end well.

use bytes::Bytes;
use serde_json::json;

use super::{Access, both, says};
use crate::support::eventually::eventually;
use crate::support::http2::{self, H2Client};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

fn tolerant(access: &Access, stable: &Upstream, canary: &Upstream, lines: &str) -> Proxy {
    let setup = Setup::canary(stable, canary, "100%")
        .by_user()
        .meltdown(1000);
    let setup = setup.route("timeouts = { response = \"100ms\" }");
    access.start(&setup, lines)
}

#[test]
fn what_haldane_answers_is_logged_too() {
    let stable = Upstream::named("stable");
    let access = Access::new("own");
    // The lines of one worker are in order.
    let setup = Setup::stable(&stable).top("workers = 1");
    let setup = setup.section("[route.match]\nhost = \"shop.example\"");
    let proxy = access.start(&setup, "");
    assert_eq!(proxy.raw("GET / HTTP/1.1\r\n\r\n").status, 400);
    assert_eq!(proxy.get("/elsewhere", &[]).status, 404);
    assert_eq!(proxy.raw("nonsense\r\n\r\n").status, 400);
    let lines = access.objects(3);
    let nowhere = json!({
        "route": null, "role": null, "version": null, "generation": null, "weight": null,
        "key": null, "reason": null, "ttfb_us": null, "complete": true,
    });
    for (line, expected) in lines.iter().zip([
        json!({"status": 400, "error": "client_host", "method": "GET", "path": "/"}),
        json!({"status": 404, "error": "haldane_no_route", "host": "test", "path": "/elsewhere",
            "response_bytes": "No route takes this host and path.\n".len()}),
        json!({"status": 400, "error": "client_head", "method": null, "path": null}),
    ]) {
        says(line, &nowhere);
        says(line, &expected);
    }
}

#[test]
fn each_failure_of_a_version_is_logged_with_its_reason() {
    for (behaviour, expected) in [
        (
            Behaviour::Status(503),
            json!({"status": 503, "reason": "status", "error": null, "complete": true}),
        ),
        (
            Behaviour::Reset,
            json!({"status": 502, "reason": "reset", "error": "upstream_reset", "complete": true}),
        ),
        (
            Behaviour::Silent,
            json!({"status": 504, "reason": "timeout", "error": "upstream_timeout"}),
        ),
        (
            Behaviour::Truncated,
            json!({"status": 200, "reason": "truncated", "error": null, "complete": false,
                "response_bytes": 6}),
        ),
    ] {
        let (stable, canary) = both();
        canary.behave(behaviour);
        let access = Access::new("failure");
        // Errors are logged, whatever the share.
        let proxy = tolerant(
            &access,
            &stable,
            &canary,
            "sample = 0\nalways = [\"error\"]",
        );
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nhost: a\r\nx-user: a\r\n\r\n");
        client.answer_to("GET");
        let line = access.objects(1).remove(0);
        says(&line, &json!({"role": "canary", "version": "v2"}));
        says(&line, &expected);
        let answered = line["error"].is_null();
        assert_eq!(line["ttfb_us"].is_u64(), answered, "{line}");
    }
}

#[test]
fn an_upstream_that_cannot_be_reached_is_logged() {
    let stable = Upstream::named("stable");
    let access = Access::new("unreachable");
    let setup = Setup::canary_at(&stable.url(), "http://127.0.0.1:9", "100%");
    let proxy = access.start(&setup.by_user().meltdown(1000), "");
    assert_eq!(proxy.get("/", &[("x-user", "a")]).status, 502);
    let line = access.objects(1).remove(0);
    says(
        &line,
        &json!({"status": 502, "reason": "connect", "error": "upstream_connect", "version": "v2"}),
    );
}

#[test]
fn a_client_that_leaves_is_no_error() {
    let (stable, canary) = both();
    canary.behave(Behaviour::Silent);
    let access = Access::new("left");
    let setup = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(1000);
    let proxy = access.start(&setup, "sample = 0\nalways = \"canary\"");
    let mut client = proxy.client();
    client.send("GET /left HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it arrives", || canary.log.len() == 1);
    drop(client);
    let line = access.objects(1).remove(0);
    says(
        &line,
        &json!({"path": "/left", "status": 0, "reason": null, "complete": false, "role": "canary"}),
    );
}

#[test]
fn calls_are_logged_with_their_status() {
    let upstream = H2Upstream::scripted(async move |mut call: Call| {
        drop(http2::read(&mut call.body).await);
        let status = call.path()[1..].to_owned();
        call.reply_grpc("abc", &status);
    });
    let access = Access::new("calls");
    let setup = Setup::canary_at("http://127.0.0.1:9", &upstream.url(), "100%");
    let setup = setup.upstreams_in_h2().by_user().meltdown(1000);
    let proxy = access.start(&setup, "");
    let client = H2Client::connect(proxy.address);
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    for status in ["0", "5", "14"] {
        let request = http2::request("POST", &format!("/{status}"), &fields);
        client.ask(request, b"12345");
    }
    let lines = access.objects(3);
    for (line, (status, reason)) in lines.iter().zip([(0, None), (5, None), (14, Some("grpc"))]) {
        says(
            line,
            &json!({
                "protocol": "HTTP/2.0", "method": "POST", "status": 200, "grpc_status": status,
                "reason": reason, "version": "v2", "complete": true,
                "request_bytes": 5, "response_bytes": 3,
            }),
        );
    }
}

#[test]
fn a_call_that_haldane_answers_is_logged_as_it_is_told() {
    let access = Access::new("refused-call");
    let proxy = access.start(&Setup::stable_at("http://127.0.0.1:9"), "");
    let client = H2Client::connect(proxy.address);
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    client.ask(http2::request("POST", "/a", &fields), b"");
    client.get("/b", &[]);
    let lines = access.objects(2);
    says(
        &lines[0],
        &json!({"status": 200, "grpc_status": 14, "error": "upstream_connect", "reason": "connect"}),
    );
    says(
        &lines[1],
        &json!({"status": 502, "grpc_status": null, "protocol": "HTTP/2.0"}),
    );
}

#[test]
fn streams_of_one_connection_have_lines_of_their_own() {
    let stable = Upstream::named("stable");
    let access = Access::new("streams");
    let proxy = access.start(&Setup::stable(&stable), "");
    let client = H2Client::connect(proxy.address);
    let open: Vec<_> = (0..20)
        .map(|index| client.open(http2::request("GET", &format!("/{index}"), &[]), true))
        .collect();
    for exchange in open {
        assert_eq!(exchange.answer().status, 200);
    }
    let mut paths: Vec<String> = access
        .objects(20)
        .iter()
        .map(|line| line["path"].as_str().expect("is text").to_owned())
        .collect();
    paths.sort_by_key(|path| path[1..].parse::<u32>().expect("is a number"));
    let expected: Vec<String> = (0..20).map(|index| format!("/{index}")).collect();
    assert_eq!(paths, expected);
}

#[test]
fn a_session_has_one_line_at_its_end() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let upstream = Upstream::scripted(move |mut connection| {
        if connection.request().is_some() && connection.wire.write(switch) {
            let said = connection.wire.read(5).expect("is said");
            connection.wire.write([&said[..], b"!"].concat());
        }
    });
    let access = Access::new("session");
    let proxy = access.start(&Setup::stable(&upstream), "");
    let mut client = proxy.client();
    client.send("GET /s HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    client.response_head().expect("is answered");
    client.send(Bytes::from_static(b"hello"));
    assert_eq!(client.wire.read(6).expect("is echoed"), b"hello!");
    client.wire.finish();
    client.wire.end();
    let line = access.objects(1).remove(0);
    says(
        &line,
        &json!({
            "path": "/s", "status": 101, "request_bytes": 5, "response_bytes": 6,
            "role": "stable", "complete": true,
        }),
    );
}
