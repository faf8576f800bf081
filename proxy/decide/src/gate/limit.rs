//! Limits that act on what was counted: failures in a row, and harm in all.

use super::bet::float;
use super::numbers::{calibrated_run, interval};
use super::spec::{Exposure, RunLimit};
use super::tape::kept;
use super::verdict::{Comparison, Estimate, Measure};
use crate::outcome::{Evidence, Outcome};
use crate::role::Role;
use crate::tally::{Counts, Tally};

/// How often the canary has failed since it last succeeded.
///
/// Counted apart for requests whose role was drawn and for those that a rule decided: where
/// all of a ring fails, the successes of others must not hide it.
#[derive(Clone, Debug)]
pub(super) struct ConsecutiveFailures {
    limit: RunLimit,
    drawn: Run,
    ruled: Run,
}

/// Failures in a row.
///
/// Successes are not reported one by one. One that lies between two failures is
/// seen all the same: the tally that comes with the second failure counts more
/// successes than the one that came with the first. So is one after a run that is
/// over, with the tally of whatever comes next.
#[derive(Clone, Debug)]
struct Run {
    length: u32,
    successes: u64,
    /// Failures and successes of stable when it began.
    stable: (u64, u64),
}

/// How sure it is that stable fails no more often than is taken.
const RATE_ERROR: f64 = 0.001;

impl ConsecutiveFailures {
    pub(super) fn new(limit: RunLimit, tally: &Tally) -> Self {
        let canary = tally.of(Role::Canary);
        Self {
            limit,
            drawn: Run::new(canary.successes),
            ruled: Run::new(canary.ruled_successes),
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
            self.drawn.lengthen(tally);
        }
    }

    /// A failure of the canary with a request that a rule has sent there, which `tally`
    /// already counts.
    pub(super) fn observe_ruled(&mut self, tally: &Tally) {
        self.see_successes(tally);
        self.ruled.lengthen(tally);
    }

    /// Only a run that did not lead to a rollback can be ended here.
    pub(super) fn see_successes(&mut self, tally: &Tally) {
        let canary = tally.of(Role::Canary);
        self.drawn.see(canary.successes);
        self.ruled.see(canary.ruled_successes);
    }

    /// The run that is too long, unless stable has mostly failed too since it began. `stable`
    /// is what stable has done since the rollout began.
    pub(super) fn exceeded(&self, stable: &Counts, tally: &Tally) -> Option<Comparison> {
        let limit = self.limit(stable);
        let is_exceeded = |run: &&Run| run.length >= limit && !run.is_shared(tally);
        let run = [&self.drawn, &self.ruled].into_iter().find(is_exceeded)?;
        Some(run.compare(limit))
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

    /// The longest run and the limit.
    pub(super) fn compare(&self, stable: &Counts) -> Comparison {
        let longest = if self.ruled.length > self.drawn.length {
            &self.ruled
        } else {
            &self.drawn
        };
        longest.compare(self.limit(stable))
    }
}

impl Run {
    const fn new(successes: u64) -> Self {
        Self {
            length: 0,
            successes,
            stable: (0, 0),
        }
    }

    fn lengthen(&mut self, tally: &Tally) {
        if self.length == 0 {
            let stable = tally.of(Role::Stable).with_ruled();
            self.stable = (stable.failures, stable.successes);
        }
        self.length = self.length.saturating_add(1);
    }

    const fn see(&mut self, successes: u64) {
        if successes > self.successes {
            self.length = 0;
        }
        self.successes = successes;
    }

    /// Whether stable has mostly failed too since the run began.
    fn is_shared(&self, tally: &Tally) -> bool {
        let stable = tally.of(Role::Stable).with_ruled();
        let (failures, successes) = self.stable;
        let failures = stable.failures.saturating_sub(failures);
        failures > 0 && failures >= stable.successes.saturating_sub(successes)
    }

    fn compare(&self, limit: u32) -> Comparison {
        let run = u64::from(self.length);
        Comparison {
            value: f64::from(self.length),
            limit: f64::from(limit),
            canary: Estimate::count(run, run),
            stable: Estimate::default(),
            measure: Measure::ConsecutiveFailures,
        }
    }
}

kept!(ConsecutiveFailures { drawn, ruled } without { limit });
kept!(Run {
    length,
    successes,
    stable,
});

impl Exposure {
    /// The budget that is used up, if one is. `since_start` is what was counted in this
    /// rollout, `affected` how many users of the canary had a failure.
    pub(super) fn exceeded(&self, since_start: &Tally, affected: u64) -> Option<Comparison> {
        // Harm is harm, whoever has decided that it be done to whom.
        let [stable, canary] =
            [Role::Stable, Role::Canary].map(|role| since_start.of(role).with_ruled());
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
