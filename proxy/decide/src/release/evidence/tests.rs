//! A release that goes on with what another one has seen.

use super::*;
use crate::gate::spec::{GateRule, GateSpec, Promise, default_gates};
use crate::outcome::{ErrorClass, Evidence, FailureReason, Outcome};
use crate::role::Role;
use crate::rollout::{Command, Order};
use crate::split::SplitKey;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_000_000_000 + seconds * 1_000_000)
}

fn spec() -> ReleaseSpec {
    let mut gates = default_gates();
    gates.push(GateSpec {
        name: "orders".into(),
        rule: GateRule::Signal {
            signal: "orders".into(),
            rollback: Some(0.05),
            advance: Some(0.01),
        },
    });
    ReleaseSpec {
        weight: "5%".parse().unwrap(),
        gates,
        promise: Promise::default(),
        ..ReleaseSpec::default()
    }
}

/// A process with a release, which counts from zero.
struct Process {
    release: Release,
    base: Tally,
    counted: Tally,
}

impl Process {
    fn new() -> Self {
        Self {
            release: Release::new(spec(), &Tally::default(), at(0)),
            base: Tally::default(),
            counted: Tally::default(),
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = self.base;
        tally.merge(&self.counted);
        tally
    }

    /// A second in which stable answers, and the canary fails a user. True if that was too
    /// much.
    fn fail(&mut self, second: u64, user: u64) -> bool {
        let stable = self.counted.of_mut(Role::Stable);
        stable.successes += 500;
        stable.timed += 500;
        stable.after_suspicion += 500;
        self.counted.of_mut(Role::Canary).successes += 20;
        self.counted.of_mut(Role::Canary).failures += 1;
        let outcome = Outcome {
            role: Role::Canary,
            evidence: Evidence::Failure(FailureReason::Status),
            key: Some(SplitKey::from_random(user)),
            weight: self.release.weight(),
            class: Some(ErrorClass::of_status(500)),
            request: None,
        };
        let tally = self.tally();
        let mut effects = self.release.observe(&outcome, &tally, at(second));
        effects.extend(self.release.absorb(&tally, &mut |_, _| {}, at(second)));
        !effects.is_empty() && self.release.weight().is_zero()
    }

    /// Another process goes on after `kill -9`.
    fn killed(&self, second: u64) -> Self {
        let kept = self.release.evidence_to_keep(at(second)).unwrap();
        let bytes = kept.into_bytes();
        let mut next = Self::new();
        let from = self.release.snapshot();
        next.release = Release::resume(spec(), from, &Tally::default(), at(second));
        next.base = next.release.recall(&bytes, at(second)).unwrap();
        next
    }
}

/// After how many failures of these users, with a process that is killed after some of them.
fn failures_until_rollback(user: fn(u64) -> u64, kills: &[u64]) -> u64 {
    let mut process = Process::new();
    for failure in 0..1000 {
        if process.fail(failure + 1, user(failure)) {
            return failure + 1;
        }
        if kills.contains(&failure) {
            process = process.killed(failure + 2);
        }
    }
    panic!("never rolled back");
}

#[test]
fn a_canary_is_rolled_back_after_as_many_failures_as_without_a_restart() {
    let until = |kills: &[u64]| failures_until_rollback(|failure| failure << 40 | 1, kills);
    let whole = until(&[]);
    assert!(whole > 2, "{whole}");
    for kill in 0..whole - 1 {
        assert_eq!(until(&[kill]), whole, "{kill}");
    }
    let all: Vec<u64> = (0..whole).collect();
    assert_eq!(until(&all), whole);
}

#[test]
fn who_has_failed_before_is_known_afterwards() {
    let until = |kills: &[u64]| failures_until_rollback(|_| 7, kills);
    let whole = until(&[]);
    assert!(whole > 20, "{whole}");
    let all: Vec<u64> = (0..whole).collect();
    assert_eq!(until(&all), whole);
}

#[test]
fn signals_go_on() {
    let mut process = Process::new();
    let mut whole = Process::new();
    for second in 1..30 {
        for one in [&mut process, &mut whole] {
            one.release.report_signal("orders", Role::Stable, 100, 3);
            one.release.report_signal("orders", Role::Canary, 30, 1);
            let tally = one.tally();
            drop(one.release.absorb(&tally, &mut |_, _| {}, at(second)));
        }
        process = process.killed(second);
    }
    let (one, other) = (process.release.verdict(), whole.release.verdict());
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

#[test]
fn evidence_of_anything_else_is_refused_and_changes_nothing() {
    let mut process = Process::new();
    for second in 1..3 {
        process.fail(second, second << 40);
    }
    let kept = process.release.evidence_to_keep(at(5)).unwrap();
    let bytes = kept.into_bytes();
    let attempt = |spec: ReleaseSpec, bytes: &[u8], change: &dyn Fn(&mut Release)| {
        let from = process.release.snapshot();
        let mut release = Release::resume(spec, from, &Tally::default(), at(5));
        change(&mut release);
        let before = format!("{:?}", release.status(at(5)));
        let result = release.recall(bytes, at(5));
        if result.is_err() {
            assert_eq!(format!("{:?}", release.status(at(5))), before);
        }
        result.map(|_| ())
    };
    let nothing = |_: &mut Release| {};
    assert_eq!(attempt(spec(), &bytes, &nothing), Ok(()));
    let mut gates = spec();
    gates.gates.pop();
    assert_eq!(attempt(gates, &bytes, &nothing), Err(Unusable::OtherGates));
    let mut promise = spec();
    promise.promise.false_rollback = 0.01;
    assert_eq!(
        attempt(promise, &bytes, &nothing),
        Err(Unusable::OtherGates)
    );
    let other_weight = |release: &mut Release| {
        release.reweigh("6%".parse().unwrap(), &Tally::default(), at(5));
    };
    assert_eq!(
        attempt(spec(), &bytes, &other_weight),
        Err(Unusable::OtherStanding)
    );
    let rolled_back = |release: &mut Release| {
        let order = Order {
            command: Command::Rollback,
            actor: None,
            reason: None,
        };
        drop(release.command(order, &Tally::default(), at(5)));
    };
    assert_eq!(
        attempt(spec(), &bytes, &rolled_back),
        Err(Unusable::OtherStanding)
    );
    let mut form = bytes.clone();
    form[0] = 99;
    assert_eq!(attempt(spec(), &form, &nothing), Err(Unusable::OtherForm));
    for len in 0..bytes.len() {
        assert_eq!(
            attempt(spec(), &bytes[..len], &nothing),
            Err(Unusable::Damaged),
            "{len}"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(attempt(spec(), &longer, &nothing), Err(Unusable::Damaged));
}

#[test]
fn a_clock_that_goes_back_holds_nothing_up() {
    let mut process = Process::new();
    process.fail(1_000_000, 1 << 40);
    let kept = process.release.evidence_to_keep(at(1_000_000)).unwrap();
    let bytes = kept.into_bytes();
    let mut release = Release::resume(spec(), process.release.snapshot(), &Tally::default(), at(0));
    release.recall(&bytes, at(0)).unwrap();
    assert!(release.latency_limits().suspected_since() <= Some(at(0)));
    assert!(release.deadline() <= at(10));
}
