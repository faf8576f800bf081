//! Which users have been seen to fail.
//!
//! A sticky split assigns users, not requests: the requests of one user are all the
//! canary's or all stable's, and so are the failures of a user who always fails. So the
//! unit of evidence is the first failure of each user, which is the canary's with exactly
//! its share, however often who asks for what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::tape::{Kept, Tape};
use crate::time::Timestamp;

/// Beyond so many entries, only a part of the users is looked at. Bounds the memory to
/// two MiB for each route.
const ENTRIES_MAX: usize = 1 << 17;

/// A set with any entry has so many cells at least.
const CELLS_MIN: usize = 64;

/// The bits of a key by which users are left out. The position of a key under the weight
/// is made of its highest bits, so leaving out favours neither version.
const SAMPLE_BITS: u32 = 16;

/// Users who were seen with a kind of failure. When it is full, half of the users are left
/// out from then on: evidence comes more slowly, and stays fair.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet {
    /// Open addressing; zero is free. The length is a power of two.
    cells: Vec<u64>,
    len: usize,
    left_out_bits: u32,
}

impl KeySet {
    /// Notes a user with a kind of failure. True the first time; false for those that are
    /// left out.
    pub(super) fn is_first(&mut self, key: u64, kind: u64) -> bool {
        if !self.includes(key) {
            return false;
        }
        if self.len * 2 >= self.cells.len() && !self.make_room(key) {
            return false;
        }
        self.place(entry(key, kind))
    }

    /// Whether this user is looked at.
    fn includes(&self, entry_or_key: u64) -> bool {
        entry_or_key & ((1 << self.left_out_bits) - 1) == 0
    }

    /// Makes room for one more. False if its user is left out from now on.
    fn make_room(&mut self, key: u64) -> bool {
        if self.len >= ENTRIES_MAX && self.left_out_bits < SAMPLE_BITS {
            self.left_out_bits += 1;
        }
        let capacity = (self.cells.len() * 2).clamp(CELLS_MIN, ENTRIES_MAX * 2);
        let before = std::mem::replace(&mut self.cells, vec![0; capacity]);
        self.len = 0;
        for entry in before {
            if entry != 0 && self.includes(entry) {
                self.place(entry);
            }
        }
        self.includes(key) && self.len * 2 < self.cells.len()
    }

    /// Leaves users out until there are at most so many entries.
    fn thin_out(&mut self, entries_max: usize) {
        while self.len > entries_max && self.left_out_bits < SAMPLE_BITS {
            self.left_out_bits += 1;
            let mut before = std::mem::take(&mut self.cells);
            before.retain(|entry| *entry != 0 && self.includes(*entry));
            *self = Self {
                left_out_bits: self.left_out_bits,
                ..Self::with_room_for(before.len())
            };
            for entry in before {
                self.place(entry);
            }
        }
    }

    /// Without entries, and as large as if so many had come.
    fn with_room_for(entries: usize) -> Self {
        let capacity = if entries == 0 {
            0
        } else {
            (entries * 2 + 1).next_power_of_two().max(CELLS_MIN)
        };
        Self {
            cells: vec![0; capacity],
            ..Self::default()
        }
    }

    fn place(&mut self, entry: u64) -> bool {
        let mask = self.cells.len() - 1;
        let bits = usize::try_from(entry >> SAMPLE_BITS).unwrap_or_default();
        let mut index = bits & mask;
        loop {
            match self.cells[index] {
                0 => {
                    self.cells[index] = entry;
                    self.len += 1;
                    return true;
                }
                taken if taken == entry => return false,
                _ => index = (index + 1) & mask,
            }
        }
    }
}

/// So many entries are kept at most: 128 KiB for each route.
const KEPT_MAX: usize = 1 << 14;

impl Kept for KeySet {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        if tape.is_writing() {
            self.thin_out(KEPT_MAX);
        }
        let left_out_bits = self.left_out_bits;
        let mut bits = u64::from(left_out_bits);
        tape.count(&mut bits, u64::from(SAMPLE_BITS));
        let len = tape.length(self.len, KEPT_MAX);
        if tape.is_writing() {
            for entry in self.cells.iter_mut().filter(|entry| **entry != 0) {
                tape.bits(entry);
            }
            return;
        }
        *self = Self::with_room_for(len);
        self.left_out_bits = u32::try_from(bits).unwrap_or(left_out_bits);
        for _ in 0..len {
            let mut entry = 0;
            tape.bits(&mut entry);
            let is_one = entry != 0 && self.includes(entry) && self.place(entry);
            tape.demand(is_one);
        }
    }
}

/// A user and a kind in one number that is not zero, with the low bits of the key.
fn entry(key: u64, kind: u64) -> u64 {
    let low = (1_u64 << SAMPLE_BITS) - 1;
    let mixed = mix(key ^ mix(kind)) & !low;
    let mixed = if mixed == 0 { low + 1 } else { mixed };
    mixed | key & low
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
const fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A user who has failed so often before the rollout is known to be bad.
const KNOWN_BAD: u32 = 3;

/// For how long before the rollout failures are looked at, at least.
const LOOK_BACK: Duration = Duration::from_secs(300);

/// How many users are counted before the rollout.
const COUNTED_MAX: usize = 8192;

/// Who failed on stable before the rollout began. Those fail wherever they are sent.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownBad {
    recent: BTreeMap<u64, u32>,
    before: BTreeMap<u64, u32>,
    since: Option<Timestamp>,
}

impl KnownBad {
    /// A user of stable has failed.
    pub(super) fn note(&mut self, key: u64, now: Timestamp) {
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= LOOK_BACK {
            self.before = std::mem::take(&mut self.recent);
            self.since = Some(now);
        }
        let is_known = self.recent.contains_key(&key);
        if is_known || self.recent.len() < COUNTED_MAX {
            let count = self.recent.entry(key).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Whether failures of this user say nothing about a version.
    pub(super) fn contains(&self, key: u64) -> bool {
        let count = |counts: &BTreeMap<u64, u32>| counts.get(&key).copied().unwrap_or_default();
        count(&self.recent).saturating_add(count(&self.before)) >= KNOWN_BAD
    }
}

/// So many users are kept at most, of those who have failed before the rollout and of those
/// who fail now. Who has failed most is.
const USERS_KEPT_MAX: usize = 2048;

impl KnownBad {
    /// Nothing is noted any more: what is left to know is who is bad.
    pub(super) fn close(&mut self) {
        let users: BTreeSet<u64> = self
            .recent
            .keys()
            .chain(self.before.keys())
            .copied()
            .collect();
        let bad = users.into_iter().filter(|key| self.contains(*key));
        self.recent = bad.map(|key| (key, KNOWN_BAD)).collect();
        self.before = BTreeMap::new();
    }
}

impl Kept for KnownBad {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self {
            recent,
            before,
            since,
        } = self;
        for users in [recent, before] {
            let mut listed: Vec<(u64, u32)> = std::mem::take(users).into_iter().collect();
            if tape.is_writing() {
                listed.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                listed.truncate(USERS_KEPT_MAX);
            }
            let len = tape.length(listed.len(), USERS_KEPT_MAX);
            listed.resize(len, (0, 0));
            for (key, count) in &mut listed {
                tape.bits(key);
                count.pass(tape);
            }
            *users = listed.into_iter().collect();
        }
        since.pass(tape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_first_once_for_each_kind() {
        let mut set = KeySet::default();
        for key in 0..1000 {
            for kind in [0, 500, 503] {
                assert!(set.is_first(key, kind), "{key} {kind}");
                assert!(!set.is_first(key, kind), "{key} {kind}");
            }
        }
    }

    #[test]
    fn a_full_set_leaves_users_out_and_counts_none_twice() {
        let mut set = KeySet::default();
        let mut first = 0_u64;
        for number in 0..1_000_000_u64 {
            first += u64::from(set.is_first(mix(number), 0));
        }
        assert!(set.cells.len() <= 2 * ENTRIES_MAX);
        assert!(first > 200_000, "{first}");
        let again = (0..1_000_000).filter(|number| set.is_first(mix(*number), 0));
        assert_eq!(again.count(), 0);
        // Some new ones are still looked at.
        let new = (1_000_000..1_100_000).filter(|number| set.is_first(mix(*number), 0));
        assert!(new.count() > 1000);
    }

    #[test]
    fn who_failed_three_times_lately_is_known_to_be_bad() {
        let mut known = KnownBad::default();
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        for second in [0, 1] {
            known.note(7, at(second));
            assert!(!known.contains(7));
        }
        known.note(7, at(2));
        assert!(known.contains(7));
        known.note(8, at(400));
        assert!(known.contains(7));
        known.note(8, at(800));
        assert!(!known.contains(7));
    }
}
