//! All gates of a route: they share one promise, and so one sum of evidence.
//!
//! Every gate with evidence has a part of the promise. The sum of all evidence, weighted
//! by the parts, is an e-process itself, so a canary that is no worse than its margins is
//! rolled back with a chance of at most `false_rollback`, over the whole rollout and all
//! gates together. Leaving out of the sum what exceeds no limit of a user only lowers it.
//!
//! ## Where it is asked
//!
//! `observe` on the response path, for what counts against a version, in constant time;
//! `tick` and `close` many times a second, for everything that takes its time: capital for
//! new changes, limits in time, and the blocks that bursts are counted in.

use std::time::Duration;

use super::baseline::Baseline;
use super::blame::Degradation;
use super::classes::Classes;
use super::errors::Failures;
use super::latency::LatencyLimits;
use super::restart::RestartMass;
use super::spec::{GateRule, GateSpec, LatencyMetric, Promise, RateBound, RateLimit};
use super::verdict::Breach;
use crate::outcome::{Evidence, Outcome};
use crate::role::Role;
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

mod alone;
mod check;
mod gate;
mod report;
mod shares;

use alone::Alone;
use gate::{Check, Gate};
pub(crate) use shares::Shares;

pub use report::{GateStatus, Waiting};

/// How often capital is put in and limits follow stable.
const TICK: Duration = Duration::from_secs(10);
/// How long a block of responses is; a burst in it counts once.
pub(crate) const BLOCK: Duration = Duration::from_secs(1);
/// How long a block of the bet for hard limits is.
pub(crate) const HARD_BLOCK: Duration = Duration::from_secs(10);
/// Stable is looked at for so long before the rollout without forgetting.
const LOOK_BACK: Duration = Duration::from_secs(300);

/// Nobody waits longer for nothing than this: see [`Panel::stalled_after`].
const STALLED_MIN: Duration = Duration::from_secs(1);
/// How many times longer than stable's slowest is no answer at all.
const STALLED_TIMES: f64 = 4.0;
/// Stable's slowest: what one in ten thousand takes.
const SLOWEST: f64 = 0.9999;

/// More ticks are not made up for when the clock has jumped.
const TICKS_MAX: u32 = 100_000;

/// Adds to a baseline what stable has taken since the last call, by metric.
pub type FreshLatencies<'a> = dyn FnMut(LatencyMetric, &mut Baseline) + 'a;

/// All gates of a route.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    gates: Vec<Gate>,
    promise: Promise,
    manner: Manner,
    shares: Shares,
    mass: RestartMass,
    stage: Stage,
    weight: Weight,
    failures: Failures,
    classes: Classes,
    alone: Alone,
    degradation: Degradation,
    /// Of stable, by metric: duration and time to the first byte.
    baselines: [Baseline; 2],
    /// Capital that latency gates get with their next block.
    pending: f64,
    /// Evidence is enough, and stable has to be heard first.
    awaits_stable: bool,
    /// What was counted when the rollout began, and when that was.
    start: Tally,
    begun_at: Option<Timestamp>,
    /// What was counted when it was asked last, and when that was.
    last: (Tally, Timestamp),
}

/// Where the reference engine, which is the oracle in tests, decides otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// As described.
    Guarded,
    /// Without waiting for stable, and with blocks that go on over a change of weight.
    Reference,
}

/// Whether the canary has had traffic yet.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Stable alone is looked at, since then.
    Before {
        since: Timestamp,
        tick: Timestamp,
    },
    Running(Due),
}

/// When the next tick is, and when what is under way ends.
#[derive(Clone, Copy, Debug)]
struct Due {
    tick: Timestamp,
    block: Timestamp,
    hard_block: Timestamp,
    second: Timestamp,
}

impl Panel {
    /// Gates that have seen nothing before `tally`.
    pub(crate) fn new(
        specs: &[GateSpec],
        promise: &Promise,
        tally: &Tally,
        now: Timestamp,
    ) -> Self {
        let shares = Shares::of(specs);
        let (mut ladder, mut slot) = (0, 0);
        let gate = |spec: &GateSpec| {
            let check = Check::new(&spec.rule, (&shares, tally, now), (ladder, slot));
            if let GateRule::Latency { rollback, .. } = &spec.rule {
                ladder += 1;
                slot += rollback.len();
            }
            Gate {
                name: spec.name.clone(),
                check,
                example: None,
                breach: None,
            }
        };
        let gates = specs.iter().map(gate).collect();
        let rate_limits = || specs.iter().flat_map(|spec| rate_limits_of(&spec.rule));
        let smallest = rate_limits().filter_map(|limit| match limit.bound {
            RateBound::AboveStable(by) => Some(by.max(0.0)),
            RateBound::Absolute(_) | RateBound::TimesStable(_) => None,
        });
        let ticks = promise.horizon.as_secs() / TICK.as_secs();
        Self {
            gates,
            promise: *promise,
            manner: Manner::Guarded,
            mass: RestartMass::new(promise.steps, ticks),
            stage: Stage::Before {
                since: now,
                tick: now,
            },
            weight: Weight::ZERO,
            failures: Failures::new(rate_limits()),
            classes: Classes::new(shares.classes),
            alone: Alone::new(smallest.reduce(f64::min)),
            degradation: Degradation::default(),
            baselines: [Baseline::default(), Baseline::default()],
            shares,
            pending: 0.0,
            awaits_stable: false,
            start: *tally,
            begun_at: None,
            last: (*tally, now),
        }
    }

    /// Takes over what another panel knows of the same stable.
    pub(crate) fn inherit(&mut self, other: &Self) {
        self.baselines.clone_from(&other.baselines);
        self.manner = other.manner;
        self.settle();
    }

    pub(crate) fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
    }

    /// The weight is now this one. The first above zero begins the rollout.
    pub(crate) fn reweigh(&mut self, weight: Weight, tally: &Tally, now: Timestamp) {
        let is_begin = matches!(self.stage, Stage::Before { .. });
        if weight == self.weight || (is_begin && weight.is_zero()) {
            return;
        }
        if is_begin {
            self.begin(tally, now);
        } else {
            let mass = self.mass.on_step();
            self.release(mass);
            if self.manner == Manner::Guarded {
                self.failures.drop_hard_block(tally);
            }
        }
        self.weight = weight;
        self.failures.set_weight(weight);
        self.classes.set_weight(weight);
        self.alone.set_weight(weight, tally);
        for gate in &mut self.gates {
            gate.check.set_weight(weight, tally);
        }
    }

    fn begin(&mut self, tally: &Tally, now: Timestamp) {
        self.settle();
        self.start = *tally;
        self.begun_at = Some(now);
        self.failures.begin(tally);
        self.degradation.begin(tally);
        for gate in &mut self.gates {
            gate.check.begin(tally);
        }
        let mass = self.mass.on_start();
        self.release(mass);
        self.stage = Stage::Running(Due {
            tick: now.after(TICK),
            block: now.after(BLOCK),
            hard_block: now.after(HARD_BLOCK),
            second: now.after(BLOCK),
        });
    }

    fn release(&mut self, mass: f64) {
        if self.weight == Weight::FULL {
            self.alone.release(mass);
            return;
        }
        self.failures.release(mass);
        self.classes.release(mass);
        self.pending += mass;
        for gate in &mut self.gates {
            if let Check::Signal(signal) = &mut gate.check {
                signal.release(mass);
            }
        }
    }

    /// Limits in time follow stable.
    fn settle(&mut self) {
        for gate in &mut self.gates {
            if let Check::Latency(latency) = &mut gate.check {
                latency.settle(&self.baselines[latency.metric().index()]);
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.gates.iter().all(|gate| match &gate.check {
            Check::Latency(latency) => latency.is_settled(),
            Check::BurnRate(_)
            | Check::ConsecutiveFailures(_)
            | Check::ErrorRate { .. }
            | Check::ErrorTrend(_)
            | Check::LatencySpike(..)
            | Check::NewErrors
            | Check::Signal(_) => true,
        })
    }

    /// When [`Panel::tick`] or [`Panel::close`] has something to do.
    pub(crate) fn deadline(&self) -> Timestamp {
        match self.stage {
            Stage::Before { tick, .. } => tick,
            Stage::Running(_) if self.awaits_stable => self.last.1,
            Stage::Running(due) => due.tick.min(due.block).min(due.hard_block).min(due.second),
        }
    }

    /// Lets limits in time follow stable, and puts capital in. To be called before what is
    /// counted since is told.
    pub(crate) fn tick(&mut self, fresh: &mut FreshLatencies<'_>, tally: &Tally, now: Timestamp) {
        match &mut self.stage {
            Stage::Before { since, tick } => {
                if now < *tick {
                    return;
                }
                *tick = now.after(TICK);
                let forgets = now.since(*since) >= LOOK_BACK;
                self.take(fresh);
                if forgets {
                    self.forget();
                }
                self.settle();
            }
            Stage::Running(due) => {
                let mut ticks = 0;
                while now >= due.tick && ticks < TICKS_MAX {
                    due.tick = due.tick.after(TICK);
                    ticks += 1;
                }
                if now >= due.tick {
                    due.tick = now.after(TICK);
                }
                for _ in 0..ticks {
                    let mass = self.mass.on_tick();
                    self.release(mass);
                }
                if ticks > 0 {
                    self.take(fresh);
                    self.forget();
                    self.settle();
                    self.look_back(tally);
                } else if !self.is_settled() {
                    self.take(fresh);
                    self.settle();
                }
            }
        }
    }

    /// Takes what stable has done since the last tick. To be called before the rollout
    /// begins.
    pub(crate) fn take(&mut self, fresh: &mut FreshLatencies<'_>) {
        for metric in [LatencyMetric::Duration, LatencyMetric::Ttfb] {
            fresh(metric, &mut self.baselines[metric.index()]);
        }
    }

    fn forget(&mut self) {
        let factor = 0.5_f64.powf(TICK.as_secs_f64() / Baseline::HALF_LIFE_SECONDS);
        for baseline in &mut self.baselines {
            baseline.decay(factor);
        }
    }

    /// Gates that look at the last minutes.
    fn look_back(&mut self, tally: &Tally) {
        let beyond = |metric: LatencyMetric, start: &Tally| {
            let mut latencies = self.gates.iter().filter_map(|gate| match &gate.check {
                Check::Latency(latency) if latency.metric() == metric => Some(latency),
                _ => None,
            });
            latencies.next()?.beyond_all(&tally.since(start))
        };
        let seen: Vec<_> = self
            .gates
            .iter()
            .map(|gate| match &gate.check {
                Check::LatencySpike(metric, spike) => beyond(*metric, &spike.tick_start),
                _ => None,
            })
            .collect();
        for (gate, beyond) in self.gates.iter_mut().zip(seen) {
            match &mut gate.check {
                Check::ErrorTrend(trend) => trend.tick(tally),
                Check::LatencySpike(_, spike) => spike.tick(tally, beyond),
                _ => {}
            }
        }
    }

    /// One outcome, which `tally` already counts. Constant time.
    pub(crate) fn observe(
        &mut self,
        outcome: &Outcome,
        tally: &Tally,
        now: Timestamp,
    ) -> Option<Breach> {
        self.last = (*tally, now);
        if matches!(self.stage, Stage::Before { .. }) {
            self.note(outcome, now);
            return None;
        }
        let is_failure = matches!(outcome.evidence, Evidence::Failure(_));
        self.note_example(outcome, is_failure);
        for gate in &mut self.gates {
            if let Check::ConsecutiveFailures(run) = &mut gate.check {
                run.observe(outcome, tally);
            }
        }
        let is_known_bad = self.count(outcome, is_failure, tally, now);
        if outcome.role == Role::Stable {
            return None;
        }
        let counted = self.check_counted(tally);
        if counted.is_some() || is_known_bad || (!is_failure && outcome.class.is_none()) {
            return counted;
        }
        self.check(tally)
    }

    /// Before the rollout: who and what fails anyway.
    fn note(&mut self, outcome: &Outcome, now: Timestamp) {
        if outcome.role == Role::Canary {
            return;
        }
        if let (Evidence::Failure(_), Some(key)) = (outcome.evidence, outcome.key) {
            self.failures.known_bad.note(key.to_bits(), now);
        }
        if let Some(class) = outcome.class {
            self.classes.note(class);
        }
    }

    fn note_example(&mut self, outcome: &Outcome, is_failure: bool) {
        if outcome.role == Role::Stable || outcome.request.is_none() {
            return;
        }
        for gate in &mut self.gates {
            let concerns = match &gate.check {
                Check::Latency(_) | Check::LatencySpike(..) => {
                    !is_failure && outcome.class.is_none()
                }
                Check::NewErrors => outcome.class.is_some(),
                _ => is_failure,
            };
            if concerns {
                gate.example = outcome.request;
            }
        }
    }

    /// Bets on an outcome. True if its user is known to be bad.
    fn count(
        &mut self,
        outcome: &Outcome,
        is_failure: bool,
        tally: &Tally,
        now: Timestamp,
    ) -> bool {
        if let Some(class) = outcome.class {
            self.classes.count(class, outcome.role);
        }
        let released = self.mass.released();
        if is_failure {
            self.failures.observe(outcome, tally, released, now);
        }
        let key = outcome.key.map(crate::split::SplitKey::to_bits);
        if key.is_some_and(|key| self.failures.known_bad.contains(key)) {
            return true;
        }
        if let Some(class) = outcome.class {
            let seen = &mut self.failures.seen;
            self.classes
                .observe(class, outcome, seen, (tally, released));
        }
        false
    }

    /// Ends the blocks that are over and judges them.
    pub(crate) fn close(&mut self, tally: &Tally, now: Timestamp) -> Option<Breach> {
        self.last = (*tally, now);
        let Stage::Running(mut due) = self.stage else {
            return None;
        };
        for gate in &mut self.gates {
            if let Check::ConsecutiveFailures(run) = &mut gate.check {
                run.see_successes(tally);
            }
        }
        let mut breach = None;
        if now >= due.second {
            due.second = due.second.after(BLOCK).max(now);
            self.close_second(tally, now);
        }
        if now >= due.block && self.close_latency(tally) {
            due.block = due.block.after(BLOCK).max(now);
            breach = self.check(tally);
        }
        if now >= due.hard_block && self.failures.close_hard(tally) {
            due.hard_block = due.hard_block.after(HARD_BLOCK).max(now);
            breach = breach.or_else(|| self.check(tally));
        }
        self.stage = Stage::Running(due);
        if breach.is_none() && (self.awaits_stable || self.has_breach()) {
            breach = self.check_counted(tally).or_else(|| self.check(tally));
        }
        breach
    }

    fn has_breach(&self) -> bool {
        self.gates.iter().any(|gate| gate.breach.is_some())
    }

    /// What is looked at once a second, with or without the canary in it.
    fn close_second(&mut self, tally: &Tally, now: Timestamp) {
        let (weight, released) = (self.weight, self.mass.released());
        self.degradation.close(tally);
        self.alone.close(tally, self.degradation.usual_rate_max());
        for gate in &mut self.gates {
            match &mut gate.check {
                Check::BurnRate(burn) => burn.see(tally, now),
                Check::ErrorRate {
                    no_worse: Some(no_worse),
                    ..
                } => no_worse.see(tally, &self.start, weight),
                Check::Signal(signal) => signal.close(weight, released),
                Check::ConsecutiveFailures(_)
                | Check::ErrorRate { .. }
                | Check::ErrorTrend(_)
                | Check::Latency(_)
                | Check::LatencySpike(..)
                | Check::NewErrors => {}
            }
        }
    }

    /// Ends the block of all latency gates, if both versions are in it.
    fn close_latency(&mut self, tally: &Tally) -> bool {
        let released = self.mass.released();
        let mut latencies = self
            .gates
            .iter_mut()
            .filter_map(|gate| match &mut gate.check {
                Check::Latency(latency) => Some(latency),
                _ => None,
            });
        let mut closed = false;
        let pending = self.pending;
        for latency in latencies.by_ref() {
            if latency.can_close(tally) {
                latency.close(pending, released, tally);
                closed = true;
            }
        }
        if closed {
            self.pending = 0.0;
        }
        closed
    }

    /// So many good and bad results of a version were reported. False if no gate is about
    /// this signal.
    pub(crate) fn report_signal(&mut self, name: &str, role: Role, good: u64, bad: u64) -> bool {
        let mut found = false;
        for gate in &mut self.gates {
            if let Check::Signal(signal) = &mut gate.check
                && &*signal.name == name
            {
                signal.report(role, good, bad);
                found = true;
            }
        }
        found
    }

    /// Writes what successes are to be compared with, and what else is to be looked for.
    pub(crate) fn write_limits(&self, limits: &mut LatencyLimits) {
        for gate in &self.gates {
            if let Check::Latency(latency) = &gate.check {
                latency.write_limits(limits);
            }
        }
        limits.stalled_after = self.stalled_after();
        limits.suspected_since = self.failures.suspected_since;
    }

    /// After how long a request without an answer is a failure already: several times what
    /// stable's slowest take, so that neither long polls nor pauses are.
    fn stalled_after(&self) -> Option<Duration> {
        let slowest = self.baselines[LatencyMetric::Ttfb.index()].quantile(SLOWEST)?;
        let limit = Duration::try_from_secs_f64(STALLED_TIMES * slowest / 1e6).ok()?;
        Some(limit.max(STALLED_MIN))
    }

    /// Whether both versions are degraded.
    pub(crate) fn is_shared(&self) -> bool {
        self.degradation.is_shared()
    }

    /// What every gate says, in the order of the configuration.
    pub(crate) fn status(&self) -> Vec<GateStatus> {
        self.gates.iter().map(|gate| self.report(gate)).collect()
    }
}

/// The limits of a gate on failures.
pub(crate) fn rate_limits_of(rule: &GateRule) -> &[RateLimit] {
    match rule {
        GateRule::ErrorRate { rollback, .. } => rollback,
        GateRule::BurnRate { .. }
        | GateRule::ConsecutiveFailures { .. }
        | GateRule::ErrorTrend
        | GateRule::Latency { .. }
        | GateRule::LatencySpike { .. }
        | GateRule::NewErrors
        | GateRule::Signal { .. } => &[],
    }
}

#[cfg(test)]
mod tests;
