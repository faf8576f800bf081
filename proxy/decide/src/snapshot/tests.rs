//! What goes on from a snapshot stands where it stood.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::gate::spec::{LatencyBound, LatencyMetric, Promise, Quantile, RateBound, default_gates};
use crate::gate::{Breach, Estimate, Measure, VerdictKind};
use crate::outcome::{ErrorClass, RequestId};
use crate::rollout::{Command, NoticeKind, Order, PhaseName};

const NOW: Timestamp = Timestamp::from_micros(7);

fn spec(parts: u32) -> ReleaseSpec {
    ReleaseSpec {
        weight: Weight::from_parts_per_million(parts).unwrap(),
        gates: default_gates(),
        promise: Promise::default(),
        ..ReleaseSpec::default()
    }
}

fn order(command: Command) -> Order {
    Order {
        command,
        actor: Some("alice".to_owned()),
        reason: None,
    }
}

fn weights() -> impl Strategy<Value = Weight> {
    (0..=1_000_000_u32).prop_map(|parts| Weight::from_parts_per_million(parts).unwrap())
}

fn measures() -> impl Strategy<Value = Measure> {
    // Any bits but those of a number that is not equal to itself.
    let number = || any::<f64>().prop_filter("equal to itself", |number| !number.is_nan());
    let time = || prop::option::of(any::<u64>().prop_map(Duration::from_micros));
    let rate = prop_oneof![
        number().prop_map(RateBound::AboveStable),
        number().prop_map(RateBound::Absolute),
        number().prop_map(RateBound::TimesStable),
    ];
    let bound = prop_oneof![
        any::<u64>().prop_map(|micros| LatencyBound::Absolute(Duration::from_micros(micros))),
        number().prop_map(LatencyBound::TimesStable),
    ];
    prop_oneof![
        Just(Measure::ConsecutiveFailures),
        Just(Measure::ErrorTrend),
        any::<bool>().prop_map(|users| Measure::Exposure { users }),
        number().prop_map(|objective| Measure::BurnRate { objective }),
        (any::<u16>(), any::<Option<u32>>()).prop_map(|(status, grpc)| Measure::NewErrors {
            class: ErrorClass::of_status(status).with_grpc(grpc),
        }),
        prop::option::of(".*").prop_map(|problem| Measure::Outside {
            problem: problem.map(Into::into),
        }),
        (".*", number()).prop_map(|(signal, within)| Measure::Signal {
            signal: signal.into(),
            within,
        }),
        (rate, any::<bool>()).prop_map(|(bound, hard)| Measure::ErrorRate { bound, hard }),
        (
            prop_oneof![Just(LatencyMetric::Duration), Just(LatencyMetric::Ttfb)],
            0.001..0.999_f64,
            bound,
            time(),
            time(),
        )
            .prop_map(|(metric, ratio, bound, limit, stable)| Measure::Latency {
                metric,
                quantile: Quantile::from_ratio(ratio).unwrap(),
                bound,
                limit,
                stable,
            }),
    ]
}

fn causes() -> impl Strategy<Value = Cause> {
    let estimate = || {
        (any::<u64>(), any::<u64>(), prop::num::f64::ANY).prop_map(|(count, samples, value)| {
            Estimate {
                value: if value.is_nan() { f64::INFINITY } else { value },
                low: value.abs().min(1.0),
                high: 1.0,
                count,
                samples,
            }
        })
    };
    let breach = (".*", estimate(), estimate(), measures());
    let breach = breach.prop_map(|(gate, canary, stable, measure)| {
        Cause::Breach(Breach {
            gate: gate.into(),
            value: canary.value,
            limit: stable.value,
            canary,
            stable,
            measure,
            evidence: 1.5,
            example: RequestId::from_bytes(b"4bf92f3577b34da6a3ce929d0e0e4736"),
        })
    });
    prop_oneof![
        breach,
        (prop::option::of(".*"), prop::option::of(".*"))
            .prop_map(|(actor, reason)| Cause::Command { actor, reason }),
        ".*".prop_map(|detail| Cause::StateDamaged { detail }),
    ]
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    let phase = prop_oneof![
        Just(Phase::Idle),
        (any::<u64>(), causes()).prop_map(|(at, by)| Phase::RolledBack {
            at: Timestamp::from_micros(at),
            by
        }),
    ];
    (any::<u32>(), weights(), phase).prop_map(|(generation, weight, phase)| Snapshot {
        generation: Generation(generation),
        weight: if phase == Phase::Idle {
            weight
        } else {
            Weight::ZERO
        },
        phase,
    })
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let command = prop_oneof![
        Just(Command::Retry),
        Just(Command::Rollback),
        weights().prop_map(Command::SetWeight),
    ];
    prop::collection::vec(command, 0..8)
}

proptest! {
    #[test]
    fn what_resumes_stands_where_it_stood(commands in commands(), configured in 0..=1_000_000_u32) {
        let mut release = Release::new(spec(50_000), &Tally::default(), NOW);
        for command in commands {
            // What is not legal has no effect, and that is all it needs here.
            drop(release.command(order(command), &Tally::default(), NOW));
        }
        let resumed = Release::resume(spec(configured), release.snapshot(), &Tally::default(), NOW);
        prop_assert_eq!(resumed.snapshot(), release.snapshot());
        prop_assert_eq!(resumed.phase(), release.phase());
        prop_assert_eq!(resumed.status(NOW).configured_weight.parts_per_million(), configured);
    }

    #[test]
    fn what_is_stored_is_what_is_read(snapshot in snapshots()) {
        let text = serde_json::to_string(&snapshot).unwrap();
        let read: Snapshot = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &snapshot);
        let resumed = Release::resume(spec(1), read, &Tally::default(), NOW);
        prop_assert_eq!(resumed.snapshot(), snapshot);
    }

    #[test]
    fn following_never_goes_back_and_never_gives_a_generation_more(
        own in snapshots(),
        other in snapshots(),
        near in any::<bool>(),
    ) {
        let generation = if near { own.generation } else { other.generation };
        let other = Snapshot { generation, ..other };
        let mut release = Release::resume(spec(1), own.clone(), &Tally::default(), NOW);
        let effects = release.follow(other.clone(), &Tally::default(), NOW);
        let now = release.snapshot();
        prop_assert!(now.generation == own.generation.max(other.generation));
        if now.generation == own.generation {
            prop_assert!(now.weight <= own.weight);
            prop_assert!(own.phase == Phase::Idle || now.phase == own.phase);
        }
        if now.generation == other.generation {
            prop_assert!(now.weight <= other.weight);
            prop_assert!(other.phase == Phase::Idle || now.phase.name() == PhaseName::RolledBack);
        }
        prop_assert_eq!(effects.is_empty(), now == own);
    }
}

#[test]
fn another_canary_is_the_next_generation_at_the_configured_weight() {
    let release = Release::succeed(spec(20_000), Generation(4), &Tally::default(), NOW);
    assert_eq!(release.generation(), Generation(5));
    assert_eq!(release.weight().to_string(), "2%");
    assert_eq!(release.phase(), &Phase::Idle);
}

#[test]
fn what_is_not_known_has_no_traffic_until_it_is_retried() {
    let detail = "wrong checksum".to_owned();
    let mut release = Release::distrust(spec(20_000), detail, &Tally::default(), NOW);
    let status = release.status(NOW);
    assert_eq!(status.weight, Weight::ZERO);
    assert_eq!(
        status.cause.as_deref(),
        Some("state damaged: wrong checksum")
    );
    assert_ne!(status.verdict.verdict, VerdictKind::Pass);
    let raise = order(Command::SetWeight(Weight::FULL));
    assert!(release.command(raise, &Tally::default(), NOW).is_err());
    let effects = release.command(order(Command::Retry), &Tally::default(), NOW);
    assert!(matches!(
        &effects.unwrap()[1],
        Effect::Announce(notice) if matches!(notice.kind, NoticeKind::Retried { .. })
    ));
    assert_eq!(release.weight().to_string(), "2%");
}

#[test]
fn a_rolled_back_snapshot_has_no_weight_whatever_it_says() {
    let snapshot = Snapshot {
        generation: Generation(3),
        weight: Weight::FULL,
        phase: Phase::RolledBack {
            at: NOW,
            by: Cause::Command {
                actor: None,
                reason: None,
            },
        },
    };
    let release = Release::resume(spec(20_000), snapshot, &Tally::default(), NOW);
    assert_eq!(release.weight(), Weight::ZERO);
}

/// What a process has kept that knew of no evidence.
#[test]
fn a_breach_without_evidence_is_read() {
    let old = r#"{"generation":3,"weight":"0%","phase":{"rolled_back":{"at":9,"by":{"breach":{
        "gate":"errors","value":4591870180066957722,"limit":4576918229304087675,
        "canary":{"value":4591870180066957722,"count":10,"samples":100},
        "stable":{"value":0,"count":0,"samples":1900},
        "measure":{"error_rate":{"bound":{"above_stable":4576918229304087675},"hard":false}}}}}}}"#;
    let snapshot: Snapshot = serde_json::from_str(old).unwrap();
    let Phase::RolledBack {
        by: Cause::Breach(breach),
        ..
    } = &snapshot.phase
    else {
        panic!("{snapshot:?}");
    };
    assert_eq!((breach.evidence, breach.example), (0.0, None));
    assert_eq!((breach.canary.low, breach.canary.high), (0.0, 1.0));
    assert_eq!(breach.canary.count, 10);
}
