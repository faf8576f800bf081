//! The decision, thousands of times, against the canary's own log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{breach_after, canary_count};
use crate::reload::{File, with_canary};
use crate::support::client::Client;
use crate::support::eventually::{eventually, now, some};
use crate::support::http2::{self, H2Client, read};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

/// This many failures in a row.
const LIMIT: u64 = 3;

/// Enough for hundreds of generations.
const BRIEFLY: Duration = Duration::from_secs(12);

/// Somebody who asks.
trait Asker: Send + 'static {
    /// Asks as this user: whether it failed, and who answered.
    fn ask(&mut self, user: &str) -> (bool, String);
}

/// A version that can be told to fail.
trait Canary {
    fn fails(&self, fails: bool);

    /// When requests came to it.
    fn arrivals(&self) -> Vec<Instant>;

    fn count(&self) -> u64;
}

impl Asker for Client {
    fn ask(&mut self, user: &str) -> (bool, String) {
        let answer = self.get("/", &[("x-user", user)]);
        (answer.status == 500, answer.text())
    }
}

impl Canary for Upstream {
    fn fails(&self, fails: bool) {
        self.behave(if fails {
            Behaviour::Status(500)
        } else {
            Behaviour::Good
        });
    }

    fn arrivals(&self) -> Vec<Instant> {
        let arrivals = self.log.arrivals();
        arrivals.iter().map(|arrival| arrival.at).collect()
    }

    fn count(&self) -> u64 {
        self.log.len() as u64
    }
}

/// One of many who share a connection.
impl Asker for H2Client {
    fn ask(&mut self, user: &str) -> (bool, String) {
        let answer = self.get("/", &[("x-user", user)]);
        (answer.status == 500, answer.text())
    }
}

/// One who calls by gRPC.
struct Caller(H2Client);

impl Asker for Caller {
    fn ask(&mut self, user: &str) -> (bool, String) {
        let fields = [("content-type", "application/grpc"), ("x-user", user)];
        let call = http2::request("POST", "/shop.Cart/Add", &fields);
        let answer = self.0.ask(call, b"\0\0\0\0\0");
        assert_eq!(answer.status, 200);
        let status = http2::one(answer.end.as_ref().expect("ends"), "grpc-status");
        (status.as_deref() == Some("14"), answer.text())
    }
}

/// A version that speaks HTTP/2, and gRPC to those who do.
struct Streams {
    upstream: H2Upstream,
    fails: Arc<AtomicBool>,
}

impl Streams {
    fn new(name: &'static str) -> Self {
        let fails = Arc::<AtomicBool>::default();
        let failing = Arc::clone(&fails);
        let upstream = H2Upstream::scripted(move |mut call: Call| {
            let fails = failing.load(Ordering::SeqCst);
            async move {
                drop(read(&mut call.body).await);
                if call.parts.headers.contains_key("content-type") {
                    call.reply_grpc(name, if fails { "14" } else { "0" });
                } else {
                    call.reply(if fails { 500 } else { 200 }, name);
                }
            }
        });
        Self { upstream, fails }
    }
}

impl Canary for Streams {
    fn fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn arrivals(&self) -> Vec<Instant> {
        let arrivals = self.upstream.log.arrivals();
        arrivals.iter().map(|arrival| arrival.at).collect()
    }

    fn count(&self) -> u64 {
        self.upstream.log.len() as u64
    }
}

/// Two versions that speak HTTP/2, and haldane between them.
fn streams(weight: &str) -> (Proxy, Streams, Streams) {
    let (stable, canary) = (Streams::new("stable"), Streams::new("canary"));
    let setup = Setup::canary_at(&stable.upstream.url(), &canary.upstream.url(), weight);
    let setup = setup
        .upstreams_in_h2()
        .top("workers = 2")
        .by_user()
        .meltdown(3);
    (setup.start(), stable, canary)
}

/// Some who take turns, which may be on several workers: one good request and then
/// failures until the version is out, and in each generation not one failure more.
fn take_turns<A: Asker>(
    proxy: &Proxy,
    canary: &dyn Canary,
    mut askers: Vec<A>,
    generations: usize,
) {
    let (mut seen, among) = (0, askers.len());
    for generation in 1..=generations {
        canary.fails(false);
        let good = askers[generation % among].ask("a");
        assert_eq!(good, (false, "canary".to_owned()));
        canary.fails(true);
        for index in 1..=6 {
            let answer = askers[(generation + index) % among].ask("a");
            let expected = if index <= LIMIT as usize {
                (true, "canary".to_owned())
            } else {
                (false, "stable".to_owned())
            };
            assert_eq!(answer, expected, "{generation}");
        }
        let event = breach_after(proxy, seen);
        seen = event["seq"].as_u64().unwrap();
        assert_eq!(event["generation"], generation, "{event}");
        assert_eq!(
            event["canary_in_flight"], 1,
            "the one that decided: {event}"
        );
        // One good and three failing requests in each generation, by both accounts.
        assert_eq!(event["canary_requests"], 4 * generation, "{event}");
        assert_eq!(canary.count(), 4 * generation as u64);
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
    fn start<A: Asker>(askers: Vec<A>) -> Self {
        let (stop, epoch) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let asked = Arc::<AtomicU64>::default();
        let threads = askers.into_iter().enumerate().map(|(number, mut asker)| {
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
                    let (_, from) = asker.ask(&user);
                    let after = epoch.load(Ordering::SeqCst);
                    asked.fetch_add(1, Ordering::SeqCst);
                    if before == after && before % 2 == 1 && from != "stable" {
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
fn never_after_the_decision<A: Asker>(
    proxy: &Proxy,
    canary: &dyn Canary,
    askers: Vec<A>,
    at_most: Duration,
) {
    const GENERATIONS: u64 = 3000;
    let clients = askers.len() as u64;
    let crowd = Crowd::start(askers);
    crowd.go_on(500);
    canary.fails(true);
    let deadline = now() + at_most;
    let (mut seen, mut before, mut generation) = (0, None, 1);
    let mut silent;
    loop {
        let event = breach_after(proxy, seen);
        crowd.epoch.fetch_add(1, Ordering::SeqCst);
        seen = event["seq"].as_u64().unwrap();
        assert_eq!(event["generation"], generation, "{event}");
        let decided = event["canary_requests"].as_u64().unwrap();
        let status = some("the canary falls silent", || {
            let status = proxy.status();
            (canary_count(&status, "in_flight") == 0).then_some(status)
        });
        silent = now();
        crowd.go_on(clients + 1);
        let arrived = canary.count();
        assert!(
            arrived <= decided,
            "{arrived} arrived, {decided} were routed at the decision"
        );
        let routed = canary_count(&status, "requests");
        assert_eq!(arrived, routed, "each arrives once");
        if let Some(before) = before {
            let touched: u64 = arrived - before;
            assert!(
                (LIMIT..LIMIT + clients).contains(&touched),
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
    let arrivals = canary.arrivals();
    assert_eq!(Some(arrivals.len() as u64), before);
    assert!(arrivals.iter().all(|at| *at < silent));
    assert!(generation >= 50, "only {generation} generations");
}

#[test]
fn in_every_one_of_thousands_of_generations_it_sees_no_failure_more() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .top("workers = 2")
        .meltdown(3)
        .start();
    take_turns(&proxy, &canary, vec![proxy.client(), proxy.client()], 2_000);
}

#[test]
fn a_client_with_one_stream_at_a_time_sees_no_failure_more() {
    let (proxy, _stable, canary) = streams("100%");
    let client = H2Client::connect(proxy.address);
    take_turns(&proxy, &canary, vec![client], 500);
}

#[test]
fn a_client_that_calls_by_grpc_sees_no_failure_more() {
    let (proxy, _stable, canary) = streams("100%");
    let callers = [0; 2].map(|_| Caller(H2Client::connect(proxy.address)));
    take_turns(&proxy, &canary, callers.into(), 500);
}

#[test]
fn no_request_is_routed_to_the_canary_after_the_decision() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "30%")
        .top("workers = 2")
        .by_user()
        .meltdown(3)
        .start();
    let askers: Vec<_> = (0..64).map(|_| proxy.client()).collect();
    never_after_the_decision(&proxy, &canary, askers, Duration::from_secs(30));
}

/// Many streams on few connections.
fn many_streams(proxy: &Proxy) -> Vec<H2Client> {
    let clients = [0; 4].map(|_| H2Client::connect(proxy.address));
    clients.iter().cycle().take(32).cloned().collect()
}

#[test]
fn no_stream_is_routed_to_the_canary_after_the_decision() {
    let (proxy, _stable, canary) = streams("30%");
    never_after_the_decision(&proxy, &canary, many_streams(&proxy), BRIEFLY);
}

#[test]
fn no_call_is_routed_to_the_canary_after_the_decision() {
    let (proxy, _stable, canary) = streams("30%");
    let callers = many_streams(&proxy).into_iter().map(Caller).collect();
    never_after_the_decision(&proxy, &canary, callers, BRIEFLY);
}

/// Two addresses take turns as the canary, both bad, under another name each time: when
/// one is rolled back the file names the other at once, and other things all the time.
/// Whatever reached an address was routed in one of its generations, and before its end.
#[test]
fn a_canary_that_was_rolled_back_gets_nothing_of_the_one_that_the_file_names_next() {
    const CLIENTS: usize = 8;
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
    let crowd = Crowd::start((0..CLIENTS).map(|_| proxy.client()).collect());
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
