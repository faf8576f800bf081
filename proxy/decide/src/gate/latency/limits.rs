//! What the caller and the latency gates tell each other.

use std::time::Duration;

use crate::gate::spec::LatencyMetric;
use crate::role::Role;
use crate::tally::{LADDERS_MAX, LATENCY_LIMITS_MAX, RUNGS_MAX};
use crate::time::Timestamp;

/// What successes are compared with while they are counted, and what the caller is to
/// look for besides.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LatencyLimits {
    /// One ladder for each latency gate.
    pub(crate) ladders: [Option<LadderLimits>; LADDERS_MAX],
    /// The canary's limits in time, by slot.
    pub(crate) slots: [Option<(LatencyMetric, Duration)>; LATENCY_LIMITS_MAX],
    /// See [`LatencyLimits::stalled_after`].
    pub(crate) stalled_after: Option<Duration>,
    /// See [`LatencyLimits::suspected_since`].
    pub(crate) suspected_since: Option<Timestamp>,
}

impl LatencyLimits {
    /// The ladders; a success is counted in [`Counts::rungs`](crate::tally::Counts::rungs)
    /// of each that it exceeds a rung of.
    #[must_use]
    pub const fn ladders(&self) -> &[Option<LadderLimits>; LADDERS_MAX] {
        &self.ladders
    }

    /// What is timed and how long it may take, by slot: a success that takes longer is
    /// counted in [`Counts::slower`](crate::tally::Counts::slower).
    #[must_use]
    pub const fn slots(&self) -> &[Option<(LatencyMetric, Duration)>; LATENCY_LIMITS_MAX] {
        &self.slots
    }

    /// A request without an answer for so long is to be observed as a failure for
    /// [`Stalled`](crate::outcome::FailureReason::Stalled), while it goes on.
    #[must_use]
    pub const fn stalled_after(&self) -> Option<Duration> {
        self.stalled_after
    }

    /// Successes of requests that began at this time or later are to be counted in
    /// [`Counts::after_suspicion`](crate::tally::Counts::after_suspicion).
    #[must_use]
    pub const fn suspected_since(&self) -> Option<Timestamp> {
        self.suspected_since
    }
}

/// The rungs of one ladder, in microseconds by role. They ascend; those that do not
/// exist are at `u64::MAX`, which nothing exceeds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LadderLimits {
    /// What is timed.
    pub metric: LatencyMetric,
    /// Stable's and the canary's, by the index of their role.
    pub rungs: [[u64; RUNGS_MAX]; 2],
}

impl LadderLimits {
    /// The highest rung that a success of this role exceeds, counted from zero.
    #[must_use]
    pub fn highest_exceeded(&self, role: Role, micros: u64) -> Option<usize> {
        let rungs = &self.rungs[role.index()];
        let exceeded = rungs.iter().take_while(|rung| micros > **rung);
        exceeded.count().checked_sub(1)
    }
}
