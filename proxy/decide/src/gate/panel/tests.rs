//! Rollouts that go well, and those that do not.

use super::*;
use crate::feed::{Decision, Feed, Row};
use crate::gate::VerdictKind;
use crate::gate::spec::{Exposure, LatencyBound, LatencyLimit, Quantile, RunLimit, default_gates};
use crate::outcome::{ErrorClass, Evidence, FailureReason, Outcome};
use crate::release::ReleaseSpec;
use crate::split::SplitKey;

/// Minutes of stable alone before the rollout.
const PRELUDE: u64 = 30;

fn at(seconds: f64) -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "test times are small"
    )]
    Timestamp::from_micros((seconds * 1e6) as u64)
}

/// SplitMix64, as a stream.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Median 20 ms, p99 about 80 ms.
    fn latency(&mut self) -> f64 {
        let (a, b) = (self.unit().max(1e-12), self.unit());
        20_000.0 * (0.6 * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()).exp()
    }
}

/// What a request is answered with: a status, and how many times slower than usual.
type Service<'a> = &'a dyn Fn(Role, f64, &mut Random) -> (u16, f64);

struct Course<'a> {
    per_second: u64,
    seconds: u64,
    weight: &'a dyn Fn(f64) -> &'static str,
    gates: Vec<GateSpec>,
    promise: Promise,
    users: u64,
}

impl Default for Course<'_> {
    fn default() -> Self {
        Self {
            per_second: 200,
            seconds: 300,
            weight: &|_| "5%",
            gates: default_gates(),
            promise: Promise::default(),
            users: 1 << 40,
        }
    }
}

impl Course<'_> {
    /// Lets the time run. `service` is told the seconds since the rollout began.
    fn run(&self, seed: u64, service: Service<'_>) -> Feed {
        let spec = ReleaseSpec {
            weight: Weight::ZERO,
            gates: self.gates.clone(),
            promise: self.promise,
            ..ReleaseSpec::default()
        };
        #[expect(clippy::cast_precision_loss, reason = "test times are small")]
        let prelude = PRELUDE as f64;
        let mut feed = Feed::new(spec, at(prelude));
        let mut random = Random(seed);
        for request in 0..(PRELUDE + self.seconds) * self.per_second {
            #[expect(clippy::cast_precision_loss, reason = "test times are small")]
            let now = request as f64 / self.per_second as f64;
            let user = random.next() % self.users;
            let key = Random(user ^ seed << 20).next();
            let weight: Weight = if now < prelude {
                Weight::ZERO
            } else {
                (self.weight)(now - prelude).parse().unwrap()
            };
            let role = SplitKey::from_random(key).role(weight);
            let (status, times) = service(role, now - prelude, &mut random);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "test times are small"
            )]
            let latency = (times * random.latency()) as u64;
            feed.row(&Row {
                at: at(now),
                // It ends now; that it began earlier matters at the start only.
                latency: latency.min(400_000),
                role,
                status,
                key: Some(key),
                weight,
            });
            if feed.decision().is_some() {
                break;
            }
        }
        feed
    }

    fn decided(&self, seed: u64, service: Service<'_>) -> Option<Decision> {
        self.run(seed, service).decision().cloned()
    }
}

fn failing(random: &mut Random, rate: f64) -> u16 {
    if random.unit() < rate { 500 } else { 200 }
}

#[test]
fn a_canary_that_only_fails_is_gone_after_a_few_users() {
    for (weight, failures_max) in [("1%", 6), ("5%", 9), ("25%", 12), ("50%", 20)] {
        for seed in 0..5 {
            let course = Course {
                weight: &|_| weight,
                gates: vec![default_gates()[0].clone(), default_gates()[1].clone()],
                ..Course::default()
            };
            let decision = course
                .decided(seed, &|role, _, random| match role {
                    Role::Canary => (503, 1.0),
                    Role::Stable => (failing(random, 0.001), 1.0),
                })
                .expect("a rollback");
            assert_eq!(&*decision.breach.gate, "errors");
            assert!(decision.breach.evidence >= 1.0);
            assert!(
                decision.canary_failures <= failures_max,
                "{weight}: {}",
                decision.canary_failures
            );
        }
    }
}

#[test]
fn a_fault_that_comes_late_is_found_too() {
    let course = Course {
        seconds: 900,
        ..Course::default()
    };
    let decision = course
        .decided(1, &|role, now, random| {
            let is_faulty = role == Role::Canary && now > 700.0;
            (failing(random, if is_faulty { 0.3 } else { 0.001 }), 1.0)
        })
        .expect("a rollback");
    let late = decision.at.since(at(730.0)).as_secs_f64();
    assert!(late < 30.0 && decision.at > at(730.0), "{late} s");
}

#[test]
fn a_fault_of_both_is_nobodys_and_is_said() {
    for seed in 0..5 {
        let course = Course::default();
        let feed = course.run(seed, &|_, now, random| {
            let rate = if (100.0..160.0).contains(&now) {
                0.4
            } else {
                0.001
            };
            (failing(random, rate), if rate > 0.1 { 8.0 } else { 1.0 })
        });
        assert_eq!(feed.decision(), None);
        let during = Course {
            seconds: 150,
            ..Course::default()
        };
        let status = during
            .run(seed, &|_, now, random| {
                (failing(random, if now > 100.0 { 0.4 } else { 0.001 }), 1.0)
            })
            .status(at(180.0));
        let errors = &status.verdict.gates[0];
        assert_eq!(errors.reason, Some(Waiting::Shared), "{}", errors.sentence);
        assert!(errors.sentence.contains("inconclusive (shared)"));
    }
}

#[test]
fn a_canary_that_gives_up_sooner_than_stable_is_not_blamed() {
    // Whatever both need is down. The canary says so at once; stable still waits.
    let spec = ReleaseSpec {
        weight: Weight::ZERO,
        gates: vec![default_gates()[0].clone()],
        promise: Promise::default(),
        ..ReleaseSpec::default()
    };
    let mut feed = Feed::new(spec, at(0.0));
    let mut row = |seconds: f64, role, status, latency, key| {
        feed.row(&Row {
            at: at(seconds),
            latency,
            role,
            status,
            key: Some(key),
            weight: "5%".parse().unwrap(),
        })
        .cloned()
    };
    for request in 0..200_u32 {
        let now = 1.0 + f64::from(request) / 100.0;
        assert_eq!(
            row(now, Role::Stable, 200, 20_000, u64::from(request)),
            None
        );
    }
    for request in 0..40_u32 {
        let now = 4.0 + f64::from(request) / 10.0;
        let key = 1_000 + u64::from(request);
        assert_eq!(row(now, Role::Canary, 503, 10_000, key), None);
        // What ends on stable began before.
        assert_eq!(row(now, Role::Stable, 200, 4_500_000, key), None);
    }
    for request in 0..25_u32 {
        let now = 9.0 + f64::from(request) / 100.0;
        let decision = row(now, Role::Stable, 200, 20_000, 2_000 + u64::from(request));
        assert_eq!(decision.is_some(), request >= 19, "{request}");
    }
}

#[test]
fn a_slow_canary_is_found_and_one_that_is_a_little_slower_is_held() {
    let slower = |times: f64| {
        move |role: Role, _: f64, random: &mut Random| {
            let times = if role == Role::Canary { times } else { 1.0 };
            (failing(random, 0.001), times)
        }
    };
    let course = Course::default();
    let decision = course.decided(1, &slower(2.5)).expect("a rollback");
    assert_eq!(&*decision.breach.gate, "latency");
    let long = Course {
        per_second: 1000,
        seconds: 600,
        ..Course::default()
    };
    let feed = long.run(1, &slower(1.15));
    assert_eq!(feed.decision(), None, "15 % is less than the limit");
    let gates = feed.status(at(630.0)).verdict.gates;
    assert_eq!(
        gates[1].reason,
        Some(Waiting::Confirmed),
        "{}",
        gates[1].sentence
    );
    assert_ne!(gates[1].verdict, VerdictKind::Pass);
}

#[test]
fn a_small_difference_that_is_confirmed_hides_no_other_fault() {
    let course = Course {
        per_second: 1000,
        seconds: 900,
        ..Course::default()
    };
    let decision = course
        .decided(1, &|role, now, random| match role {
            Role::Canary => (failing(random, if now > 600.0 { 0.2 } else { 0.0 }), 1.15),
            Role::Stable => (200, 1.0),
        })
        .expect("a rollback");
    assert_eq!(&*decision.breach.gate, "errors");
    assert!(decision.at > at(630.0));
}

#[test]
fn a_new_kind_of_client_errors_counts_against_the_canary() {
    let course = Course {
        gates: vec![
            default_gates()[0].clone(),
            GateSpec {
                name: "kinds".into(),
                rule: GateRule::NewErrors,
            },
        ],
        ..Course::default()
    };
    let decision = course
        .decided(1, &|role, _, random| {
            let rate = random.unit();
            match role {
                _ if rate < 0.05 => (404, 1.0),
                Role::Canary if rate < 0.4 => (422, 1.0),
                Role::Canary | Role::Stable => (200, 1.0),
            }
        })
        .expect("a rollback");
    assert_eq!(&*decision.breach.gate, "kinds");
    assert!(
        decision.breach.to_string().contains("status 422"),
        "{}",
        decision.breach
    );
    let healthy = course.decided(1, &|_, _, random| {
        (if random.unit() < 0.05 { 404 } else { 200 }, 1.0)
    });
    assert_eq!(healthy, None);
}

#[test]
fn three_tenants_are_enough_for_the_hard_limit() {
    // Evidence of distinct users cannot come together, and the canary has no run either.
    let course = Course {
        users: 3,
        seconds: 500,
        weight: &|_| "50%",
        gates: vec![default_gates()[0].clone()],
        ..Course::default()
    };
    let is_split = |seed: &u64| {
        let roles = (0..3).map(|user: u64| {
            let key = Random(user ^ seed << 20).next();
            SplitKey::from_random(key).role("50%".parse().unwrap())
        });
        roles.filter(|role| *role == Role::Canary).count() == 1
    };
    let seed = (0..100).find(is_split).unwrap();
    let decision = course
        .decided(seed, &|role, now, random| {
            let is_faulty = role == Role::Canary && now > 20.0;
            (failing(random, if is_faulty { 0.6 } else { 0.001 }), 1.0)
        })
        .expect("a rollback");
    assert!(decision.at < at(330.0), "{:?}", decision.at);
}

#[test]
fn at_a_hundred_percent_what_was_recorded_is_compared_with() {
    let course = Course {
        seconds: 600,
        weight: &|now| if now < 200.0 { "5%" } else { "100%" },
        gates: vec![default_gates()[0].clone()],
        ..Course::default()
    };
    let service = |later: f64| {
        move |_: Role, now: f64, random: &mut Random| {
            (
                failing(random, if now > 300.0 { later } else { 0.002 }),
                1.0,
            )
        }
    };
    assert_eq!(course.decided(1, &service(0.002)), None);
    let decision = course.decided(1, &service(0.1)).expect("a rollback");
    assert!(decision.at.since(at(330.0)).as_secs() < 30);
}

#[test]
fn a_canary_that_gets_slow_with_all_traffic_is_held_and_not_blamed() {
    let course = Course {
        seconds: 500,
        weight: &|now| if now < 200.0 { "5%" } else { "100%" },
        gates: vec![default_gates()[1].clone()],
        ..Course::default()
    };
    let verdict = |later: f64| {
        let feed = course.run(2, &|_, now, _| (200, if now > 300.0 { later } else { 1.0 }));
        assert_eq!(feed.decision(), None);
        let told = feed.notices().len();
        let gate = feed.status(at(530.0)).verdict.gates.remove(0);
        (told, gate)
    };
    let (told, gate) = verdict(1.0);
    assert_eq!((told, gate.reason), (0, Some(Waiting::Stable)), "{gate:?}");
    let (told, gate) = verdict(3.0);
    assert_eq!((told, gate.reason), (1, Some(Waiting::Slower)), "{gate:?}");
    assert!(gate.sentence.contains("than stable did before"), "{gate:?}");
    // Of what it had beside stable, nothing is counted.
    assert!(gate.value > 0.3 && gate.samples <= 60_000, "{gate:?}");
}

#[test]
fn what_was_slow_with_all_traffic_is_forgotten_with_less() {
    let course = Course {
        seconds: 600,
        weight: &|now| match now {
            ..100.0 => "5%",
            ..300.0 => "100%",
            ..400.0 => "50%",
            _ => "100%",
        },
        gates: vec![default_gates()[1].clone()],
        ..Course::default()
    };
    let slow = |now: f64| (100.0..290.0).contains(&now);
    let feed = course.run(4, &|_, now, _| (200, if slow(now) { 3.0 } else { 1.0 }));
    assert_eq!(feed.decision(), None);
    let gate = feed.status(at(630.0)).verdict.gates.remove(0);
    assert_eq!(gate.reason, Some(Waiting::Stable), "{gate:?}");
}

#[test]
fn a_budget_of_harm_ends_what_evidence_does_not() {
    let exposed = |exposure| Course {
        gates: vec![GateSpec {
            name: "run".into(),
            rule: GateRule::ConsecutiveFailures {
                limit: RunLimit::Count(1000),
            },
        }],
        promise: Promise {
            exposure,
            ..Promise::default()
        },
        ..Course::default()
    };
    let service = |role: Role, _: f64, random: &mut Random| {
        (
            failing(random, if role == Role::Canary { 0.5 } else { 0.01 }),
            1.0,
        )
    };
    for (failed_requests, affected_users) in [(Some(20), None), (None, Some(20))] {
        let exposure = Exposure {
            failed_requests,
            affected_users,
        };
        let decision = exposed(exposure).decided(1, &service).expect("a rollback");
        assert!(
            (21..=23).contains(&decision.canary_failures),
            "{decision:?}"
        );
        assert_eq!(&*decision.breach.gate, "exposure");
    }
    // What stable fails as well is not the canary's harm.
    let both = |_: Role, _: f64, random: &mut Random| (failing(random, 0.05), 1.0);
    let exposure = Exposure {
        failed_requests: Some(40),
        affected_users: Some(40),
    };
    assert_eq!(exposed(exposure).decided(1, &both), None);
}

#[test]
fn an_identical_canary_passes_what_can_be_shown() {
    let rate = GateRule::ErrorRate {
        rollback: vec![RateLimit {
            bound: RateBound::AboveStable(0.02),
            hard: false,
        }],
        advance: Some(crate::gate::spec::RateMargin::AboveStable(0.01)),
    };
    let latency = GateRule::Latency {
        metric: LatencyMetric::Ttfb,
        rollback: vec![LatencyLimit {
            quantile: Quantile::from_ratio(0.5).unwrap(),
            bound: LatencyBound::TimesStable(1.5),
        }],
        advance: vec![crate::gate::spec::LatencyMargin {
            quantile: Quantile::from_ratio(0.5).unwrap(),
            times: 1.2,
        }],
    };
    let gate = |name: &str, rule| GateSpec {
        name: name.into(),
        rule,
    };
    let course = Course {
        gates: vec![gate("errors", rate), gate("latency", latency)],
        weight: &|_| "25%",
        seconds: 400,
        ..Course::default()
    };
    let status = course
        .run(1, &|_, _, random| (failing(random, 0.002), 1.0))
        .status(at(430.0));
    for gate in &status.verdict.gates {
        assert_eq!(gate.verdict, VerdictKind::Pass, "{}", gate.sentence);
    }
    // The same for a canary beyond its margins is never a pass.
    let status = course
        .run(1, &|role, _, random| match role {
            Role::Canary => (failing(random, 0.014), 1.25),
            Role::Stable => (failing(random, 0.002), 1.0),
        })
        .status(at(430.0));
    for gate in &status.verdict.gates {
        assert_ne!(gate.verdict, VerdictKind::Pass, "{}", gate.sentence);
    }
}

#[test]
fn the_clock_may_jump() {
    let mut tally = Tally::default();
    let mut panel = Panel::new(&default_gates(), &Promise::default(), &tally, at(0.0));
    panel.reweigh("5%".parse().unwrap(), &tally, at(0.0));
    for micros in [1_u64, 1 << 20, 1 << 40, u64::MAX - 1, u64::MAX, 5] {
        let now = Timestamp::from_micros(micros);
        for role in Role::ALL {
            tally.of_mut(role).successes += 10;
            tally.of_mut(role).timed += 10;
        }
        panel.tick(&mut |_, _| {}, &tally, now);
        assert_eq!(panel.close(&tally, now), None);
        assert!(panel.mass.released() <= 1.0 + 1e-9);
    }
}

/// Feeds seconds of both versions, of which so many in a thousand fail with this status.
fn seconds(panel: &mut Panel, tally: &mut Tally, seconds: std::ops::Range<u64>, status: u16) {
    for second in seconds {
        let now = at_second(second);
        for role in Role::ALL {
            tally.of_mut(role).successes += 99;
            tally.of_mut(role).failures += 1;
            let outcome = Outcome {
                role,
                evidence: Evidence::Failure(FailureReason::Status),
                key: Some(SplitKey::from_random(
                    Random(second << 1 | u64::from(role == Role::Canary)).next(),
                )),
                weight: panel.weight,
                class: Some(ErrorClass::of_status(status)),
                request: None,
            };
            let breach = panel.observe(&outcome, tally, now);
            assert_eq!(breach, None);
        }
        assert_eq!(panel.close(tally, now), None);
    }
}

fn at_second(second: u64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

#[test]
fn what_stable_has_shown_once_is_new_in_no_later_generation() {
    let gates = vec![GateSpec {
        name: "kinds".into(),
        rule: GateRule::NewErrors,
    }];
    let half: Weight = "50%".parse().unwrap();
    let mut tally = Tally::default();
    let mut first = Panel::new(&gates, &Promise::default(), &tally, at_second(0));
    first.reweigh(half, &tally, at_second(0));
    seconds(&mut first, &mut tally, 1..20, 503);
    let mut second = Panel::new(&gates, &Promise::default(), &tally, at_second(20));
    second.inherit(&first);
    second.reweigh(half, &tally, at_second(20));
    let share = |panel: &mut Panel, tally: &mut Tally| {
        seconds(panel, tally, 21..22, 503);
        panel.evidence_parts().classes
    };
    let known = share(&mut second, &mut tally);
    let mut stranger = Panel::new(&gates, &Promise::default(), &tally, at_second(20));
    stranger.reweigh(half, &tally, at_second(20));
    let new = share(&mut stranger, &mut tally);
    // A known kind has half of the promise, the first new one half of the other half.
    assert!((known / new - 2.0).abs() < 1e-9, "{known} {new}");
}

#[test]
fn a_confirmed_difference_is_said_once() {
    let course = Course {
        per_second: 1000,
        seconds: 500,
        ..Course::default()
    };
    let feed = course.run(3, &|role, _, random| {
        let times = if role == Role::Canary { 1.15 } else { 1.0 };
        (failing(random, 0.001), times)
    });
    assert_eq!(feed.decision(), None);
    assert_eq!(feed.notices().len(), 1, "{:?}", feed.notices());
}

#[test]
fn whose_successes_there_are_changes_no_evidence_of_failures() {
    let spec = || ReleaseSpec {
        weight: Weight::ZERO,
        gates: vec![default_gates()[0].clone()],
        promise: Promise::default(),
        ..ReleaseSpec::default()
    };
    let mut feeds = [Feed::new(spec(), at(0.0)), Feed::new(spec(), at(0.0))];
    let mut random = Random(7);
    for request in 0..5_000_u64 {
        let is_failure = random.unit() < 0.02;
        let roles = [random.unit() < 0.05, random.unit() < 0.7].map(|is_canary| {
            if is_canary {
                Role::Canary
            } else {
                Role::Stable
            }
        });
        for (feed, role) in feeds.iter_mut().zip(roles) {
            feed.row(&Row {
                at: at_second(1 + request / 100),
                latency: 1_000,
                role: if is_failure { roles[0] } else { role },
                status: if is_failure { 500 } else { 200 },
                key: Some(request << 20),
                weight: "5%".parse().unwrap(),
            });
        }
        let [one, other] = [&feeds[0], &feeds[1]].map(|feed| feed.evidence().errors);
        assert!((one - other).abs() <= 1e-9 * one.max(1e-9), "{one} {other}");
    }
}

#[test]
fn above_an_absolute_limit_with_stable_holds_and_rolls_nothing_back() {
    let slow = LatencyLimit {
        quantile: Quantile::from_ratio(0.5).unwrap(),
        bound: LatencyBound::Absolute(Duration::from_millis(10)),
    };
    let gates = vec![
        GateSpec {
            name: "errors".into(),
            rule: GateRule::ErrorRate {
                rollback: vec![RateLimit {
                    bound: RateBound::Absolute(0.01),
                    hard: false,
                }],
                advance: None,
            },
        },
        GateSpec {
            name: "latency".into(),
            rule: GateRule::Latency {
                metric: LatencyMetric::Duration,
                rollback: vec![slow],
                advance: vec![],
            },
        },
    ];
    let course = |gates| Course {
        gates,
        ..Course::default()
    };
    let feed = course(gates.clone()).run(1, &|_, _, random| (failing(random, 0.05), 1.0));
    assert_eq!(feed.decision(), None);
    for gate in feed.status(at(330.0)).verdict.gates {
        assert_eq!(gate.reason, Some(Waiting::Ceiling), "{}", gate.sentence);
    }
    // With evidence that the canary is worse, the same limit is one for a rollback.
    let decision = course(gates).decided(1, &|role, _, random| {
        (
            failing(random, if role == Role::Canary { 0.05 } else { 0.001 }),
            0.1,
        )
    });
    assert_eq!(&*decision.expect("a rollback").breach.gate, "errors");
}
