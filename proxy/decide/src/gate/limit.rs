//! Limits that act on what was counted: failures in a row, and harm in all.

use super::bet::float;
use super::numbers::{calibrated_run, interval};
use super::spec::{Exposure, RunLimit};
use super::verdict::{Comparison, Estimate, Measure};
use crate::outcome::{Evidence, Outcome};
use crate::role::Role;
use crate::tally::{Counts, Tally};

/// How often the canary has failed since it last succeeded.
///
/// Successes are not reported one by one. One that lies between two failures is
/// seen all the same: the tally that comes with the second failure counts more
/// successes than the one that came with the first. So is one after a run that is
/// over, with the tally of whatever comes next.
#[derive(Clone, Debug)]
pub(super) struct ConsecutiveFailures {
    limit: RunLimit,
    run: u32,
    successes: u64,
    /// What was counted when the run began.
    run_start: Tally,
}

/// How sure it is that stable fails no more often than is taken.
const RATE_ERROR: f64 = 0.001;

impl ConsecutiveFailures {
    pub(super) fn new(limit: RunLimit, tally: &Tally) -> Self {
        Self {
            limit,
            run: 0,
            successes: tally.of(Role::Canary).successes,
            run_start: *tally,
        }
    }

    /// Begins without failures in a row.
    pub(super) fn restart(&mut self, tally: &Tally) {
        *self = Self::new(self.limit, tally);
    }

    /// An outcome, which `tally` already counts.
    pub(super) fn observe(&mut self, outcome: &Outcome, tally: &Tally) {
        self.see_successes(tally);
        if let (Role::Canary, Evidence::Failure(_)) = (outcome.role, outcome.evidence) {
            if self.run == 0 {
                self.run_start = *tally;
            }
            self.run = self.run.saturating_add(1);
        }
    }

    /// Only a run that did not lead to a rollback can be ended here.
    pub(super) fn see_successes(&mut self, tally: &Tally) {
        let successes = tally.of(Role::Canary).successes;
        if successes > self.successes {
            self.run = 0;
        }
        self.successes = successes;
    }

    /// Whether the run is too long. `stable` is what stable has done since the rollout
    /// began.
    pub(super) fn is_exceeded(&self, stable: &Counts) -> bool {
        u64::from(self.run) >= u64::from(self.limit(stable))
    }

    /// Whether stable has mostly failed too since the run began.
    pub(super) fn is_shared(&self, tally: &Tally) -> bool {
        let stable = *tally.since(&self.run_start).of(Role::Stable);
        stable.failures > 0 && stable.failures >= stable.successes
    }

    fn limit(&self, stable: &Counts) -> u32 {
        match self.limit {
            // A limit of zero would be breached by no failure at all.
            RunLimit::Count(limit) => limit.max(1),
            RunLimit::Calibrated => {
                let (_, rate) = interval(stable.failures, stable.requests(), RATE_ERROR);
                calibrated_run(rate)
            }
        }
    }

    pub(super) fn compare(&self, stable: &Counts) -> Comparison {
        let run = u64::from(self.run);
        Comparison {
            value: f64::from(self.run),
            limit: f64::from(self.limit(stable)),
            canary: Estimate::count(run, run),
            stable: Estimate::default(),
            measure: Measure::ConsecutiveFailures,
        }
    }
}

impl Exposure {
    /// The budget that is used up, if one is. `since_start` is what was counted in this
    /// rollout, `affected` how many users of the canary had a failure.
    pub(super) fn exceeded(&self, since_start: &Tally, affected: u64) -> Option<Comparison> {
        let (canary, stable) = (since_start.of(Role::Canary), since_start.of(Role::Stable));
        let explained = float(canary.requests()) * stable.failure_rate();
        let budgets = [
            (self.failed_requests, canary.failures, false),
            (self.affected_users, affected, true),
        ];
        budgets.into_iter().find_map(|(budget, count, users)| {
            let limit = float(budget?);
            let value = (float(count) - explained).max(0.0);
            (value > limit).then(|| Comparison {
                value,
                limit,
                canary: Estimate::count(count, canary.requests()),
                stable: Estimate::share(stable.failures, stable.requests()),
                measure: Measure::Exposure { users },
            })
        })
    }
}
