//! The same version on both sides: how often is it rolled back for nothing?
//!
//! At the bound itself, so that it can be seen: with five in a hundred promised, hundreds
//! of short rollouts of each service must stay below. `bench` has the long ones.

use haldane_decide::feed::{Feed, Row};
use haldane_decide::gate::spec::{Promise, default_gates};
use haldane_decide::release::ReleaseSpec;
use haldane_decide::role::Role;
use haldane_decide::split::SplitKey;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use crate::generator::Generator;

/// The promise of these rollouts.
const FALSE_ROLLBACK: f64 = 0.05;
const ROLLOUTS: u64 = 400;
const REQUESTS: u64 = 8_000;
/// Microseconds of stable alone before the rollout.
const PRELUDE: u64 = 10_000_000;

/// A service, and a canary that is no different from it.
struct Service {
    name: &'static str,
    per_second: u64,
    users: u64,
    /// The share that fails, by the part of the rollout that is over.
    error_rate: fn(f64) -> f64,
    /// The canary's share, by the part of the rollout that is over.
    weight: fn(f64) -> &'static str,
    /// In so many users one fails ten times as often as the others.
    bad_users: Option<u64>,
}

const SERVICES: [Service; 6] = [
    Service {
        name: "independent",
        per_second: 100,
        users: 1 << 40,
        error_rate: |_| 0.005,
        weight: |_| "5%",
        bad_users: None,
    },
    Service {
        name: "few users with a few requests each, some of them bad",
        per_second: 100,
        users: 500,
        error_rate: |_| 0.01,
        weight: |_| "10%",
        bad_users: Some(20),
    },
    Service {
        name: "drifting",
        per_second: 100,
        users: 1 << 40,
        error_rate: |part| 0.001 + 0.03 * part,
        weight: |_| "5%",
        bad_users: None,
    },
    Service {
        name: "outage",
        per_second: 100,
        users: 1 << 40,
        error_rate: |part| {
            if (0.4..0.5).contains(&part) {
                0.4
            } else {
                0.002
            }
        },
        weight: |_| "5%",
        bad_users: None,
    },
    Service {
        name: "ramp with rising errors",
        per_second: 200,
        users: 1 << 40,
        error_rate: |part| 0.001 + 0.02 * part,
        weight: |part| ["1%", "5%", "25%", "50%"][part_of_four(part)],
        bad_users: None,
    },
    Service {
        name: "half",
        per_second: 50,
        users: 1 << 40,
        error_rate: |_| 0.01,
        weight: |_| "50%",
        bad_users: None,
    },
];

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part is from 0 to 1"
)]
fn part_of_four(part: f64) -> usize {
    ((part * 4.0) as usize).min(3)
}

/// Log-normal latencies in microseconds: median 20 ms, and a p99 of four times that.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "below a minute"
)]
fn latencies() -> Vec<u64> {
    let mut generator = Generator::new(0);
    let mut latency = || (20_000.0 * (0.6 * generator.normal()).exp()) as u64;
    (0..4_096).map(|_| latency()).collect()
}

/// The gate that rolls a rollout back, if any does.
fn rollout(service: &Service, latencies: &[u64], seed: u64) -> Option<String> {
    let mut generator = Generator::new(seed ^ 0x5eed);
    let promise = Promise {
        false_rollback: FALSE_ROLLBACK,
        horizon: std::time::Duration::from_secs(REQUESTS / service.per_second),
        steps: 3,
        ..Promise::default()
    };
    let spec = ReleaseSpec {
        weight: Weight::ZERO,
        gates: default_gates(),
        promise,
        ..ReleaseSpec::default()
    };
    let mut feed = Feed::new(spec, Timestamp::from_micros(PRELUDE));
    let prelude = PRELUDE * service.per_second / 1_000_000;
    for request in 0..prelude + REQUESTS {
        let part = request.saturating_sub(prelude) as f64 / REQUESTS as f64;
        let weight: Weight = if request < prelude {
            Weight::ZERO
        } else {
            (service.weight)(part).parse().unwrap()
        };
        let user = generator.below(service.users);
        let key = Generator::new(user.wrapping_add(seed << 44)).next();
        let is_bad = service
            .bad_users
            .is_some_and(|one_in| user.is_multiple_of(one_in));
        let rate = (service.error_rate)(part) * if is_bad { 10.0 } else { 1.0 };
        let decision = feed.row(&Row {
            at: Timestamp::from_micros(request * 1_000_000 / service.per_second),
            latency: latencies[generator.index(latencies.len() as u64)].min(400_000),
            role: SplitKey::from_random(key).role(weight),
            status: if generator.unit() < rate { 500 } else { 200 },
            key: Some(key),
            weight,
        });
        if let Some(decision) = decision {
            return Some(decision.breach.to_string());
        }
    }
    None
}

#[test]
fn a_healthy_canary_is_rolled_back_no_more_often_than_promised() {
    let latencies = latencies();
    for service in &SERVICES {
        let causes: Vec<String> = (0..ROLLOUTS)
            .filter_map(|seed| rollout(service, &latencies, seed))
            .collect();
        let count = causes.len() as f64;
        eprintln!("{}: {count} of {ROLLOUTS} rolled back", service.name);
        // Three standard errors are allowed for the seeds that were drawn.
        let promised = FALSE_ROLLBACK * ROLLOUTS as f64;
        let allowed = promised + 3.0 * promised.sqrt();
        assert!(count <= allowed, "{}: {count}: {causes:?}", service.name);
    }
}

#[test]
fn stable_users_of_whom_one_always_fails_are_no_evidence() {
    // By one key alone nothing can ever be decided, however often it fails.
    let spec = ReleaseSpec {
        weight: Weight::ZERO,
        gates: vec![default_gates()[0].clone()],
        promise: Promise::default(),
        ..ReleaseSpec::default()
    };
    let mut feed = Feed::new(spec, Timestamp::from_micros(0));
    for request in 0..100_000_u64 {
        let is_canary = request.is_multiple_of(20);
        let decision = feed.row(&Row {
            at: Timestamp::from_micros(1_000_000 + request * 1_000),
            latency: 1_000,
            role: if is_canary {
                Role::Canary
            } else {
                Role::Stable
            },
            status: if is_canary && request.is_multiple_of(1_000) {
                500
            } else {
                200
            },
            key: Some(if request.is_multiple_of(1_000) {
                7
            } else {
                request
            }),
            weight: "5%".parse().unwrap(),
        });
        assert_eq!(decision, None, "{request}");
    }
}
