//! What the answers must add up to: sticky users, the right share, and equal counts.

use crate::{
    case::{USERS, Version},
    failure::Failure,
};

/// How a proxy is expected to distribute users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// 95 % of the users to stable and 5 % to the canary, each user always to the same.
    Split,
    /// Everybody to stable: a relay, or no proxy at all.
    StableOnly,
}

/// What is known about the answers of one proxy, from its start to its end.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    expectation: Expectation,
    versions: Vec<Option<Version>>,
    answers: [u64; 2],
}

impl Ledger {
    /// Nothing seen yet.
    pub(crate) fn new(expectation: Expectation) -> Self {
        Self {
            expectation,
            versions: vec![None; USERS],
            answers: [0; 2],
        }
    }

    /// How many answers of each version there were, in the order of [`Version::index`].
    pub(crate) fn answers(&self) -> [u64; 2] {
        self.answers
    }

    /// Takes note of one answer.
    ///
    /// # Errors
    /// When a user changes version, or gets one that nobody should get.
    pub(crate) fn record(&mut self, user: usize, version: Version) -> Result<(), Failure> {
        self.answers[version.index()] += 1;
        match self.versions[user] {
            Some(before) if before == version => Ok(()),
            Some(before) => Err(Failure::violation(format!(
                "user {user} changed from {before:?} to {version:?}"
            ))),
            None if self.expectation == Expectation::StableOnly && version == Version::Canary => {
                Err(Failure::violation(format!(
                    "user {user} reached the canary past the split"
                )))
            }
            None => {
                self.versions[user] = Some(version);
                Ok(())
            }
        }
    }

    /// Compares what came back since `answers_before` with what the upstreams served meanwhile.
    ///
    /// # Errors
    /// When the counts of a version differ.
    pub(crate) fn settle(&self, answers_before: [u64; 2], served: [u64; 2]) -> Result<(), Failure> {
        for version in Version::ALL {
            let at = version.index();
            let answers = self.answers[at] - answers_before[at];
            if answers != served[at] {
                return Err(Failure::violation(format!(
                    "{answers} answers of {version:?}, but that upstream served {}",
                    served[at]
                )));
            }
        }
        Ok(())
    }

    /// Checks the canary's share of the users.
    ///
    /// # Errors
    /// When some users were never served, or the share is far from the configured one.
    pub(crate) fn check_share(&self) -> Result<(), Failure> {
        let unseen = self
            .versions
            .iter()
            .filter(|version| version.is_none())
            .count();
        if unseen > 0 {
            return Err(Failure::violation(format!(
                "{unseen} of {USERS} users were never served: run longer"
            )));
        }
        let canary = self
            .versions
            .iter()
            .filter(|v| **v == Some(Version::Canary))
            .count();
        match self.expectation {
            Expectation::Split if !SPLIT_USERS.contains(&canary) => Err(Failure::violation(
                format!("{canary} of {USERS} users are on the canary, 5 % were asked for"),
            )),
            Expectation::Split | Expectation::StableOnly => Ok(()),
        }
    }

    /// How many users are on the canary.
    pub(crate) fn canary_users(&self) -> usize {
        self.versions
            .iter()
            .filter(|version| **version == Some(Version::Canary))
            .count()
    }
}

/// Canary users that a right split may have: 1.5 % to 10 % of 512, which a binomial share of 5 %
/// leaves less often than once in 10 000 salts, with room for the coarse ring of a consistent hash.
const SPLIT_USERS: std::ops::RangeInclusive<usize> = 8..=51;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(canary_users: usize) -> Ledger {
        let mut ledger = Ledger::new(Expectation::Split);
        for user in 0..USERS {
            let version = if user < canary_users {
                Version::Canary
            } else {
                Version::Stable
            };
            ledger.record(user, version).unwrap();
        }
        ledger
    }

    #[test]
    fn a_user_who_changes_version_is_a_violation() {
        let mut ledger = split(26);
        assert!(ledger.record(0, Version::Canary).is_ok());
        assert!(ledger.record(0, Version::Stable).is_err());
        assert!(ledger.record(511, Version::Canary).is_err());
    }

    #[test]
    fn the_share_must_be_near_five_per_cent() {
        for (canary_users, good) in [
            (0, false),
            (7, false),
            (8, true),
            (26, true),
            (51, true),
            (52, false),
            (512, false),
        ] {
            assert_eq!(
                split(canary_users).check_share().is_ok(),
                good,
                "{canary_users}"
            );
        }
    }

    #[test]
    fn users_never_served_are_a_violation() {
        let mut ledger = Ledger::new(Expectation::StableOnly);
        for user in 1..USERS {
            ledger.record(user, Version::Stable).unwrap();
        }
        assert!(ledger.check_share().is_err());
        ledger.record(0, Version::Stable).unwrap();
        assert!(ledger.check_share().is_ok());
    }

    #[test]
    fn a_relay_never_reaches_the_canary() {
        assert!(
            Ledger::new(Expectation::StableOnly)
                .record(3, Version::Canary)
                .is_err()
        );
    }

    #[test]
    fn counts_must_agree_for_each_version() {
        let ledger = split(26);
        assert!(ledger.settle([0, 0], [486, 26]).is_ok());
        assert!(ledger.settle([486, 20], [0, 6]).is_ok());
        assert!(ledger.settle([0, 0], [487, 26]).is_err());
        assert!(ledger.settle([0, 0], [487, 25]).is_err());
    }
}
