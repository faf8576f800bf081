//! Everything that can happen, in any order, with what must hold after each step.

use std::env;
use std::time::Duration;

use haldane_decide::gate::spec::{
    GateRule, GateSpec, LatencyBound, LatencyLimit, LatencyMetric, Quantile, RateBound, RateLimit,
};
use haldane_decide::gate::{StableLatency, VerdictKind};
use haldane_decide::generation::Generation;
use haldane_decide::outcome::{Evidence, FailureReason, Outcome};
use haldane_decide::refusal::StableReach;
use haldane_decide::release::{Release, ReleaseSpec};
use haldane_decide::role::Role;
use haldane_decide::rollout::{Cause, Command, Effect, Order, Phase};
use haldane_decide::tally::Tally;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;
use hdrhistogram::Histogram;

use crate::generator::Generator;
use crate::seen::{Seen, breached_gate, count};

const SEEDS: u64 = 10_000;
const STEPS: u64 = 60;

#[test]
fn no_day_is_bad_enough() {
    let number = |name: &str| {
        env::var(name)
            .ok()
            .map(|value| value.parse::<u64>().expect("a number in the environment"))
    };
    let seeds = match (number("HALDANE_SEED"), number("HALDANE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(SEEDS),
    };
    let is_sweep = seeds.end - seeds.start >= SEEDS;
    let mut seen = Seen::default();
    for seed in seeds {
        Day::new(seed).run(&mut seen);
    }
    // A simulation in which nothing happens proves nothing.
    if is_sweep {
        for (what, count) in [
            ("run of failures", seen.by_run),
            ("error rate", seen.by_rate),
            ("latency", seen.by_latency),
            ("command", seen.by_command),
            ("retry", seen.retries),
            ("rejection", seen.rejections),
            ("refusal", seen.refusals),
        ] {
            assert!(count > 100, "only {count} times: {what}");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Absorb,
    CanaryFails,
    CanarySlow(u64),
    CanarySucceeds(u64),
    ClockJumps(u64),
    Gone(Role),
    Order(Command),
    StableFails,
    StableReach(StableReach),
    StableSucceeds(u64),
}

/// One route through one day, and a model of it that is too simple to be wrong.
struct Day {
    seed: u64,
    generator: Generator,
    release: Release,
    tally: Tally,
    stable: Histogram<u64>,
    now: Timestamp,
    configured: Weight,
    run_limit: u64,
    run: u64,
    reach: StableReach,
    /// Requests of the canary since the gates last began anew: no window holds more.
    requests: u64,
    rolled_back: Option<Generation>,
}

fn weight(parts: u64) -> Weight {
    Weight::from_parts_per_million(u32::try_from(parts).unwrap()).unwrap()
}

fn gates(run_limit: u64) -> Vec<GateSpec> {
    let limit = u32::try_from(run_limit).unwrap();
    let quantile = |ratio| Quantile::from_ratio(ratio).unwrap();
    let rate = |bound, hard| RateLimit { bound, hard };
    let gate = |name: &str, rule| GateSpec {
        name: name.into(),
        rule,
    };
    vec![
        gate("meltdown", GateRule::ConsecutiveFailures { limit }),
        gate(
            "errors",
            GateRule::ErrorRate {
                limits: vec![
                    rate(RateBound::AboveStable(0.01), false),
                    rate(RateBound::Absolute(0.4), true),
                    rate(RateBound::TimesStable(3.0), false),
                ],
            },
        ),
        gate(
            "latency",
            GateRule::Latency {
                metric: LatencyMetric::Ttfb,
                limits: vec![
                    LatencyLimit {
                        quantile: quantile(0.5),
                        bound: LatencyBound::TimesStable(1.2),
                    },
                    LatencyLimit {
                        quantile: quantile(0.95),
                        bound: LatencyBound::Absolute(Duration::from_millis(100)),
                    },
                ],
            },
        ),
    ]
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut generator = Generator::new(seed);
        let run_limit = 3 + generator.below(10);
        let configured = weight([0, 10_000, 500_000, 1_000_000][generator.index(4)]);
        let (tally, now) = (
            Tally::default(),
            Timestamp::from_micros(generator.next() >> 12),
        );
        let spec = ReleaseSpec {
            weight: configured,
            gates: gates(run_limit),
        };
        Self {
            seed,
            generator,
            release: Release::new(spec, &tally, now),
            tally,
            stable: Histogram::new_with_bounds(1, 60_000_000, 1).unwrap(),
            now,
            configured,
            run_limit,
            run: 0,
            reach: StableReach::Reachable,
            requests: 0,
            rolled_back: None,
        }
    }

    fn run(&mut self, seen: &mut Seen) {
        for step in 0..STEPS {
            let action = self.draw();
            // Some days are so bad that the canary only fails.
            let times = if self.generator.below(6) == 0 { 12 } else { 1 };
            for _ in 0..times {
                self.step(action, step, seen);
            }
        }
    }

    fn draw(&mut self) -> Action {
        let many = 1 << self.generator.below(9);
        match self.generator.below(100) {
            0..20 => Action::CanaryFails,
            20..35 => Action::CanarySucceeds(many),
            35..50 => Action::StableSucceeds(4 * many),
            50..56 => Action::StableFails,
            56..66 => Action::CanarySlow(many),
            66..84 => Action::Absorb,
            84..90 => Action::ClockJumps(1 << self.generator.below(40)),
            90..92 => Action::Gone(Role::ALL[self.generator.index(2)]),
            92..95 => Action::Order(Command::SetWeight(weight(self.generator.below(1_000_001)))),
            95 => Action::Order(Command::SetWeight(Weight::ZERO)),
            96 => Action::Order(Command::Rollback),
            97 => Action::StableReach(if self.generator.below(3) == 0 {
                StableReach::Unreachable
            } else {
                StableReach::Reachable
            }),
            _ => Action::Order(Command::Retry),
        }
    }

    fn step(&mut self, action: Action, step: u64, seen: &mut Seen) {
        let before = (self.release.generation(), self.release.weight());
        let effects = self.act(action, seen);
        let context = format!("HALDANE_SEED={} step {step}: {action:?}", self.seed);
        self.check(action, before, &effects, &context);
        count(&effects, seen);
    }

    fn act(&mut self, action: Action, seen: &mut Seen) -> Vec<Effect> {
        let failure = Evidence::Failure(FailureReason::Status);
        match action {
            Action::Absorb => {
                let latency = StableLatency {
                    duration: &self.stable,
                    ttfb: &self.stable,
                };
                self.release.absorb(&self.tally, &latency, self.now)
            }
            Action::CanaryFails => {
                self.tally.of_mut(Role::Canary).failures += 1;
                self.run += 1;
                self.requests += 1;
                self.observe(Role::Canary, failure)
            }
            Action::CanarySlow(count) => {
                self.succeed(count);
                let limits = *self.release.latency_limits();
                let canary = self.tally.of_mut(Role::Canary);
                for (slot, limit) in limits.slots().iter().enumerate() {
                    if limit.is_some() {
                        canary.slower[slot] += count;
                    }
                }
                self.observe(Role::Canary, Evidence::Success)
            }
            Action::CanarySucceeds(count) => {
                self.succeed(count);
                Vec::new()
            }
            Action::ClockJumps(micros) => {
                self.now = Timestamp::from_micros(self.now.as_micros().saturating_add(micros));
                Vec::new()
            }
            Action::Gone(role) => self.observe(role, Evidence::Neither),
            Action::Order(command) => {
                let order = Order {
                    command,
                    actor: None,
                    reason: Some("bad day".to_owned()),
                };
                let result = self.release.command(order, &self.tally, self.now);
                result.unwrap_or_else(|_| {
                    seen.rejections += 1;
                    Vec::new()
                })
            }
            Action::StableFails => {
                self.tally.of_mut(Role::Stable).failures += 1;
                self.observe(Role::Stable, failure)
            }
            Action::StableReach(reach) => {
                self.reach = reach;
                self.release.tell_stable(reach);
                Vec::new()
            }
            Action::StableSucceeds(count) => {
                self.tally.of_mut(Role::Stable).successes += count;
                let micros = 1_000 + self.generator.below(20_000);
                self.stable.record_n(micros, count).unwrap();
                Vec::new()
            }
        }
    }

    fn succeed(&mut self, count: u64) {
        self.tally.of_mut(Role::Canary).successes += count;
        self.requests += count;
        self.run = 0;
    }

    fn observe(&mut self, role: Role, evidence: Evidence) -> Vec<Effect> {
        self.release
            .observe(&Outcome { role, evidence }, &self.tally, self.now)
    }

    fn check(
        &mut self,
        action: Action,
        (was, from): (Generation, Weight),
        effects: &[Effect],
        context: &str,
    ) {
        let (generation, weight) = (self.release.generation(), self.release.weight());
        let breach = effects.iter().find_map(breached_gate);
        self.check_weights(action, (was, from), effects, context);

        // The run of failures breaches exactly when the model says so.
        let is_run = matches!(action, Action::CanaryFails)
            && !from.is_zero()
            && self.rolled_back.is_none()
            && self.reach == StableReach::Reachable
            && self.run >= self.run_limit;
        if is_run {
            assert!(
                breach.is_some(),
                "{context}: a run of {} had no breach",
                self.run
            );
        }
        if breach == Some("meltdown") {
            assert!(
                self.run >= self.run_limit,
                "{context}: breach after a run of {}",
                self.run
            );
        }
        if self.reach == StableReach::Unreachable {
            assert_eq!(breach, None, "{context}: all traffic went to a dead stable");
        }
        if matches!(breach, Some("errors" | "latency")) {
            assert!(
                self.requests >= 50,
                "{context}: judged on {} requests",
                self.requests
            );
        }
        if breach.is_some() {
            assert_eq!(
                weight,
                Weight::ZERO,
                "{context}: a breach leaves no traffic"
            );
        }

        if matches!(self.release.phase(), Phase::RolledBack { .. }) {
            self.rolled_back = Some(generation);
        } else {
            self.rolled_back = None;
        }
        // What the model counts begins anew with the gates.
        if generation != was || weight != from {
            self.requests = 0;
        }
        if generation != was || weight.is_zero() {
            self.run = 0;
        }
        self.check_status(context);
    }

    fn check_weights(
        &self,
        action: Action,
        (was, from): (Generation, Weight),
        effects: &[Effect],
        context: &str,
    ) {
        let (generation, weight) = (self.release.generation(), self.release.weight());
        assert!(generation >= was, "{context}: the generation fell");
        if self.rolled_back == Some(generation) {
            assert_eq!(
                weight,
                Weight::ZERO,
                "{context}: a rolled-back generation came back"
            );
            assert_eq!(effects, [], "{context}: rolled back already");
        }
        let breached = effects.iter().any(|effect| breached_gate(effect).is_some());
        let expected = match action {
            _ if breached => Weight::ZERO,
            Action::Order(Command::SetWeight(to)) if self.rolled_back.is_none() => to,
            Action::Order(Command::Rollback) => Weight::ZERO,
            Action::Order(Command::Retry) if self.rolled_back.is_some() => self.configured,
            Action::Order(_)
            | Action::Absorb
            | Action::CanaryFails
            | Action::CanarySlow(_)
            | Action::CanarySucceeds(_)
            | Action::ClockJumps(_)
            | Action::Gone(_)
            | Action::StableFails
            | Action::StableReach(_)
            | Action::StableSucceeds(_) => from,
        };
        assert_eq!(weight, expected, "{context}: the weight");
        let told = effects.iter().find_map(|effect| match effect {
            Effect::Reweigh { generation, weight } => Some((*generation, *weight)),
            Effect::Announce(_) => None,
        });
        if (generation, weight) != (was, from) {
            assert_eq!(
                told,
                Some((generation, weight)),
                "{context}: the caller was not told"
            );
        }
    }

    fn check_status(&mut self, context: &str) {
        // Serialising every time would be most of the run.
        if self.generator.below(8) != 0 {
            return;
        }
        let status = self.release.status(self.now);
        let json = serde_json::to_value(&status).expect("a status is plain data");
        assert_eq!(json["gates"].as_array().map(Vec::len), Some(3), "{context}");
        let by_breach = matches!(
            self.release.phase(),
            Phase::RolledBack {
                by: Cause::Breach(_),
                ..
            }
        );
        let is_fail = status.verdict.verdict == VerdictKind::Fail;
        let refused = status.rollback_refused_at.is_some();
        assert!(!(by_breach && refused), "{context}: {json}");
        assert_eq!(by_breach || refused, is_fail, "{context}: {json}");
    }
}
