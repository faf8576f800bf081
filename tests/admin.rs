//! The admin API: what it shows, what it changes, and whom it refuses.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

mod access;
mod command;
mod explain;
mod openapi;
mod unix;

const JSON: (&str, &str) = ("content-type", "application/json");

/// A canary with half of the users, and what it is split from.
struct Split {
    stable: Upstream,
    canary: Upstream,
    proxy: Proxy,
}

impl Split {
    fn start(weight: &str) -> Self {
        Self::with(weight, |setup| setup)
    }

    fn with(weight: &str, more: impl Fn(Setup) -> Setup) -> Self {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        let setup = Setup::canary(&stable, &canary, weight)
            .by_user()
            .meltdown(3);
        let proxy = more(setup).start();
        Self {
            stable,
            canary,
            proxy,
        }
    }

    /// Sends requests of one user after another until the canary was rolled back.
    fn break_canary(&self) {
        self.canary.behave(Behaviour::Status(503));
        let before = self.proxy.live.events.last();
        for user in 0..1000 {
            self.proxy.get("/", &[("x-user", &user.to_string())]);
            if !self.proxy.events(before).is_empty() {
                return;
            }
        }
        panic!("the canary is not rolled back");
    }
}

/// Sends a request with exactly these fields, besides `Host` unless that is among them.
pub(crate) fn send(
    address: SocketAddr,
    request: (&str, &str),
    fields: &[(&str, &str)],
    body: &str,
) -> Response {
    let (method, path) = request;
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !fields.iter().any(|(name, _)| *name == "host") {
        text.push_str(&format!("host: {address}\r\n"));
    }
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let mut client = Client::connect(address);
    client.send(format!("{text}\r\n{body}"));
    client.answer_to(method)
}

fn value(response: &Response) -> Value {
    serde_json::from_slice(&response.body.bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}

/// The problem that a response is, which has all its fields.
#[track_caller]
fn problem(response: &Response) -> Value {
    assert_eq!(
        response.head.one("content-type").as_deref(),
        Some("application/problem+json"),
        "{}",
        response.text()
    );
    let problem = value(response);
    assert_eq!(problem["status"], response.status);
    for field in ["type", "title", "detail", "hint"] {
        let text = problem[field].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{field}: {problem}");
    }
    problem
}

fn put_weight(proxy: &Proxy, weight: &str, fields: &[(&str, &str)]) -> Response {
    let fields = [&[JSON], fields].concat();
    let body = json!({ "weight": weight }).to_string();
    send(
        proxy.admin_address,
        ("PUT", "/v1/routes/default/weight"),
        &fields,
        &body,
    )
}

fn etag(proxy: &Proxy) -> String {
    let response = send(proxy.admin_address, ("GET", "/v1/routes/default"), &[], "");
    response.head.one("etag").expect("has an entity tag")
}

#[test]
fn a_route_shows_where_it_stands_and_what_its_versions_have_done() {
    let split = Split::start("100%");
    let proxy = &split.proxy;
    for _ in 0..3 {
        proxy.get("/", &[("x-user", "a")]);
    }
    let one = proxy.status();
    let (status, all) = proxy.admin("GET", "/v1/routes", &Value::Null);
    assert_eq!(status, 200);
    assert_eq!(all["schema"], "haldane.status/1");
    assert_eq!(all["routes"].as_array().map(Vec::len), Some(1));
    for route in [&one, &all["routes"][0]] {
        assert_eq!(route["route"], "default");
        assert_eq!(route["phase"], "idle");
        assert_eq!(route["weight"], "100%");
        assert_eq!(route["configured_weight"], "100%");
        assert_eq!(route["generation"], 1);
        let commands = json!(["promote", "weight", "rollback"]);
        assert_eq!(route["commands"], commands);
        assert_eq!(route["gates"][0]["name"], "meltdown");
        let (stable, canary) = (&route["versions"]["stable"], &route["versions"]["canary"]);
        assert_eq!(
            (&stable["version"], &stable["requests"]),
            (&json!("v1"), &json!(0))
        );
        assert_eq!(stable["ttfb_seconds"]["p50"], Value::Null);
        assert_eq!(
            (&canary["version"], &canary["requests"]),
            (&json!("v2"), &json!(3))
        );
        assert_eq!(
            (&canary["in_flight"], &canary["failures"]),
            (&json!(0), &json!(0))
        );
        let quantile = |name: &str| canary["ttfb_seconds"][name].as_f64().expect("is known");
        assert!(quantile("p50") > 0.0 && quantile("p50") <= quantile("p99"));
    }
    assert_eq!(one["schema"], "haldane.status/1");
    assert_eq!(one.get("changed"), None);
}

#[test]
fn a_verdict_is_always_an_answer_and_ok_only_on_evidence() {
    let split = Split::start("0%");
    let proxy = &split.proxy;
    let verdict = || {
        let (status, verdict) = proxy.admin("GET", "/v1/routes/default/verdict", &Value::Null);
        assert_eq!(status, 200);
        assert_eq!(verdict["gates"][0]["name"], "meltdown");
        verdict
    };
    let idle = verdict();
    assert_eq!(
        (&idle["ok"], &idle["verdict"]),
        (&json!(false), &json!("inconclusive"))
    );
    assert_eq!(idle["sentence"], "the canary has no traffic");

    proxy.set_weight("100%");
    proxy.get("/", &[("x-user", "a")]);
    let good = verdict();
    assert_eq!(
        (&good["ok"], &good["verdict"]),
        (&json!(true), &json!("pass")),
        "{good}"
    );

    let events = proxy.live.events.last();
    split.canary.behave(Behaviour::Status(500));
    for _ in 0..3 {
        proxy.get("/", &[("x-user", "a")]);
    }
    assert_eq!(proxy.live.events.last(), events + 1);
    let bad = verdict();
    assert_eq!(
        (&bad["ok"], &bad["verdict"]),
        (&json!(false), &json!("fail"))
    );
    let sentence = bad["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with("rolled back: meltdown: canary failed 3 times"),
        "{sentence}"
    );
}

#[test]
fn events_tell_what_happened_after_the_last_that_is_known() {
    let split = Split::start("50%");
    let proxy = &split.proxy;
    let (_, none) = proxy.admin("GET", "/v1/events", &Value::Null);
    assert_eq!(none, json!({ "events": [], "last": 0 }));
    proxy.set_weight("60%");
    split.break_canary();
    let (_, all) = proxy.admin("GET", "/v1/events?since=0", &Value::Null);
    assert_eq!(all["last"], 2);
    assert_eq!(all["events"][0]["kind"], "reweighed");
    let rollback = &all["events"][1];
    assert_eq!(
        (&rollback["seq"], &rollback["kind"]),
        (&json!(2), &json!("rolled_back"))
    );
    assert_eq!(
        (&rollback["from"], &rollback["route"]),
        (&json!("60%"), &json!("default"))
    );
    assert_eq!(rollback["by"]["gate"], "meltdown");
    assert_eq!(rollback["canary_requests"], split.canary.log.len());
    assert!(rollback["rollback_micros"].is_u64(), "{rollback}");
    let (_, rest) = proxy.admin("GET", "/v1/events?since=1", &Value::Null);
    assert_eq!(rest["events"], json!([rollback]));
    let (_, nothing) = proxy.admin("GET", "/v1/events?since=2", &Value::Null);
    assert_eq!(nothing, json!({ "events": [], "last": 2 }));
    for query in ["since=", "since=-1", "since=x", "since=1&x=2", "after=1"] {
        let (status, _) = proxy.admin("GET", &format!("/v1/events?{query}"), &Value::Null);
        assert_eq!(status, 400, "{query}");
    }
}

#[test]
fn unknown_paths_and_methods_say_what_there_is() {
    let split = Split::start("50%");
    let admin = split.proxy.admin_address;
    for path in [
        "/x",
        "/v1",
        "/v1/routes/default/advance",
        "/v1/routes/default/weight/",
    ] {
        let response = send(admin, ("GET", path), &[], "");
        assert_eq!(response.status, 404, "{path}");
        problem(&response);
    }
    for (method, path, allow) in [
        ("GET", "/v1/routes/default/rollback", "POST"),
        ("HEAD", "/v1/rollback", "POST"),
        ("GET", "/v1/routes/default/weight", "PUT"),
        ("POST", "/v1/routes/default/weight", "PUT"),
        ("GET", "/v1/routes/default/retry", "POST"),
        ("GET", "/v1/explain", "POST"),
        ("POST", "/v1/routes", "GET, HEAD"),
        ("DELETE", "/v1/routes/default", "GET, HEAD"),
        ("OPTIONS", "/v1/rollback", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let response = send(admin, (method, path), &[], "");
        assert_eq!(response.status, 405, "{method} {path}");
        assert_eq!(
            response.head.one("allow").as_deref(),
            Some(allow),
            "{method} {path}"
        );
        assert_eq!(response.head.one("access-control-allow-origin"), None);
    }
    let index = send(admin, ("GET", "/"), &[], "");
    assert_eq!((index.status, index.text().lines().count()), (200, 1));
    let head = send(admin, ("HEAD", "/v1/routes"), &[], "");
    assert_eq!((head.status, head.body.bytes.len()), (200, 0));
    assert!(split.proxy.events(0).is_empty());
}

#[test]
fn while_draining_it_is_not_ready_but_alive_and_still_commanded() {
    let mut split = Split::with("100%", |setup| {
        setup.top("drain = { linger = \"0s\", timeout = \"20s\" }")
    });
    split.canary.behave(Behaviour::Silent);
    let mut running = split.proxy.client();
    running.send("GET / HTTP/1.1\r\nhost: test\r\nx-user: a\r\n\r\n");
    eventually("a request is running", || split.canary.log.len() == 1);

    let admin = split.proxy.admin_address;
    let draining =
        |proxy: &Proxy| proxy.admin("GET", "/v1/routes", &Value::Null).1["draining"].clone();
    assert_eq!(draining(&split.proxy), false);
    let status = |path: &str| send(admin, ("GET", path), &[], "").status;
    let probes = |status: &dyn Fn(&str) -> u16| (status("/livez"), status("/startupz"));
    assert_eq!((status("/readyz"), probes(&status)), (200, (200, 200)));
    split.proxy.begin_drain();
    eventually("not ready", || status("/readyz") == 503);
    assert_eq!(draining(&split.proxy), true);
    assert_eq!((status("/metrics"), probes(&status)), (200, (200, 200)));
    assert_eq!(split.proxy.roll_back()["changed"], true);
    assert_eq!(split.proxy.status()["versions"]["canary"]["in_flight"], 1);
    // The drain ends with the last request.
    drop(running);
    split.proxy.join();
}
