//! haldane itself, on a simulated rollout: the release that a proxy drives, with its default gates.
//!
//! Every failure is observed on its own, with a tally that counts exactly what came before it.
//! In bulk, because the gates ask no more of it than its sums: successes between two failures;
//! response times of a second, as numbers of those that exceed each rung and limit; and what
//! stable has taken, of which a few hundred are drawn every ten seconds and counted several
//! times. A response ends when its request begins, so nothing is in flight at a decision.

use haldane_decide::{
    gate::{
        Baseline, LatencyLimits,
        spec::{Exposure, GateRule, GateSpec, LatencyBound, LatencyMetric, Promise, default_gates},
    },
    outcome::{ErrorClass, Evidence, FailureReason, Outcome},
    release::{Release, ReleaseSpec},
    role::Role,
    rollout::{Cause, Command, Order, Phase},
    split::SplitKey,
    tally::{Counts, Tally},
    time::Timestamp,
    weight::Weight,
};

use super::{
    latency::Latency,
    random::Random,
    traffic::{FailedRequest, Second},
};

/// What is promised, and planned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How likely a good canary may be rolled back.
    pub(crate) false_rollback: f64,
    /// How long the rollout is planned to take.
    pub(crate) seconds: u32,
    /// How often the weight is planned to be raised.
    pub(crate) steps: u32,
    /// What a canary may do.
    pub(crate) limits: Limits,
}

/// How slow a canary has to be for a rollback, besides the evidence that it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Limits {
    /// As slow as the default gates say.
    Default,
    /// Slower than stable: evidence alone decides, as in the reference's latency table.
    Evidence,
}

/// What stable did in the five minutes before the rollout.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// Whose requests failed, if users are told apart.
    pub(crate) failures: Vec<Option<SplitKey>>,
    /// Successes.
    pub(crate) successes: u64,
    /// Their response times, if latency is looked at.
    pub(crate) latency: Option<Latency>,
}

/// A rollout under haldane's eyes.
#[derive(Clone)]
pub(crate) struct Judge {
    release: Release,
    tally: Tally,
    weight: Weight,
    seconds: u32,
    /// Stable's successes since their response times were taken last.
    untaken: u64,
    chances: Chances,
    decided: Option<Decided>,
}

/// A rollback.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    /// Requests of the canary so far, and those that failed.
    pub(crate) canary: [u64; 2],
    /// Since the start.
    pub(crate) seconds: f64,
    /// The gate.
    pub(crate) gate: String,
}

/// How likely a response exceeds the times that are counted, for each role in ascending order.
#[derive(Clone, Debug, Default)]
struct Chances {
    of: Option<(LatencyLimits, [Latency; 2])>,
    by_role: [Vec<Chance>; 2],
}

#[derive(Clone, Copy, Debug)]
struct Chance {
    /// Of those that exceed the one before.
    share: f64,
    counted: Counted,
}

#[derive(Clone, Copy, Debug)]
enum Counted {
    Rung { ladder: usize, rung: usize },
    Slot(usize),
}

impl Limits {
    fn gates(self) -> Vec<GateSpec> {
        let mut gates = default_gates();
        for gate in &mut gates {
            if let (Self::Evidence, GateRule::Latency { rollback, .. }) = (self, &mut gate.rule) {
                for limit in rollback {
                    limit.bound = LatencyBound::TimesStable(1.0);
                }
            }
        }
        gates
    }
}

impl Past {
    /// How long it is, in seconds.
    pub(crate) const SECONDS: u32 = 300;

    /// Independent requests at this rate.
    pub(crate) fn new(
        rate: f64,
        failing: f64,
        latency: Option<Latency>,
        random: &mut Random,
    ) -> Self {
        let requests = rate * f64::from(Self::SECONDS);
        let failures = random.poisson(requests * failing);
        Self {
            failures: vec![None; failures as usize],
            successes: random.poisson(requests * (1.0 - failing)),
            latency,
        }
    }
}

impl Judge {
    /// A release that has seen stable alone, and begins now.
    pub(crate) fn new(plan: &Plan, weight: Weight, past: &Past, random: &mut Random) -> Self {
        let spec = ReleaseSpec {
            weight: Weight::ZERO,
            gates: plan.limits.gates(),
            promise: Promise {
                false_rollback: plan.false_rollback,
                horizon: std::time::Duration::from_secs(u64::from(plan.seconds)),
                steps: plan.steps,
                exposure: Exposure::default(),
                ..Promise::default()
            },
            ..ReleaseSpec::default()
        };
        let (mut tally, before) = (Tally::default(), Timestamp::from_micros(START - 1_000_000));
        let mut release = Release::new(spec, &tally, before);
        for &key in &past.failures {
            tally.of_mut(Role::Stable).failures += 1;
            let outcome = failure(Role::Stable, key, Weight::ZERO);
            drop(release.observe(&outcome, &tally, before));
        }
        tally.of_mut(Role::Stable).successes = past.successes;
        let mut fresh = |metric, baseline: &mut Baseline| {
            if let (LatencyMetric::Ttfb, Some(latency)) = (metric, &past.latency) {
                remember(baseline, latency, (past.successes, PAST_DRAWS), random);
            }
        };
        drop(release.absorb(&tally, &mut fresh, before));
        let mut judge = Self {
            release,
            tally,
            weight: Weight::ZERO,
            seconds: 0,
            untaken: 0,
            chances: Chances::default(),
            decided: None,
        };
        judge.reweigh(weight);
        // The canary's counts are the rollout's.
        judge
    }

    /// Another second.
    pub(crate) fn watch(
        &mut self,
        second: &Second,
        weight: Weight,
        latency: Option<&[Latency; 2]>,
        random: &mut Random,
    ) {
        if self.decided.is_some() {
            return;
        }
        if weight != self.weight {
            self.reweigh(weight);
        }
        for failed in &second.failed {
            self.succeed(failed.successes);
            self.fail(failed);
            if self.decided.is_some() {
                return;
            }
        }
        self.succeed(second.rest);
        let successes = second.successes();
        self.untaken += successes[Role::Stable.index()];
        if let Some(latency) = latency {
            self.chances.settle(self.release.latency_limits(), latency);
            for role in Role::ALL {
                let counts = self.tally.of_mut(role);
                self.chances
                    .draw(role, successes[role.index()], counts, random);
            }
        }
        self.seconds += 1;
        let (now, untaken) = (self.now(0.0), &mut self.untaken);
        let mut fresh = |metric, baseline: &mut Baseline| {
            if let (LatencyMetric::Ttfb, Some([stable, _])) = (metric, latency) {
                let successes = std::mem::take(untaken);
                remember(baseline, stable, (successes, FRESH_DRAWS), random);
            }
        };
        let effects = self.release.absorb(&self.tally, &mut fresh, now);
        if !effects.is_empty() {
            self.decide(0.0);
        }
    }

    /// Whether it is rolled back.
    pub(crate) fn decided(&self) -> Option<&Decided> {
        self.decided.as_ref()
    }

    /// Requests of the canary so far, and those that failed.
    pub(crate) fn canary(&self) -> [u64; 2] {
        let canary = self.tally.of(Role::Canary);
        [canary.requests(), canary.failures]
    }

    /// Since the start.
    pub(crate) fn seconds(&self) -> f64 {
        f64::from(self.seconds)
    }

    fn now(&self, part: f64) -> Timestamp {
        Timestamp::from_micros(START + ((f64::from(self.seconds) + part) * 1e6) as u64)
    }

    fn reweigh(&mut self, weight: Weight) {
        let order = Order {
            command: Command::SetWeight(weight),
            actor: None,
            reason: None,
        };
        let now = self.now(0.0);
        // Nothing forbids it while the canary is in.
        let _effects = self.release.command(order, &self.tally, now);
        self.weight = weight;
    }

    fn succeed(&mut self, successes: [u64; 2]) {
        let is_suspected = self.release.latency_limits().suspected_since().is_some();
        for role in Role::ALL {
            let (counts, successes) = (self.tally.of_mut(role), successes[role.index()]);
            counts.successes += successes;
            counts.timed += successes;
            counts.after_suspicion += if is_suspected { successes } else { 0 };
        }
    }

    fn fail(&mut self, failed: &FailedRequest) {
        self.tally.of_mut(failed.role).failures += 1;
        let outcome = failure(failed.role, failed.user, self.weight);
        let now = self.now(failed.at);
        let effects = self.release.observe(&outcome, &self.tally, now);
        if !effects.is_empty() {
            self.decide(failed.at);
        }
    }

    fn decide(&mut self, part: f64) {
        if let Phase::RolledBack { by, .. } = self.release.phase() {
            let gate = match by {
                Cause::Breach(breach) => breach.gate.to_string(),
                other => other.to_string(),
            };
            self.decided = Some(Decided {
                canary: self.canary(),
                seconds: f64::from(self.seconds) + part,
                gate,
            });
        }
    }
}

impl Chances {
    /// Makes it those of these limits and response times.
    fn settle(&mut self, limits: &LatencyLimits, latency: &[Latency; 2]) {
        let of = Some((*limits, *latency));
        if self.of == of {
            return;
        }
        self.of = of;
        for role in Role::ALL {
            let rungs = limits
                .ladders()
                .iter()
                .enumerate()
                .flat_map(|(ladder, limits)| {
                    let times = limits
                        .iter()
                        .flat_map(move |limits| limits.rungs[role.index()]);
                    times
                        .enumerate()
                        .map(move |(rung, time)| (time, Counted::Rung { ladder, rung }))
                });
            let slots = limits
                .slots()
                .iter()
                .enumerate()
                .filter_map(|(slot, limit)| {
                    let (_, time) = (*limit)?;
                    Some((time.as_micros() as u64, Counted::Slot(slot)))
                });
            let mut times: Vec<(u64, Counted)> = rungs
                .chain(slots)
                .filter(|(time, _)| *time < u64::MAX)
                .collect();
            times.sort_by_key(|(time, _)| *time);
            let mut before = 1.0;
            let chance = |(time, counted): (u64, Counted)| {
                let exceeding = latency[role.index()].survival(time as f64);
                let share = if before > 0.0 {
                    exceeding / before
                } else {
                    0.0
                };
                before = exceeding;
                Chance { share, counted }
            };
            self.by_role[role.index()] = times.into_iter().map(chance).collect();
        }
    }

    /// Counts so many responses.
    fn draw(&self, role: Role, responses: u64, counts: &mut Counts, random: &mut Random) {
        let mut exceeding = responses;
        for chance in &self.by_role[role.index()] {
            exceeding = random.binomial(exceeding, chance.share);
            if exceeding == 0 {
                return;
            }
            match chance.counted {
                Counted::Rung { ladder, rung } => {
                    // Counted is the highest rung only.
                    counts.rungs[ladder][rung] += exceeding;
                    if let Some(below) = rung.checked_sub(1) {
                        counts.rungs[ladder][below] -= exceeding;
                    }
                }
                Counted::Slot(slot) => counts.slower[slot] += exceeding,
            }
        }
    }
}

fn failure(role: Role, key: Option<SplitKey>, weight: Weight) -> Outcome {
    Outcome {
        role,
        evidence: Evidence::Failure(FailureReason::Status),
        key,
        weight,
        class: Some(ErrorClass::of_status(500)),
        request: None,
    }
}

/// Adds so many responses, of which at most so many are drawn.
fn remember(
    baseline: &mut Baseline,
    latency: &Latency,
    (responses, draws): (u64, u64),
    random: &mut Random,
) {
    let draws = draws.min(responses);
    for _ in 0..draws {
        baseline.add(latency.draw(random) as u64, responses / draws);
    }
}

/// When rollouts begin, in microseconds.
const START: u64 = 1_000_000_000;

/// Response times that are drawn for the five minutes before a rollout.
const PAST_DRAWS: u64 = 10_000;

/// Response times that are drawn each time that the gates take them.
const FRESH_DRAWS: u64 = 250;
