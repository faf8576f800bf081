//! Mergeable counts of outcomes: the unit that shards and fleet members exchange.

use crate::role::Role;

/// How many latency limits all gates of one route may have together.
pub const LATENCY_LIMITS_MAX: usize = 16;

/// Counts of outcomes by role, cumulative since the process started.
///
/// `merge` is commutative and associative; cumulative counts make loss and
/// repetition on the way harmless.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    by_role: [Counts; 2],
}

/// One role's counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Exchanges that counted against the version.
    pub failures: u64,
    /// Exchanges that counted for the version.
    pub successes: u64,
    /// Successes slower than the latency limit of that slot was when they ended
    /// (see `Release::latency_limits`).
    pub slower: [u64; LATENCY_LIMITS_MAX],
}

impl Counts {
    /// Exchanges that say anything about the version.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.failures + self.successes
    }

    /// The share of failures; zero without requests.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    pub fn failure_rate(&self) -> f64 {
        if self.requests() == 0 { 0.0 } else { self.failures as f64 / self.requests() as f64 }
    }
}

impl Tally {
    /// The counts of one role.
    #[must_use]
    pub const fn of(&self, role: Role) -> &Counts {
        &self.by_role[role.index()]
    }

    /// The counts of one role, to be added to.
    pub const fn of_mut(&mut self, role: Role) -> &mut Counts {
        &mut self.by_role[role.index()]
    }
}
