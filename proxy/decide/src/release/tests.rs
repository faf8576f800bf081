//! A route from the outside: what the shell relies on.

use std::time::Duration;

use super::*;
use crate::gate::VerdictKind;
use crate::gate::spec::{
    Exposure, GateRule, LatencyBound, LatencyLimit, LatencyMetric, Quantile, RunLimit,
    default_gates,
};
use crate::gate::{Baseline, Waiting};
use crate::outcome::FailureReason;
use crate::plan::{BuiltIn, Terms};
use crate::role::Role;
use crate::rollout::{Cause, Command, NoticeKind, Order, PhaseName};
use crate::split::SplitKey;

const NOW: Timestamp = Timestamp::from_micros(1);
const FAILURE: Outcome = Outcome {
    role: Role::Canary,
    evidence: Evidence::Failure(FailureReason::Reset),
    key: None,
    weight: Weight::FULL,
    class: None,
    request: None,
};

fn order(command: Command) -> Order {
    Order {
        command,
        actor: None,
        reason: None,
    }
}

fn meltdown(limit: u32) -> Release {
    let rule = GateRule::ConsecutiveFailures {
        limit: RunLimit::Count(limit),
    };
    let gates = vec![GateSpec {
        name: "meltdown".into(),
        rule,
    }];
    let spec = ReleaseSpec {
        weight: "5%".parse().unwrap(),
        gates,
        promise: Promise::default(),
        ..ReleaseSpec::default()
    };
    Release::new(spec, &Tally::default(), NOW)
}

fn fail(release: &mut Release, tally: &mut Tally) -> Vec<Effect> {
    tally.of_mut(Role::Canary).failures += 1;
    release.observe(&FAILURE, tally, NOW)
}

#[test]
fn a_breach_takes_the_weight_in_the_same_call_and_only_once() {
    let (mut release, mut tally) = (meltdown(2), Tally::default());
    assert_eq!(fail(&mut release, &mut tally), vec![]);
    let effects = fail(&mut release, &mut tally);
    let zero = Effect::Reweigh {
        generation: Generation::FIRST,
        weight: Weight::ZERO,
        reach: CanaryReach::Closed,
    };
    assert_eq!(effects.first(), Some(&zero));
    assert_eq!(release.weight(), Weight::ZERO);
    assert_eq!(release.verdict().verdict, VerdictKind::Fail);
    assert_eq!(
        fail(&mut release, &mut tally),
        vec![],
        "it began before the rollback"
    );
}

#[test]
fn a_new_generation_begins_a_new_run() {
    let (mut release, mut tally) = (meltdown(2), Tally::default());
    let _effects = fail(&mut release, &mut tally);
    let _effects = fail(&mut release, &mut tally);
    release.command(order(Command::Retry), &tally, NOW).unwrap();
    assert_eq!(
        (release.generation(), release.weight()),
        (Generation(2), "5%".parse().unwrap())
    );
    assert_eq!(release.verdict().verdict, VerdictKind::Pass);
    assert_eq!(fail(&mut release, &mut tally), vec![]);
    assert_ne!(fail(&mut release, &mut tally), vec![]);
}

#[test]
fn at_weight_zero_there_is_nothing_to_judge() {
    let (mut release, mut tally) = (meltdown(2), Tally::default());
    let _effects = fail(&mut release, &mut tally);
    release
        .command(order(Command::SetWeight(Weight::ZERO)), &tally, NOW)
        .unwrap();
    for _ in 0..5 {
        assert_eq!(fail(&mut release, &mut tally), vec![]);
    }
    assert_eq!(release.phase(), &Phase::Idle);
    release
        .command(order(Command::SetWeight(Weight::FULL)), &tally, NOW)
        .unwrap();
    assert_eq!(fail(&mut release, &mut tally), vec![], "the run began anew");
}

#[test]
fn a_ring_that_only_fails_is_rolled_back_whatever_others_get() {
    let (mut release, mut tally) = (meltdown(3), Tally::default());
    for failures in 1..=3 {
        // Those who were drawn are well, with both versions.
        tally.of_mut(Role::Canary).successes += 10;
        tally.of_mut(Role::Stable).successes += 100;
        tally.of_mut(Role::Canary).ruled_failures += 1;
        let effects = release.observe_ruled(&FAILURE, &tally, NOW);
        assert_eq!(effects.is_empty(), failures < 3, "{failures}");
    }
    assert!(release.weight().is_zero());
}

#[test]
fn a_success_of_a_ring_ends_its_run_and_no_other() {
    let (mut release, mut tally) = (meltdown(3), Tally::default());
    for _ in 0..5 {
        tally.of_mut(Role::Canary).ruled_failures += 1;
        assert_eq!(release.observe_ruled(&FAILURE, &tally, NOW), vec![]);
        tally.of_mut(Role::Canary).ruled_successes += 1;
    }
    for failures in 1..=3 {
        tally.of_mut(Role::Canary).ruled_successes += 1;
        let effects = fail(&mut release, &mut tally);
        assert_eq!(effects.is_empty(), failures < 3, "{failures}");
    }
}

#[test]
fn a_ring_that_fails_as_stable_does_is_not_rolled_back() {
    let (mut release, mut tally) = (meltdown(3), Tally::default());
    for _ in 0..10 {
        tally.of_mut(Role::Canary).ruled_failures += 1;
        assert_eq!(release.observe_ruled(&FAILURE, &tally, NOW), vec![]);
        tally.of_mut(Role::Stable).failures += 1;
    }
}

#[test]
fn a_ring_is_no_evidence_and_its_harm_counts_in_the_budget() {
    let spec = |exposure| ReleaseSpec {
        weight: "5%".parse().unwrap(),
        gates: default_gates()[..2].to_vec(),
        promise: Promise {
            exposure,
            ..Promise::default()
        },
        ..ReleaseSpec::default()
    };
    let budgets = [
        (Exposure::default(), None),
        (
            Exposure {
                failed_requests: Some(100),
                ..Exposure::default()
            },
            Some(101),
        ),
        (
            Exposure {
                affected_users: Some(20),
                ..Exposure::default()
            },
            Some(41),
        ),
    ];
    for (exposure, expected) in budgets {
        let mut release = Release::new(spec(exposure), &Tally::default(), NOW);
        let mut tally = Tally::default();
        let failed = (1..=300).find(|failures: &u64| {
            tally.of_mut(Role::Canary).ruled_successes += 1;
            tally.of_mut(Role::Canary).ruled_failures += 1;
            let outcome = Outcome {
                // Every user fails twice.
                key: Some(SplitKey::from_random(failures.div_ceil(2) << 32)),
                ..FAILURE
            };
            !release.observe_ruled(&outcome, &tally, NOW).is_empty()
        });
        assert_eq!(failed, expected, "{exposure:?}");
        let parts = release.evidence();
        assert!(parts.errors < 0.1 && parts.hard < 0.1, "{parts:?}");
    }
}

#[test]
fn a_run_goes_on_through_a_change_of_weight() {
    let (mut release, mut tally) = (meltdown(2), Tally::default());
    let _effects = fail(&mut release, &mut tally);
    release
        .command(order(Command::SetWeight(Weight::FULL)), &tally, NOW)
        .unwrap();
    assert_ne!(fail(&mut release, &mut tally), vec![]);
}

#[test]
fn a_client_that_left_is_no_evidence() {
    let (mut release, tally) = (meltdown(1), Tally::default());
    let outcome = Outcome {
        role: Role::Canary,
        evidence: Evidence::Neither,
        ..FAILURE
    };
    let effects = release.observe(&outcome, &tally, NOW);
    assert_eq!((effects.len(), effects.capacity()), (0, 0));
}

#[test]
fn no_evidence_is_no_pass() {
    let spec = ReleaseSpec {
        weight: Weight::FULL,
        gates: default_gates(),
        promise: Promise::default(),
        ..ReleaseSpec::default()
    };
    let release = Release::new(spec, &Tally::default(), NOW);
    assert_eq!(release.verdict().verdict, VerdictKind::Inconclusive);
}

#[test]
fn limits_in_time_are_those_of_all_gates_and_follow_stable() {
    let limit = |ratio, bound| LatencyLimit {
        quantile: Quantile::from_ratio(ratio).unwrap(),
        bound,
    };
    let slow = LatencyBound::Absolute(Duration::from_millis(1));
    let gate = |name: &str, metric, rollback| GateSpec {
        name: name.into(),
        rule: GateRule::Latency {
            metric,
            rollback,
            advance: vec![],
        },
    };
    let twice = LatencyBound::TimesStable(2.0);
    let gates = vec![
        gate(
            "a",
            LatencyMetric::Ttfb,
            vec![limit(0.5, slow), limit(0.95, twice)],
        ),
        gate("b", LatencyMetric::Duration, vec![limit(0.99, twice)]),
    ];
    let spec = ReleaseSpec {
        weight: "5%".parse().unwrap(),
        gates,
        promise: Promise::default(),
        ..ReleaseSpec::default()
    };
    let (mut release, tally) = (Release::new(spec, &Tally::default(), NOW), Tally::default());
    let mut told = vec![
        (LatencyMetric::Ttfb, 10_000),
        (LatencyMetric::Duration, 40_000),
    ];
    let mut fresh = |metric: LatencyMetric, baseline: &mut Baseline| {
        if let Some(index) = told.iter().position(|(of, _)| *of == metric) {
            baseline.add(told.remove(index).1, 1_000);
        }
    };
    assert_eq!(release.absorb(&tally, &mut fresh, NOW), vec![]);
    let slots = release.latency_limits().slots();
    let millis = |slot: usize| slots[slot].map(|(metric, limit)| (metric, limit.as_millis()));
    assert_eq!(millis(0), Some((LatencyMetric::Ttfb, 1)));
    assert_eq!(millis(1), Some((LatencyMetric::Ttfb, 20)));
    assert_eq!(millis(2), Some((LatencyMetric::Duration, 80)));
    assert_eq!(millis(3), None);
    let [first, second, none, _] = release.latency_limits().ladders();
    assert_eq!(none, &None);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(
        (first.metric, second.metric),
        (LatencyMetric::Ttfb, LatencyMetric::Duration)
    );
    // p90 and p95 of stable at 10 ms; the canary may be 1.1 times as slow.
    assert_eq!(first.highest_exceeded(Role::Stable, 10_200), Some(1));
    assert_eq!(first.highest_exceeded(Role::Canary, 10_200), None);
    assert_eq!(first.highest_exceeded(Role::Canary, 11_200), Some(1));
    // Four times the slowest, and never less than a second.
    let stalled = release.latency_limits().stalled_after().unwrap();
    assert_eq!(stalled.as_secs(), 1);
}

#[test]
fn what_a_gate_waits_for_is_said() {
    let spec = ReleaseSpec {
        weight: "5%".parse().unwrap(),
        gates: default_gates(),
        promise: Promise::default(),
        ..ReleaseSpec::default()
    };
    let mut release = Release::new(spec, &Tally::default(), NOW);
    let mut tally = Tally::default();
    for second in 1..=10 {
        tally.of_mut(Role::Stable).successes += 950;
        tally.of_mut(Role::Stable).timed += 950;
        tally.of_mut(Role::Canary).successes += 50;
        tally.of_mut(Role::Canary).timed += 50;
        let now = Timestamp::from_micros(second * 1_000_000);
        assert_eq!(absorb(&mut release, &tally, now), vec![]);
    }
    let errors = &release.verdict().gates[0];
    assert_eq!(errors.reason, Some(Waiting::Evidence));
    assert!(
        errors.needs > 0 && errors.needs_seconds.is_some(),
        "{errors:?}"
    );
    assert!(
        errors.sentence.contains("more canary requests"),
        "{}",
        errors.sentence
    );
}

#[test]
fn the_status_says_where_it_stands_and_what_can_be_done() {
    let (mut release, mut tally) = (meltdown(1), Tally::default());
    let idle = serde_json::to_value(release.status(NOW)).unwrap();
    assert_eq!(idle["phase"], "idle");
    assert_eq!(idle["verdict"], "pass");
    assert_eq!(idle["cause"], serde_json::Value::Null);
    let commands = serde_json::json!(["promote", "weight", "rollback"]);
    assert_eq!(idle["commands"], commands);
    let _effects = fail(&mut release, &mut tally);
    let status = release.status(NOW);
    assert_eq!(status.phase, PhaseName::RolledBack);
    let sentence = "meltdown: canary failed 1 time in a row, limit 1";
    assert_eq!(status.cause.as_deref(), Some(sentence));
    let json = serde_json::to_value(status).unwrap();
    assert_eq!(json["by"]["kind"], "breach");
    assert_eq!(json["configured_weight"], "5%");
    assert_eq!(json["weight"], "0%");
    assert_eq!(json["gates"][0]["sentence"], sentence);
    assert_eq!(json["commands"], serde_json::json!(["retry"]));
}

fn absorb(release: &mut Release, tally: &Tally, now: Timestamp) -> Vec<Effect> {
    release.absorb(tally, &mut |_, _| {}, now)
}

/// A release whose rollback is refused since stable cannot be reached.
fn refused() -> (Release, Tally) {
    let (mut release, mut tally) = (meltdown(2), Tally::default());
    release.tell_stable(StableReach::Unreachable);
    assert_eq!(fail(&mut release, &mut tally), vec![]);
    let effects = fail(&mut release, &mut tally);
    let [Effect::Announce(notice)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(
        matches!(&notice.kind, NoticeKind::RollbackRefused { weight, by: Cause::Breach(_) }
            if *weight == release.weight())
    );
    (release, tally)
}

#[test]
fn a_dead_stable_is_not_made_to_take_everything() {
    let (mut release, mut tally) = refused();
    let weight = release.weight();
    // It is told once, whoever looks, and the weight stays.
    for _ in 0..5 {
        assert_eq!(fail(&mut release, &mut tally), vec![]);
        assert_eq!(absorb(&mut release, &tally, NOW), vec![]);
    }
    assert_eq!((release.phase(), release.weight()), (&Phase::Idle, weight));
    let status = release.status(NOW);
    assert_eq!(status.verdict.verdict, VerdictKind::Fail);
    assert_eq!(
        (status.rollback_refused_at, status.rolled_back_at),
        (Some(NOW), None)
    );
    let sentence = "stable cannot be reached; meltdown: canary failed 2 times in a row, limit 2";
    assert_eq!(status.rollback_refused.as_deref(), Some(sentence));
}

#[test]
fn a_refused_rollback_is_carried_out_once_stable_is_back() {
    let (mut release, tally) = refused();
    release.tell_stable(StableReach::Reachable);
    let effects = absorb(&mut release, &tally, NOW);
    assert!(matches!(effects[0], Effect::Reweigh { weight, .. } if weight.is_zero()));
    let status = release.status(NOW);
    assert_eq!(
        (status.phase, status.rollback_refused_at),
        (PhaseName::RolledBack, None)
    );
}

#[test]
fn a_canary_that_recovers_while_stable_is_dead_keeps_its_traffic() {
    let (mut release, mut tally) = refused();
    tally.of_mut(Role::Canary).successes += 1;
    let at = |seconds: u64| Timestamp::from_micros(NOW.as_micros() + seconds * 1_000_000);
    // What was told stands for a while, and then the canary is as good as any.
    assert_eq!(absorb(&mut release, &tally, at(1)), vec![]);
    assert_eq!(release.verdict().verdict, VerdictKind::Fail);
    assert_eq!(absorb(&mut release, &tally, at(10)), vec![]);
    assert_eq!(release.verdict().verdict, VerdictKind::Pass);
    release.tell_stable(StableReach::Reachable);
    assert_eq!(absorb(&mut release, &tally, at(11)), vec![]);
    assert_eq!(fail(&mut release, &mut tally), vec![], "a new run");
}

#[test]
fn people_roll_back_and_raise_the_weight_whatever_stable_does() {
    for command in [Command::Rollback, Command::SetWeight(Weight::FULL)] {
        let (mut release, tally) = refused();
        let effects = release.command(order(command), &tally, NOW).unwrap();
        assert!(matches!(effects[0], Effect::Reweigh { .. }), "{command:?}");
        assert_eq!(release.status(NOW).rollback_refused_at, None);
    }
}

/// A rollout does not begin while the service uses its error budget up, and does when that
/// is over.
#[test]
fn nothing_begins_while_the_error_budget_burns() {
    let budget = GateSpec {
        name: "budget".into(),
        rule: GateRule::BurnRate { objective: 0.999 },
    };
    let spec = ReleaseSpec {
        plan: Plan::new(BuiltIn::Aggressive.steps(), Terms::default()).unwrap(),
        has_preconditions: true,
        gates: vec![budget],
        ..ReleaseSpec::default()
    };
    let mut tally = Tally::default();
    let mut release = Release::new(spec, &tally, NOW);
    let mut now = NOW;
    let mut hours = |release: &mut Release, hours: u64, failures: u64| {
        for _ in 0..hours * 360 {
            now = now.after(Duration::from_secs(10));
            let stable = tally.of_mut(Role::Stable);
            stable.successes += 1000 - failures;
            stable.failures += failures;
            drop(absorb(release, &tally, now));
        }
    };
    hours(&mut release, 2, 200);
    release.tell_preconditions(release.generation(), Preconditions::Met);
    hours(&mut release, 1, 200);
    assert_eq!(release.phase(), &Phase::Idle);
    let waits_for = release.status(NOW).waits_for.unwrap();
    assert_eq!(waits_for, "the error budget of the service to last again");
    // The longest window is three days.
    let idle = (0..72)
        .take_while(|_| {
            hours(&mut release, 1, 0);
            release.phase() == &Phase::Idle
        })
        .count();
    assert_eq!(release.phase().name(), PhaseName::Progressing);
    assert!(idle > 0, "it began at once");
}
