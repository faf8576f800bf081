//! The canary alone: at 100 % there is no stable to compare with.
//!
//! Then it is compared with how often stable used to fail at most, as recorded before. That
//! is quick, and blames the canary for what would have hit stable too; so it is done only
//! where nothing better can be, and with the capital that is put in from then on.

use super::super::bet::{CeilingBet, float};
use super::super::verdict::{Comparison, Estimate, Measure};
use crate::gate::spec::RateBound;
use crate::gate::tape::kept;
use crate::role::Role;
use crate::tally::Tally;
use crate::weight::Weight;

/// More evidence is not told apart.
const EVIDENCE_MAX: f64 = 1e100;

/// What a canary without stable is judged by.
#[derive(Clone, Debug)]
pub(super) struct Alone {
    /// How much more often than stable used to it may fail; `None` if no gate asks.
    difference: Option<f64>,
    bet: CeilingBet,
    usual: Option<f64>,
    is_alone: bool,
    block_start: Tally,
    start: Tally,
}

impl Alone {
    pub(super) fn new(difference: Option<f64>) -> Self {
        Self {
            difference,
            bet: CeilingBet::new(1.0),
            usual: None,
            is_alone: false,
            block_start: Tally::default(),
            start: Tally::default(),
        }
    }

    /// The smallest difference of failure rates that a gate asks for, if any does.
    pub(super) const fn difference(&self) -> Option<f64> {
        self.difference
    }

    pub(super) fn set_weight(&mut self, weight: Weight, tally: &Tally) {
        self.is_alone = weight == Weight::FULL;
        self.block_start = *tally;
        self.start = *tally;
    }

    pub(super) fn release(&mut self, mass: f64) {
        self.bet.release(mass);
    }

    /// A second is over. `usual` is how often stable used to fail at most.
    pub(super) fn close(&mut self, tally: &Tally, usual: impl FnOnce() -> Option<f64>) {
        let counted = tally.since(&self.block_start);
        self.block_start = *tally;
        if !self.is_alone {
            return;
        }
        self.usual = self.usual.or_else(usual);
        if let (Some(usual), Some(difference)) = (self.usual, self.difference) {
            self.bet.set_rate_max(usual + difference);
            let canary = counted.of(Role::Canary);
            self.bet
                .close(canary.failures, canary.requests(), EVIDENCE_MAX);
        }
    }

    /// What was counted since the canary has all traffic; `None` while it has not.
    pub(super) fn counted(&self, tally: &Tally) -> Option<Tally> {
        self.is_alone.then(|| tally.since(&self.start))
    }

    /// The evidence that the canary fails more often than stable used to, if it does by
    /// more than it may.
    pub(super) fn exceeded(&self, tally: &Tally) -> Option<(f64, Comparison)> {
        let (usual, difference) = self.usual.zip(self.difference)?;
        let canary = tally.since(&self.start);
        let canary = canary.of(Role::Canary);
        let limit = usual + difference;
        let value = float(canary.failures) / float(canary.requests().max(1));
        (self.is_alone && value > limit).then(|| {
            let comparison = Comparison {
                value,
                limit,
                canary: Estimate::share(canary.failures, canary.requests()),
                stable: Estimate {
                    value: usual,
                    ..Estimate::default()
                },
                measure: Measure::ErrorRate {
                    bound: RateBound::AboveStable(difference),
                    hard: false,
                },
            };
            (self.bet.evidence(), comparison)
        })
    }
}

kept!(Alone {
    bet,
    usual,
    is_alone,
    block_start,
    start,
} without { difference });
