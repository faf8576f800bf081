//! The engine against its own upstreams: what is right passes, what is wrong is noticed.

use clap::ValueEnum;

use super::*;
use crate::{
    case::{Kind, Version},
    check::Expectation,
};

fn target(engine: &Engine, version: Version) -> Target {
    Target::plain(([127, 0, 0, 1], engine.upstreams.ports()[version.index()]).into())
}

#[test]
fn every_kind_of_load_adds_up_without_a_proxy() {
    let mut engine = Engine::new().unwrap();
    // The upstreams have no TLS, and speak HTTP/2 to calls only.
    let direct = |kind: &&Kind| !kind.tls() && **kind != Kind::H2c;
    for &kind in Kind::value_variants().iter().filter(direct) {
        let case = Case::new(kind);
        let mut ledger = Ledger::new(Expectation::StableOnly);
        let served = engine.upstreams.served();
        let target = target(&engine, Version::Stable);
        let mut clients = engine.clients(&[target], 8, &case, &mut ledger).unwrap();
        let requests = engine
            .run_closed(&mut clients, Duration::from_millis(20))
            .unwrap();
        assert!(requests >= 8, "{kind:?}: {requests}");
        drop(clients);
        let after = engine.upstreams.served();
        assert_eq!(after[0] - served[0], requests, "{kind:?}");
        ledger.settle([0, 0], [requests, 0]).unwrap();
    }
}

#[test]
fn an_open_loop_answers_everything_that_was_due() {
    let mut engine = Engine::new().unwrap();
    let (case, mut ledger) = (Case::new(Kind::Get), Ledger::new(Expectation::StableOnly));
    let target = target(&engine, Version::Stable);
    let mut clients = engine.clients(&[target], 4, &case, &mut ledger).unwrap();
    let (interval, time) = (Duration::from_micros(500), Duration::from_millis(50));
    let latencies_ns = engine.run_open(&mut clients, interval, time).unwrap();
    assert_eq!(latencies_ns.len(), 100);
    assert!(latencies_ns.iter().all(|&ns| ns > 0));
    drop(clients);
    assert_eq!(ledger.answers(), [100, 0]);
}

#[test]
fn each_connection_is_touched_once_also_when_there_are_many() {
    let mut engine = Engine::new().unwrap();
    let (case, mut ledger) = (Case::new(Kind::Get), Ledger::new(Expectation::StableOnly));
    let target = target(&engine, Version::Stable);
    let mut clients = engine
        .clients(
            std::slice::from_ref(&target),
            3 * CONCURRENCY,
            &case,
            &mut ledger,
        )
        .unwrap();
    engine.touch_each(&mut clients).unwrap();
    engine.touch_each(&mut clients).unwrap();
    drop(clients);
    assert_eq!(ledger.answers(), [6 * CONCURRENCY as u64, 0]);
}

#[test]
fn an_answer_of_the_wrong_version_ends_the_run() {
    let mut engine = Engine::new().unwrap();
    let (case, mut ledger) = (Case::new(Kind::Get), Ledger::new(Expectation::StableOnly));
    let target = target(&engine, Version::Canary);
    let mut clients = engine.clients(&[target], 4, &case, &mut ledger).unwrap();
    let ended = engine.run_closed(&mut clients, Duration::from_millis(20));
    assert!(matches!(ended, Err(Failure::Violation(_))), "{ended:?}");
}

#[test]
fn a_request_that_arrives_changed_ends_the_run() {
    for (from, to) in [
        ("POST /post16k", "POST /post16K"),
        ("length: 16384", "length: 16383"),
    ] {
        let mut engine = Engine::new().unwrap();
        let (case, mut ledger) = (
            Case::new(Kind::Post16k),
            Ledger::new(Expectation::StableOnly),
        );
        let mut changed = case.clone();
        for head in &mut changed.heads {
            *head = String::from_utf8(head.clone())
                .unwrap()
                .replacen(from, to, 1)
                .into_bytes();
        }
        let target = target(&engine, Version::Stable);
        let mut clients = engine.clients(&[target], 1, &changed, &mut ledger).unwrap();
        let ended = engine.run_closed(&mut clients, Duration::from_millis(20));
        assert!(
            matches!(ended, Err(Failure::Violation(_))),
            "{to}: {ended:?}"
        );
    }
}

#[test]
fn a_request_body_with_other_ends_is_noticed() {
    for end in [0, (16 << 10) - 1] {
        let mut engine = Engine::new().unwrap();
        let (mut case, mut ledger) = (
            Case::new(Kind::Post16k),
            Ledger::new(Expectation::StableOnly),
        );
        case.body[end] = b'?';
        let target = target(&engine, Version::Stable);
        let mut clients = engine.clients(&[target], 1, &case, &mut ledger).unwrap();
        let ended = engine.run_closed(&mut clients, Duration::from_millis(20));
        assert!(
            matches!(ended, Err(Failure::Violation(_))),
            "{end}: {ended:?}"
        );
    }
}

#[test]
fn a_signal_ends_the_run() {
    let mut engine = Engine::new().unwrap();
    engine.interrupted.store(true, Ordering::Relaxed);
    assert!(matches!(
        engine.settle(Duration::from_secs(5)),
        Err(Failure::Interrupted)
    ));
}
