//! A feed that is cut, and goes on with what was kept of it, decides as one that is not.

use std::time::Duration;

use proptest::prelude::*;

use super::{Feed, Row};
use crate::gate::spec::{
    GateRule, GateSpec, LatencyBound, LatencyLimit, LatencyMargin, LatencyMetric, Promise,
    Quantile, RateBound, RateLimit, RateMargin, RunLimit, default_gates,
};
use crate::release::{Release, ReleaseSpec};
use crate::role::Role;
use crate::split::SplitKey;
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

/// Microseconds of stable alone before the rollout.
const PRELUDE: u64 = 10_000_000;
const ROWS: u64 = 6_000;

/// What becomes of what was counted since the gates were asked last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Last {
    Kept,
    Lost,
}

impl Feed {
    /// Another release takes the place of this one, with what was kept of it.
    fn restart(&mut self, last: Last, now: Timestamp) {
        let Some(kept) = self.release.evidence_to_keep(now) else {
            return;
        };
        let bytes = kept.into_bytes();
        let (spec, from) = (spec(), self.release.snapshot());
        let mut release = Release::resume(spec, from, &Tally::default(), now);
        let counted = release.recall(&bytes, now).unwrap();
        if last == Last::Lost {
            self.tally = counted;
        }
        self.release = release;
    }
}

fn gates() -> Vec<GateSpec> {
    let gate = |name: &str, rule| GateSpec {
        name: name.into(),
        rule,
    };
    let quantile = |ratio| Quantile::from_ratio(ratio).unwrap();
    let rate = |bound| RateLimit { bound, hard: false };
    let (metric, limit) = (LatencyMetric::Duration, RunLimit::Calibrated);
    let bound = LatencyBound::Absolute(Duration::from_millis(80));
    let (at_95, at_99) = (quantile(0.95), quantile(0.99));
    let mut gates = default_gates();
    gates.extend([
        gate("burn", GateRule::BurnRate { objective: 0.999 }),
        gate("run", GateRule::ConsecutiveFailures { limit }),
        gate("trend", GateRule::ErrorTrend),
        gate("spikes", GateRule::LatencySpike { metric }),
        gate("new", GateRule::NewErrors),
        gate(
            "ceilings",
            GateRule::ErrorRate {
                rollback: vec![
                    rate(RateBound::Absolute(0.02)),
                    rate(RateBound::TimesStable(2.0)),
                ],
                advance: Some(RateMargin::AboveStable(0.01)),
            },
        ),
        gate(
            "slow",
            GateRule::Latency {
                metric,
                rollback: vec![LatencyLimit {
                    quantile: at_95,
                    bound,
                }],
                advance: vec![LatencyMargin {
                    quantile: at_99,
                    times: 1.2,
                }],
            },
        ),
    ]);
    gates
}

fn spec() -> ReleaseSpec {
    ReleaseSpec {
        weight: Weight::ZERO,
        gates: gates(),
        promise: Promise {
            // No seed that is ever drawn rolls a healthy canary back by chance.
            false_rollback: 1e-7,
            horizon: Duration::from_secs(60),
            steps: 2,
            ..Promise::default()
        },
        ..ReleaseSpec::default()
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
const fn mixed(number: u64) -> u64 {
    let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// How a canary differs from its stable.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// Failures in ten thousand, of the canary alone.
    failures: u64,
    /// By how much longer it takes, in percent.
    slower: u64,
    /// From this row on.
    from: u64,
}

fn fault() -> impl Strategy<Value = Fault> {
    let failures = prop_oneof![Just(0_u64), 20..5_000_u64];
    let slower = prop_oneof![Just(0_u64), 10..200_u64];
    (failures, slower, 0..4_000_u64).prop_map(|(failures, slower, from)| Fault {
        failures,
        slower,
        from,
    })
}

fn row(number: u64, seed: u64, fault: Fault) -> Row {
    let draw = |of: u64, below: u64| {
        let bits = mixed(seed ^ mixed(number) ^ mixed(of << 32));
        u64::try_from((u128::from(bits) * u128::from(below)) >> 64).unwrap()
    };
    let at = number * 10_000;
    let weight = match at / 10_000_000 {
        0 => Weight::ZERO,
        1..4 => "5%".parse().unwrap(),
        _ => "50%".parse().unwrap(),
    };
    let key = mixed(draw(1, 2_000));
    let role = SplitKey::from_random(key).role(weight);
    let is_faulty = role == Role::Canary && number >= fault.from + PRELUDE / 10_000;
    let failures = 30 + if is_faulty { fault.failures } else { 0 };
    let slower = if is_faulty { fault.slower } else { 0 };
    let status = match draw(2, 10_000) {
        drawn if drawn < failures => 500,
        drawn if drawn < failures + 50 => 404,
        _ => 200,
    };
    let latency = 5_000 + draw(3, 40_000) * draw(4, 1_000) / 1_000;
    Row {
        at: Timestamp::from_micros(at),
        latency: latency * (100 + slower) / 100,
        role,
        status,
        key: Some(key),
        weight,
    }
}

/// Feeds a whole rollout that is cut at these rows.
fn course(seed: u64, fault: Fault, cuts: &[u64], last: Last) -> Feed {
    let mut feed = Feed::new(spec(), Timestamp::from_micros(PRELUDE));
    for number in 0..ROWS {
        let row = row(number, seed, fault);
        if cuts.contains(&number) {
            feed.restart(last, row.at);
        }
        if feed.row(&row).is_some() {
            break;
        }
    }
    feed
}

fn told(feed: &Feed) -> String {
    let now = Timestamp::from_micros(ROWS * 10_000);
    format!("{:?} {:?}", feed.status(now), feed.notices())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nothing_is_decided_otherwise_after_a_restart(
        seed in any::<u64>(),
        fault in fault(),
        cuts in prop::collection::vec(0..ROWS, 1..6),
    ) {
        let whole = course(seed, fault, &[], Last::Kept);
        let cut = course(seed, fault, &cuts, Last::Kept);
        prop_assert_eq!(whole.decision(), cut.decision());
        prop_assert_eq!(told(&whole), told(&cut));
        let (before, after) = (whole.evidence(), cut.evidence());
        prop_assert_eq!(before.errors.to_bits(), after.errors.to_bits());
        prop_assert_eq!(before.classes.to_bits(), after.classes.to_bits());
        prop_assert_eq!(before.hard.to_bits(), after.hard.to_bits());
        prop_assert_eq!(before.latency.to_bits(), after.latency.to_bits());
    }

    #[test]
    fn what_is_lost_delays_a_rollback_and_causes_none(
        seed in any::<u64>(),
        cuts in prop::collection::vec(0..ROWS, 1..20),
    ) {
        let sick = Fault { failures: 2_000, slower: 0, from: 500 };
        let whole = course(seed, sick, &[], Last::Kept);
        let cut = course(seed, sick, &cuts, Last::Lost);
        let row = |feed: &Feed| feed.decision().map_or(u64::MAX, |decision| decision.row);
        prop_assert!(row(&whole) < ROWS);
        prop_assert!(row(&cut) < ROWS, "{} {}", row(&whole), row(&cut));
        let well = Fault { failures: 0, slower: 0, from: 0 };
        let feed = course(seed, well, &cuts, Last::Lost);
        prop_assert_eq!(feed.decision(), None);
    }

    #[test]
    fn any_bytes_are_refused_or_gone_on_with(
        seed in any::<u64>(),
        rows in 0..3_000_u64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        len in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let fault = Fault { failures: 800, slower: 20, from: 500 };
        let mut feed = Feed::new(spec(), Timestamp::from_micros(PRELUDE));
        for number in 0..rows {
            feed.row(&row(number, seed, fault));
        }
        let now = row(rows, seed, fault).at;
        let Some(kept) = feed.release.evidence_to_keep(now) else {
            return Ok(());
        };
        let mut bytes = kept.into_bytes();
        for (index, value) in changes {
            // Not what says which evidence it is.
            let index = 14 + index.index(bytes.len() - 14);
            bytes[index] = value;
        }
        if is_cut {
            bytes.truncate(len.index(bytes.len()));
        }
        let from = feed.release.snapshot();
        let mut release = Release::resume(spec(), from, &Tally::default(), now);
        if let Ok(counted) = release.recall(&bytes, now) {
            feed.tally = counted;
            feed.release = release;
            for number in rows..rows + 1_000 {
                feed.row(&row(number, seed, fault));
            }
            let evidence = feed.evidence();
            prop_assert!(evidence.errors >= 0.0 && evidence.classes >= 0.0);
            prop_assert!(evidence.hard >= 0.0 && evidence.latency >= 0.0);
            for gate in feed.status(now).verdict.gates {
                prop_assert!(!gate.value.is_nan() && !gate.evidence.is_nan(), "{:?}", gate);
            }
        }
    }
}

#[test]
fn what_is_kept_is_small() {
    let len = |feed: &Feed| {
        let now = Timestamp::from_micros(ROWS * 10_000);
        let kept = feed.release.evidence_to_keep(now);
        kept.map_or(0, |kept| kept.into_bytes().len())
    };
    let healthy = Fault {
        failures: 0,
        slower: 0,
        from: 0,
    };
    let usual = len(&course(1, healthy, &[], Last::Kept));
    assert!((1..40 * 1024).contains(&usual), "{usual}");
    // Everybody is a user of their own, and fails, before the rollout and in it.
    let mut feed = Feed::new(spec(), Timestamp::from_micros(PRELUDE));
    for number in 0..400_000 {
        let row = Row {
            at: Timestamp::from_micros(number * 50),
            latency: 0,
            role: Role::Stable,
            status: 500,
            key: Some(mixed(number % 100_000)),
            weight: if number * 50 < PRELUDE {
                Weight::ZERO
            } else {
                "5%".parse().unwrap()
            },
        };
        feed.row(&row);
    }
    let most = len(&feed);
    assert!((usual..320 * 1024).contains(&most), "{most}");
    eprintln!("usually {usual} bytes, and {most} at worst");
}
