//! What each gate decides, and on how much.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::spec::{LatencyBound, LatencyLimit, LatencyMetric, Quantile, RateBound, RateLimit};
use super::*;
use crate::outcome::{Evidence, FailureReason};
use crate::role::Role;

const FAILURE: Outcome = Outcome {
    role: Role::Canary,
    evidence: Evidence::Failure(FailureReason::Status),
};

/// A gate, and the world as the caller counts it.
struct Bench {
    gate: Gate,
    tally: Tally,
    stable: Histogram<u64>,
    now: Timestamp,
}

impl Bench {
    fn new(rule: GateRule) -> Self {
        let (tally, now) = (Tally::default(), Timestamp::from_micros(0));
        let gate = Gate::new(
            &GateSpec {
                name: "g".into(),
                rule,
            },
            0,
            &tally,
            now,
        );
        let stable = Histogram::new_with_bounds(1, 60_000_000, 2).unwrap();
        let mut bench = Self {
            gate,
            tally,
            stable,
            now,
        };
        let _start = bench.absorb();
        bench
    }

    fn errors(bound: RateBound, hard: bool) -> Self {
        Self::new(GateRule::ErrorRate {
            limits: vec![RateLimit { bound, hard }],
        })
    }

    fn p95(bound: LatencyBound) -> Self {
        let quantile = Quantile::from_ratio(0.95).unwrap();
        let limits = vec![LatencyLimit { quantile, bound }];
        Self::new(GateRule::Latency {
            metric: LatencyMetric::Ttfb,
            limits,
        })
    }

    fn count(&mut self, role: Role, successes: u64, failures: u64) {
        self.tally.of_mut(role).successes += successes;
        self.tally.of_mut(role).failures += failures;
    }

    fn fail(&mut self) -> Verdict {
        self.count(Role::Canary, 0, 1);
        self.gate.observe(&FAILURE, &self.tally)
    }

    fn absorb(&mut self) -> Verdict {
        let latency = StableLatency {
            duration: &self.stable,
            ttfb: &self.stable,
        };
        self.gate.absorb(&self.tally, &latency, self.now)
    }

    fn wait(&mut self, seconds: u64) {
        self.now = Timestamp::from_micros(self.now.as_micros() + seconds * 1_000_000);
    }

    /// Both sides at the same time, as workers would count it; then an absorb.
    fn serve(&mut self, canary: &[u64], stable: &[u64]) -> Verdict {
        let mut slots = [None; crate::tally::LATENCY_LIMITS_MAX];
        self.gate.write_limits(&mut slots);
        for (role, latencies) in [(Role::Canary, canary), (Role::Stable, stable)] {
            let counts = self.tally.of_mut(role);
            for micros in latencies {
                counts.successes += 1;
                for (slot, limit) in slots.iter().enumerate() {
                    if limit.is_some_and(|(_, limit)| Duration::from_micros(*micros) > limit) {
                        counts.slower[slot] += 1;
                    }
                }
            }
        }
        for micros in stable {
            self.stable.record(*micros).unwrap();
        }
        self.absorb()
    }
}

#[test]
fn the_last_of_a_run_breaches_and_a_success_begins_a_new_run() {
    let mut bench = Bench::new(GateRule::ConsecutiveFailures { limit: 3 });
    assert_eq!(bench.fail(), Verdict::Pass);
    assert_eq!(bench.fail(), Verdict::Pass);
    bench.count(Role::Canary, 1, 0);
    assert_eq!(bench.fail(), Verdict::Pass);
    bench.count(Role::Stable, 10, 0);
    assert_eq!(bench.fail(), Verdict::Pass);
    let Verdict::Fail(breach) = bench.fail() else {
        panic!("three in a row")
    };
    assert_eq!(
        breach.to_string(),
        "g: canary failed 3 times in a row, limit 3"
    );
}

#[test]
fn failures_of_stable_are_no_run_of_the_canary() {
    let mut bench = Bench::new(GateRule::ConsecutiveFailures { limit: 1 });
    bench.count(Role::Stable, 0, 1);
    let outcome = Outcome {
        role: Role::Stable,
        ..FAILURE
    };
    assert_eq!(bench.gate.observe(&outcome, &bench.tally), Verdict::Pass);
    let neither = Outcome {
        evidence: Evidence::Neither,
        ..FAILURE
    };
    assert_eq!(bench.gate.observe(&neither, &bench.tally), Verdict::Pass);
    assert_eq!(bench.fail().kind(), VerdictKind::Fail);
}

/// Canary and stable (failures, requests), and what the gate says.
fn check_rate(
    bound: RateBound,
    hard: bool,
    rows: impl IntoIterator<Item = ((u64, u64), (u64, u64), VerdictKind)>,
) {
    for (canary, stable, expected) in rows {
        let mut bench = Bench::errors(bound, hard);
        bench.count(Role::Canary, canary.1 - canary.0, canary.0);
        bench.count(Role::Stable, stable.1 - stable.0, stable.0);
        let verdict = bench.absorb().kind();
        assert_eq!(
            verdict, expected,
            "{bound}, hard {hard}: {canary:?} and {stable:?}"
        );
    }
}

#[test]
fn a_hard_limit_acts_on_what_was_counted() {
    use VerdictKind::{Fail, Inconclusive, Pass};
    let enough = (0, 1_000);
    check_rate(
        RateBound::Absolute(0.01),
        true,
        [
            ((1, 50), (0, 0), Fail),
            ((49, 49), (0, 0), Inconclusive),
            ((1, 100), (0, 0), Pass),
            ((2, 100), (0, 0), Fail),
        ],
    );
    check_rate(
        RateBound::AboveStable(0.05),
        true,
        [
            ((3, 50), enough, Fail),
            ((2, 50), enough, Pass),
            ((3, 50), (20, 1_000), Pass),
            ((3, 50), (0, 49), Inconclusive),
            ((50, 50), (0, 0), Inconclusive),
        ],
    );
    check_rate(
        RateBound::TimesStable(2.0),
        true,
        [
            ((2, 1_000), (0, 1_000), Pass),
            ((3, 1_000), (0, 1_000), Fail),
            ((20, 1_000), (10, 1_000), Pass),
            ((21, 1_000), (10, 1_000), Fail),
        ],
    );
}

#[test]
fn other_limits_allow_for_chance() {
    use VerdictKind::{Fail, Inconclusive, Pass};
    check_rate(
        RateBound::AboveStable(0.001),
        false,
        [
            ((1, 50), (0, 950), Pass),
            ((6, 50), (0, 950), Pass),
            ((10, 50), (0, 950), Fail),
            ((49, 49), (0, 950), Inconclusive),
            ((100, 1_000), (100, 1_000), Pass),
            ((130, 1_000), (100, 1_000), Pass),
            ((160, 1_000), (100, 1_000), Fail),
        ],
    );
    check_rate(
        RateBound::TimesStable(1.5),
        false,
        [
            ((1, 50), (0, 950), Pass),
            ((20, 1_000), (10, 1_000), Pass),
            ((80, 1_000), (100, 10_000), Fail),
        ],
    );
    check_rate(
        RateBound::Absolute(0.01),
        false,
        [((20, 1_000), (0, 0), Pass), ((40, 1_000), (0, 0), Fail)],
    );
}

#[test]
fn the_fiftieth_request_makes_it_decide_in_the_same_call() {
    let mut bench = Bench::errors(RateBound::Absolute(0.01), false);
    for needs in (1..50).rev() {
        assert_eq!(bench.fail(), Verdict::Inconclusive { needs });
    }
    assert_eq!(bench.fail().kind(), VerdictKind::Fail);
}

#[test]
fn a_canary_that_was_healthy_for_long_is_not_asleep() {
    let mut bench = Bench::errors(RateBound::AboveStable(0.05), true);
    for _ in 0..1_000 {
        bench.count(Role::Canary, 1_000, 0);
        bench.count(Role::Stable, 19_000, 0);
        assert_eq!(bench.absorb(), Verdict::Pass);
        bench.wait(30);
    }
    // A window holds two intervals of 1 000: more than 5 % are 111 of 2 110.
    let failed = (1..=1_000).find(|_| bench.fail().kind() == VerdictKind::Fail);
    assert!(failed.is_some_and(|failures| failures <= 111), "{failed:?}");
}

#[test]
fn a_slow_service_reaches_its_sample() {
    let mut bench = Bench::errors(RateBound::Absolute(0.5), false);
    for request in 1..50 {
        bench.wait(60);
        bench.count(Role::Canary, 1, 0);
        assert_eq!(
            bench.absorb(),
            Verdict::Inconclusive {
                needs: 50 - request
            }
        );
    }
    bench.wait(60);
    bench.count(Role::Canary, 1, 0);
    assert_eq!(bench.absorb(), Verdict::Pass);
}

#[test]
fn a_fault_of_both_after_a_step_up_is_not_the_canarys() {
    let mut bench = Bench::errors(RateBound::AboveStable(0.05), true);
    bench.count(Role::Stable, 100_000, 0);
    bench.count(Role::Canary, 100, 0);
    assert_eq!(bench.absorb(), Verdict::Pass);
    bench.gate.reweigh(&bench.tally, bench.now);
    bench.count(Role::Stable, 400, 100);
    bench.count(Role::Canary, 400, 100);
    assert_eq!(bench.absorb(), Verdict::Pass);
}

fn spread(center: u64) -> Vec<u64> {
    (0..200).map(|n| center * (50 + n % 100) / 100).collect()
}

#[test]
fn a_canary_as_fast_as_stable_passes_and_a_slow_one_fails() {
    for (percent, expected) in [(100, VerdictKind::Pass), (140, VerdictKind::Fail)] {
        let mut bench = Bench::p95(LatencyBound::TimesStable(1.2));
        let mut verdict = bench.serve(&[], &spread(20_000)).kind();
        assert_eq!(verdict, VerdictKind::Inconclusive);
        for _ in 0..5 {
            verdict = bench.serve(&spread(200 * percent), &spread(20_000)).kind();
        }
        assert_eq!(verdict, expected, "{percent} % of stable's latency");
    }
}

#[test]
fn differences_below_a_millisecond_are_no_breach() {
    let mut bench = Bench::p95(LatencyBound::TimesStable(1.2));
    for _ in 0..10 {
        let verdict = bench.serve(&spread(600), &spread(300));
        assert_ne!(verdict.kind(), VerdictKind::Fail);
    }
}

#[test]
fn when_both_become_slow_together_the_canary_is_not_to_blame() {
    let mut bench = Bench::p95(LatencyBound::TimesStable(1.2));
    for _ in 0..20 {
        assert_ne!(
            bench.serve(&spread(20_000), &spread(20_000)).kind(),
            VerdictKind::Fail
        );
    }
    for _ in 0..20 {
        assert_eq!(bench.serve(&spread(90_000), &spread(90_000)), Verdict::Pass);
    }
}

#[test]
fn without_stable_a_relative_limit_waits_and_an_absolute_one_decides() {
    let mut relative = Bench::p95(LatencyBound::TimesStable(1.2));
    let mut absolute = Bench::p95(LatencyBound::Absolute(Duration::from_millis(50)));
    for bench in [&mut relative, &mut absolute] {
        for _ in 0..5 {
            let _verdict = bench.serve(&spread(90_000), &[]);
        }
    }
    assert_eq!(relative.absorb(), Verdict::Inconclusive { needs: 0 });
    assert!(
        relative
            .gate
            .status()
            .sentence
            .contains("waits for stable traffic")
    );
    let Verdict::Fail(breach) = absolute.absorb() else {
        panic!("all were slower than 50 ms")
    };
    assert!(
        breach
            .to_string()
            .starts_with("g: canary p95 of ttfb is above 50ms: "),
        "{breach}"
    );
}

#[test]
fn an_absolute_limit_decides_with_the_response() {
    let mut bench = Bench::p95(LatencyBound::Absolute(Duration::from_millis(50)));
    assert_eq!(
        bench.serve(&[1; 99], &[]),
        Verdict::Inconclusive { needs: 1 }
    );
    let slow = Outcome {
        evidence: Evidence::Success,
        ..FAILURE
    };
    let breached = (1..100).find(|_| {
        bench.tally.of_mut(Role::Canary).successes += 1;
        bench.tally.of_mut(Role::Canary).slower[0] += 1;
        bench.gate.observe(&slow, &bench.tally).kind() == VerdictKind::Fail
    });
    // 18 of 117: 15.4 % - 5 % is first more than three standard errors of 3.4 %.
    assert_eq!(breached, Some(18));
}

#[test]
fn a_relative_limit_decides_with_the_response() {
    let mut bench = Bench::p95(LatencyBound::TimesStable(1.2));
    for _ in 0..5 {
        assert_ne!(
            bench.serve(&spread(20_000), &spread(20_000)).kind(),
            VerdictKind::Fail
        );
    }
    let slow = Outcome {
        evidence: Evidence::Success,
        ..FAILURE
    };
    let breached = (1..1_000).find(|_| {
        bench.tally.of_mut(Role::Canary).successes += 1;
        bench.tally.of_mut(Role::Canary).slower[0] += 1;
        bench.gate.observe(&slow, &bench.tally).kind() == VerdictKind::Fail
    });
    assert!(breached.is_some_and(|slow| slow < 200), "{breached:?}");
}

#[test]
fn what_was_served_before_a_limit_was_known_is_no_evidence() {
    let mut bench = Bench::p95(LatencyBound::TimesStable(1.2));
    assert_eq!(
        bench.serve(&[1; 10_000], &[]),
        Verdict::Inconclusive { needs: 0 }
    );
    assert_eq!(
        bench.serve(&[], &spread(20_000)),
        Verdict::Inconclusive { needs: 100 }
    );
    assert_eq!(
        bench.serve(&[1; 99], &spread(20_000)),
        Verdict::Inconclusive { needs: 1 }
    );
    assert_eq!(bench.serve(&[1], &spread(20_000)), Verdict::Pass);
}
