//! Nobody sees a canary that fails always, under load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{is_of_stable, shielded};
use crate::support::client::{Client, request};
use crate::support::eventually::{elapse, some};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

/// Connections, and about how many requests they make a second together.
const CLIENTS: u64 = 10;
const RATE: u64 = 1000;

/// With the default gates a canary that fails always is gone after so many failures at 5 %:
/// what `haldane plan` says is 4, and some are on their way meanwhile.
const FAILURES_MAX: u64 = 25;

/// Clients who ask until the canary was rolled back, and a while longer. Each answer must
/// be a good one.
fn load(proxy: &Proxy) -> Value {
    let (users, over) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (users, over) = (&users, &over);
                scope.spawn(move || {
                    let mut client = Client::connect(proxy.address);
                    let mut asked = 0;
                    while over.load(Ordering::Relaxed) == 0 {
                        let user = users.fetch_add(1, Ordering::Relaxed).to_string();
                        let (method, body) = [("GET", ""), ("PUT", "a body"), ("DELETE", "")]
                            [(asked + number as usize) % 3];
                        client.send(request(method, "/", &[("x-user", &user)], body));
                        let answer = client.answer_to(method);
                        assert!(is_of_stable(&answer, method), "{method}: {answer:?}");
                        asked += 1;
                        elapse(Duration::from_millis(1000 * CLIENTS / RATE));
                    }
                })
            })
            .collect();
        let event = some("a rollback", || {
            let failed = threads.iter().any(|thread| thread.is_finished());
            assert!(!failed, "a client has seen a failure");
            let events = proxy.events(0);
            events
                .into_iter()
                .find(|event| event["kind"] == "rolled_back")
        });
        let then = users.load(Ordering::Relaxed);
        some("the load goes on", || {
            (users.load(Ordering::Relaxed) > then + 300).then_some(())
        });
        over.store(1, Ordering::Relaxed);
        event
    })
}

#[test]
fn no_client_sees_a_canary_that_fails_always() {
    for behaviour in [
        Behaviour::Status(500),
        Behaviour::Reset,
        Behaviour::Malformed,
        Behaviour::Silent,
    ] {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        canary.behave(behaviour);
        let proxy = Setup::canary(&stable, &canary, "5%")
            .by_user()
            .shielded()
            .top("workers = 2")
            .route("timeouts = { response = \"2s\" }")
            .start();
        let event = load(&proxy);
        let canary_requests = event["canary_requests"].as_u64().expect("a count");
        assert!(canary_requests <= FAILURES_MAX, "{behaviour:?}: {event}");
        let of_canary = proxy.settled("canary", canary_requests);
        assert!(canary.log.len() as u64 <= canary_requests, "{behaviour:?}");
        assert_eq!(shielded(&proxy), canary_requests, "{behaviour:?}");
        assert!(of_canary["failures"].as_u64() <= Some(canary_requests));
        let users = event["by"]["canary"]["count"].as_u64();
        assert!(users >= Some(1), "{behaviour:?}: {event}");
    }
}

#[test]
fn no_client_sees_a_canary_that_cannot_be_reached() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::refusing());
    let proxy = Setup::canary(&stable, &canary, "5%")
        .by_user()
        .shielded()
        .top("workers = 2")
        .start();
    let event = load(&proxy);
    let canary_requests = event["canary_requests"].as_u64().expect("a count");
    assert!(canary_requests <= FAILURES_MAX, "{event}");
    proxy.settled("canary", canary_requests);
    assert_eq!(shielded(&proxy), canary_requests);
}

/// The decision falls with the same request as without a shield, and nobody sees any of it.
#[test]
fn the_rollback_is_no_later_in_any_generation() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .shielded()
        .top("workers = 2")
        .meltdown(3)
        .start();
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    let mut seen = 0;
    for generation in 1..=100 {
        canary.behave(Behaviour::Good);
        let good = clients[generation % 4].get("/", &[("x-user", "a")]);
        assert_eq!(good.text(), "canary", "{generation}");
        canary.behave(Behaviour::Status(500));
        for index in 0..6 {
            let answer = clients[(generation + index) % 4].get("/", &[("x-user", "a")]);
            assert!(is_of_stable(&answer, "GET"), "{generation}: {answer:?}");
        }
        let event = some("a rollback", || {
            let mut events = proxy.events(seen).into_iter();
            events.find(|event| event["kind"] == "rolled_back")
        });
        seen = event["seq"].as_u64().expect("a number");
        assert_eq!(event["generation"], generation, "{event}");
        assert_eq!(event["canary_in_flight"], 1, "{event}");
        // One good and three failing requests in each, by both accounts.
        assert_eq!(event["canary_requests"], 4 * generation, "{event}");
        assert_eq!(canary.log.len(), 4 * generation);
        assert_eq!(shielded(&proxy), 3 * generation as u64);
        proxy.retry();
    }
    assert_eq!(stable.log.len(), 600);
}
