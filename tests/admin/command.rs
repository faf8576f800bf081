//! Weight, rollback, retry: when they take effect, and when they are refused.

use serde_json::{Value, json};

use super::{JSON, Split, etag, problem, put_weight, send, value};
use crate::support::client::Client;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

#[test]
fn a_route_without_a_canary_says_so_and_cannot_be_given_weight() {
    let stable = Upstream::named("stable");
    let proxy = Setup::stable(&stable).start();
    assert_eq!(proxy.status()["versions"]["canary"], Value::Null);
    let refused = put_weight(&proxy, "1%", &[]);
    assert_eq!(refused.status, 409);
    assert!(
        problem(&refused)["detail"]
            .as_str()
            .unwrap()
            .contains("no canary")
    );
    // What is so already is no mistake.
    assert_eq!(proxy.roll_back()["changed"], false);
    assert_eq!(proxy.set_weight("0%")["changed"], false);
    let (status, verdict) = proxy.admin("GET", "/v1/routes/default/verdict", &Value::Null);
    assert_eq!((status, &verdict["ok"]), (200, &json!(false)));
}

#[test]
fn a_weight_is_in_force_when_the_command_is_answered() {
    let split = Split::start("0%");
    let proxy = &split.proxy;
    for (weight, expected) in [("100%", "canary"), ("0%", "stable"), ("100.0%", "canary")] {
        let answer = proxy.set_weight(weight);
        assert_eq!(answer["changed"], true);
        assert_eq!(proxy.get("/", &[("x-user", "a")]).text(), expected);
        let again = proxy.set_weight(weight);
        assert_eq!(again["changed"], false);
        assert_eq!(again["weight"], answer["weight"]);
    }
    assert_eq!(proxy.events(0).len(), 3);
}

#[test]
fn the_entity_tag_changes_with_the_release_and_never_returns() {
    let split = Split::start("5%");
    let proxy = &split.proxy;
    let mut seen = vec![etag(proxy)];
    proxy.get("/", &[("x-user", "a")]);
    assert_eq!(etag(proxy), seen[0], "requests change no release");
    for weight in ["6%", "5%", "6%"] {
        proxy.set_weight(weight);
        seen.push(etag(proxy));
        proxy.set_weight(weight);
        assert_eq!(etag(proxy), seen[seen.len() - 1]);
    }
    proxy.roll_back();
    seen.push(etag(proxy));
    proxy.retry();
    seen.push(etag(proxy));
    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), seen.len(), "{seen:?}");
}

#[test]
fn only_what_raises_the_weight_honours_if_match() {
    let split = Split::start("5%");
    let proxy = &split.proxy;
    let old = etag(proxy);
    proxy.set_weight("10%");
    let new = etag(proxy);
    let weak = format!("W/{new}");
    let listed = format!("\"x\", {new}");
    for (condition, weight, status) in [
        (old.as_str(), "20%", 412),
        (&weak, "20%", 412),
        ("nonsense", "20%", 412),
        (&old, "10%", 200),
        (&listed, "20%", 200),
        (&new, "30%", 412),
        ("*", "30%", 200),
        (&old, "25%", 200),
        (&old, "0%", 200),
    ] {
        let response = put_weight(proxy, weight, &[("if-match", condition)]);
        assert_eq!(response.status, status, "{condition} {weight}");
        if status == 412 {
            problem(&response);
        } else {
            assert_eq!(value(&response)["weight"], weight);
        }
    }
    let rollback = ("POST", "/v1/routes/default/rollback");
    let response = send(proxy.admin_address, rollback, &[("if-match", &old)], "");
    assert_eq!(response.status, 200);
    let retry = ("POST", "/v1/routes/default/retry");
    let response = send(proxy.admin_address, retry, &[("if-match", &old)], "");
    assert_eq!(response.status, 412);
    let response = send(
        proxy.admin_address,
        retry,
        &[("if-match", &etag(proxy))],
        "",
    );
    assert_eq!(
        (response.status, &value(&response)["changed"]),
        (200, &json!(true))
    );
}

#[test]
fn a_rollback_is_final_until_a_retry_and_both_are_idempotent() {
    let split = Split::start("100%");
    let proxy = &split.proxy;
    let who = json!({ "reason": "it smells", "actor": "ada" });
    let (status, first) = proxy.admin("POST", "/v1/routes/default/rollback", &who);
    assert_eq!((status, &first["changed"]), (200, &json!(true)));
    assert_eq!(
        (&first["phase"], &first["weight"]),
        (&json!("rolled_back"), &json!("0%"))
    );
    assert_eq!(first["cause"], "command by ada: it smells");
    assert_eq!(proxy.get("/", &[("x-user", "a")]).text(), "stable");
    let again = proxy.roll_back();
    assert_eq!(
        (&again["changed"], &again["cause"]),
        (&json!(false), &first["cause"])
    );

    let refused = put_weight(proxy, "1%", &[]);
    assert_eq!(refused.status, 409);
    assert_eq!(problem(&refused)["hint"], "retry starts a new generation");
    assert_eq!(proxy.set_weight("0%")["changed"], false);

    let retried = proxy.retry();
    assert_eq!(
        (&retried["changed"], &retried["generation"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(
        (&retried["phase"], &retried["weight"]),
        (&json!("idle"), &json!("100%"))
    );
    assert_eq!(proxy.get("/", &[("x-user", "a")]).text(), "canary");
    assert_eq!(proxy.retry()["changed"], false);
    assert_eq!(proxy.status()["generation"], 2);
}

#[test]
fn the_kill_switch_rolls_back_every_canary() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let (stable, canary) = (stable.url(), canary.url());
    let proxy = Proxy::start(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
         drain = {{ linger = \"0s\", timeout = \"200ms\" }}\n\
         [[route]]\nname = \"a\"\nmatch = {{ path = \"/a\" }}\nstable = \"{stable}\"\n\
         canary = \"{canary}\"\nweight = \"5%\"\n\
         [[route]]\nname = \"b\"\nmatch = {{ path = \"/b\" }}\nstable = \"{stable}\"\n\
         canary = \"{canary}\"\nweight = \"50%\"\n\
         [[route]]\nname = \"c\"\nstable = \"{stable}\"\n"
    ));
    let (status, answer) = proxy.admin("POST", "/v1/rollback", &Value::Null);
    assert_eq!((status, &answer["changed"]), (200, &json!(true)));
    let phases: Vec<_> = (0..3)
        .map(|index| {
            answer["routes"][index]["phase"]
                .as_str()
                .unwrap_or_default()
        })
        .collect();
    assert_eq!(phases, ["rolled_back", "rolled_back", "idle"]);
    assert_eq!(proxy.events(0).len(), 2);
    let (status, answer) = proxy.admin("POST", "/v1/rollback", &json!({ "actor": "ada" }));
    assert_eq!((status, &answer["changed"]), (200, &json!(false)));

    let (status, unknown) = proxy.admin("GET", "/v1/routes/d", &Value::Null);
    assert_eq!(status, 404);
    assert_eq!(unknown["hint"], "the routes are: a, b, c");
}

#[test]
fn a_body_that_is_not_understood_changes_nothing() {
    let split = Split::start("50%");
    let proxy = &split.proxy;
    let admin = proxy.admin_address;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "5",
        "\"5%\"",
        "{}",
        "{\"weight\":5}",
        "{\"weight\":null}",
        "{\"weight\":\"5\"}",
        "{\"weight\":\"101%\"}",
        "{\"weight\":\"-1%\"}",
        "{\"weight\":\"1.00001%\"}",
        "{\"weight\":\"NaN%\"}",
        "{\"weight\":\"5%\",\"why\":\"x\"}",
        "{\"weight\":\"5%\",\"weight\":\"6%\"}",
        "{\"weight\":\"5%\"}x",
        "{\"weight\":\"\\ud800\"}",
        "{\"weight\":\"5%\",\"reason\":\"a\\nb\"}",
        "{\"weight\":\"5%\",\"actor\":7}",
        "\u{0}",
    ] {
        let response = send(admin, ("PUT", "/v1/routes/default/weight"), &[JSON], body);
        assert_eq!(response.status, 400, "{body}");
        problem(&response);
    }
    let nested = "[".repeat(10_000);
    let long = json!({ "reason": "x".repeat(1025) }).to_string();
    for body in [
        "x",
        "[]",
        "{\"reason\":1}",
        "{\"force\":true}",
        &nested,
        &long,
    ] {
        let response = send(
            admin,
            ("POST", "/v1/routes/default/rollback"),
            &[JSON],
            body,
        );
        assert_eq!(response.status, 400, "{body}");
    }
    let invalid = put_weight(proxy, "5", &[]);
    assert!(
        problem(&invalid)["hint"]
            .as_str()
            .unwrap()
            .contains("percent sign")
    );
    let response = send(admin, ("POST", "/v1/rollback?x=1"), &[JSON], "");
    assert_eq!(response.status, 400);
    assert!(proxy.events(0).is_empty());
    assert_eq!(proxy.status()["weight"], "50%");
}

#[test]
fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let split = Split::start("50%");
    let (proxy, admin) = (&split.proxy, split.proxy.admin_address);
    let endless = json!({ "x".repeat(60_000): 1 }).to_string();
    let response = send(admin, ("POST", "/v1/rollback"), &[JSON], &endless);
    assert_eq!(response.status, 400);
    assert!(response.text().len() < 1000, "little of it is repeated");
    let large = json!({ "reason": "x".repeat(70_000) }).to_string();
    let response = send(admin, ("POST", "/v1/rollback"), &[JSON], &large);
    assert_eq!(response.status, 413);
    problem(&response);
    let chunked = [JSON, ("transfer-encoding", "chunked")];
    let mut client = Client::connect(admin);
    client.send(format!(
        "POST /v1/rollback HTTP/1.1\r\nhost: {admin}\r\n{}: {}\r\n{}: {}\r\n\r\n",
        chunked[0].0, chunked[0].1, chunked[1].0, chunked[1].1
    ));
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    client.send(format!("{chunk}{chunk}{chunk}0\r\n\r\n"));
    assert_eq!(client.answer_to("POST").status, 413);
    let mut client = Client::connect(admin);
    client.send(format!(
        "POST /v1/rollback HTTP/1.1\r\nhost: {admin}\r\ncontent-type: application/json\r\n\
         content-length: 99999999999\r\n\r\n"
    ));
    assert_eq!(
        client.answer_to("POST").status,
        413,
        "refused by its announcement"
    );
    assert!(proxy.events(0).is_empty());
    assert_eq!(proxy.status()["weight"], "50%");
}
