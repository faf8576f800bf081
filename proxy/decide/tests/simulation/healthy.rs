//! The same version on both sides: how often is it rolled back for nothing?

use std::env;
use std::time::Duration;

use haldane_decide::gate::StableLatency;
use haldane_decide::gate::spec::default_gates;
use haldane_decide::outcome::{Evidence, FailureReason, Outcome};
use haldane_decide::release::{Release, ReleaseSpec};
use haldane_decide::role::Role;
use haldane_decide::tally::Tally;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;
use hdrhistogram::Histogram;

use crate::generator::Generator;

const REQUESTS: u64 = 20_000;

/// A service, and a canary that is no different from it.
#[derive(Clone, Copy, Debug)]
struct Service {
    error_rate: f64,
    /// Requests of both sides together in each second.
    per_second: u64,
}

/// The gate that rolls the canary back within [`REQUESTS`] of its requests, if any does.
fn rollout(service: Service, latencies: &[u64], seed: u64) -> Option<String> {
    let mut generator = Generator::new(seed);
    let weight: Weight = "5%".parse().unwrap();
    let start = Timestamp::from_micros(0);
    let mut tally = Tally::default();
    let mut release = Release::new(
        ReleaseSpec {
            weight,
            gates: default_gates(),
        },
        &tally,
        start,
    );
    let mut stable = Histogram::<u64>::new_with_bounds(1, 60_000_000, 2).unwrap();
    // Five times a second, and for a slow service less often, to save time.
    let per_absorb = (service.per_second / 5).max(100);
    let mut served = 0_u64;
    while tally.of(Role::Canary).requests() < REQUESTS {
        let now = Timestamp::from_micros(served * 1_000_000 / service.per_second);
        if served.is_multiple_of(per_absorb) {
            let latency = StableLatency {
                duration: &stable,
                ttfb: &stable,
            };
            let effects = release.absorb(&tally, &latency, now);
            if !effects.is_empty() {
                break;
            }
        }
        served += 1;
        let role = if generator.unit() < weight.as_ratio() {
            Role::Canary
        } else {
            Role::Stable
        };
        let fails = generator.unit() < service.error_rate;
        let evidence = if fails {
            tally.of_mut(role).failures += 1;
            Evidence::Failure(FailureReason::Status)
        } else {
            let micros = latencies[generator.index(latencies.len() as u64)];
            tally.of_mut(role).successes += 1;
            if !succeed(role, micros, &mut tally, &mut stable, &release) {
                continue;
            }
            Evidence::Success
        };
        if !release
            .observe(&Outcome { role, evidence }, &tally, now)
            .is_empty()
        {
            break;
        }
    }
    let status = release.status(start);
    status.by.map(|by| by.to_string())
}

/// Log-normal: median 20 ms, and a p99 of four times that.
#[expect(clippy::cast_possible_truncation, reason = "below a minute")]
fn latency(generator: &mut Generator) -> u64 {
    (20_000.0 * (0.6 * generator.normal()).exp()) as u64
}

/// Counts a success; whether it is the canary's, slower than a limit, and to be observed.
fn succeed(
    role: Role,
    micros: u64,
    tally: &mut Tally,
    stable: &mut Histogram<u64>,
    release: &Release,
) -> bool {
    if role == Role::Stable {
        stable.saturating_record(micros);
    }
    let mut is_slow = false;
    for (slot, limit) in release.latency_limits().slots().iter().enumerate() {
        if limit.is_some_and(|(_, limit)| Duration::from_micros(micros) > limit) {
            tally.of_mut(role).slower[slot] += 1;
            is_slow = true;
        }
    }
    is_slow && role == Role::Canary
}

/// At most one in a hundred of each service's rollouts; of the few that are run
/// without `HALDANE_ROLLOUTS=…` that is none. The seeds are fixed.
#[test]
fn a_healthy_canary_is_not_rolled_back() {
    let rollouts = env::var("HALDANE_ROLLOUTS").map_or(1, |value| value.parse::<u64>().unwrap());
    let mut generator = Generator::new(0);
    let latencies: Vec<u64> = (0..4_096).map(|_| latency(&mut generator)).collect();
    for error_rate in [0.001, 0.005] {
        for per_second in [20, 1_000] {
            let service = Service {
                error_rate,
                per_second,
            };
            let causes: Vec<String> = (0..rollouts)
                .filter_map(|seed| rollout(service, &latencies, seed))
                .collect();
            let count = causes.len() as u64;
            eprintln!("{service:?}: {count} of {rollouts} rolled back: {causes:?}");
            assert!(
                count * 100 <= rollouts,
                "{service:?}: {count} of {rollouts}: {causes:?}"
            );
        }
    }
}
