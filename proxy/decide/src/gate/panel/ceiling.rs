//! Limits that are not compared with what stable does at the same time: absolute ones, and,
//! once the canary has all traffic, times that are relative to what stable took before.
//!
//! To be above one rolls nothing back, since stable may be, or might have been, above it too.
//! It holds, and is said.

use super::super::bet::CeilingBet;
use super::super::spec::{GateRule, LatencyBound, RateBound};
use crate::gate::tape::kept;
use crate::role::Role;
use crate::tally::{LATENCY_LIMITS_MAX, Tally};
use crate::weight::Weight;

/// More evidence is not kept, so that it is over soon when it is over.
const EVIDENCE_MAX: f64 = 1e5;

/// One such limit.
#[derive(Clone, Debug)]
pub(super) struct Ceiling {
    /// What of the canary is counted.
    counted: Counted,
    kind: CeilingKind,
    bet: CeilingBet,
    block_start: Tally,
    is_in_force: bool,
}

/// What a limit is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CeilingKind {
    /// Of a number in the configuration: always in force.
    Absolute,
    /// Of what stable took before: in force while there is no stable to compare with.
    Recorded,
}

#[derive(Clone, Copy, Debug)]
enum Counted {
    /// Failures among requests.
    Failures,
    /// Successes that took longer than the limit of this slot.
    Slower(usize),
}

impl Ceiling {
    /// Those of a gate whose limits in time have the slots from there on.
    pub(super) fn all_of(rule: &GateRule, first_slot: usize) -> Vec<Self> {
        let ceiling = |kind, counted, rate| Self {
            counted,
            kind,
            bet: CeilingBet::new(rate),
            block_start: Tally::default(),
            is_in_force: kind == CeilingKind::Absolute,
        };
        match rule {
            GateRule::ErrorRate { rollback, .. } => {
                let absolute = rollback.iter().filter_map(|limit| match limit.bound {
                    RateBound::Absolute(rate) => {
                        let kind = CeilingKind::Absolute;
                        Some(ceiling(kind, Counted::Failures, rate))
                    }
                    RateBound::AboveStable(_) | RateBound::TimesStable(_) => None,
                });
                absolute.collect()
            }
            GateRule::Latency { rollback, .. } => {
                let slots = rollback.iter().zip(first_slot..LATENCY_LIMITS_MAX);
                let in_time = slots.map(|(limit, slot)| {
                    let kind = match limit.bound {
                        LatencyBound::Absolute(_) => CeilingKind::Absolute,
                        LatencyBound::TimesStable(_) => CeilingKind::Recorded,
                    };
                    let tail = 1.0 - limit.quantile.as_ratio();
                    ceiling(kind, Counted::Slower(slot), tail)
                });
                in_time.collect()
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

    /// The weight is now this one.
    pub(super) fn set_weight(&mut self, weight: Weight, tally: &Tally) {
        if self.kind == CeilingKind::Recorded {
            self.is_in_force = weight == Weight::FULL;
            self.bet.forget();
            self.block_start = *tally;
        }
    }

    /// A second is over.
    pub(super) fn close(&mut self, tally: &Tally) {
        let counted = tally.since(&self.block_start);
        self.block_start = *tally;
        if !self.is_in_force {
            return;
        }
        let canary = counted.of(Role::Canary);
        let (count, of) = match self.counted {
            Counted::Failures => (canary.failures, canary.requests()),
            Counted::Slower(slot) => (canary.slower[slot], canary.timed),
        };
        self.bet.close(count, of, EVIDENCE_MAX);
    }

    /// The evidence that the canary is above, if it is a limit of this kind.
    pub(super) fn evidence(&self, kind: CeilingKind) -> f64 {
        if self.kind == kind {
            self.bet.evidence()
        } else {
            0.0
        }
    }
}

kept!(Ceiling {
    bet,
    block_start,
    is_in_force,
} without { counted, kind });
