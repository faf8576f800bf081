//! All failures of a block, for hard limits.
//!
//! With three users, all there is to see is how often their requests fail. With many, a
//! single one who has much of the traffic and a bad minute would make the version that
//! it is sent to look worse than the other, in several blocks in a row. So if several
//! users have failed in a block, each of them counts once there. Whether they are several
//! does not depend on whose they are.

use std::collections::BTreeSet;

use super::bet::Block;
use super::panel::Manner;
use super::tape::{Kept, Tape};
use crate::outcome::Outcome;
use crate::role::Role;
use crate::split::SplitKey;
use crate::tally::Tally;

/// From so many users on each counts once.
const USERS_MIN: u64 = 5;

/// More users are not told apart in one block, and count with every failure.
const USERS_MAX: usize = 4096;

/// What was counted in a block, of requests that began under the weight in force.
#[derive(Clone, Debug, Default)]
pub(super) struct HardBlock {
    /// What had been counted when it began.
    start: Tally,
    /// Failures by role.
    failures: [u64; 2],
    /// Users with a failure by role; a request without a key is a user of its own.
    users: [u64; 2],
    seen: BTreeSet<u64>,
}

impl HardBlock {
    /// What `tally` counts already is not in it.
    pub(super) fn new(tally: &Tally) -> Self {
        Self {
            start: *tally,
            ..Self::default()
        }
    }

    /// Counts a failure.
    pub(super) fn count(&mut self, outcome: &Outcome) {
        let index = outcome.role.index();
        self.failures[index] += 1;
        let key = outcome.key.map(SplitKey::to_bits);
        let is_first = match key {
            Some(key) if self.seen.len() < USERS_MAX => self.seen.insert(key),
            Some(key) => !self.seen.contains(&key),
            None => true,
        };
        self.users[index] += u64::from(is_first);
    }

    /// The block until now.
    pub(super) fn block(&self, tally: &Tally, manner: Manner) -> Block {
        let counted = tally.since(&self.start);
        let has_many = self.users.iter().sum::<u64>() >= USERS_MIN;
        let failures = if has_many && manner == Manner::Guarded {
            &self.users
        } else {
            &self.failures
        };
        let requests = |role: Role| counted.of(role).timed + failures[role.index()];
        Block {
            canary: requests(Role::Canary),
            stable: requests(Role::Stable),
            canary_exceeding: failures[Role::Canary.index()],
            stable_exceeding: failures[Role::Stable.index()],
        }
    }
}

impl Kept for HardBlock {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self {
            start,
            failures,
            users,
            seen,
        } = self;
        start.pass(tape);
        failures.pass(tape);
        users.pass(tape);
        let mut keys: Vec<u64> = std::mem::take(seen).into_iter().collect();
        let len = tape.length(keys.len(), USERS_MAX);
        keys.resize(len, 0);
        for key in &mut keys {
            tape.bits(key);
        }
        *seen = keys.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Evidence, FailureReason};
    use crate::weight::Weight;

    fn block(users: impl Iterator<Item = u64>) -> u64 {
        let mut block = HardBlock::default();
        for user in users {
            block.count(&Outcome {
                role: Role::Canary,
                evidence: Evidence::Failure(FailureReason::Status),
                key: Some(SplitKey::from_random(user)),
                weight: Weight::FULL,
                class: None,
                request: None,
            });
        }
        block
            .block(&Tally::default(), Manner::Guarded)
            .canary_exceeding
    }

    #[test]
    fn one_user_among_many_counts_once_and_among_few_with_every_failure() {
        assert_eq!(block((0..300).map(|request| request % 3)), 300);
        assert_eq!(block((0..300).map(|request| request % 5)), 5);
        assert_eq!(block((0..300).chain(std::iter::repeat_n(7, 1000))), 300);
        assert_eq!(block(0..10_000), 10_000);
    }
}
