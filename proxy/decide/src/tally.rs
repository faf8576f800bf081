//! Mergeable counts of outcomes: the unit that shards and fleet members exchange.

use std::array;

use crate::role::Role;

/// How many limits in time all latency gates of one route may have together.
pub const LATENCY_LIMITS_MAX: usize = 16;

/// How many latency gates one route may have: each has a ladder of its own.
pub const LADDERS_MAX: usize = 4;

/// How many rungs a ladder may have.
pub const RUNGS_MAX: usize = 12;

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
    /// The same of requests whose role a targeting rule decided. They are harm where they
    /// fail, and no evidence about the difference of the versions.
    pub ruled_failures: u64,
    /// See [`Counts::ruled_failures`].
    pub ruled_successes: u64,
    /// Successes of requests that began when the canary was under suspicion already
    /// (see `LatencyLimits::suspected_since`).
    pub after_suspicion: u64,
    /// Successes that began under the weight in force when they ended: those that
    /// latency is compared of.
    pub timed: u64,
    /// Timed successes by ladder and by the highest rung that they were slower than.
    pub rungs: [[u64; RUNGS_MAX]; LADDERS_MAX],
    /// Timed successes of this role slower than the canary's limit of that slot was
    /// when they ended (see `Release::latency_limits`).
    pub slower: [u64; LATENCY_LIMITS_MAX],
}

impl Counts {
    /// Exchanges that say anything about the version.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.failures.saturating_add(self.successes)
    }

    /// The same counts as if the role of every request had been drawn.
    #[must_use]
    pub const fn with_ruled(&self) -> Self {
        Self {
            failures: self.failures.saturating_add(self.ruled_failures),
            successes: self.successes.saturating_add(self.ruled_successes),
            ruled_failures: 0,
            ruled_successes: 0,
            ..*self
        }
    }

    /// The share of failures; zero without requests.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate needs no more than 52 bits"
    )]
    pub fn failure_rate(&self) -> f64 {
        if self.requests() == 0 {
            0.0
        } else {
            self.failures as f64 / self.requests() as f64
        }
    }

    fn zip_with(&self, other: &Self, combine: fn(u64, u64) -> u64) -> Self {
        let rung = |ladder: usize, rung: usize| {
            combine(self.rungs[ladder][rung], other.rungs[ladder][rung])
        };
        Self {
            failures: combine(self.failures, other.failures),
            successes: combine(self.successes, other.successes),
            ruled_failures: combine(self.ruled_failures, other.ruled_failures),
            ruled_successes: combine(self.ruled_successes, other.ruled_successes),
            after_suspicion: combine(self.after_suspicion, other.after_suspicion),
            timed: combine(self.timed, other.timed),
            rungs: array::from_fn(|ladder| array::from_fn(|index| rung(ladder, index))),
            slower: array::from_fn(|slot| combine(self.slower[slot], other.slower[slot])),
        }
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

    /// Adds what `other` counted. Commutative and associative; saturates.
    pub fn merge(&mut self, other: &Self) {
        *self = self.zip_with(other, u64::saturating_add);
    }

    /// What was counted since `earlier`, a former state of this tally.
    ///
    /// Zero wherever `earlier` has more: a count that went back says nothing.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip_with(earlier, u64::saturating_sub)
    }

    fn zip_with(&self, other: &Self, combine: fn(u64, u64) -> u64) -> Self {
        let mut combined = Self::default();
        for role in Role::ALL {
            *combined.of_mut(role) = self.of(role).zip_with(other.of(role), combine);
        }
        combined
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts() -> impl Strategy<Value = Counts> {
        // Large values too, so that saturation is among the cases.
        let count = || prop_oneof![0..1000_u64, any::<u64>()];
        let cells = 6 + LADDERS_MAX * RUNGS_MAX + LATENCY_LIMITS_MAX;
        prop::collection::vec(count(), cells).prop_map(|cells| {
            let mut cells = cells.into_iter();
            let mut cell = || cells.next().unwrap();
            Counts {
                failures: cell(),
                successes: cell(),
                ruled_failures: cell(),
                ruled_successes: cell(),
                after_suspicion: cell(),
                timed: cell(),
                rungs: array::from_fn(|_| array::from_fn(|_| cell())),
                slower: array::from_fn(|_| cell()),
            }
        })
    }

    fn tally() -> impl Strategy<Value = Tally> {
        (counts(), counts()).prop_map(|(stable, canary)| Tally {
            by_role: [stable, canary],
        })
    }

    fn merged(mut one: Tally, other: &Tally) -> Tally {
        one.merge(other);
        one
    }

    proptest! {
        #[test]
        fn merging_in_any_order_gives_the_same(a in tally(), b in tally(), c in tally()) {
            prop_assert_eq!(merged(a, &b), merged(b, &a));
            prop_assert_eq!(merged(merged(a, &b), &c), merged(a, &merged(b, &c)));
            prop_assert_eq!(merged(a, &Tally::default()), a);
        }

        #[test]
        fn what_was_merged_is_what_was_counted_since(a in tally(), b in tally()) {
            let sum = merged(a, &b);
            for role in Role::ALL {
                let (before, added) = (a.of(role), b.of(role));
                let since = sum.since(&a);
                let check = |since: u64, before: u64, added: u64| {
                    since == added.min(u64::MAX - before)
                };
                prop_assert!(check(since.of(role).failures, before.failures, added.failures));
                prop_assert!(check(since.of(role).successes, before.successes, added.successes));
                for slot in 0..LATENCY_LIMITS_MAX {
                    prop_assert!(check(
                        since.of(role).slower[slot],
                        before.slower[slot],
                        added.slower[slot],
                    ));
                }
            }
        }

        #[test]
        fn counts_that_went_back_are_none(a in tally(), b in tally()) {
            prop_assert_eq!(a.since(&merged(a, &b)), Tally::default());
        }
    }

    #[test]
    fn the_failure_rate_is_failures_among_all_requests() {
        let counts = Counts {
            failures: 1,
            successes: 3,
            ..Counts::default()
        };
        assert_eq!(counts.requests(), 4);
        assert!((counts.failure_rate() - 0.25).abs() < f64::EPSILON);
        assert!(Counts::default().failure_rate().abs() < f64::EPSILON);
    }
}
