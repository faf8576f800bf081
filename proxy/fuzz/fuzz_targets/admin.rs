//! The admin API: whatever is asked, there is an answer; what is refused and what only reads
//! changes nothing.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use haldane::fuzz::admin::Admin;
use haldane_config::Config;
use haldane_fuzz::{config, wait_for};
use http::{Method, Request, Response};
use libfuzzer_sys::fuzz_target;
use tokio::time::timeout;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    config(
        r#"
[[route]]
name = "shop"
match = { host = "shop.example" }
stable = { version = "v1", upstream = "http://127.0.0.1:1" }
canary = { version = "v2", upstream = "http://127.0.0.1:2" }
[route.sticky]
key = ["header:x-user-id", "cookie:session", "client-ip"]
[[route.rule]]
match = { client = ["10.0.0.0/8"] }
weight = "50%"
[route.rollout]
ledger = "keys"
exposure = { failed_requests = 20 }
steps = ["5% for 10m and 100 requests", "50% until promoted", "100%"]
[[route.gate]]
name = "orders"
metric = "signal:orders"
rollback = "stable - 5pp"
advance = "stable - 1pp"
[[route]]
name = "rest"
stable = "http://127.0.0.1:3"
"#,
    )
});

fuzz_target!(|data: &[u8]| {
    let admin = Admin::new(&CONFIG);
    wait_for(async {
        // Some requests, one after another: a line with method and target, and the body in the
        // next one.
        let mut lines = data.split(|byte| *byte == b'\n');
        for _ in 0..4 {
            let (Some(line), body) = (lines.next(), lines.next().unwrap_or_default()) else {
                return;
            };
            let Some(request) = request(line, body) else {
                return;
            };
            let method = request.method().clone();
            let before = admin.state();
            // Whoever waits for an event waits for half a minute.
            let waits = request
                .uri()
                .query()
                .is_some_and(|query| query.contains("wait"));
            let patience = Duration::from_millis(if waits { 1 } else { 5000 });
            let Ok(answer) = timeout(patience, admin.ask(request)).await else {
                assert!(waits, "no answer");
                continue;
            };
            check(&answer);
            let status = answer.status();
            if !status.is_success() || matches!(method, Method::GET | Method::HEAD) {
                assert_eq!(admin.state(), before, "{status} for {method}");
            }
        }
    });
});

/// Method, target and fields, with spaces between them; a field has a `:`.
fn request(line: &[u8], body: &[u8]) -> Option<Request<Vec<u8>>> {
    let mut words = line.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let target = std::str::from_utf8(words.next()?).ok()?;
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "127.0.0.1:7411")
        .header("content-type", "application/json");
    for word in words {
        let colon = word.iter().position(|byte| *byte == b':')?;
        request = request.header(&word[..colon], &word[colon + 1..]);
    }
    request.body(body.to_vec()).ok()
}

fn check(answer: &Response<Vec<u8>>) {
    let status = answer.status();
    let text = std::str::from_utf8(answer.body()).expect("is text");
    let kind = answer
        .headers()
        .get("content-type")
        .map(|kind| kind.as_bytes());
    if kind.is_some_and(|kind| kind.ends_with(b"json")) {
        let body: serde_json::Value = serde_json::from_str(text).expect("is JSON");
        if !status.is_success() {
            assert_eq!(body["status"], status.as_u16());
            for name in ["title", "detail", "hint"] {
                let said = body[name].as_str().expect("is said");
                assert!(!said.is_empty() && said.len() < 4096, "{name}: {said}");
                assert!(!said.contains(|c: char| c.is_control()), "{name}: {said:?}");
            }
        }
    }
    // There is no file here to be read again; anything else is somebody's doing.
    let is_ours = status.is_server_error();
    assert!(!is_ours || text.contains("internal"), "{status}: {text}");
}
