//! What haldane says of its API against what it does.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use super::{JSON, send, value};
use crate::reload::File;
use crate::support::client::{Client, Response};
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::tools::{report, script};
use crate::support::upstream::{Behaviour, Upstream};
use crate::support::wire::Body;

/// Requests to each endpoint that are as described, and as many that are not.
const EXAMPLES: &str = "15";

/// What was asked and answered, a line of JSON each.
struct Notebook(String);

impl Notebook {
    fn ask(&mut self, proxy: &Proxy, asked: (&str, &str), body: &Value) -> Response {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(proxy, asked, &[JSON], &text)
    }

    fn send(
        &mut self,
        proxy: &Proxy,
        (method, path): (&str, &str),
        fields: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let response = send(proxy.admin_address, (method, path), fields, body);
        let is_json = fields.contains(&JSON) && !body.is_empty();
        self.note((method, path), is_json.then_some(body), &response);
        response
    }

    fn note(&mut self, (method, path): (&str, &str), request: Option<&str>, response: &Response) {
        let line = json!({
            "method": method,
            "path": path,
            "request": request,
            "status": response.status,
            "type": response.head.one("content-type"),
            "etag": response.head.one("etag"),
            "answer": response.text(),
        });
        writeln!(self.0, "{line}").expect("writes");
    }

    /// Everything that is only read.
    fn look(&mut self, proxy: &Proxy) {
        for path in [
            "/v1/routes",
            "/v1/routes/default",
            "/v1/routes/default?wait=0",
            "/v1/routes/default/verdict",
            "/v1/routes/default/exposure",
            "/v1/routes/default/exposure?limit=1",
            "/v1/routes/default/tap?role=canary&limit=3",
            "/v1/events",
        ] {
            let response = self.ask(proxy, ("GET", path), &Value::Null);
            assert_eq!(response.status, 200, "{path}");
        }
        for question in [json!({"key": "7"}), json!({"headers": {"x-tenant": "own"}})] {
            let response = self.ask(proxy, ("POST", "/v1/explain"), &question);
            assert_eq!(response.status, 200, "{question}: {}", response.text());
        }
    }

    /// A command, or anything else that must be answered with this status.
    #[track_caller]
    fn expect(&mut self, proxy: &Proxy, status: u16, asked: (&str, &str), body: &Value) {
        let response = self.ask(proxy, asked, body);
        assert_eq!(response.status, status, "{asked:?}: {}", response.text());
    }
}

/// Gates of every kind, a plan, a rule and everything that may be told.
fn full(stable: &Upstream, canary: &Upstream, pool: &Upstream, state: &str) -> Setup {
    let gates = [
        "\"errors\"\nmetric = \"error_rate\"\nrollback = [\"stable + 1pp\", \"stable + 5pp hard\"]",
        "\"latency\"\nmetric = \"ttfb\"\nrollback = { p95 = \"3x stable\", p99 = \"20s\" }",
        "\"meltdown\"\nmetric = \"consecutive_failures\"\nrollback = 5",
        "\"new\"\nmetric = \"new_errors\"",
        "\"trend\"\nmetric = \"error_trend\"",
        "\"spikes\"\nmetric = \"latency_spike\"",
        "\"budget\"\nmetric = \"burn_rate\"\nobjective = \"99%\"",
        "\"orders\"\nmetric = \"signal:orders\"\nrollback = \"stable - 5pp\"",
    ];
    let gates: Vec<String> = gates
        .iter()
        .map(|gate| format!("[[route.gate]]\nname = {gate}"))
        .collect();
    let canary_line = "canary = { version = \"v2\",";
    let told = format!(
        "{canary_line} owner = \"ada\", sha = \"c0ffee\", commit_time = \"2026-01-01T00:00:00Z\","
    );
    Setup::canary(stable, canary, "0%")
        .with("weight = \"0%\"", "")
        .with(canary_line, &told)
        .top(&format!("state_dir = \"{state}\""))
        .by_user()
        .section(&format!(
            "[route.rollout]\nsteps = [\"50% for 1h\", \"60% until promoted\", \"100%\"]\n\
             ledger = \"keys\"\nexposure = {{ affected_users = 100000 }}\n\
             pre = [{{ url = \"{}/ask\" }}]",
            pool.url()
        ))
        .section(&gates.join("\n"))
        .section(&format!(
            "[[route.gate]]\nname = \"pool\"\nmetric = \"url\"\nurl = \"{}\"\ninterval = \"1s\"\nrollback = 9",
            pool.url()
        ))
        .section(
            "[[route.rule]]\nname = \"own\"\nmatch = { header = \"x-tenant\", values = [\"own\"] }\nweight = \"10%\"",
        )
}

fn users(proxy: &Proxy, users: std::ops::Range<u32>) {
    let mut client = proxy.client();
    for user in users {
        client.get("/", &[("x-user", &user.to_string())]);
    }
}

/// The beginning of the stream, with both kinds of events.
fn stream(proxy: &Proxy, notes: &mut Notebook) {
    let mut client = Client::connect(proxy.admin_address);
    let path = "/v1/stream?since=0";
    client.send(format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n",
        proxy.admin_address
    ));
    let (head, status) = client.response_head().expect("a head");
    let mut response = Response {
        status,
        head,
        interim: Vec::new(),
        body: Body::default(),
        end: Ok(()),
    };
    while !(response.text().contains("event: happened")
        && response.text().contains("event: status"))
    {
        let piece = client.wire.chunk().expect("goes on").expect("goes on");
        response.body.bytes.extend(piece);
    }
    notes.note(("GET", path), None, &response);
}

/// What every command answers, in an order in which each changes something.
fn steer(proxy: &Proxy, notes: &mut Notebook) {
    let who = json!({"actor": "ada", "reason": "a test"});
    let route = |verb: &str| format!("/v1/routes/default{verb}");
    for (status, method, path, body) in [
        (200, "PUT", "/v1/freeze".to_owned(), &who),
        (200, "GET", "/v1/routes".to_owned(), &Value::Null),
        (409, "POST", route("/promote"), &Value::Null),
        (200, "DELETE", "/v1/freeze".to_owned(), &Value::Null),
        (200, "POST", route("/pause"), &who),
        (200, "GET", route(""), &Value::Null),
        (200, "POST", route("/resume"), &who),
        (
            200,
            "PUT",
            route("/weight"),
            &json!({"weight": "12.5%", "actor": null}),
        ),
        (200, "POST", route("/resume"), &Value::Null),
        (
            200,
            "POST",
            route("/signals/orders"),
            &json!({"role": "canary", "good": 12, "bad": 1}),
        ),
        (
            404,
            "POST",
            route("/signals/other"),
            &json!({"role": "canary"}),
        ),
        (200, "POST", "/v1/config/check".to_owned(), &Value::Null),
        (
            400,
            "POST",
            "/v1/config/check".to_owned(),
            &json!({"config": 7}),
        ),
        (
            422,
            "POST",
            "/v1/config/check".to_owned(),
            &json!({"config": "listen = 7"}),
        ),
        (200, "POST", "/v1/config/reload".to_owned(), &who),
        (200, "POST", route("/promote"), &json!({"step": 1})),
        (200, "POST", route("/promote"), &json!({"full": true})),
    ] {
        notes.expect(proxy, status, (method, &path), body);
    }
}

/// What is refused.
fn stray(proxy: &Proxy, notes: &mut Notebook) {
    let route = |verb: &str| format!("/v1/routes/default{verb}");
    for (status, method, path, body) in [
        (404, "GET", "/v1/routes/other".to_owned(), &Value::Null),
        (404, "GET", "/v1/nothing".to_owned(), &Value::Null),
        (405, "PATCH", "/v1/routes".to_owned(), &Value::Null),
        (400, "GET", "/v1/events?until=7".to_owned(), &Value::Null),
        (400, "PUT", route("/weight"), &json!({"weight": "a lot"})),
    ] {
        notes.expect(proxy, status, (method, &path), body);
    }
    let before = [JSON, ("if-match", "\"0-0\"")];
    for (status, fields, body) in [
        (412, before.as_slice(), "{}"),
        (403, &[JSON, ("origin", "http://evil.example")], "{}"),
        (413, &[JSON], &" ".repeat(70_000)),
        (415, &[("content-type", "text/plain")], "{}"),
    ] {
        let response = notes.send(proxy, ("POST", "/v1/routes/default/resume"), fields, body);
        assert_eq!(response.status, status, "{}", response.text());
    }
}

/// A file that cannot be used, and then another plan.
fn change(proxy: &Proxy, notes: &mut Notebook, file: &File, setup: &Setup) {
    file.write("listen = 7");
    notes.expect(proxy, 422, ("POST", "/v1/config/reload"), &Value::Null);
    file.write(&setup.clone().with("60% until", "70% until").text());
    notes.expect(proxy, 200, ("POST", "/v1/config/reload"), &Value::Null);
    let toml = [("content-type", "application/toml")];
    let checked = notes.send(
        proxy,
        ("POST", "/v1/config/check"),
        &toml,
        &fs::read_to_string(&file.path).expect("reads"),
    );
    assert_eq!(checked.status, 200, "{}", checked.text());
}

/// Compares everything with the description, which must have been seen as a whole.
fn compare(directory: &Directory, description: &Response, notes: &Notebook) -> Value {
    let (described, exchanges) = (directory.path("openapi.json"), directory.path("exchanges"));
    fs::write(&described, &description.body.bytes).expect("writes");
    fs::write(&exchanges, &notes.0).expect("writes");
    report(script("openapi_contract.py").args([described, exchanges]))
}

#[test]
fn every_answer_is_as_the_description_says_and_has_nothing_more() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let pool = Upstream::named("0.5");
    let directory = Directory::new("openapi");
    let setup = full(&stable, &canary, &pool, &directory.path("state"));
    let file = File::new("openapi", &setup);
    let proxy = file.start();
    let mut notes = Notebook(String::new());
    notes.look(&proxy);
    eventually("the first step", || {
        proxy.status()["phase"] == "progressing"
    });
    users(&proxy, 0..200);
    notes.look(&proxy);
    stream(&proxy, &mut notes);
    steer(&proxy, &mut notes);
    stray(&proxy, &mut notes);
    notes.look(&proxy);
    change(&proxy, &mut notes, &file, &setup);
    // A canary that fails.
    canary.behave(Behaviour::Status(503));
    users(&proxy, 0..200);
    eventually("the rollback is verified", || {
        let events = proxy.all_events(0);
        events
            .iter()
            .any(|event| event["kind"] == "rollback_verified")
    });
    notes.look(&proxy);
    for (status, verb) in [(409, "promote"), (200, "retry"), (200, "rollback")] {
        let path = format!("/v1/routes/default/{verb}");
        notes.expect(&proxy, status, ("POST", &path), &Value::Null);
    }
    notes.expect(&proxy, 200, ("POST", "/v1/rollback"), &json!({}));
    notes.look(&proxy);
    let accept = [("accept", "application/openmetrics-text")];
    notes.send(&proxy, ("GET", "/metrics"), &accept, "");
    for path in ["/", "/metrics", "/livez", "/readyz", "/startupz"] {
        notes.expect(&proxy, 200, ("GET", path), &Value::Null);
    }
    let description = notes.ask(&proxy, ("GET", "/openapi.json"), &Value::Null);
    let seen = compare(&directory, &description, &notes);
    let kinds = seen["kinds"].as_array().expect("kinds");
    for kind in [
        "agreed",
        "breach",
        "command",
        "frozen",
        "paused",
        "plan",
        "resumed",
        "reweighed",
        "promoted",
        "reconfigured",
        "reload_failed",
        "reloaded",
        "retried",
        "rollback_verified",
        "rolled_back",
        "started",
        "unfrozen",
    ] {
        assert!(kinds.contains(&json!(kind)), "{kind} is not in {kinds:?}");
    }
    assert!(seen["strayed"].as_u64() > Some(1000), "{seen}");
}

#[test]
fn whatever_is_asked_is_answered_as_described() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let pool = Upstream::named("0.5");
    let directory = Directory::new("openapi-fuzz");
    let token = directory.path("token");
    fs::write(&token, "s3cret\n").expect("writes");
    let setup = full(&stable, &canary, &pool, &directory.path("state")).with(
        "admin = { listen = \"127.0.0.1:0\" }",
        &format!("admin = {{ listen = \"127.0.0.1:0\", token_file = \"{token}\" }}"),
    );
    let file = File::new("openapi-fuzz", &setup);
    let proxy = file.start();
    users(&proxy, 0..100);
    let url = format!("http://{}", proxy.admin_address);
    let mut fuzz = script("openapi_fuzz.py");
    let seen = report(fuzz.args([&url, "s3cret", EXAMPLES, "default", "orders"]));
    for asked in [
        "GET /v1/routes/{route} 200",
        "POST /v1/explain 200",
        "POST /v1/routes/{route}/rollback 200",
        "POST /v1/routes/{route}/signals/{name} 200",
        "PUT /v1/routes/{route}/weight 400",
    ] {
        assert!(seen[asked].as_u64() > Some(0), "{asked}: {seen}");
    }
    // It was asked for many things, and is as it was.
    assert_eq!(proxy.get("/", &[("x-user", "7")]).status, 200);
    assert_eq!(
        value(&send(proxy.admin_address, ("GET", "/v1/routes"), &[], ""))["schema"],
        "haldane.status/1"
    );
}
