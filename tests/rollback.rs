//! A canary that fails loses its traffic with the failure that decides, and gets none back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::reload::{File, with_canary};
use crate::support::client::request;
use crate::support::eventually::{eventually, now, some};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

/// The first event after event `since` that tells of a breach.
fn breach_after(proxy: &Proxy, since: u64) -> Value {
    some("a rollback", || {
        let events = proxy.events(since);
        events
            .into_iter()
            .find(|event| event.get("rollback_micros").is_some())
    })
}

fn canary_count(status: &Value, of: &str) -> u64 {
    status["versions"]["canary"][of].as_u64().expect("a count")
}

#[test]
fn one_client_after_another_sees_exactly_as_many_failures_as_the_limit_says() {
    for behaviour in [
        Behaviour::Status(500),
        Behaviour::Status(503),
        Behaviour::Status(599),
        Behaviour::Reset,
        Behaviour::Malformed,
        Behaviour::Silent,
        Behaviour::Truncated,
    ] {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        let proxy = Setup::canary(&stable, &canary, "100%")
            .by_user()
            .route("timeouts = { response = \"100ms\" }")
            .meltdown(3)
            .start();
        // Not repeated by haldane, so that each arrives once.
        let post = |user: &str| {
            let mut client = proxy.client();
            client.send(request("POST", "/", &[("x-user", user)], "x"));
            client.answer_to("POST")
        };
        for user in 0..10 {
            assert_eq!(post(&user.to_string()).text(), "canary");
        }
        canary.behave(behaviour);
        for failure in 1..=3 {
            assert_eq!(proxy.status()["phase"], "idle", "{behaviour:?} {failure}");
            let answer = post("a");
            assert!(
                answer.status >= 500 || answer.end.is_err(),
                "{behaviour:?}: {}",
                answer.head.start
            );
        }
        for user in 0..30 {
            assert_eq!(post(&user.to_string()).text(), "stable", "{behaviour:?}");
        }
        assert_eq!(canary.log.len(), 13, "{behaviour:?}");
        let event = breach_after(&proxy, 0);
        assert_eq!(event["canary_requests"], 13, "{event}");
        let status = proxy.status();
        assert_eq!(status["phase"], "rolled_back");
        assert_eq!(status["verdict"], "fail");
        assert_eq!(canary_count(&status, "failures"), 3);
        assert_eq!(proxy.events(0).len(), 1, "one rollback, once");
    }
}

#[test]
fn a_canary_that_refuses_or_cannot_be_reached_is_rolled_back() {
    for (canary, status) in [(Upstream::refusing(), 502), (Upstream::unreachable(), 504)] {
        let stable = Upstream::named("stable");
        let proxy = Setup::canary(&stable, &canary, "100%")
            .by_user()
            .route("timeouts = { connect = \"100ms\" }")
            .meltdown(3)
            .start();
        let mut client = proxy.client();
        let statuses: Vec<_> = (0..10)
            .map(|_| client.get("/", &[("x-user", "a")]).status)
            .collect();
        assert_eq!(statuses[..3], [status; 3]);
        assert_eq!(statuses[3..], [200; 7]);
    }
}

#[test]
fn a_hard_limit_rolls_back_with_the_response_that_passes_it() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .section(
            "[[route.gate]]\nname = \"errors\"\nmetric = \"error_rate\"\nrollback = \"20% hard\"",
        )
        .start();
    canary.behave(Behaviour::Status(500));
    let mut client = proxy.client();
    let mut failed = 0_u64;
    eventually("a rollback", || {
        let answer = client.get("/", &[("x-user", "a")]);
        failed += u64::from(answer.status == 500);
        answer.text() == "stable"
    });
    let event = breach_after(&proxy, 0);
    assert_eq!(event["canary_requests"], failed, "{event}");
    assert_eq!(canary.log.len() as u64, failed);
}

#[test]
fn a_rolled_back_generation_stays_at_zero() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(1)
        .start();
    canary.behave(Behaviour::Status(500));
    proxy.get("/", &[("x-user", "a")]);
    canary.behave(Behaviour::Good);
    let (status, _) = proxy.admin(
        "PUT",
        "/v1/routes/default/weight",
        &json!({ "weight": "50%" }),
    );
    assert_eq!(status, 409);
    proxy.roll_back();
    let mut client = proxy.client();
    for user in 0..200 {
        let answer = client.get("/", &[("x-user", &user.to_string())]);
        assert_eq!(answer.text(), "stable");
    }
    assert_eq!(canary.log.len(), 1);
    assert_eq!(proxy.status()["generation"], 1);
    proxy.retry();
    assert_eq!(client.get("/", &[("x-user", "a")]).text(), "canary");
}

#[test]
fn a_success_between_failures_starts_the_count_anew() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(3)
        .start();
    let mut client = proxy.client();
    for round in 0..20 {
        canary.behave(Behaviour::Status(500));
        client.get("/", &[("x-user", "a")]);
        client.get("/", &[("x-user", "b")]);
        canary.behave(Behaviour::Good);
        let good = client.get("/", &[("x-user", "c")]);
        assert_eq!(good.text(), "canary", "{round}");
    }
    canary.behave(Behaviour::Status(500));
    for _ in 0..3 {
        assert_eq!(client.get("/", &[("x-user", "a")]).text(), "canary");
    }
    assert_eq!(client.get("/", &[("x-user", "a")]).text(), "stable");
}

#[test]
fn a_failing_status_is_judged_before_its_body_ends() {
    let stable = Upstream::named("stable");
    let canary = Upstream::scripted(|mut connection| {
        if connection.request().is_some() {
            connection
                .wire
                .write("HTTP/1.1 500 X\r\nContent-Length: 1000\r\n\r\nslow");
            connection.end();
        }
    });
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(1)
        .start();
    let mut first = proxy.client();
    first.send(request("GET", "/", &[("x-user", "a")], ""));
    assert!(matches!(first.response_head(), Ok((_, 500))));
    assert_eq!(proxy.get("/", &[("x-user", "a")]).text(), "stable");
    assert_eq!(canary_count(&proxy.status(), "in_flight"), 1);
}

#[test]
fn failures_of_stable_roll_nothing_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .meltdown(1)
        .start();
    stable.behave(Behaviour::Status(500));
    let mut client = proxy.client();
    let mut failed = 0;
    for user in 0..50 {
        let answer = client.get("/", &[("x-user", &user.to_string())]);
        failed += u32::from(answer.status == 500);
    }
    assert!(failed > 0);
    let status = proxy.status();
    assert_eq!(status["phase"], "idle");
    assert_eq!(status["versions"]["stable"]["failures"], failed);
}

#[test]
fn what_an_earlier_generation_left_behind_is_no_evidence_about_the_next() {
    let stable = Upstream::named("stable");
    let (fail, told_to_fail) = std::sync::mpsc::channel::<()>();
    let told_to_fail = std::sync::Mutex::new(told_to_fail);
    let canary = Upstream::scripted(move |mut connection| {
        while let Some(head) = connection.request() {
            let answer = if head.word(1) == "/slow" {
                told_to_fail.lock().unwrap().recv().ok();
                "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
            } else {
                "HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\ncanary"
            };
            connection.wire.write(answer);
        }
    });
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(1)
        .start();
    let mut slow = proxy.client();
    slow.send(request("GET", "/slow", &[("x-user", "a")], ""));
    eventually("the slow request arrives", || canary.log.len() == 1);
    proxy.roll_back();
    proxy.retry();
    fail.send(()).unwrap();
    assert_eq!(slow.answer_to("GET").status, 500);
    let status = proxy.status();
    assert_eq!(
        (&status["phase"], &status["generation"]),
        (&json!("idle"), &json!(2))
    );
    assert_eq!(proxy.get("/", &[("x-user", "a")]).text(), "canary");
}

/// The same thousands of times: two connections that take turns, which may be on two
/// workers, one good request and then failures until the version is out.
#[test]
fn in_every_one_of_thousands_of_generations_it_sees_no_failure_more() {
    const GENERATIONS: usize = 2_000;
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .top("workers = 2")
        .meltdown(3)
        .start();
    let mut clients = [proxy.client(), proxy.client()];
    let mut seen = 0;
    for generation in 1..=GENERATIONS {
        canary.behave(Behaviour::Good);
        assert_eq!(clients[generation % 2].get("/", &[]).text(), "canary");
        canary.behave(Behaviour::Status(500));
        for index in 1..=6 {
            let answer = clients[(generation + index) % 2].get("/", &[]);
            let (status, from) = if index <= 3 {
                (500, "canary")
            } else {
                (200, "stable")
            };
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (status, from),
                "{generation}"
            );
        }
        let event = breach_after(&proxy, seen);
        seen = event["seq"].as_u64().unwrap();
        assert_eq!(event["generation"], generation, "{event}");
        assert_eq!(
            event["canary_in_flight"], 1,
            "the one that decided: {event}"
        );
        // One good and three failing requests in each generation, by both accounts.
        assert_eq!(event["canary_requests"], 4 * generation, "{event}");
        assert_eq!(canary.log.len(), 4 * generation);
        proxy.retry();
    }
}

/// Clients that ask as fast as they can.
struct Crowd {
    stop: Arc<AtomicBool>,
    /// Odd while a rollback is known to have happened and no retry was asked for.
    epoch: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    threads: Vec<JoinHandle<u64>>,
}

impl Crowd {
    fn start(proxy: &Proxy, size: usize) -> Self {
        let (stop, epoch) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let asked = Arc::<AtomicU64>::default();
        let threads = (0..size).map(|number| {
            let mut client = proxy.client();
            let (stop, epoch) = (Arc::clone(&stop), Arc::clone(&epoch));
            let asked = Arc::clone(&asked);
            std::thread::spawn(move || {
                let mut late = 0;
                for round in 0_u64.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let user = format!("{number}-{round}");
                    let before = epoch.load(Ordering::SeqCst);
                    let answer = client.get("/", &[("x-user", &user)]);
                    let after = epoch.load(Ordering::SeqCst);
                    asked.fetch_add(1, Ordering::SeqCst);
                    if before == after && before % 2 == 1 && answer.text() != "stable" {
                        late += 1;
                    }
                }
                late
            })
        });
        let threads = threads.collect();
        Self {
            stop,
            epoch,
            asked,
            threads,
        }
    }

    /// Waits until the crowd has asked this much more.
    fn go_on(&self, more: u64) {
        let until = self.asked.load(Ordering::SeqCst) + more;
        eventually("the crowd goes on", || {
            self.asked.load(Ordering::SeqCst) >= until
        });
    }

    /// How many asked after a rollback was known and were sent to the canary.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.threads
            .into_iter()
            .map(|thread| thread.join().expect("every answer is complete"))
            .sum()
    }
}

/// The canary's own log against the count at the moment of the decision, again and
/// again: whatever reached the canary was routed before its weight was zero.
#[test]
fn no_request_is_routed_to_the_canary_after_the_decision() {
    const CLIENTS: u64 = 64;
    const LIMIT: u64 = 3;
    const GENERATIONS: u64 = 3000;
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "30%")
        .top("workers = 2")
        .by_user()
        .meltdown(3)
        .start();
    let crowd = Crowd::start(&proxy, CLIENTS as usize);
    crowd.go_on(500);
    canary.behave(Behaviour::Status(500));
    let deadline = now() + Duration::from_secs(30);
    let (mut seen, mut before, mut generation) = (0, None, 1);
    let mut silent;
    loop {
        let event = breach_after(&proxy, seen);
        crowd.epoch.fetch_add(1, Ordering::SeqCst);
        seen = event["seq"].as_u64().unwrap();
        assert_eq!(event["generation"], generation, "{event}");
        let decided = event["canary_requests"].as_u64().unwrap();
        let status = some("the canary falls silent", || {
            let status = proxy.status();
            (canary_count(&status, "in_flight") == 0).then_some(status)
        });
        silent = now();
        crowd.go_on(CLIENTS + 1);
        let arrived = canary.log.len() as u64;
        assert!(
            arrived <= decided,
            "{arrived} arrived, {decided} were routed at the decision"
        );
        let routed = canary_count(&status, "requests");
        assert_eq!(arrived, routed, "each arrives once");
        if let Some(before) = before {
            let touched: u64 = arrived - before;
            assert!(
                (LIMIT..LIMIT + CLIENTS).contains(&touched),
                "{touched} requests failed in generation {generation}"
            );
        }
        before = Some(arrived);
        if generation == GENERATIONS || now() > deadline {
            break;
        }
        crowd.epoch.fetch_add(1, Ordering::SeqCst);
        proxy.retry();
        generation += 1;
    }
    let late = crowd.stop();
    assert_eq!(late, 0, "asked after the rollback, answered by the canary");
    let arrivals = canary.log.arrivals();
    assert_eq!(Some(arrivals.len() as u64), before);
    assert!(arrivals.iter().all(|arrival| arrival.at < silent));
    assert!(generation >= 50, "only {generation} generations");
}

/// Two addresses take turns as the canary, both bad, under another name each time: when
/// one is rolled back the file names the other at once, and other things all the time.
/// Whatever reached an address was routed in one of its generations, and before its end.
#[test]
fn a_canary_that_was_rolled_back_gets_nothing_of_the_one_that_the_file_names_next() {
    const CLIENTS: usize = 8;
    const LIMIT: u64 = 3;
    const GENERATIONS: u64 = 300;
    let stable = Upstream::named("stable");
    let canaries = [Upstream::named("a"), Upstream::named("b")];
    for canary in &canaries {
        canary.behave(Behaviour::Status(500));
    }
    let setup = |generation: u64, timeout: u64| {
        let canary = &canaries[usize::from(generation.is_multiple_of(2))];
        with_canary(&stable, &format!("c{generation}"), canary, "30%")
            .top("workers = 2")
            .route(&format!("timeouts = {{ response = \"{timeout}s\" }}"))
    };
    let file = File::new("rollback", &setup(1, 30));
    let proxy = file.start();
    let crowd = Crowd::start(&proxy, CLIENTS);
    let deadline = now() + Duration::from_secs(30);
    let (mut seen, mut generation, mut decided) = (0, 1, [0, 0]);
    loop {
        // What changes meanwhile does not keep the gate from seeing failures.
        file.write(&setup(generation, 20).text());
        assert_eq!(proxy.reload().0, 200);
        let event = breach_after(&proxy, seen);
        seen = event["seq"].as_u64().unwrap();
        assert_eq!(event["generation"], generation, "{event}");
        let touched = event["canary_requests"].as_u64().unwrap();
        assert!(
            (LIMIT..LIMIT + CLIENTS as u64).contains(&touched),
            "{event}"
        );
        decided[usize::from(generation.is_multiple_of(2))] += touched;
        if generation == GENERATIONS || now() > deadline {
            break;
        }
        // At once: its last requests are still on their way.
        generation += 1;
        file.write(&setup(generation, 30).text());
        assert_eq!(proxy.reload().0, 200);
    }
    crowd.epoch.fetch_add(1, Ordering::SeqCst);
    crowd.go_on(2 * CLIENTS as u64);
    assert_eq!(
        crowd.stop(),
        0,
        "asked after the rollback, answered by the canary"
    );
    for (canary, decided) in canaries.iter().zip(decided) {
        let arrived = canary.log.len() as u64;
        assert!(
            arrived <= decided,
            "{arrived} arrived, {decided} were routed at the decisions"
        );
    }
    assert!(generation >= 30, "only {generation} generations");
}
