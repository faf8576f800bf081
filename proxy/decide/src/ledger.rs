//! Who was on the canary in one generation, and who saw an error there.
//!
//! Users are known by the salted hashes of their split keys. So that memory is bounded, a
//! set of them that is full goes on with half of them, picked by bits of the hash that the
//! split does not look at: from then on numbers are estimates, to within some tenths of a
//! percent. Those who saw an error are a set of their own, which is full much later.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::generation::Generation;

/// How many hashes a set has at most. A route has two sets, of two to three MiB each.
pub const KEYS_MAX: usize = 100_000;

/// Users are left out by this many bits of their hash at most: beyond, numbers would be
/// estimates of nothing.
const LEFT_OUT_BITS_MAX: u32 = 32;

/// Who was on the canary in one generation.
#[derive(Clone, Debug)]
pub struct Ledger {
    generation: Generation,
    users: Sample,
    saw_error: Sample,
    without_key: u64,
    /// What could not be noted.
    lost: u64,
    /// What was counted by an earlier process.
    before: Exposed,
}

/// What is noted of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Note {
    /// So many notes could not be taken.
    Lost(u64),
    /// This user was told of a failure of the canary.
    SawError(u64),
    /// This user was sent to the canary.
    Sent(u64),
    /// So many requests that no user is known of were sent to the canary.
    WithoutKey(u64),
}

/// How many were exposed in a generation.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exposed {
    /// Users who were sent to the canary at least once.
    pub users: u64,
    /// Those of them who saw an error there.
    pub saw_error: u64,
    /// Requests to the canary that no user is known of.
    pub requests_without_key: u64,
}

/// What is known of one user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exposure {
    /// They were on the canary, and saw an error there if that is known.
    Exposed {
        /// `None` if they are not among those of whom it is known.
        saw_error: Option<bool>,
    },
    /// They were not.
    Unexposed,
    /// They are not among those of whom it is known.
    Unknown,
}

/// Some of the hashes, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// The hashes, each with whether its user saw an error, if that is known.
    pub keys: Vec<(u64, Option<bool>)>,
    /// There are more behind this one.
    pub next: Option<u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Generation::FIRST)
    }
}

impl Ledger {
    /// Nobody was on the canary in this generation.
    #[must_use]
    pub const fn new(generation: Generation) -> Self {
        Self {
            generation,
            users: Sample::NONE,
            saw_error: Sample::NONE,
            without_key: 0,
            lost: 0,
            before: Exposed {
                users: 0,
                saw_error: 0,
                requests_without_key: 0,
            },
        }
    }

    /// Goes on after an earlier process, which had counted so many. Who they were is not
    /// known any more: those who come back are counted again.
    #[must_use]
    pub fn resume(generation: Generation, before: Exposed) -> Self {
        Self {
            before,
            ..Self::new(generation)
        }
    }

    /// Notes something of a request of this generation. The first of a later one begins anew;
    /// of earlier ones nothing is noted any more.
    pub fn note(&mut self, generation: Generation, note: Note) {
        if generation > self.generation {
            *self = Self::new(generation);
        } else if generation < self.generation {
            return;
        }
        match note {
            Note::Lost(count) => self.lost = self.lost.saturating_add(count),
            Note::SawError(key) => self.saw_error.insert(key),
            Note::Sent(key) => self.users.insert(key),
            Note::WithoutKey(count) => self.without_key = self.without_key.saturating_add(count),
        }
    }

    /// How many were exposed in this generation.
    #[must_use]
    pub fn exposed(&self, generation: Generation) -> Exposed {
        if generation != self.generation {
            return Exposed::default();
        }
        let before = self.before;
        Exposed {
            users: before.users.saturating_add(self.users.count()),
            saw_error: before.saw_error.saturating_add(self.saw_error.count()),
            requests_without_key: before.requests_without_key.saturating_add(self.without_key),
        }
    }

    /// Whether the numbers of users, and of those who saw an error, are counts. They are
    /// estimates when a set was full, after a restart, and when notes were lost.
    #[must_use]
    pub fn is_exact(&self, generation: Generation) -> (bool, bool) {
        if generation != self.generation {
            return (true, true);
        }
        let before = self.before;
        let is_exact = |sample: &Sample, before: u64| {
            sample.left_out_bits == 0 && self.lost == 0 && before == 0
        };
        (
            is_exact(&self.users, before.users),
            is_exact(&self.saw_error, before.saw_error),
        )
    }

    /// What is known of the user with this hash.
    #[must_use]
    pub fn exposure(&self, generation: Generation, key: u64) -> Exposure {
        if generation != self.generation {
            return Exposure::Unexposed;
        }
        let (knows_users, _) = self.is_exact(generation);
        if self.users.keys.contains(&key) {
            let saw_error = self.saw_error(key);
            Exposure::Exposed { saw_error }
        } else if knows_users
            || (self.lost == 0 && self.before.users == 0 && self.users.includes(key))
        {
            Exposure::Unexposed
        } else {
            Exposure::Unknown
        }
    }

    /// At most this many of the hashes that are known, behind `after` if it is given.
    #[must_use]
    pub fn page(&self, generation: Generation, after: Option<u64>, most: usize) -> Page {
        let first = match after {
            None => Some(0),
            Some(after) => after.checked_add(1),
        };
        let Some(first) = first.filter(|_| generation == self.generation) else {
            return Page::default();
        };
        let mut rest = self.users.keys.range(first..);
        let keys: Vec<_> = rest
            .by_ref()
            .take(most)
            .map(|key| (*key, self.saw_error(*key)))
            .collect();
        let last = keys.last().map(|(key, _)| *key);
        Page {
            next: last.filter(|_| rest.next().is_some()),
            keys,
        }
    }

    fn saw_error(&self, key: u64) -> Option<bool> {
        let is_known = self.saw_error.keys.contains(&key);
        let is_complete = self.lost == 0 && self.before.saw_error == 0;
        (is_known || (is_complete && self.saw_error.includes(key))).then_some(is_known)
    }
}

/// Hashes of users, of all or of a part that chance has picked.
#[derive(Clone, Debug)]
struct Sample {
    keys: BTreeSet<u64>,
    /// Users are in it whose hash ends in so many zeros.
    left_out_bits: u32,
}

impl Sample {
    const NONE: Self = Self {
        keys: BTreeSet::new(),
        left_out_bits: 0,
    };

    /// Whether this user would be in it.
    const fn includes(&self, key: u64) -> bool {
        key.trailing_zeros() >= self.left_out_bits
    }

    fn insert(&mut self, key: u64) {
        if !self.includes(key) {
            return;
        }
        self.keys.insert(key);
        while self.keys.len() > KEYS_MAX && self.left_out_bits < LEFT_OUT_BITS_MAX {
            self.left_out_bits += 1;
            let bits = self.left_out_bits;
            self.keys.retain(|key| key.trailing_zeros() >= bits);
        }
        // More than that many users with hashes that end alike are no users of ours.
        if self.keys.len() > KEYS_MAX {
            self.keys.remove(&key);
        }
    }

    fn count(&self) -> u64 {
        (self.keys.len() as u64) << self.left_out_bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Generation = Generation(3);

    fn hash(number: u64) -> u64 {
        let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    fn filled(users: u64, failing: u64) -> Ledger {
        let mut ledger = Ledger::new(NOW);
        for user in 0..users {
            for _ in 0..2 {
                ledger.note(NOW, Note::Sent(hash(user)));
            }
            if user < failing {
                ledger.note(NOW, Note::SawError(hash(user)));
            }
        }
        ledger
    }

    #[test]
    fn each_user_counts_once() {
        let mut ledger = filled(1000, 7);
        ledger.note(NOW, Note::WithoutKey(5));
        let exposed = Exposed {
            users: 1000,
            saw_error: 7,
            requests_without_key: 5,
        };
        assert_eq!(ledger.exposed(NOW), exposed);
        assert_eq!(ledger.is_exact(NOW), (true, true));
        let on = |saw_error| Exposure::Exposed {
            saw_error: Some(saw_error),
        };
        assert_eq!(ledger.exposure(NOW, hash(6)), on(true));
        assert_eq!(ledger.exposure(NOW, hash(7)), on(false));
        assert_eq!(ledger.exposure(NOW, hash(1000)), Exposure::Unexposed);
    }

    #[test]
    fn a_full_set_gives_an_estimate_in_bounded_memory() {
        let ledger = filled(1_000_000, 500);
        assert!(ledger.users.keys.len() <= KEYS_MAX);
        let Exposed {
            users, saw_error, ..
        } = ledger.exposed(NOW);
        assert!(users.abs_diff(1_000_000) < 20_000, "{users}");
        assert_eq!(saw_error, 500);
        assert_eq!(ledger.is_exact(NOW), (false, true));
        let known = (0..1000).filter(|user| {
            let exposure = ledger.exposure(NOW, hash(*user));
            let saw_error = Some(*user < 500);
            assert!(
                matches!(exposure, Exposure::Unknown)
                    || exposure == Exposure::Exposed { saw_error }
            );
            exposure != Exposure::Unknown
        });
        let known = known.count();
        assert!((20..200).contains(&known), "{known}");
    }

    #[test]
    fn hashes_that_all_end_alike_take_no_more_memory() {
        let mut ledger = Ledger::new(NOW);
        for user in 0..2 * KEYS_MAX as u64 {
            ledger.note(NOW, Note::Sent(user << LEFT_OUT_BITS_MAX));
        }
        assert!(ledger.users.keys.len() <= KEYS_MAX);
    }

    #[test]
    fn a_later_generation_begins_anew_and_an_earlier_one_is_over() {
        let mut ledger = filled(10, 1);
        ledger.note(Generation(2), Note::Sent(1));
        assert_eq!(ledger.exposed(NOW).users, 10);
        assert_eq!(ledger.exposed(Generation(4)), Exposed::default());
        ledger.note(Generation(4), Note::Sent(1));
        assert_eq!(ledger.exposed(Generation(4)).users, 1);
        assert_eq!(ledger.exposed(NOW), Exposed::default());
        assert_eq!(ledger.page(NOW, None, 10), Page::default());
    }

    #[test]
    fn what_was_counted_before_or_lost_makes_numbers_estimates() {
        let before = filled(10, 2).exposed(NOW);
        let mut ledger = Ledger::resume(NOW, before);
        ledger.note(NOW, Note::Sent(1));
        assert_eq!(ledger.exposed(NOW).users, 11);
        assert_eq!(ledger.is_exact(NOW), (false, false));
        assert_eq!(ledger.exposure(NOW, 2), Exposure::Unknown);
        let mut ledger = filled(10, 0);
        ledger.note(NOW, Note::Lost(1));
        assert_eq!(ledger.is_exact(NOW), (false, false));
        let exposure = ledger.exposure(NOW, hash(1));
        assert_eq!(exposure, Exposure::Exposed { saw_error: None });
    }

    #[test]
    fn pages_show_every_hash_once_and_in_order() {
        let ledger = filled(25, 3);
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = ledger.page(NOW, after, 10);
            assert!(page.keys.len() <= 10);
            seen.extend(page.keys);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 25);
        assert!(seen.is_sorted());
        assert_eq!(seen.iter().filter(|(_, saw)| *saw == Some(true)).count(), 3);
        assert_eq!(ledger.page(NOW, Some(u64::MAX), 10), Page::default());
    }
}
