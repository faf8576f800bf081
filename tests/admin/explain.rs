//! An explanation is what happens to such a request.

use serde_json::{Value, json};

use super::Split;
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

#[test]
fn an_explanation_is_what_happens() {
    let split = Split::with("37%", |setup| {
        setup.top("trusted_proxies = [\"127.0.0.0/8\"]")
    });
    let proxy = &split.proxy;
    let explain = |question: &Value| {
        let (status, answer) = proxy.admin("POST", "/v1/explain", question);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let mut roles = Vec::new();
    for user in 0..40 {
        let user = format!("user-{user}");
        let answer = explain(&json!({ "route": "default", "headers": { "X-User": user } }));
        let role = answer["role"].as_str().unwrap().to_owned();
        assert_eq!(proxy.get("/", &[("x-user", &user)]).text(), role);
        let by_key = explain(&json!({ "key": user }));
        assert_eq!(by_key["position_percent"], answer["position_percent"]);
        assert_eq!(by_key["role"], answer["role"]);
        assert_eq!(
            answer["version"],
            if role == "canary" { "v2" } else { "v1" }
        );

        let from = answer["canary_from"].as_str().unwrap();
        let share: f64 = from.trim_end_matches('%').parse().unwrap();
        let position = answer["position_percent"].as_f64().unwrap();
        assert!((share - position - 0.0001).abs() < 1e-9, "{answer}");
        assert_eq!(role == "canary", position < 37.0, "{answer}");
        assert!(answer["why"].as_str().unwrap().contains(from), "{answer}");
        roles.push(role);
    }
    assert!(roles.iter().any(|role| role == "canary") && roles.iter().any(|role| role == "stable"));
    let missing = explain(&json!({ "headers": {} }));
    assert_eq!(
        (&missing["role"], &missing["canary_from"]),
        (&Value::Null, &Value::Null)
    );
    proxy.roll_back();
    let rolled_back = explain(&json!({ "key": "a" }));
    assert_eq!(
        (&rolled_back["role"], &rolled_back["weight"]),
        (&json!("stable"), &json!("0%"))
    );
    assert_eq!(explain(&json!({}))["role"], "stable");
}

#[test]
fn an_explanation_reads_cookies_addresses_and_force_as_a_request_is_read() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .top("trusted_proxies = [\"127.0.0.0/8\"]")
        .section(
            "[route.sticky]\nkey = [\"cookie:session\", \"client-ip\"]\n\
             force = { header = \"x-version\", from = [\"127.0.0.0/8\"] }",
        )
        .start();
    let role = |question: Value| {
        let (status, answer) = proxy.admin("POST", "/v1/explain", &question);
        assert_eq!(status, 200, "{answer}");
        answer["role"].as_str().unwrap_or_default().to_owned()
    };
    for n in 1..30 {
        let cookie = format!("a=b; session=s{n}; c=d");
        let answered = proxy.get("/", &[("cookie", &cookie)]).text();
        assert_eq!(role(json!({ "headers": { "cookie": cookie } })), answered);
        assert_eq!(role(json!({ "key": format!("s{n}") })), answered);

        let client = format!("192.0.2.{n}");
        let answered = proxy.get("/", &[("x-forwarded-for", &client)]).text();
        assert_eq!(role(json!({ "client": client })), answered);
        assert_eq!(role(json!({ "key": client })), answered);
        assert_eq!(role(json!({ "key": format!("::ffff:{client}") })), answered);
    }
    for forced in ["stable", "canary"] {
        let headers = json!({ "x-version": forced });
        assert_eq!(proxy.get("/", &[("x-version", forced)]).text(), forced);
        assert_eq!(
            role(json!({ "headers": headers, "peer": "127.0.0.1" })),
            forced
        );
    }
    let stranger =
        |forced: &str| role(json!({ "headers": { "x-version": forced }, "client": "192.0.2.1" }));
    assert_eq!(stranger("stable"), stranger("canary"));
    for question in [
        json!({}),
        json!({ "client": "example.com" }),
        json!({ "key": "" }),
        json!({ "user": "a" }),
        json!({ "route": 1 }),
        Value::Null,
    ] {
        let (status, answer) = proxy.admin("POST", "/v1/explain", &question);
        assert_eq!(status, 400, "{question}: {answer}");
    }
    let (status, _) = proxy.admin("POST", "/v1/explain", &json!({ "route": "x", "key": "a" }));
    assert_eq!(status, 404);
}
