//! What one set of gates judges: as long as both versions and the gates stay the same.
//!
//! A reload replaces routes while requests are on their way by the old ones, and some
//! worker may be just about to split a request by them. Both look here: a trial that is
//! over gets no evidence any more, and its canary gets no request of a generation that
//! began afterwards. Routes that follow each other with the same versions and gates
//! share one trial.

use std::sync::OnceLock;

use haldane_decide::gate::spec::GateSpec;
use haldane_decide::generation::Generation;
use haldane_decide::tally::Tally;

use super::limits::LatencyBoard;
use super::signals::SignalBoard;
use super::weight::Tenure;

/// Versions and gates that belong together.
pub(crate) struct Trial {
    tenure: Tenure,
    /// The limits that the gates have set.
    pub(super) limits: LatencyBoard,
    /// What versions report about themselves.
    pub(super) signals: SignalBoard,
    /// What an earlier process counted, if its evidence goes on.
    pub(super) base: OnceLock<Box<Tally>>,
}

impl Trial {
    /// A trial by these gates, which begins now.
    pub(super) fn new(gates: &[GateSpec], workers: usize) -> Self {
        Self {
            tenure: Tenure::default(),
            limits: LatencyBoard::new(gates),
            signals: SignalBoard::new(gates, workers),
            base: OnceLock::new(),
        }
    }

    /// Ends the trial in this generation, which goes on without it or ends too. Must
    /// come before the word of a later generation is stored.
    pub(super) fn end(&self, generation: Generation) {
        self.tenure.end(generation.0);
    }

    /// Whether outcomes are no evidence any more.
    pub(super) fn is_over(&self) -> bool {
        self.tenure.is_over()
    }

    /// Whether the canary of this trial may get requests of a generation.
    pub(super) fn includes(&self, generation: u32) -> bool {
        self.tenure.includes(generation)
    }
}
