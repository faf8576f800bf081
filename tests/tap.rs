//! The last requests that a version has failed, as one looks at them.

use serde_json::{Value, json};

use crate::cli::{haldane, ran};
use crate::reload::{File, put};
use crate::support::client::{Client, Response};
use crate::support::eventually::some;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

/// However a request fails, and whoever answers it: it is there once.
mod endings;
/// Requests that stand for counts in the metrics.
mod exemplars;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// haldane with all traffic on a canary that is never rolled back.
fn tolerant(stable: &Upstream, canary: &Upstream) -> Setup {
    Setup::canary(stable, canary, "100%")
        .by_user()
        .meltdown(1_000_000)
}

#[track_caller]
fn asked(proxy: &Proxy, query: &str) -> Response {
    let mut client = Client::connect(proxy.admin_address);
    client.send(format!(
        "GET /v1/routes/default/tap{query} HTTP/1.1\r\nhost: {}\r\n\r\n",
        proxy.admin_address
    ));
    client.answer_to("GET")
}

#[track_caller]
fn tap(proxy: &Proxy, query: &str) -> Value {
    let answer = asked(proxy, query);
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body.bytes).expect("is JSON")
}

/// What is kept, once it is so many requests.
#[track_caller]
fn requests(proxy: &Proxy, count: usize) -> Vec<Value> {
    some("so many are kept", || {
        let tap = tap(proxy, "");
        let requests = tap["requests"].as_array().expect("a list").clone();
        (requests.len() == count).then_some(requests)
    })
}

/// Checks these fields of a request.
#[track_caller]
fn says(request: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&request[name], value, "{name} in {request}");
    }
}

#[test]
fn a_failing_request_is_shown_and_nothing_that_is_secret() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("s3cret body"));
    canary.behave(Behaviour::Status(503));
    let proxy = tolerant(&stable, &canary).start();
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    let fields = [
        ("x-user", "alice-s3cret"),
        ("x-request-id", "r-17"),
        ("traceparent", &*traceparent),
        ("cookie", "session=s3cret"),
        ("authorization", "Bearer s3cret"),
        ("referer", "https://s3cret.example/"),
    ];
    let mut client = proxy.client();
    let path = "/checkout/7?token=s3cret";
    client.request("POST", path, &fields, "s3cret=1");
    client.get("/second", &[("x-user", "bob")]);
    let shown = tap(&proxy, "");
    assert_eq!(shown["schema"], "haldane.tap/1");
    assert_eq!(
        (&shown["route"], &shown["generation"]),
        (&json!("default"), &json!(1))
    );
    assert_eq!(shown["dropped"], 0);
    let requests = requests(&proxy, 2);
    says(
        &requests[1],
        &json!({
            "role": "canary", "version": "v2", "generation": 1, "method": "POST",
            "path": "/checkout/7", "protocol": "http/1.1", "status": 503, "grpc_status": null,
            "reason": "status", "address": canary.address.to_string(), "trace_id": TRACE,
            "request_id": "r-17", "shielded": false,
        }),
    );
    let unnamed = json!({ "path": "/second", "trace_id": null, "request_id": null });
    says(&requests[0], &unnamed);
    for request in &requests {
        let key = request["key"].as_str().expect("a key");
        assert!(
            key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{key}"
        );
        let at = request["at"].as_str().expect("a time");
        assert!(at.len() == 24 && at.ends_with('Z'), "{at}");
        assert!(request["duration_ms"].as_f64() > Some(0.0), "{request}");
    }
    assert_ne!(requests[0]["key"], requests[1]["key"]);
    let text = asked(&proxy, "").text();
    assert!(
        !text.contains("s3cret") && !text.contains("alice"),
        "{text}"
    );
}

#[test]
fn what_went_well_or_was_the_clients_doing_is_not_there() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = tolerant(&stable, &canary).start();
    for status in [200, 302, 404, 429, 500] {
        canary.behave(Behaviour::Status(status));
        assert_eq!(
            proxy.get(&format!("/{status}"), &[("x-user", "a")]).status,
            status
        );
    }
    // No exchange: haldane refuses it.
    proxy.raw("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    canary.behave(Behaviour::Silent);
    let mut gone = proxy.client();
    gone.send("GET /gone HTTP/1.1\r\nhost: test\r\nx-user: a\r\n\r\n");
    some("it has arrived", || (canary.log.len() == 6).then_some(()));
    drop(gone);
    proxy.settled("canary", 6);
    let requests = requests(&proxy, 1);
    says(&requests[0], &json!({ "path": "/500", "status": 500 }));
}

#[test]
fn so_many_are_kept_of_each_version_and_the_others_are_counted() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    for version in [&stable, &canary] {
        version.behave(Behaviour::Status(500));
    }
    let proxy = Setup::canary(&stable, &canary, "50%")
        .section("[route.sticky]\nkey = \"header:x-user\"\nforce = { header = \"x-to\", from = [\"127.0.0.0/8\"] }")
        .meltdown(1_000_000)
        .start();
    let mut client = proxy.client();
    let mut ask = |role: &str, count: usize| {
        for number in 0..count {
            client.get(&format!("/{role}/{number}"), &[("x-to", role)]);
        }
    };
    ask("stable", 20);
    ask("canary", 200);
    let all = tap(&proxy, "");
    let paths = |tap: &Value| -> Vec<String> {
        let requests = tap["requests"].as_array().expect("a list").iter();
        requests
            .map(|one| one["path"].as_str().expect("a path").to_owned())
            .collect()
    };
    let shown = paths(&all);
    assert_eq!((shown.len(), &all["dropped"]), (80, &json!(140)));
    assert_eq!((&*shown[0], &*shown[63]), ("/canary/199", "/canary/136"));
    assert_eq!((&*shown[64], &*shown[79]), ("/stable/19", "/stable/4"));
    let few = tap(&proxy, "?role=stable&limit=2");
    assert_eq!(paths(&few), ["/stable/19", "/stable/18"]);
    assert_eq!(few["dropped"], 4);
    for query in [
        "?limit=0",
        "?limit=1001",
        "?role=both",
        "?rol=canary",
        "?limit",
        "?role=canary&x",
    ] {
        let answer = asked(&proxy, query);
        assert_eq!(answer.status, 400, "{query}");
        assert!(
            answer.text().contains("role=canary or role=stable"),
            "{}",
            answer.text()
        );
    }
    let (status, _) = proxy.admin("GET", "/v1/routes/other/tap", &Value::Null);
    assert_eq!(status, 404);
    let (status, _) = proxy.admin("POST", "/v1/routes/default/tap", &json!({}));
    assert_eq!(status, 405);
}

/// Right-to-left overrides and C1 controls are no ASCII controls: they pass a JSON library.
#[test]
fn a_hostile_path_harms_nobody_who_looks() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let proxy = tolerant(&stable, &canary).start();
    let long = "x".repeat(4000);
    let targets = [
        "/\u{202e}gpj\u{9b}2J%0a%1b[0m<script>\"'".to_owned(),
        format!("/{long}?q=s3cret"),
    ];
    let mut sent = 0;
    for target in &targets {
        let answer = proxy.raw(format!(
            "GET {target} HTTP/1.1\r\nhost: test\r\nx-user: a\r\n\r\n"
        ));
        sent += usize::from(answer.status == 500);
    }
    let requests = requests(&proxy, sent);
    let path = requests[0]["path"].as_str().expect("a path");
    assert_eq!(path, format!("/{}…", &long[..255]));
    let text = asked(&proxy, "").text();
    let admin = format!("http://{}", proxy.admin_address);
    let run = |args: &[&str]| {
        let mut command = haldane(args);
        command.env("HALDANE_ADMIN", &admin);
        let ran = ran(command.output().expect("starts"));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    };
    let (table, object) = (run(&["tap"]), run(&["tap", "default", "-o", "json"]));
    for text in [&text, &table, &object] {
        let hidden = |one: char| one != '\n' && (one.is_control() || one == '\u{202e}');
        assert!(!text.contains(hidden), "{text:?}");
    }
    assert_eq!(
        serde_json::from_str::<Value>(&object).expect("is JSON"),
        tap(&proxy, "")
    );
    assert_eq!(table.lines().count(), sent + 1, "{table}");
    assert!(table.contains("status 500"), "{table}");
    let none = run(&["tap", "--role", "stable"]);
    assert_eq!(none, "");
    assert_eq!(run(&["tap", "--limit", "1"]).lines().count(), 2);
}

#[test]
fn nothing_is_kept_where_that_is_not_wanted() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let kept = tolerant(&stable, &canary);
    let file = File::new("tap", &kept);
    let proxy = file.start();
    let mut client = proxy.client();
    let mut ask = |path: &str| client.get(path, &[("x-user", "a")]);
    ask("/a");
    requests(&proxy, 1);
    let changes = put(&proxy, &file, &kept.clone().route("tap = \"off\"").text());
    assert_eq!(changes, json!(["route default: settings changed"]));
    // The worker follows with its next request.
    ask("/b");
    ask("/c");
    requests(&proxy, 0);
    put(&proxy, &file, &kept.text());
    requests(&proxy, 0);
    ask("/d");
    let requests = requests(&proxy, 1);
    says(&requests[0], &json!({ "path": "/d" }));
}
