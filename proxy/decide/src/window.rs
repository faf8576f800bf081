//! The recent past: what has been counted since a moment that moves along.
//!
//! ## Why not all that was ever counted
//!
//! A canary that was healthy for a million requests would need tens of thousands
//! of failures before its overall rate shows them. So evidence is the difference
//! between the cumulative counts now and a snapshot that is taken again and again.
//!
//! ## Why two snapshots
//!
//! With one, the evidence would be empty after each renewal, and no gate could
//! decide until it has filled again. With two, the older one is the base, and when
//! it is dropped the younger takes its place, which already has a full sample
//! behind it. Memory is two snapshots, however long the process runs.

use std::mem;
use std::time::Duration;

use crate::role::Role;
use crate::tally::Tally;
use crate::time::Timestamp;

/// The youngest a snapshot may be when it becomes the middle of a new window:
/// shorter, and a pause of a few seconds on one side would be all that is seen.
pub(crate) const ROTATION_MIN: Duration = Duration::from_secs(30);

/// How long a rotation waits for stable's sample. Near 100 % stable has hardly any
/// traffic, and limits that do not need it must not fall asleep over the wait.
pub(crate) const STABLE_WAIT_MAX: Duration = Duration::from_secs(300);

/// How many requests each side must have had for the window to move on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sample {
    /// Requests of the canary, however long they take.
    pub(crate) canary: u64,
    /// Requests of stable, for at most [`STABLE_WAIT_MAX`].
    pub(crate) stable: u64,
}

/// Two snapshots of something cumulative.
#[derive(Clone, Debug)]
pub(crate) struct Window<S> {
    base: S,
    middle: S,
    middle_at: Timestamp,
}

impl<S: Clone> Window<S> {
    /// A window that begins with `start`.
    pub(crate) fn new(start: S, now: Timestamp) -> Self {
        Self {
            base: start.clone(),
            middle: start,
            middle_at: now,
        }
    }

    /// The snapshot that evidence is counted from.
    pub(crate) const fn base(&self) -> &S {
        &self.base
    }

    /// The snapshot that becomes the base next.
    pub(crate) const fn middle(&self) -> &S {
        &self.middle
    }

    /// Whether the window should move on, `since_middle` having been counted since the middle.
    pub(crate) fn is_due(&self, since_middle: &Tally, sample: Sample, now: Timestamp) -> bool {
        let age = now.since(self.middle_at);
        age >= ROTATION_MIN
            && since_middle.of(Role::Canary).requests() >= sample.canary
            && (since_middle.of(Role::Stable).requests() >= sample.stable || age >= STABLE_WAIT_MAX)
    }

    /// Moves on: the middle becomes the base, `current` the middle.
    pub(crate) fn rotate(&mut self, current: S, now: Timestamp) {
        self.base = mem::replace(&mut self.middle, current);
        self.middle_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Sample = Sample {
        canary: 50,
        stable: 50,
    };

    fn counted(canary: u64, stable: u64) -> Tally {
        let mut tally = Tally::default();
        tally.of_mut(Role::Canary).successes = canary;
        tally.of_mut(Role::Stable).successes = stable;
        tally
    }

    #[test]
    fn a_window_moves_on_when_it_is_old_enough_and_both_sides_have_their_sample() {
        let window = Window::new((), Timestamp::from_micros(7));
        let after = |seconds: u64| Timestamp::from_micros(7 + seconds * 1_000_000);
        for (canary, stable, seconds, due) in [
            (50, 50, 30, true),
            (50, 50, 29, false),
            (49, 50, 30, false),
            (49, 1_000_000, 1_000_000, false),
            (50, 49, 299, false),
            (50, 49, 300, true),
            (50, 0, 300, true),
        ] {
            let is_due = window.is_due(&counted(canary, stable), SAMPLE, after(seconds));
            assert_eq!(is_due, due, "canary {canary}, stable {stable}, {seconds} s");
        }
    }

    #[test]
    fn the_evidence_after_a_rotation_begins_at_the_middle() {
        let mut window = Window::new('a', Timestamp::from_micros(0));
        window.rotate('b', Timestamp::from_micros(1));
        assert_eq!((*window.base(), *window.middle()), ('a', 'b'));
        window.rotate('c', Timestamp::from_micros(2));
        assert_eq!((*window.base(), *window.middle()), ('b', 'c'));
    }
}
