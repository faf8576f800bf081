//! What the gates see of real traffic, and what they make of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::support::client::request;
use crate::support::eventually::{elapse, eventually, some};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

/// A canary that takes requests and answers none.
mod hung;
/// Slow responses.
mod latency;
/// What something outside answers.
mod outside;
/// What is said of a decision, and where.
mod shown;
/// What versions, or others, report about their results.
mod signals;

/// Clients who ask at a steady rate, each time as another user, until this is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// How a [`Load`] asks: its fields, by the numbers of the client and of the request.
type Fields = fn(u64, u64) -> Vec<(&'static str, String)>;

/// Everybody is a user of their own.
fn users(_: u64, number: u64) -> Vec<(&'static str, String)> {
    vec![
        ("x-user", format!("user-{number}")),
        ("x-request-id", format!("request-{number}")),
    ]
}

impl Load {
    /// So many clients, who ask about a thousand times a second together.
    fn start(proxy: &Proxy, clients: u64, fields: Fields) -> Self {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let pause = Duration::from_millis(clients);
        let threads = (0..clients).map(|number| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            let address = proxy.address;
            std::thread::spawn(move || {
                let mut client = crate::support::client::Client::connect(address);
                loop {
                    let fields = fields(number, asked.fetch_add(1, Ordering::Relaxed));
                    let fields: Vec<_> = fields
                        .iter()
                        .map(|(name, value)| (*name, value.as_str()))
                        .collect();
                    client.send(request("GET", "/", &fields, ""));
                    // What haldane breaks off when it ends is nobody's answer.
                    let Ok(answer) = client.try_answer_to("GET") else {
                        return;
                    };
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if answer.head.one("connection").as_deref() == Some("close") {
                        client = crate::support::client::Client::connect(address);
                    }
                    elapse(pause);
                }
            })
        });
        Self {
            threads: threads.collect(),
            stop,
            asked,
        }
    }

    /// Waits until so many more requests were made.
    fn go_on(&self, more: u64) {
        let until = self.asked.load(Ordering::Relaxed) + more;
        eventually("the load goes on", || {
            self.asked.load(Ordering::Relaxed) >= until
        });
    }

    /// Ends when every client has its last answer.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("asks to the end");
        }
    }
}

/// Waits until the canary was rolled back: the event that says so.
fn rolled_back(proxy: &Proxy) -> Value {
    some("a rollback", || {
        let events = proxy.events(0);
        events
            .into_iter()
            .find(|event| event["kind"] == "rolled_back")
    })
}

fn failures(proxy: &Proxy, role: &str) -> u64 {
    proxy.status()["versions"][role]["failures"]
        .as_u64()
        .expect("a count")
}

/// The status of the gate with this name.
fn gate(proxy: &Proxy, name: &str) -> Value {
    let status = proxy.status();
    let gates = status["gates"].as_array().expect("gates");
    let mut gates = gates.iter();
    gates
        .find(|gate| gate["name"] == name)
        .unwrap_or_else(|| panic!("no gate {name}: {status}"))
        .clone()
}

#[test]
fn a_canary_that_fails_few_users_is_rolled_back_after_a_handful_of_them() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "5%")
        .by_user()
        .top("workers = 2")
        .start();
    let load = Load::start(&proxy, 8, users);
    load.go_on(1000);
    assert_eq!(proxy.status()["phase"], "idle");
    canary.behave(Behaviour::Status(503));
    let event = rolled_back(&proxy);
    load.go_on(200);
    load.end();
    assert_eq!(event["by"]["gate"], "errors", "{event}");
    assert_eq!(
        event["by"]["canary"]["samples"],
        event["by"]["canary"]["samples"]
    );
    // Those that were under way besides the ones that it takes.
    let failed = failures(&proxy, "canary");
    assert!((4..=12).contains(&failed), "{failed}: {event}");
    assert_eq!(proxy.events(0).len(), 1);
    assert_eq!(proxy.status()["verdict"], "fail");
}

/// One user who always fails is one user.
#[test]
fn one_user_is_no_evidence_however_often_they_fail() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .section("[[route.gate]]\nname = \"errors\"\nmetric = \"error_rate\"\nrollback = \"stable + 0.1pp\"")
        .start();
    let mut client = proxy.client();
    let user = (0..100)
        .map(|user| user.to_string())
        .find(|user| client.get("/", &[("x-user", user)]).text() == "canary")
        .expect("half of them are");
    canary.behave(Behaviour::Status(500));
    for _ in 0..200 {
        assert_eq!(client.get("/", &[("x-user", &user)]).status, 500);
    }
    assert_eq!(proxy.status()["phase"], "idle");
    let mut failed = 0;
    eventually("a rollback", || {
        failed += 1;
        client.get("/", &[("x-user", &format!("other-{failed}"))]);
        proxy.status()["phase"] == "rolled_back"
    });
    assert!((20..80).contains(&failed), "{failed} more users");
}

#[test]
fn a_fault_that_both_have_rolls_nothing_back_and_is_called_shared() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "0%").by_user().start();
    let load = Load::start(&proxy, 6, users);
    load.go_on(500);
    proxy.set_weight("20%");
    load.go_on(500);
    stable.behave(Behaviour::Status(503));
    canary.behave(Behaviour::Status(503));
    let event = some("an incident", || proxy.events(1).into_iter().next());
    assert_eq!(event["kind"], "incident", "{event}");
    assert_eq!(event["weight"], "20%");
    load.go_on(1000);
    assert_eq!(gate(&proxy, "errors")["reason"], "shared");
    let (_, verdict) = proxy.admin("GET", "/v1/routes/default/verdict", &Value::Null);
    assert_eq!(verdict["verdict"], "inconclusive", "{verdict}");
    load.end();
    assert_eq!(proxy.events(0).len(), 2, "{:?}", proxy.events(0));
    assert_eq!(proxy.status()["phase"], "idle");
}

#[test]
fn client_errors_that_only_the_canary_shows_roll_it_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "10%").by_user().start();
    let load = Load::start(&proxy, 8, users);
    load.go_on(500);
    canary.behave(Behaviour::Status(422));
    let event = rolled_back(&proxy);
    load.end();
    assert_eq!(event["by"]["measure"]["kind"], "new_errors", "{event}");
    assert_eq!(event["by"]["measure"]["class"]["status"], 422, "{event}");
    assert_eq!(failures(&proxy, "canary"), 0, "a 4xx is no failure");
}

/// Both answer so, which is nobody's fault.
#[test]
fn client_errors_of_both_roll_nothing_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "10%").by_user().start();
    let load = Load::start(&proxy, 8, users);
    stable.behave(Behaviour::Status(404));
    canary.behave(Behaviour::Status(404));
    load.go_on(2000);
    load.end();
    assert_eq!(proxy.events(0).len(), 0, "{:?}", proxy.events(0));
}

#[test]
fn who_asks_for_the_canary_by_name_is_no_evidence() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "5%")
        .section(
            "[route.sticky]\nkey = \"header:x-user\"\nsalt = \"tests\"\n\
             force = { header = \"x-force\", from = [\"127.0.0.0/8\"] }",
        )
        .start();
    canary.behave(Behaviour::Status(500));
    let mut client = proxy.client();
    for user in 0..100 {
        let user = user.to_string();
        let answer = client.get("/", &[("x-user", &user), ("x-force", "canary")]);
        assert_eq!(answer.status, 500);
    }
    let status = proxy.status();
    assert_eq!(status["phase"], "idle");
    assert_eq!(status["versions"]["canary"]["failures"], 100);
    for name in ["errors", "meltdown"] {
        let gate = gate(&proxy, name);
        assert_eq!(gate["canary"]["count"], 0, "{gate}");
        assert_eq!(gate["canary"]["samples"], 0, "{gate}");
    }
    assert_eq!(
        proxy.metric(
            "haldane_request_failures_total",
            &["reason=\"status\"", "role=\"canary\""]
        ),
        100
    );
}

/// Who could not have got the canary is not like those who could.
#[test]
fn who_has_no_key_and_goes_to_stable_is_no_evidence() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "5%")
        .section("[route.sticky]\nkey = \"header:x-user\"\non_missing = \"stable\"")
        .start();
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.get("/", &[]).text(), "stable");
    }
    assert_eq!(gate(&proxy, "errors")["stable"]["samples"], 0);
    for user in 0..50 {
        client.get("/", &[("x-user", &user.to_string())]);
    }
    eventually("they are counted", || {
        let gate = gate(&proxy, "errors");
        let samples = |role: &str| gate[role]["samples"].as_u64().expect("a count");
        samples("stable") + samples("canary") == 50
    });
}
