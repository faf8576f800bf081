//! Rungs, limits, and what is counted against them.

use super::*;
use crate::gate::spec::{GateRule, default_gates};

fn by_default() -> Latency {
    let gates = default_gates();
    let GateRule::Latency {
        metric,
        rollback,
        advance,
    } = &gates[1].rule
    else {
        panic!("{gates:?}")
    };
    Latency::new(*metric, (rollback, advance), (0, 0), 0.4)
}

fn baseline() -> Baseline {
    let mut baseline = Baseline::default();
    for millis in 1..=1000 {
        baseline.add(millis * 1000, 1);
    }
    baseline
}

#[test]
fn the_default_ladder_is_that_of_the_simulations() {
    let mut latency = by_default();
    latency.settle(&baseline(), Manner::Guarded);
    let rungs: Vec<(f64, f64)> = latency
        .rungs
        .iter()
        .map(|rung| (rung.margin, (rung.share * 100.0).round()))
        .collect();
    assert_eq!(
        rungs,
        [
            (1.05, 7.0),
            (1.1, 5.0),
            (1.1, 6.0),
            (1.15, 6.0),
            (1.2, 6.0),
            (1.2, 7.0),
            (1.2, 3.0)
        ]
    );
    let times: Vec<f64> = latency
        .rungs
        .iter()
        .map(|rung| rung.stable.unwrap() / 1e6)
        .collect();
    for (time, expected) in times.iter().zip([0.5, 0.9, 0.95, 0.97, 0.99, 1.65, 3.3]) {
        assert!((time / expected - 1.0).abs() < 0.015, "{times:?}");
    }
    assert!(times.is_sorted());
}

#[test]
fn a_success_is_counted_once_and_exceeds_all_rungs_below() {
    let mut latency = by_default();
    latency.settle(&baseline(), Manner::Guarded);
    let mut limits = LatencyLimits::default();
    latency.write_limits(&mut limits);
    let ladder = limits.ladders()[0].unwrap();
    let mut tally = Tally::default();
    for (role, micros) in [
        (Role::Canary, 2_000_000),
        (Role::Canary, 100_000),
        (Role::Stable, 920_000),
    ] {
        let counts = tally.of_mut(role);
        counts.timed += 1;
        if let Some(rung) = ladder.highest_exceeded(role, micros) {
            counts.rungs[0][rung] += 1;
        }
    }
    let exceeding: Vec<(u64, u64)> = (0..7)
        .map(|rung| latency.block(rung, &tally))
        .map(|block| (block.canary_exceeding, block.stable_exceeding))
        .collect();
    // 2 s is beyond twice, and not beyond four times, the canary's p99; 920 ms is beyond
    // stable's p90 only.
    assert_eq!(
        exceeding,
        [(1, 1), (1, 1), (1, 0), (1, 0), (1, 0), (1, 0), (0, 0)]
    );
}

#[test]
fn an_absolute_limit_is_compared_at_the_same_time_for_both() {
    let limit = LatencyLimit {
        quantile: Quantile::from_ratio(0.9).unwrap(),
        bound: LatencyBound::Absolute(Duration::from_millis(500)),
    };
    let mut latency = Latency::new(LatencyMetric::Duration, (&[limit], &[]), (0, 3), 1.0);
    latency.settle(&Baseline::default(), Manner::Guarded);
    assert!(latency.is_settled());
    let mut tally = Tally::default();
    for role in Role::ALL {
        tally.of_mut(role).timed = 100;
        tally.of_mut(role).slower[3] = 50;
    }
    let block = latency.block(0, &tally);
    assert_eq!((block.canary_exceeding, block.stable_exceeding), (50, 50));
    assert!(latency.exceeded(&tally).is_some());
}

#[test]
fn without_a_baseline_nothing_is_compared() {
    let mut latency = by_default();
    latency.settle(&Baseline::default(), Manner::Guarded);
    let mut tally = Tally::default();
    for role in Role::ALL {
        tally.of_mut(role).timed = 100;
        tally.of_mut(role).rungs[0][6] = 100;
    }
    latency.set_share(0.05, &Tally::default());
    latency.close(0.5, 0.5, &tally);
    assert!((latency.evidence() - 0.2).abs() < 1e-9, "only the capital");
    assert_eq!(latency.exceeded(&tally), None);
}
