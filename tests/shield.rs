//! What a canary fails is answered from stable where nothing can be done twice by it, and
//! counts against the canary all the same.

use serde_json::Value;

use crate::support::client::{Client, Response, request};
use crate::support::eventually::some;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Log, Upstream};

/// Bodies are sent once more whole, or not at all.
mod bodies;
/// What is logged, and where nothing is shielded.
mod edges;
/// Nobody sees a canary that fails always, under load.
mod load;
/// What waits for a canary when it is rolled back, or takes far too long.
mod recall;
/// The same where one side or both speak HTTP/2.
mod streams;

/// Methods by which nothing changes if they are repeated, and others.
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
const OTHERS: [&str; 3] = ["POST", "PATCH", "BREW"];

/// How long a test waits for a head that does not come. A busy machine takes its time.
const PATIENCE: &str = "response = \"1500ms\"";

/// haldane with all traffic on the canary, whatever it does.
fn setup(stable: &Upstream, canary: &Upstream) -> Setup {
    Setup::canary(stable, canary, "100%")
        .by_user()
        .shielded()
        .route("timeouts = { connect = \"20s\", response = \"20s\" }")
        .meltdown(1_000_000)
}

/// The same with short patience.
fn impatient(stable: &Upstream, canary: &Upstream) -> Setup {
    setup(stable, canary).with("response = \"20s\"", PATIENCE)
}

/// How often a request with this path was processed.
fn times(log: &Log, path: &str) -> usize {
    let arrivals = log.arrivals();
    arrivals
        .iter()
        .filter(|one| one.head.word(1) == path)
        .count()
}

fn shielded(proxy: &Proxy) -> u64 {
    proxy.metric("haldane_shielded_total", &["route=\"default\""])
}

/// Sends a request on a connection of its own.
#[track_caller]
fn ask(proxy: &Proxy, method: &str, path: &str, body: &str) -> Response {
    let mut client = proxy.client();
    client.send(request(method, path, &[("x-user", "a")], body));
    client.answer_to(method)
}

/// Waits until so many requests to the canary have ended, and so many of stable, and
/// gives both pictures.
#[track_caller]
fn settled(proxy: &Proxy, canary: u64, stable: u64) -> [Value; 2] {
    [
        proxy.settled("canary", canary),
        proxy.settled("stable", stable),
    ]
}

fn is_of_stable(answer: &Response, method: &str) -> bool {
    let text = if method == "HEAD" { "" } else { "stable" };
    answer.status == 200 && answer.text() == text && answer.end.is_ok()
}

/// How a canary fails before its head was passed on, after it may have done something.
fn failing() -> Vec<(&'static str, Upstream)> {
    let behaving = |behaviour| {
        let canary = Upstream::named("canary");
        canary.behave(behaviour);
        canary
    };
    vec![
        ("500", behaving(Behaviour::Status(500))),
        ("503", behaving(Behaviour::Status(503))),
        ("reset", behaving(Behaviour::Reset)),
        ("malformed", behaving(Behaviour::Malformed)),
        ("silent", behaving(Behaviour::Silent)),
        (
            "half a head",
            Upstream::closing("HTTP/1.1 200 OK\r\nContent-Le"),
        ),
        (
            "two lengths",
            Upstream::closing("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
        ),
        ("no status", Upstream::closing("HTTP/1.1 700 X\r\n\r\n")),
        (
            "an early hint",
            Upstream::closing("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 X\r\n\r\n"),
        ),
    ]
}

#[test]
fn what_may_be_repeated_is_answered_from_stable_and_charged_to_the_canary() {
    for (kind, canary) in failing() {
        let stable = Upstream::named("stable");
        let proxy = impatient(&stable, &canary).start();
        let mut asked = 0;
        for method in IDEMPOTENT {
            if kind == "silent" && !matches!(method, "GET" | "PUT") {
                continue;
            }
            let bodies = match method {
                "PUT" | "DELETE" => &["", "x", "a body"][..],
                _ => &[""],
            };
            for body in bodies {
                let path = format!("/{asked}");
                let answer = ask(&proxy, method, &path, body);
                assert!(is_of_stable(&answer, method), "{kind} {method}: {answer:?}");
                assert_eq!(times(&canary.log, &path), 1, "{kind} {method}");
                assert_eq!(times(&stable.log, &path), 1, "{kind} {method}");
                let arrivals = stable.log.arrivals();
                let arrived = arrivals.last().expect("one came");
                assert_eq!(arrived.body.bytes, body.as_bytes(), "{kind} {method}");
                assert_eq!(arrived.head.one("x-haldane-role").unwrap(), "stable");
                assert_eq!(arrived.head.one("x-haldane-version").unwrap(), "v1");
                asked += 1;
            }
        }
        let [of_canary, of_stable] = settled(&proxy, asked, asked);
        assert_eq!(of_canary["failures"], asked, "{kind}: each counts once");
        assert_eq!(of_stable["failures"], 0, "{kind}");
        assert_eq!(shielded(&proxy), asked, "{kind}");
    }
}

#[test]
fn what_may_have_been_processed_and_must_not_be_repeated_never_is() {
    for (kind, canary) in failing() {
        let stable = Upstream::named("stable");
        let proxy = impatient(&stable, &canary).start();
        let mut asked = 0;
        for method in OTHERS {
            if kind == "silent" && method != "POST" {
                continue;
            }
            for body in ["", "a body"] {
                let path = format!("/{asked}");
                let answer = ask(&proxy, method, &path, body);
                assert!(answer.status >= 500, "{kind} {method}: {answer:?}");
                assert_eq!(times(&canary.log, &path), 1, "{kind} {method}");
                asked += 1;
            }
        }
        let [of_canary, _] = settled(&proxy, asked, 0);
        assert_eq!(of_canary["failures"], asked, "{kind}: each counts once");
        assert_eq!((stable.log.len(), shielded(&proxy)), (0, 0), "{kind}");
    }
}

#[test]
fn what_cannot_have_been_processed_is_answered_from_stable_whatever_it_is() {
    for (canary, connect) in [
        (Upstream::refusing(), "20s"),
        (Upstream::unreachable(), "500ms"),
    ] {
        let stable = Upstream::named("stable");
        let proxy = setup(&stable, &canary)
            .with("connect = \"20s\"", &format!("connect = \"{connect}\""))
            .route("ejection = { failures = 5, time = \"1h\", max = \"1h\" }")
            .start();
        let mut asked = 0;
        for method in IDEMPOTENT.into_iter().chain(OTHERS) {
            let path = format!("/{asked}");
            // Of this body nothing was read, however large it is.
            let body = if method.starts_with('P') {
                "x".repeat(1_000_000)
            } else {
                String::new()
            };
            let answer = ask(&proxy, method, &path, &body);
            assert!(is_of_stable(&answer, method), "{method}: {answer:?}");
            let arrivals = stable.log.arrivals();
            let arrived = arrivals.last().expect("one came");
            assert_eq!(arrived.body.bytes.len(), body.len(), "{method}");
            asked += 1;
        }
        let [of_canary, _] = settled(&proxy, asked, asked);
        assert_eq!(of_canary["failures"], asked, "each counts once");
        assert_eq!(shielded(&proxy), asked);
        // Some of them found no address that is well.
        assert_eq!(stable.log.len() as u64, asked);
    }
}

/// Of a handshake that fails nobody has seen a request.
#[test]
fn a_canary_that_does_not_speak_tls_is_answered_for_by_stable() {
    let stable = Upstream::named("stable");
    let canary = Upstream::scripted(|mut connection| {
        connection.wire.write("What do you want?\r\n");
    });
    let url = canary.url();
    let proxy = setup(&stable, &canary)
        .with(&url, &url.replace("http://", "https://"))
        .start();
    for (asked, method) in ["GET", "POST", "PATCH"].into_iter().enumerate() {
        let answer = ask(&proxy, method, "/", "a body");
        assert!(is_of_stable(&answer, method), "{method}: {answer:?}");
        assert_eq!(stable.log.len(), asked + 1);
    }
    let [of_canary, _] = settled(&proxy, 3, 3);
    assert_eq!(of_canary["failures"], 3);
}

/// The decision does not wait for stable.
#[test]
fn the_failure_is_judged_before_stable_is_asked() {
    let canary = Upstream::named("canary");
    canary.behave(Behaviour::Status(500));
    let (arrive, arrived) = std::sync::mpsc::channel();
    let (go, may) = std::sync::mpsc::channel::<()>();
    let may = std::sync::Mutex::new(may);
    let stable = Upstream::scripted(move |mut connection| {
        while connection.request().is_some() {
            arrive.send(()).ok();
            may.lock().unwrap().recv().ok();
            connection
                .wire
                .write("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstable");
        }
    });
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .shielded()
        .meltdown(1)
        .start();
    let mut client = proxy.client();
    client.send(request("GET", "/", &[("x-user", "a")], ""));
    arrived.recv().expect("stable is asked");
    let status = proxy.status();
    assert_eq!(status["phase"], "rolled_back", "{status}");
    assert_eq!(status["versions"]["canary"]["failures"], 1);
    assert_eq!(status["versions"]["stable"]["in_flight"], 1, "{status}");
    let event = some("a rollback", || proxy.events(0).into_iter().next());
    assert_eq!(event["canary_requests"], 1, "{event}");
    go.send(()).expect("stable waits");
    assert_eq!(client.answer_to("GET").text(), "stable");
    settled(&proxy, 1, 1);
}

/// What stable says in the place of the canary says nothing about stable.
#[test]
fn the_answer_is_no_evidence_about_stable() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let proxy = setup(&stable, &canary)
        .section(
            "[[route.gate]]\nname = \"errors\"\nmetric = \"error_rate\"\nrollback = \"stable + 50pp\"",
        )
        .start();
    let mut asked = 0;
    for status in [200, 503] {
        stable.behave(Behaviour::Status(status));
        for _ in 0..20 {
            let answer = ask(&proxy, "GET", "/", "");
            assert_eq!((answer.status, answer.text().as_str()), (status, "stable"));
            asked += 1;
        }
    }
    let [of_canary, of_stable] = settled(&proxy, asked, asked);
    assert_eq!(of_canary["failures"], asked);
    assert_eq!(of_stable["failures"], 20, "{of_stable}");
    let gate = proxy.status()["gates"][0].clone();
    assert_eq!(gate["canary"]["samples"], asked, "{gate}");
    assert_eq!(gate["stable"]["samples"], 0, "{gate}");
    // The metrics are about what was answered, by whomever.
    let codes = |role: &str, code: &str| {
        let labels = [&*format!("role=\"{role}\""), &*format!("code=\"{code}\"")];
        proxy.metric("haldane_requests_total", &labels)
    };
    assert_eq!(codes("canary", "500"), asked);
    assert_eq!((codes("stable", "200"), codes("stable", "503")), (20, 20));
    let failures = proxy.metric(
        "haldane_request_failures_total",
        &["role=\"stable\"", "reason=\"status\""],
    );
    assert_eq!(failures, 20);
}

/// Of an answer that nobody gets nothing is left for the next one.
#[test]
fn a_rejected_answer_leaves_its_connection_clean_or_closed() {
    const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let large = "x".repeat(300_000);
    for (answer, connections) in [
        // All of it has come: the connection serves the next one.
        (
            "HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nno".to_owned(),
            1,
        ),
        (
            "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n".to_owned(),
            1,
        ),
        (
            "HTTP/1.1 500 X\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno".to_owned(),
            8,
        ),
        // It is not worth reading, goes on for ever, or more comes than was announced.
        (
            format!("HTTP/1.1 500 X\r\nContent-Length: 300000\r\n\r\n{large}"),
            8,
        ),
        (
            "HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nno".to_owned(),
            8,
        ),
        ("HTTP/1.1 500 X\r\n\r\nno".to_owned(), 8),
        (
            format!("HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nno{POISON}"),
            8,
        ),
    ] {
        let (stable, canary) = (Upstream::named("stable"), Upstream::answering(&*answer));
        let proxy = setup(&stable, &canary).top("workers = 1").start();
        let mut client = proxy.client();
        for method in ["GET", "PUT", "GET", "PUT", "GET", "PUT", "GET", "PUT"] {
            let body = if method == "PUT" { "body" } else { "" };
            let got = client.request(method, "/", &[("x-user", "a")], body);
            assert!(is_of_stable(&got, method), "{got:?}");
        }
        let start: String = answer.chars().take(80).collect();
        assert_eq!(canary.log.connections(), connections, "{start:?}");
        settled(&proxy, 8, 8);
    }
}

/// What came before the answer does not hinder it.
#[test]
fn interim_responses_pass_and_hinder_nothing() {
    let stable = Upstream::answering(
        "HTTP/1.1 103 X\r\nlink: stable\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstable",
    );
    let canary = Upstream::answering(
        "HTTP/1.1 103 X\r\nlink: canary\r\n\r\nHTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
    );
    let proxy = setup(&stable, &canary).start();
    let answer = ask(&proxy, "GET", "/", "");
    assert!(is_of_stable(&answer, "GET"), "{answer:?}");
    let hints: Vec<_> = answer
        .interim
        .iter()
        .map(|head| head.one("link").unwrap())
        .collect();
    assert_eq!(hints, ["canary", "stable"]);
}

/// A canary that has begun to answer cannot be replaced.
#[test]
fn a_body_that_breaks_off_is_not_answered_from_stable() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Truncated);
    let proxy = setup(&stable, &canary).start();
    let answer = ask(&proxy, "GET", "/", "");
    assert_eq!((answer.status, answer.end.is_err()), (200, true));
    let [of_canary, _] = settled(&proxy, 1, 0);
    assert_eq!(of_canary["failures"], 1);
    assert_eq!(shielded(&proxy), 0);
}

/// The client is told who answered, and keeps what it is split by.
#[test]
fn the_client_is_told_stable_and_keeps_its_key() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .shielded()
        .route("expose_version = true")
        .section("[route.sticky]\nkey = \"cookie:none\"\non_missing = \"cookie\"")
        .meltdown(1_000_000)
        .start();
    let mut client: Client = proxy.client();
    let failed = client.get("/", &[]);
    assert_eq!(failed.head.one("x-haldane-version").unwrap(), "v1");
    let cookie = failed.head.one("set-cookie").expect("a key");
    let key = cookie.split(';').next().expect("is there").to_owned();
    canary.behave(Behaviour::Good);
    let good = client.get("/", &[("cookie", &key)]);
    assert_eq!(good.head.one("x-haldane-version").unwrap(), "v2");
    assert_eq!(good.head.one("set-cookie"), None);
}
