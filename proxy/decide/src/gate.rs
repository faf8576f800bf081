//! A gate: told every outcome, answers with a verdict.
//!
//! A gate sees cumulative counts and takes its evidence from the recent past. It
//! is asked in two places: `observe` on the response path, in constant time, and
//! `absorb` several times a second, where it may walk histograms.

use crate::outcome::Outcome;
use crate::tally::Tally;
use crate::time::Timestamp;

mod chance;
mod errors;
mod latency;
mod limit;
pub mod spec;
mod verdict;

use errors::ErrorRate;
use latency::Latency;
use limit::ConsecutiveFailures;
use spec::{GateName, GateRule, GateSpec};
use verdict::Comparison;

pub use latency::{LatencyLimits, StableLatency};
pub use verdict::{Breach, Estimate, Measure, Verdict, VerdictKind};

/// Fewer requests than this never decide anything but a run of failures: below it
/// a single failure is a rate of more than two percent.
pub(crate) const SAMPLE_MIN: u64 = 50;

/// How many requests of the canary a window keeps before it moves on.
///
/// The sample that a gate needs to decide is smaller. But a slow service would
/// be judged on hundreds of windows of fifty requests, and each would be another
/// chance for three stray failures to be "more than 5 %". In windows of 500 the
/// same rate takes 25. A limit that allows for chance finds a fault hardly later
/// for it: it asks for about ten failures more than the bound explains. A hard
/// limit does take longer, since its rate is diluted by the healthy part.
pub(crate) const WINDOW_SAMPLE: u64 = 500;

/// A check that the canary must keep passing.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    name: GateName,
    check: Check,
    judgement: Judgement,
}

#[derive(Clone, Debug)]
enum Check {
    ConsecutiveFailures(ConsecutiveFailures),
    ErrorRate(ErrorRate),
    Latency(Latency),
}

/// A verdict as a gate arrives at it: without names, cheap to copy.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Judgement {
    finding: Finding,
    /// The numbers of the limit that decides, or that is nearest to it.
    comparison: Comparison,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Finding {
    Fail,
    /// The canary needs this many more requests.
    NeedsCanary(u64),
    /// Stable has too few requests to compare with.
    NeedsStable,
    /// The route has more latency limits than are counted.
    NoSlot,
    Pass,
}

impl Judgement {
    /// Of two limits of one gate, the one that decides: a breach before a lack
    /// of evidence before a pass, and among equals the one nearest to its limit.
    fn worse(self, other: Self) -> Self {
        let rank = |judgement: &Self| match judgement.finding {
            Finding::Fail => (3, 0),
            Finding::NoSlot => (2, u64::MAX),
            Finding::NeedsStable => (1, u64::MAX),
            Finding::NeedsCanary(needs) => (1, needs),
            Finding::Pass => (0, 0),
        };
        let used = |judgement: &Self| {
            let Comparison { value, limit, .. } = judgement.comparison;
            if limit > 0.0 { value / limit } else { value }
        };
        let by_rank = rank(&self).cmp(&rank(&other));
        if by_rank.then(used(&self).total_cmp(&used(&other))).is_lt() {
            other
        } else {
            self
        }
    }

    fn kind(self) -> VerdictKind {
        match self.finding {
            Finding::Fail => VerdictKind::Fail,
            Finding::NeedsCanary(_) | Finding::NeedsStable | Finding::NoSlot => {
                VerdictKind::Inconclusive
            }
            Finding::Pass => VerdictKind::Pass,
        }
    }
}

impl Gate {
    /// A gate that has seen nothing before `tally`. Its latency limits use the
    /// slots from `first_slot` on.
    pub(crate) fn new(spec: &GateSpec, first_slot: usize, tally: &Tally, now: Timestamp) -> Self {
        let check = match &spec.rule {
            GateRule::ConsecutiveFailures { limit } => {
                Check::ConsecutiveFailures(ConsecutiveFailures::new(*limit, tally))
            }
            GateRule::ErrorRate { limits } => {
                Check::ErrorRate(ErrorRate::new(limits.clone(), tally, now))
            }
            GateRule::Latency { metric, limits } => {
                Check::Latency(Latency::new(*metric, limits, first_slot))
            }
        };
        let judgement = check.judge(tally);
        Self {
            name: spec.name.clone(),
            check,
            judgement,
        }
    }

    /// How many slots a gate with this rule uses.
    pub(crate) fn slots(rule: &GateRule) -> usize {
        match rule {
            GateRule::Latency { limits, .. } => limits.len(),
            GateRule::ConsecutiveFailures { .. } | GateRule::ErrorRate { .. } => 0,
        }
    }

    /// One outcome, which `tally` already counts. Constant time.
    pub(crate) fn observe(&mut self, outcome: &Outcome, tally: &Tally) -> Verdict {
        self.judgement = match &mut self.check {
            Check::ConsecutiveFailures(check) => check.observe(outcome, tally),
            Check::ErrorRate(check) => check.judge(tally),
            Check::Latency(check) => check.judge(tally),
        };
        self.verdict()
    }

    /// Many outcomes at once. Also lets the evidence move on.
    pub(crate) fn absorb(
        &mut self,
        tally: &Tally,
        stable: &StableLatency<'_>,
        now: Timestamp,
    ) -> Verdict {
        self.judgement = match &mut self.check {
            Check::ConsecutiveFailures(check) => check.absorb(tally),
            Check::ErrorRate(check) => check.absorb(tally, now),
            Check::Latency(check) => check.absorb(tally, stable, now),
        };
        self.verdict()
    }

    /// The weight has changed, and the evidence of the old one is not mixed with
    /// that of the new.
    ///
    /// If it were, a fault of both sides right after a step up would be blamed on
    /// the canary: most of its requests were in the fault, most of stable's before.
    /// A run of failures goes on: it compares nothing.
    pub(crate) fn reweigh(&mut self, tally: &Tally, now: Timestamp) {
        match &mut self.check {
            Check::ConsecutiveFailures(_) => {}
            Check::ErrorRate(check) => check.restart(tally, now),
            Check::Latency(check) => check.restart(),
        }
        self.judgement = self.check.judge(tally);
    }

    /// Writes the latency limits of this gate, by slot.
    pub(crate) fn write_limits(&self, limits: &mut latency::Slots) {
        match &self.check {
            Check::Latency(check) => check.write_limits(limits),
            Check::ConsecutiveFailures(_) | Check::ErrorRate(_) => {}
        }
    }

    /// What the gate said last.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.judgement.finding {
            Finding::Fail => Verdict::Fail(self.judgement.comparison.breach(self.name.clone())),
            Finding::NeedsCanary(needs) => Verdict::Inconclusive { needs },
            Finding::NeedsStable | Finding::NoSlot => Verdict::Inconclusive { needs: 0 },
            Finding::Pass => Verdict::Pass,
        }
    }

    /// What the gate said last, for people and programs.
    pub(crate) fn status(&self) -> GateStatus {
        let Judgement {
            finding,
            comparison,
        } = self.judgement;
        let numbers = comparison.sentence(self.judgement.kind());
        let name = &self.name;
        let sentence = match finding {
            Finding::Fail | Finding::Pass => format!("{name}: {numbers}"),
            Finding::NeedsCanary(needs) => {
                let requests = if needs == 1 { "request" } else { "requests" };
                format!("{name}: waits for {needs} more canary {requests}; {numbers}")
            }
            Finding::NeedsStable => format!("{name}: waits for stable traffic; {numbers}"),
            Finding::NoSlot => {
                let max = crate::tally::LATENCY_LIMITS_MAX;
                format!("{name}: cannot decide, a route has at most {max} latency limits")
            }
        };
        GateStatus {
            name: name.clone(),
            verdict: self.judgement.kind(),
            needs: match finding {
                Finding::NeedsCanary(needs) => needs,
                Finding::Fail | Finding::NeedsStable | Finding::NoSlot | Finding::Pass => 0,
            },
            value: comparison.value,
            limit: comparison.limit,
            samples: comparison.canary.samples,
            sentence,
        }
    }
}

impl Check {
    fn judge(&self, tally: &Tally) -> Judgement {
        match self {
            Self::ConsecutiveFailures(check) => check.judge(),
            Self::ErrorRate(check) => check.judge(tally),
            Self::Latency(check) => check.judge(tally),
        }
    }
}

/// Where one gate stands. Units of `value` and `limit` as in [`Breach`].
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct GateStatus {
    /// Its name.
    pub name: GateName,
    /// What it says.
    pub verdict: VerdictKind,
    /// If inconclusive, how many more requests of the canary it needs; 0 if it
    /// waits for stable instead.
    pub needs: u64,
    /// What was measured.
    pub value: f64,
    /// What it may be at most.
    pub limit: f64,
    /// Requests of the canary that were measured.
    pub samples: u64,
    /// The same in words.
    pub sentence: String,
}

#[cfg(test)]
mod tests;
