//! Absolute limits: is the canary above one, whatever stable does?
//!
//! That alone rolls nothing back, since stable may be above it too. It holds, and is said.

use super::super::bet::CeilingBet;
use super::super::spec::{GateRule, LatencyBound, RateBound};
use crate::gate::tape::kept;
use crate::role::Role;
use crate::tally::{LATENCY_LIMITS_MAX, Tally};

/// More evidence is not kept, so that it is over soon when it is over.
const EVIDENCE_MAX: f64 = 1e5;

/// One absolute limit.
#[derive(Clone, Debug)]
pub(super) struct Ceiling {
    /// What of the canary is counted.
    counted: Counted,
    bet: CeilingBet,
    block_start: Tally,
}

#[derive(Clone, Copy, Debug)]
enum Counted {
    /// Failures among requests.
    Failures,
    /// Successes that took longer than the limit of this slot.
    Slower(usize),
}

impl Ceiling {
    /// The absolute limits of a gate whose limits in time have the slots from there on.
    pub(super) fn all_of(rule: &GateRule, first_slot: usize) -> Vec<Self> {
        let ceiling = |counted, rate| Self {
            counted,
            bet: CeilingBet::new(rate),
            block_start: Tally::default(),
        };
        match rule {
            GateRule::ErrorRate { rollback, .. } => {
                let absolute = rollback.iter().filter_map(|limit| match limit.bound {
                    RateBound::Absolute(rate) => Some(ceiling(Counted::Failures, rate)),
                    RateBound::AboveStable(_) | RateBound::TimesStable(_) => None,
                });
                absolute.collect()
            }
            GateRule::Latency { rollback, .. } => {
                let slots = rollback.iter().zip(first_slot..LATENCY_LIMITS_MAX);
                let absolute = slots.filter_map(|(limit, slot)| match limit.bound {
                    LatencyBound::Absolute(_) => {
                        let tail = 1.0 - limit.quantile.as_ratio();
                        Some(ceiling(Counted::Slower(slot), tail))
                    }
                    LatencyBound::TimesStable(_) => None,
                });
                absolute.collect()
            }
            GateRule::BurnRate { .. }
            | GateRule::ConsecutiveFailures { .. }
            | GateRule::ErrorTrend
            | GateRule::LatencySpike { .. }
            | GateRule::NewErrors
            | GateRule::Outside { .. }
            | GateRule::Signal { .. } => Vec::new(),
        }
    }

    /// What `tally` counts already is no evidence.
    pub(super) const fn begin(&mut self, tally: &Tally) {
        self.block_start = *tally;
    }

    pub(super) fn release(&mut self, mass: f64) {
        self.bet.release(mass);
    }

    /// A second is over.
    pub(super) fn close(&mut self, tally: &Tally) {
        let counted = tally.since(&self.block_start);
        self.block_start = *tally;
        let canary = counted.of(Role::Canary);
        let (count, of) = match self.counted {
            Counted::Failures => (canary.failures, canary.requests()),
            Counted::Slower(slot) => (canary.slower[slot], canary.timed),
        };
        self.bet.close(count, of, EVIDENCE_MAX);
    }

    /// The evidence that the canary is above.
    pub(super) fn evidence(&self) -> f64 {
        self.bet.evidence()
    }
}

kept!(Ceiling { bet, block_start } without { counted });
