//! Others are told what happens to releases: in their form, in order, once, and nobody
//! waits for them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::reload::{File, put};
use crate::support::eventually::{eventually, now, some};
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::{Authority, Directory, TlsUpstream};
use crate::support::upstream::{Arrival, Behaviour, Upstream};

/// Answers with these statuses and lines of a head, one after another, and then with 200.
fn receiver(answers: &[&'static str]) -> Upstream {
    let answers: Mutex<VecDeque<&str>> = Mutex::new(answers.iter().copied().collect());
    Upstream::scripted(move |mut connection| {
        while connection.request().is_some() {
            let answer = answers.lock().unwrap().pop_front().unwrap_or("200 OK");
            let head = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
            connection.wire.write(head);
        }
    })
}

fn target(url: &str, rest: &str) -> String {
    format!("[[notify]]\nurl = \"{url}\"\n{rest}\n")
}

fn body(arrival: &Arrival) -> Value {
    serde_json::from_slice(&arrival.body.bytes).expect("is JSON")
}

fn key(arrival: &Arrival) -> String {
    arrival.head.one("idempotency-key").expect("has a key")
}

/// The events of notices that arrived in full, in order.
fn events(receiver: &Upstream) -> Vec<String> {
    let complete = receiver.log.arrivals().into_iter();
    let complete = complete.filter(|arrival| !arrival.body.bytes.is_empty());
    let event = |arrival: Arrival| body(&arrival)["event"].as_str().expect("a word").to_owned();
    complete.map(event).collect()
}

/// A canary with all traffic that the first failure rolls back, and somebody who is told.
fn fragile(stable: &Upstream, canary: &Upstream, targets: &str) -> Setup {
    Setup::canary(stable, canary, "100%")
        .by_user()
        .meltdown(1)
        .table(targets)
}

fn break_canary(proxy: &Proxy, canary: &Upstream) {
    canary.behave(Behaviour::Status(500));
    proxy.get("/", &[("x-user", "a")]);
    assert_eq!(proxy.get("/", &[("x-user", "a")]).text(), "stable");
}

fn told(proxy: &Proxy, receiver: &Upstream, result: &str) -> u64 {
    let target = format!("target=\"{}\"", receiver.address);
    let result = format!("result=\"{result}\"");
    proxy.metric("haldane_notifications_total", &[&target, &result])
}

#[test]
fn a_rollback_is_told_in_every_form() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let (programs, people, tracker) = (receiver(&[]), receiver(&[]), receiver(&[]));
    let targets = [
        target(&format!("{}/hook?x=1", programs.url()), ""),
        target(&people.url(), "format = \"slack\""),
        target(
            &tracker.url(),
            "format = \"deployment\"\nenvironment = \"staging\"",
        ),
    ];
    let proxy = fragile(&stable, &canary, &targets.concat()).start();
    break_canary(&proxy, &canary);
    for receiver in [&programs, &people, &tracker] {
        eventually("it is delivered", || {
            told(&proxy, receiver, "delivered") == 1
        });
    }
    let event = proxy.events(0).remove(0);
    let arrival = programs.log.only();
    assert_eq!(arrival.head.start, "POST /hook?x=1 HTTP/1.1");
    let field = |name: &str| arrival.head.one(name).unwrap_or_default();
    assert_eq!(field("host"), programs.address.to_string());
    assert_eq!(field("content-type"), "application/json");
    let told = body(&arrival);
    let sentence = told["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with("default: v2 was rolled back from 100% to v1 (meltdown: "),
        "{sentence}"
    );
    let at = told["at"].as_str().unwrap();
    let expected = json!({
        "schema": "haldane.notice/1", "id": key(&arrival), "event": "rolled_back",
        "severity": "critical", "route": "default", "generation": 1, "version": "v2",
        "stable_version": "v1", "weight": "0%", "at": at, "sentence": sentence,
        "cause": event["by"],
    });
    assert_eq!(told, expected);
    assert!(key(&arrival).ends_with(&format!("-{}", event["seq"])));

    let slack = body(&people.log.only());
    assert_eq!(slack["text"], sentence.replace('>', "&gt;"));
    let [attachment] = &slack["attachments"].as_array().unwrap()[..] else {
        panic!("{slack}")
    };
    assert_eq!(attachment["color"], "danger");
    let values = attachment["fields"].as_array().unwrap().iter();
    let values: Vec<_> = values
        .map(|field| field["value"].as_str().unwrap())
        .collect();
    assert_eq!(values, ["v2", "v1", "default", "Rolled back", "0%"]);

    let (seconds, _) = at.split_once('.').unwrap();
    let expected = json!({
        "sha": "v2", "environment": "staging", "status": "failure",
        "timestamp": format!("{seconds}Z"), "rollback_sha": "v1",
    });
    assert_eq!(body(&tracker.log.only()), expected);
}

#[test]
fn what_was_not_taken_comes_again_under_the_same_key_and_before_the_rest() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let receiver = receiver(&["500 X", "503 X\r\nretry-after: 1", "200 OK", "404 X"]);
    let proxy = fragile(&stable, &canary, &target(&receiver.url(), "")).start();
    let since = now();
    break_canary(&proxy, &canary);
    proxy.retry();
    proxy.set_weight("50%");
    proxy.set_weight("75%");
    proxy.roll_back();
    eventually("all is told", || {
        told(&proxy, &receiver, "delivered") == 3 && told(&proxy, &receiver, "failed") == 1
    });
    // Half a second and one at least.
    assert!(since.elapsed() >= Duration::from_millis(1500));
    assert_eq!(
        events(&receiver),
        [
            "rolled_back",
            "rolled_back",
            "rolled_back",
            "started",
            "progressed",
            "rolled_back"
        ],
        "lowering the weight is no progress"
    );
    let keys: Vec<_> = receiver.log.arrivals().iter().map(key).collect();
    assert_eq!((&keys[0], &keys[0]), (&keys[1], &keys[2]));
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), 4);
}

#[test]
fn whoever_is_dead_or_hangs_delays_nobody() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let (refusing, unreachable) = (Upstream::refusing(), Upstream::unreachable());
    let silent = Upstream::named("silent");
    silent.behave(Behaviour::Silent);
    let alive = receiver(&[]);
    let targets = [&refusing, &unreachable, &silent, &alive];
    let targets = targets.map(|upstream| target(&upstream.url(), ""));
    let proxy = fragile(&stable, &canary, &targets.concat()).start();
    for generation in 1..=40 {
        break_canary(&proxy, &canary);
        canary.behave(Behaviour::Good);
        proxy.retry();
        assert_eq!(proxy.status()["generation"], generation + 1);
    }
    let rolled_back = proxy
        .events(0)
        .into_iter()
        .filter(|event| event["kind"] == "rolled_back");
    let times: Vec<u64> = rolled_back
        .map(|event| event["rollback_micros"].as_u64().unwrap())
        .collect();
    assert_eq!(times.len(), 40);
    assert!(times.iter().all(|time| *time < 100_000), "{times:?}");
    eventually("the living one is told", || {
        told(&proxy, &alive, "delivered") == 80
    });
    let expected = ["rolled_back", "started"].repeat(40);
    assert_eq!(events(&alive), expected);
    // One is on its way or waits, 64 stand behind it.
    eventually("the others lose the oldest", || {
        let lost = told(&proxy, &silent, "dropped");
        assert!(lost <= 15);
        lost == 15
    });
}

#[test]
fn over_tls_with_a_token_that_is_read_each_time() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let directory = Directory::new("notify-tls");
    let authority = Authority::new();
    let (receiver, stranger) = (
        TlsUpstream::start(&authority, None, None),
        TlsUpstream::start(&Authority::new(), None, None),
    );
    std::fs::write(directory.path("ca"), authority.pem()).unwrap();
    std::fs::write(directory.path("token"), "first\n").unwrap();
    std::fs::write(
        directory.path("url"),
        format!("{}/secret\n", stranger.url()),
    )
    .unwrap();
    let (ca, token) = (directory.path("ca"), directory.path("token"));
    let rest = format!("ca = \"{ca}\"\ntoken_file = \"{token}\"");
    let targets = [
        target(&format!("{}/secret", receiver.url()), &rest),
        format!(
            "[[notify]]\nurl_file = \"{}\"\n{rest}",
            directory.path("url")
        ),
    ];
    let proxy = fragile(&stable, &canary, &targets.concat()).start();
    break_canary(&proxy, &canary);
    let heads = || receiver.heads.lock().unwrap().clone();
    eventually("it is told", || heads().len() == 1);
    assert!(
        heads()[0].starts_with("post /secret http/1.1"),
        "{:?}",
        heads()
    );
    assert!(heads()[0].contains("authorization: bearer first\r\n"));
    std::fs::write(&token, "second").unwrap();
    proxy.retry();
    eventually("it is told", || heads().len() == 2);
    assert!(heads()[1].contains("authorization: bearer second\r\n"));
    // Whoever is signed by somebody else gets nothing; the file then names the right one.
    assert!(stranger.heads.lock().unwrap().is_empty());
    std::fs::write(directory.path("url"), format!("{}/other", receiver.url())).unwrap();
    eventually("the other one is told", || {
        let other = |head: &&String| head.starts_with("post /other ");
        heads().iter().filter(other).count() == 2
    });
}

#[test]
fn a_reload_changes_who_is_told() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let (first, second) = (Upstream::named("first"), receiver(&[]));
    first.behave(Behaviour::Status(503));
    let setup = |targets: &str| fragile(&stable, &canary, targets);
    let file = File::new("notify", &setup(&target(&first.url(), "")));
    let proxy = file.start();
    proxy.roll_back();
    eventually("it is tried", || first.log.len() == 1);
    // What waits for somebody who stays is not lost, nor doubled.
    let both = target(&first.url(), "events = \"incident\"") + &target(&second.url(), "");
    let changes = put(&proxy, &file, &setup(&both).text());
    assert_eq!(changes, json!(["notify changed"]));
    first.behave(Behaviour::Good);
    eventually("it is told", || told(&proxy, &first, "delivered") == 1);
    proxy.retry();
    proxy.roll_back();
    eventually("the second is told", || {
        told(&proxy, &second, "delivered") == 2
    });
    assert_eq!(told(&proxy, &first, "delivered"), 1);
    assert_eq!(events(&second), ["started", "rolled_back"]);
    put(&proxy, &file, &setup("").text());
    proxy.retry();
    assert_eq!(told(&proxy, &second, "delivered"), 0, "it is gone");
    // Another canary is another version.
    let renamed = setup(&target(&second.url(), ""))
        .text()
        .replace("\"v2\"", "\"v3\"");
    put(&proxy, &file, &renamed);
    let last = some("the new one is told", || {
        second
            .log
            .arrivals()
            .into_iter()
            .nth(2)
            .filter(|arrival| !arrival.body.bytes.is_empty())
    });
    assert_eq!(body(&last)["version"], "v3");
}

#[test]
fn what_waits_at_the_end_is_tried_once_more() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let (receiver, dead) = (
        receiver(&["503 X\r\nretry-after: 300"]),
        Upstream::unreachable(),
    );
    let targets = target(&receiver.url(), "") + &target(&dead.url(), "");
    let mut proxy = fragile(&stable, &canary, &targets)
        .top("drain = { linger = \"0s\", timeout = \"1s\" }")
        .start();
    proxy.roll_back();
    eventually("it is tried", || receiver.log.len() == 1);
    proxy.retry();
    let since = now();
    proxy.begin_drain();
    proxy.join();
    assert_eq!(events(&receiver), ["rolled_back", "rolled_back", "started"]);
    // It has not waited for the dead one longer than the drain may take.
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_rollout_is_told_from_its_start_to_its_end() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let (programs, tracker) = (receiver(&[]), receiver(&[]));
    let targets = target(&programs.url(), "") + &target(&tracker.url(), "format = \"deployment\"");
    let proxy = Setup::stable(&stable)
        .route(&format!(
            "canary = {{ version = \"v2\", upstream = \"{}\" }}",
            canary.url()
        ))
        .table(&targets)
        .section("[route.rollout]\nsteps = [\"5% for 1h\", \"100%\"]\nbake = \"1ms\"")
        .meltdown(100)
        .start();
    let command = |verb: &str, body: &Value| {
        let (status, answer) = proxy.admin("POST", &format!("/v1/routes/default/{verb}"), body);
        assert_eq!(status, 200, "{answer}");
    };
    eventually("it starts", || told(&proxy, &programs, "delivered") == 1);
    command("pause", &json!({ "actor": "ada", "reason": "lunch" }));
    command("resume", &json!({}));
    command("promote", &json!({ "full": true }));
    eventually("it is complete", || {
        told(&proxy, &programs, "delivered") == 5 && told(&proxy, &tracker, "delivered") == 5
    });
    assert_eq!(
        events(&programs),
        ["started", "paused", "progressed", "progressed", "completed"]
    );
    let arrivals = programs.log.arrivals();
    assert_eq!(
        body(&arrivals[1])["sentence"],
        "default: v2 is paused in step 1 at 5% (command by ada: lunch)"
    );
    let statuses = tracker.log.arrivals();
    let statuses: Vec<_> = statuses
        .iter()
        .map(|arrival| body(arrival)["status"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        statuses,
        [
            "in_progress",
            "pending",
            "in_progress",
            "in_progress",
            "success"
        ]
    );
}
