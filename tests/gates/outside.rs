//! Gates that ask something outside: what a bad answer does, and what none does.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{gate, rolled_back};
use crate::reload::{File, put};
use crate::support::eventually::eventually;
use crate::support::prometheus::prometheus;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::upstream::{Behaviour, Upstream};

/// Answers every GET with this text, which may change.
fn source(text: &str) -> (Upstream, Arc<Mutex<String>>) {
    let text = Arc::new(Mutex::new(text.to_owned()));
    let now = Arc::clone(&text);
    let upstream = Upstream::scripted(move |mut connection| {
        while connection.request().is_some() {
            let body = now.lock().unwrap().clone();
            let (length, kind) = (body.len(), "content-type: text/plain; version=0.0.4");
            connection.wire.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{kind}\r\n\r\n{body}"
            ));
        }
    });
    (upstream, text)
}

fn say(text: &Mutex<String>, now: &str) {
    now.clone_into(&mut text.lock().unwrap());
}

fn asks(name: &str, url: &str, rest: &str) -> String {
    format!(
        "[[route.gate]]\nname = \"{name}\"\nmetric = \"url\"\nurl = \"{url}\"\ninterval = \"100ms\"\n{rest}"
    )
}

#[track_caller]
fn comes_to(proxy: &Proxy, name: &str, verdict: &str, sentence: &str) {
    eventually(&format!("{name} says {verdict}: {sentence}"), || {
        let gate = gate(proxy, name);
        let said = gate["sentence"].as_str().unwrap_or_default();
        gate["verdict"] == verdict && said.starts_with(&format!("{name}: {sentence}"))
    });
}

#[test]
fn two_bad_answers_in_a_row_roll_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let (pool, text) = source("{\"value\": 0.5}");
    let url = format!("{}/pool?of=v2", pool.url());
    let gates = asks("pool", &url, "rollback = 0.9\nadvance = 0.8");
    let proxy = Setup::canary(&stable, &canary, "50%")
        .section(&gates)
        .start();
    comes_to(&proxy, "pool", "pass", "the answer is 0.5, limit 0.8");
    let arrival = pool.log.arrivals().remove(0);
    assert_eq!(arrival.head.start, "GET /pool?of=v2 HTTP/1.1");
    say(&text, "0.85");
    comes_to(
        &proxy,
        "pool",
        "inconclusive",
        "holds; the answer is 0.85, limit 0.8",
    );
    assert_eq!(gate(&proxy, "pool")["reason"], "above");
    let before = pool.log.len();
    say(&text, "0.95");
    let event = rolled_back(&proxy);
    assert_eq!(event["by"]["gate"], "pool");
    assert_eq!(event["by"]["value"], 0.95);
    assert!(pool.log.len() - before >= 2);
    comes_to(&proxy, "pool", "fail", "the answer is 0.95, limit 0.9");
    assert_eq!(proxy.get("/", &[]).text(), "stable");
    // Nobody is asked about what has no traffic any more; a retry begins anew.
    say(&text, "{\"ok\": true}");
    proxy.retry();
    comes_to(&proxy, "pool", "pass", "the answer is 0, limit 0.8");
}

#[test]
fn no_answer_is_neither_for_the_canary_nor_against_it() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let (refusing, silent, broken) = (
        Upstream::refusing(),
        Upstream::named("silent"),
        Upstream::named("5"),
    );
    silent.behave(Behaviour::Silent);
    broken.behave(Behaviour::Status(503));
    let (text, _) = source("fine");
    // Bad answers, each with a silence before the next.
    let unsteady = Upstream::scripted(|mut connection| {
        let body = if connection.number.is_multiple_of(2) {
            "1"
        } else {
            "?"
        };
        if connection.request().is_some() {
            connection.wire.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{body}"
            ));
        }
    });
    let gates = [
        asks("refusing", &refusing.url(), "rollback = 0"),
        asks("silent", &silent.url(), "rollback = 0"),
        asks("broken", &broken.url(), "rollback = 0"),
        asks("words", &text.url(), "rollback = 0"),
        asks("unsteady", &unsteady.url(), "rollback = 0"),
    ];
    let proxy = Setup::canary(&stable, &canary, "50%")
        .section(&gates.join("\n"))
        .start();
    for (name, problem) in [
        ("refusing", "Connection refused (os error 111)"),
        ("silent", "no answer in time"),
        ("broken", "the status is 503 Service Unavailable"),
        ("words", "it is neither a number nor has it `value` or `ok`"),
    ] {
        let sentence = format!("waits for an answer; no answer: {problem}");
        comes_to(&proxy, name, "inconclusive", &sentence);
        assert_eq!(gate(&proxy, name)["reason"], "answer");
    }
    eventually("many questions are asked", || unsteady.log.len() > 20);
    assert_eq!(proxy.status()["phase"], "idle");
    broken.behave(Behaviour::Good);
    let event = rolled_back(&proxy);
    assert_eq!(event["by"]["gate"], "broken", "5 is more than 0");
}

#[test]
fn a_reload_changes_whom_a_gate_asks() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let ((first, _), (second, _)) = (source("0.1"), source("0.2"));
    let setup = |url: &str| {
        let gates = asks("pool", url, "rollback = 0.9");
        Setup::canary(&stable, &canary, "50%").section(&gates)
    };
    let file = File::new("outside", &setup(&first.url()));
    let proxy = file.start();
    comes_to(&proxy, "pool", "pass", "the answer is 0.1");
    let changes = put(&proxy, &file, &setup(&second.url()).text());
    assert_eq!(changes, json!(["route default: gates changed"]));
    comes_to(&proxy, "pool", "pass", "the answer is 0.2");
}

#[test]
fn a_query_of_prometheus_decides() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let pool = |usage: &str| {
        format!("pool_usage{{version=\"v1\"}} 0.4\npool_usage{{version=\"v2\"}} {usage}\n")
    };
    let (target, text) = source(&pool("0.5"));
    let directory = Directory::new("prometheus");
    let (mut server, address) = prometheus(&directory, target.address);
    let url = format!("http://{address}/");
    let queries = |name: &str, query: &str| {
        format!(
            "[[route.gate]]\nname = \"{name}\"\nmetric = \"promql\"\nurl = \"{url}\"\n\
             interval = \"250ms\"\nquery = '{query}'\nrollback = 0.9"
        )
    };
    let gates = [
        queries("pool", "max(pool_usage{version=\"v2\"}) by (version)"),
        queries("scalar", "scalar(pool_usage{version=\"v1\"})"),
        queries("absent", "pool_usage{version=\"v3\"}"),
        queries("both", "pool_usage"),
        queries("nan", "vector(0) / 0"),
        queries("wrong", "max("),
    ];
    let proxy = Setup::canary(&stable, &canary, "50%")
        .section(&gates.join("\n"))
        .start();
    comes_to(&proxy, "pool", "pass", "the answer is 0.5, limit 0.9");
    comes_to(&proxy, "scalar", "pass", "the answer is 0.4, limit 0.9");
    for (name, problem) in [
        ("absent", "the query gives nothing"),
        ("both", "the query gives 2 series and not one"),
        ("nan", "the result is NaN"),
        ("wrong", "bad_data: "),
    ] {
        let sentence = format!("waits for an answer; no answer: {problem}");
        comes_to(&proxy, name, "inconclusive", &sentence);
    }
    say(&text, &pool("0.97"));
    let event = rolled_back(&proxy);
    assert_eq!(event["by"]["gate"], "pool", "{event}");
    // Without Prometheus nobody knows.
    server.kill();
    proxy.retry();
    comes_to(
        &proxy,
        "pool",
        "inconclusive",
        "waits for an answer; no answer: Connection refused",
    );
    assert_eq!(proxy.status()["phase"], "idle");
}
