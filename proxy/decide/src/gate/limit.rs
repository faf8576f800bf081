//! Plain limits: consecutive failures.

use super::verdict::{Comparison, Estimate, Measure};
use super::{Finding, Judgement};
use crate::outcome::{Evidence, Outcome};
use crate::role::Role;
use crate::tally::Tally;

/// How often the canary has failed since it last succeeded.
///
/// Successes are not reported one by one. One that lies between two failures is
/// seen all the same: the tally that comes with the second failure counts more
/// successes than the one that came with the first. So is one after a run that is
/// over, with the tally of whatever comes next.
#[derive(Clone, Debug)]
pub(super) struct ConsecutiveFailures {
    limit: u32,
    run: u32,
    successes: u64,
}

impl ConsecutiveFailures {
    pub(super) fn new(limit: u32, tally: &Tally) -> Self {
        Self {
            limit,
            run: 0,
            successes: tally.of(Role::Canary).successes,
        }
    }

    pub(super) fn observe(&mut self, outcome: &Outcome, tally: &Tally) -> Judgement {
        self.see_successes(tally);
        if let (Role::Canary, Evidence::Failure(_)) = (outcome.role, outcome.evidence) {
            self.run = self.run.saturating_add(1);
        }
        self.judge()
    }

    /// Only a run that did not lead to a rollback can be ended here.
    pub(super) fn absorb(&mut self, tally: &Tally) -> Judgement {
        self.see_successes(tally);
        self.judge()
    }

    fn see_successes(&mut self, tally: &Tally) {
        let successes = tally.of(Role::Canary).successes;
        if successes > self.successes {
            self.run = 0;
        }
        self.successes = successes;
    }

    pub(super) fn judge(&self) -> Judgement {
        // A limit of zero would be breached by no failure at all.
        let limit = self.limit.max(1);
        let run = f64::from(self.run);
        let count = u64::from(self.run);
        Judgement {
            finding: if self.run >= limit {
                Finding::Fail
            } else {
                Finding::Pass
            },
            comparison: Comparison {
                value: run,
                limit: f64::from(limit),
                canary: Estimate {
                    value: run,
                    count,
                    samples: count,
                },
                stable: Estimate::default(),
                measure: Measure::ConsecutiveFailures,
            },
        }
    }
}
