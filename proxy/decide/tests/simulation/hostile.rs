//! Everything that can happen, in any order, with what must hold after each step.

use std::time::Duration;

use haldane_decide::gate::spec::{
    GateRule, GateSpec, LatencyBound, LatencyLimit, LatencyMargin, LatencyMetric, Promise,
    Quantile, RateBound, RateLimit, RateMargin, RunLimit,
};
use haldane_decide::gate::{Breach, VerdictKind};
use haldane_decide::generation::Generation;
use haldane_decide::outcome::{ErrorClass, Evidence, FailureReason, Outcome};
use haldane_decide::refusal::StableReach;
use haldane_decide::release::{Release, ReleaseSpec};
use haldane_decide::role::Role;
use haldane_decide::rollout::{Cause, Command, Effect, Order, Phase};
use haldane_decide::split::SplitKey;
use haldane_decide::tally::Tally;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use crate::generator::{Generator, seeds};
use crate::seen::{Seen, breach_of, count};

const SEEDS: u64 = 10_000;
const STEPS: u64 = 60;

#[test]
fn no_day_is_bad_enough() {
    let seeds = seeds(SEEDS);
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
    /// What stable has taken since the gates took it last, in microseconds.
    stable: Vec<(u64, u64)>,
    now: Timestamp,
    configured: Weight,
    run_limit: u64,
    run: u64,
    is_slow: bool,
    reach: StableReach,
    /// Requests of the canary since the gates last began anew.
    requests: u64,
    /// What was counted when the canary's run of failures began.
    run_start: Tally,
    rolled_back: Option<Generation>,
}

fn weight(parts: u64) -> Weight {
    Weight::from_parts_per_million(u32::try_from(parts).unwrap()).unwrap()
}

fn gates(run_limit: u64) -> Vec<GateSpec> {
    let limit = RunLimit::Count(u32::try_from(run_limit).unwrap());
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
                rollback: vec![
                    rate(RateBound::AboveStable(0.01), false),
                    rate(RateBound::Absolute(0.4), true),
                    rate(RateBound::TimesStable(3.0), false),
                ],
                advance: Some(RateMargin::AboveStable(0.005)),
            },
        ),
        gate(
            "latency",
            GateRule::Latency {
                metric: LatencyMetric::Ttfb,
                rollback: vec![
                    LatencyLimit {
                        quantile: quantile(0.5),
                        bound: LatencyBound::TimesStable(1.2),
                    },
                    LatencyLimit {
                        quantile: quantile(0.95),
                        bound: LatencyBound::Absolute(Duration::from_millis(100)),
                    },
                ],
                advance: vec![LatencyMargin {
                    quantile: quantile(0.5),
                    times: 1.1,
                }],
            },
        ),
    ]
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut generator = Generator::new(seed);
        let run_limit = 3 + generator.below(10);
        let configured = weight([0, 10_000, 500_000, 1_000_000][generator.index(4)]);
        let is_slow = generator.below(3) == 0;
        let (tally, now) = (
            Tally::default(),
            Timestamp::from_micros(generator.next() >> 12),
        );
        let spec = ReleaseSpec {
            weight: configured,
            gates: gates(run_limit),
            promise: Promise::default(),
            ..ReleaseSpec::default()
        };
        Self {
            seed,
            generator,
            release: Release::new(spec, &tally, now),
            tally,
            stable: Vec::new(),
            now,
            configured,
            run_limit,
            run: 0,
            is_slow,
            reach: StableReach::Reachable,
            requests: 0,
            run_start: Tally::default(),
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
            // Some days the canary is not broken but slow, and that takes time to see.
            0..20 if self.is_slow => Action::CanarySlow(many),
            20..35 if self.is_slow => Action::Absorb,
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
            Action::Absorb => self.absorb(),
            Action::CanaryFails => {
                self.tally.of_mut(Role::Canary).failures += 1;
                if self.run == 0 {
                    self.run_start = self.tally;
                }
                self.run += 1;
                self.requests += 1;
                self.observe(Role::Canary, failure)
            }
            Action::CanarySlow(count) => self.canary_is_slow(count),
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
            Action::StableSucceeds(count) => self.stable_succeeds(count),
        }
    }

    fn absorb(&mut self) -> Vec<Effect> {
        let micros = self.generator.below(1_500_000);
        self.now = Timestamp::from_micros(self.now.as_micros().saturating_add(micros));
        let stable = &mut self.stable;
        self.release.absorb(
            &self.tally,
            &mut |metric, baseline| {
                if metric == LatencyMetric::Ttfb {
                    for (micros, count) in stable.drain(..) {
                        baseline.add(micros, count);
                    }
                }
            },
            self.now,
        )
    }

    fn canary_is_slow(&mut self, count: u64) -> Vec<Effect> {
        self.succeed(count);
        let limits = *self.release.latency_limits();
        let canary = self.tally.of_mut(Role::Canary);
        for (slot, limit) in limits.slots().iter().enumerate() {
            if limit.is_some() {
                canary.slower[slot] += count;
            }
        }
        if let Some(ladder) = limits.ladders()[0] {
            let highest = ladder.highest_exceeded(Role::Canary, u64::MAX - 1);
            canary.rungs[0][highest.unwrap_or(0)] += count;
        }
        self.observe(Role::Canary, Evidence::Success)
    }

    fn stable_succeeds(&mut self, count: u64) -> Vec<Effect> {
        let micros = 1_000 + self.generator.below(20_000);
        let limits = *self.release.latency_limits();
        let stable = self.tally.of_mut(Role::Stable);
        stable.successes += count;
        stable.timed += count;
        if limits.suspected_since().is_some() {
            stable.after_suspicion += count;
        }
        let ladder = limits.ladders()[0];
        let highest = ladder.and_then(|ladder| ladder.highest_exceeded(Role::Stable, micros));
        if let Some(rung) = highest {
            stable.rungs[0][rung] += count;
        }
        self.stable.push((micros, count));
        Vec::new()
    }

    fn succeed(&mut self, count: u64) {
        let canary = self.tally.of_mut(Role::Canary);
        canary.successes += count;
        canary.timed += count;
        self.requests += count;
        self.run = 0;
    }

    fn observe(&mut self, role: Role, evidence: Evidence) -> Vec<Effect> {
        let key = self.generator.next();
        let status = [500, 503, 422][self.generator.index(3)];
        let is_error = evidence != Evidence::Success || status == 422;
        let outcome = Outcome {
            role,
            evidence,
            key: (key.is_multiple_of(2)).then(|| SplitKey::from_random(key)),
            weight: self.release.weight(),
            class: is_error.then(|| ErrorClass::of_status(status)),
            request: None,
        };
        self.release.observe(&outcome, &self.tally, self.now)
    }

    fn check(
        &mut self,
        action: Action,
        (was, from): (Generation, Weight),
        effects: &[Effect],
        context: &str,
    ) {
        let (generation, weight) = (self.release.generation(), self.release.weight());
        let breach = effects.iter().find_map(breach_of);
        let gate = breach.map(|breach| &*breach.gate);
        self.check_weights(action, (was, from), effects, context);

        // The run of failures breaches exactly when the model says so.
        let is_run = matches!(action, Action::CanaryFails)
            && !from.is_zero()
            && self.rolled_back.is_none()
            && self.reach == StableReach::Reachable
            && self.run >= self.run_limit
            && !self.is_shared();
        if is_run {
            assert!(
                breach.is_some(),
                "{context}: a run of {} had no breach",
                self.run
            );
        }
        if gate == Some("meltdown") {
            assert!(
                self.run >= self.run_limit,
                "{context}: breach after a run of {}",
                self.run
            );
        }
        if self.reach == StableReach::Unreachable {
            assert_eq!(breach, None, "{context}: all traffic went to a dead stable");
        }
        if let Some(breach) = breach.filter(|breach| &*breach.gate != "meltdown") {
            self.check_evidence(breach, context);
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
        if generation != was {
            self.requests = 0;
        }
        if generation != was || weight.is_zero() {
            self.run = 0;
        }
        self.check_status(context);
    }

    /// Whether stable has mostly failed since the run began, or always does.
    fn is_shared(&self) -> bool {
        let stable = *self.tally.since(&self.run_start).of(Role::Stable);
        let mostly_fails = stable.failures > 0 && stable.failures >= stable.successes;
        let gates = self.release.verdict().gates;
        let said = gates.iter().any(|gate| gate.sentence.contains("(shared)"));
        mostly_fails || said
    }

    /// What is rolled back for evidence has evidence, and exceeds what it may.
    fn check_evidence(&self, breach: &Breach, context: &str) {
        assert!(breach.evidence >= 1.0, "{context}: {breach:?}");
        assert!(breach.canary.count > 0, "{context}: {breach:?}");
        assert!(
            breach.canary.samples <= self.requests,
            "{context}: judged on more than {} requests: {breach:?}",
            self.requests
        );
        assert!(
            breach.value >= breach.limit - 1e-12,
            "{context}: {breach:?}"
        );
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
        let breached = effects.iter().any(|effect| breach_of(effect).is_some());
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
            Effect::Reweigh {
                generation, weight, ..
            } => Some((*generation, *weight)),
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
