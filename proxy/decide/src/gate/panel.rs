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
use super::latency::{Latency, LatencyLimits};
use super::outside::Answer;
use super::restart::RestartMass;
use super::spec::{GateRule, GateSpec, LatencyMetric, Promise, RateBound, RateLimit};
use super::verdict::Breach;
use crate::role::Role;
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

mod alone;
mod ceiling;
mod check;
mod gate;
mod kept;
mod observe;
mod pace;
mod report;
mod shares;

use alone::Alone;
use ceiling::Ceiling;
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

/// Nobody waits longer for nothing than this: see [`Panel::patience`].
const STALLED_MIN: Duration = Duration::from_secs(1);
/// How many times longer than stable's slowest is no answer at all.
const STALLED_TIMES: f64 = 4.0;
/// Stable's slowest: what one in ten thousand takes.
const SLOWEST: f64 = 0.9999;

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
    stalled_after: Option<Duration>,
    /// Evidence is enough, and stable has to be heard first.
    awaits_stable: bool,
    /// The budget of harm is used up.
    exposed: Option<Breach>,
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

impl Manner {
    /// A quantile of fewer values says nothing about stable.
    pub(crate) const fn values_min(self) -> f64 {
        match self {
            Self::Guarded => 50.0,
            Self::Reference => 0.0,
        }
    }

    /// A limit relative to stable is at least this much above stable's quantile, in
    /// microseconds. On a fast local service a multiple of it would be scheduling noise.
    pub(crate) const fn difference_min_micros(self) -> f64 {
        match self {
            Self::Guarded => 250.0,
            Self::Reference => 0.0,
        }
    }
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
            let ceilings = Ceiling::all_of(&spec.rule, slot);
            if let GateRule::Latency { rollback, .. } = &spec.rule {
                ladder += 1;
                slot += rollback.len();
            }
            Gate {
                name: spec.name.clone(),
                check,
                ceilings,
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
            degradation: Degradation::new(tally),
            baselines: [Baseline::default(), Baseline::default()],
            shares,
            pending: 0.0,
            stalled_after: None,
            awaits_stable: false,
            exposed: None,
            start: *tally,
            begun_at: None,
            last: (*tally, now),
        }
    }

    /// Takes over what another panel knows of the same stable.
    pub(crate) fn inherit(&mut self, other: &Self) {
        self.baselines.clone_from(&other.baselines);
        self.degradation.inherit(&other.degradation);
        self.failures.inherit(&other.failures);
        self.classes.inherit(&other.classes);
        // The budget is the service's, whichever canary there is.
        for (gate, before) in self.gates.iter_mut().zip(&other.gates) {
            if let (Check::BurnRate(burn), Check::BurnRate(before)) =
                (&mut gate.check, &before.check)
            {
                burn.inherit(before);
            }
        }
        self.set_manner(other.manner);
        self.settle();
    }

    pub(crate) fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
        self.failures.set_manner(manner);
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
        if self.weight.is_zero() {
            self.begin_runs(tally);
        }
        self.weight = weight;
        self.failures.set_weight(weight);
        self.classes.set_weight(weight);
        self.alone.set_weight(weight, tally);
        for gate in &mut self.gates {
            gate.check.set_weight(weight, tally);
            for ceiling in &mut gate.ceilings {
                ceiling.set_weight(weight, tally);
            }
            if let Some(outside) = gate.check.outside_mut() {
                outside.restart(now);
            }
        }
    }

    /// The weight that comes next is this one: what is to be shown before it is about the
    /// harm that it could do.
    pub(crate) fn set_next_weight(&mut self, next: Weight, tally: &Tally) {
        for gate in &mut self.gates {
            if let Check::ErrorRate {
                no_worse: Some(no_worse),
                ..
            } = &mut gate.check
            {
                no_worse.set_next_weight(next, tally);
            }
        }
    }

    /// Whether the error budget of the service is used up too fast.
    pub(crate) fn is_burning(&self) -> bool {
        let is_burning = |gate: &Gate| match &gate.check {
            Check::BurnRate(burn) => burn.judge().0,
            Check::ConsecutiveFailures(_)
            | Check::ErrorRate { .. }
            | Check::ErrorTrend(_)
            | Check::Latency(_)
            | Check::LatencySpike(..)
            | Check::NewErrors
            | Check::Outside(_)
            | Check::Signal(_) => false,
        };
        self.gates.iter().any(is_burning)
    }

    fn begin(&mut self, tally: &Tally, now: Timestamp) {
        self.settle();
        self.start = *tally;
        self.begun_at = Some(now);
        self.failures.begin(tally);
        self.classes.begin();
        self.degradation.learn(tally);
        for gate in &mut self.gates {
            gate.check.begin(tally);
            for ceiling in &mut gate.ceilings {
                ceiling.begin(tally);
            }
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

    /// A canary that had no traffic begins without failures in a row.
    fn begin_runs(&mut self, tally: &Tally) {
        for gate in &mut self.gates {
            if let Some(run) = gate.check.run_mut() {
                run.restart(tally);
            }
        }
    }

    fn release(&mut self, mass: f64) {
        for gate in &mut self.gates {
            for ceiling in &mut gate.ceilings {
                ceiling.release(mass);
            }
        }
        if self.weight == Weight::FULL {
            self.alone.release(mass);
            return;
        }
        self.failures.release(mass);
        self.classes.release(mass);
        self.pending += mass;
        for gate in &mut self.gates {
            if let Some(signal) = gate.check.signal_mut() {
                signal.release(mass);
            }
        }
    }

    /// Limits in time follow stable.
    fn settle(&mut self) {
        for gate in &mut self.gates {
            if let Some(latency) = gate.check.latency_mut() {
                latency.settle(&self.baselines[latency.metric().index()], self.manner);
            }
        }
        self.stalled_after = self.patience().or(self.stalled_after);
    }

    fn is_settled(&self) -> bool {
        let mut latencies = self.gates.iter().filter_map(|gate| gate.check.latency());
        latencies.all(Latency::is_settled)
    }

    /// When [`Panel::tick`] or [`Panel::close`] has something to do.
    pub(crate) fn deadline(&self) -> Timestamp {
        match self.stage {
            Stage::Before { tick, .. } => tick,
            Stage::Running(_) if self.awaits_stable => self.last.1,
            Stage::Running(due) => due.tick.min(due.block).min(due.hard_block).min(due.second),
        }
    }

    /// So many good and bad results of a version were reported. False if no gate is about
    /// this signal.
    pub(crate) fn report_signal(&mut self, name: &str, role: Role, good: u64, bad: u64) -> bool {
        let mut found = false;
        for gate in &mut self.gates {
            let signal = gate.check.signal_mut();
            if let Some(signal) = signal.filter(|signal| &*signal.name == name) {
                signal.report(role, good, bad);
                found = true;
            }
        }
        found
    }

    /// What came of a question for the gate of this name, which was asked then. False if
    /// there is no such gate that asks.
    pub(crate) fn tell_answer(&mut self, name: &str, answer: Answer, asked: Timestamp) -> bool {
        let mut gates = self.gates.iter_mut().filter(|gate| &*gate.name == name);
        let outside = gates.next().and_then(|gate| gate.check.outside_mut());
        let found = outside.is_some();
        if let Some(outside) = outside {
            outside.tell(answer, asked);
        }
        found
    }

    /// Writes what successes are to be compared with, and what else is to be looked for.
    pub(crate) fn write_limits(&self, limits: &mut LatencyLimits) {
        for gate in &self.gates {
            if let Some(latency) = gate.check.latency() {
                latency.write_limits(limits);
            }
        }
        limits.stalled_after = self.stalled_after;
        limits.suspected_since = self.suspected_since();
    }

    /// Since when there is more evidence against the canary than capital.
    pub(crate) const fn suspected_since(&self) -> Option<Timestamp> {
        self.failures.suspected_since
    }

    /// After how long a request without an answer is a failure already: several times what
    /// stable's slowest take, so that neither long polls nor pauses are.
    fn patience(&self) -> Option<Duration> {
        let baseline = &self.baselines[LatencyMetric::Ttfb.index()];
        let slowest = baseline.quantile(SLOWEST, self.manner.values_min())?;
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
        | GateRule::Outside { .. }
        | GateRule::Signal { .. } => &[],
    }
}

#[cfg(test)]
mod tests;
