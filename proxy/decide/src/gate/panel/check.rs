//! Is it enough for a rollback, and which gate is it for?

use super::super::blame;
use super::super::errors::is_exceeded;
use super::super::latency::Latency;
use super::super::signal::Signal;
use super::super::verdict::{Breach, Comparison};
use super::ceiling::CeilingKind;
use super::{Check, Gate, GateStatus, Manner, Panel};
use crate::feed::EvidenceParts;
use crate::role::Role;
use crate::tally::Tally;

/// Without a difference in the configuration, a kind of errors has to show in this share
/// of the canary's requests.
const CLASS_RATE_MIN: f64 = 0.001;

/// What is named where the budget of harm of a rollout, and no gate, rolls it back.
const EXPOSURE: &str = "exposure";

/// Evidence of which the user's limit is exceeded: whose, how much, and its numbers.
struct Part {
    gate: usize,
    evidence: f64,
    comparison: Comparison,
    /// Whether it is about failures, which may come before stable's do.
    is_failure: bool,
}

impl Panel {
    /// Limits that act on what was counted.
    pub(super) fn check_counted(&mut self, tally: &Tally) -> Option<Breach> {
        let since_start = tally.since(&self.start);
        let stable = since_start.of(Role::Stable);
        let is_degraded = self.degradation.is_shared();
        let mut found = None;
        let now = self.last.1;
        for (index, gate) in self.gates.iter_mut().enumerate() {
            let exceeded = match &gate.check {
                Check::ConsecutiveFailures(run) => run.exceeded(stable, tally),
                Check::Outside(outside) => outside.is_exceeded(now).then(|| outside.compare(now)),
                Check::BurnRate(_)
                | Check::ErrorRate { .. }
                | Check::ErrorTrend(_)
                | Check::Latency(_)
                | Check::LatencySpike(..)
                | Check::NewErrors
                | Check::Signal(_) => continue,
            };
            gate.breach = None;
            if !is_degraded {
                found = found.or_else(|| exceeded.map(|comparison| (index, comparison)));
            }
        }
        let affected = self.failures.affected();
        let exposed = self.promise.exposure.exceeded(&since_start, affected);
        self.exposed = exposed.map(|one| one.breach(EXPOSURE.into(), 0.0, None));
        match found {
            Some((gate, comparison)) => self.breach(gate, comparison, 0.0),
            None => self.exposed.clone(),
        }
    }

    /// The first gate that has enough evidence to be sure and does not roll back: the
    /// canary is worse by less than any limit, or above a limit as stable may be too.
    pub(crate) fn confirmed(&self) -> Option<GateStatus> {
        let enough = 1.0 / self.promise.false_rollback;
        let is_confirmed = |gate: &&Gate| {
            let above = [CeilingKind::Absolute, CeilingKind::Recorded].map(|kind| gate.above(kind));
            let evidence = above.into_iter().fold(self.evidence_of(gate), f64::max);
            gate.breach.is_none() && evidence >= enough
        };
        let gate = self.gates.iter().find(is_confirmed);
        gate.filter(|_| !self.awaits_stable && !self.is_shared())
            .map(|gate| self.report(gate))
    }

    /// The sum of the evidence whose limits are exceeded, against the promise.
    pub(super) fn check(&mut self, tally: &Tally) -> Option<Breach> {
        self.awaits_stable = false;
        for gate in &mut self.gates {
            if !matches!(
                gate.check,
                Check::ConsecutiveFailures(_) | Check::Outside(_)
            ) {
                gate.breach = None;
            }
        }
        let enough = 1.0 / self.promise.false_rollback;
        let alone = self.alone.exceeded(tally);
        let of_alone = alone.as_ref().map_or(0.0, |(evidence, _)| *evidence);
        // A sum of all that is not enough needs no look at the limits.
        if self.evidence() + of_alone < enough {
            return None;
        }
        let mut parts = self.parts(tally);
        if let Some((evidence, comparison)) = alone {
            parts.extend(self.error_gate().map(|gate| Part {
                gate,
                evidence,
                comparison,
                is_failure: true,
            }));
        }
        let sum: f64 = parts.iter().map(|part| part.evidence).sum();
        if sum < enough {
            return None;
        }
        let others: f64 = parts
            .iter()
            .filter(|part| !part.is_failure)
            .map(|part| part.evidence)
            .sum();
        if others < enough && !self.is_stable_heard(tally) {
            self.awaits_stable = true;
            return None;
        }
        let most = parts
            .into_iter()
            .max_by(|one, other| one.evidence.total_cmp(&other.evidence))?;
        self.breach(most.gate, most.comparison, sum / enough)
    }

    /// The weighted sum of all evidence.
    pub(super) fn evidence(&self) -> f64 {
        let parts = self.evidence_parts();
        let signals = self.gates.iter().filter_map(|gate| gate.check.signal());
        let signals = signals.map(Signal::evidence);
        self.shares.errors * parts.errors
            + self.shares.hard * parts.hard
            + parts.classes
            + parts.latency
            + signals.sum::<f64>()
    }

    /// The evidence by what it comes from, signals left out.
    pub(crate) fn evidence_parts(&self) -> EvidenceParts {
        let (errors, hard) = self.failures.evidence();
        let latencies = self.gates.iter().filter_map(|gate| gate.check.latency());
        let latencies = latencies.map(Latency::evidence);
        EvidenceParts {
            errors,
            classes: self.classes.evidence(),
            hard,
            latency: latencies.sum(),
        }
    }

    fn is_stable_heard(&self, tally: &Tally) -> bool {
        // Without suspicion of single failures, whole blocks speak, with both in them.
        if self.manner == Manner::Reference || self.failures.suspected_since.is_none() {
            return true;
        }
        let succeeded = self.failures.stable_since_suspicion(tally);
        let failed = self.failures.canary_failures(tally);
        blame::is_stable_heard(succeeded, failed, self.weight)
    }

    fn parts(&self, tally: &Tally) -> Vec<Part> {
        let mut parts = Vec::new();
        let (errors, hard) = self.failures.evidence();
        if let Some((gate, comparison)) = self.exceeded_rate(tally) {
            parts.push(Part {
                gate,
                evidence: self.shares.errors * errors + self.shares.hard * hard,
                comparison,
                is_failure: true,
            });
        }
        let (classes, worst) = self.classes.evidence_above(self.class_rate(), tally);
        if let (Some(gate), Some(comparison)) = (self.class_gate(), worst) {
            parts.push(Part {
                gate,
                evidence: classes,
                comparison,
                is_failure: true,
            });
        }
        for (index, gate) in self.gates.iter().enumerate() {
            let latency = gate.check.latency();
            let latency = latency.map(|one| (one.evidence(), one.exceeded(tally)));
            let signal = gate.check.signal();
            let signal = signal.map(|one| (one.evidence(), one.exceeded()));
            let Some((evidence, comparison)) = latency.or(signal) else {
                continue;
            };
            parts.extend(comparison.map(|comparison| Part {
                gate: index,
                evidence,
                comparison,
                is_failure: false,
            }));
        }
        parts
    }

    /// The first limit of an error-rate gate, or burn rate, that is exceeded.
    fn exceeded_rate(&self, tally: &Tally) -> Option<(usize, Comparison)> {
        let exceeded = |check: &Check| match check {
            Check::ErrorRate { limits, .. } => {
                let mut compared = limits
                    .iter()
                    .map(|limit| self.failures.compare(limit, tally));
                compared.find(is_exceeded)
            }
            Check::BurnRate(burn) => match burn.judge() {
                (true, comparison) => Some(comparison),
                (false, _) => None,
            },
            Check::ConsecutiveFailures(_)
            | Check::ErrorTrend(_)
            | Check::Latency(_)
            | Check::LatencySpike(..)
            | Check::NewErrors
            | Check::Outside(_)
            | Check::Signal(_) => None,
        };
        let mut gates = self.gates.iter().enumerate();
        gates.find_map(|(index, gate)| Some((index, exceeded(&gate.check)?)))
    }

    /// The share of the canary's requests that a kind of errors has to show in.
    fn class_rate(&self) -> f64 {
        self.alone.difference().unwrap_or(CLASS_RATE_MIN)
    }

    fn error_gate(&self) -> Option<usize> {
        self.position(|check| matches!(check, Check::ErrorRate { .. } | Check::BurnRate(_)))
    }

    /// The gate that new kinds of errors are said by.
    pub(super) fn class_gate(&self) -> Option<usize> {
        self.position(|check| matches!(check, Check::NewErrors))
            .or_else(|| self.error_gate())
    }

    fn position(&self, is: impl Fn(&Check) -> bool) -> Option<usize> {
        self.gates.iter().position(|gate| is(&gate.check))
    }

    fn breach(&mut self, index: usize, comparison: Comparison, evidence: f64) -> Option<Breach> {
        let gate = self.gates.get_mut(index)?;
        let breach = comparison.breach(gate.name.clone(), evidence, gate.example);
        gate.breach = Some(breach.clone());
        Some(breach)
    }
}
