//! What a worker has noted of users on the canary, until it is in the ledger of the route.
//!
//! A request only writes here, and only if it goes to the canary. With every tick the worker
//! hands all in, unless somebody else does that just then.

use std::cell::{Cell, RefCell};

use haldane_decide::generation::Generation;
use haldane_decide::ledger::Note;

/// More notes are not kept for one tick: a worker does not serve so many requests in that
/// time, unless it cannot hand them in.
const NOTES_MAX: usize = 1 << 14;

/// How many of the last notes are remembered, so that most users are noted once. A power of
/// two.
const RECENT: usize = 256;

/// A note and the generation that it is about.
pub(crate) type Entry = (Generation, Note);

/// The notes of one worker about one route.
#[derive(Default)]
pub(crate) struct Slate {
    notes: RefCell<Vec<Entry>>,
    /// The last notes, by bits of the key.
    recent: RefCell<Vec<Option<Entry>>>,
    lost: Cell<u64>,
}

impl Slate {
    /// A request was sent to the canary; `key` is the salted hash of what its client keeps.
    pub(crate) fn sent(&self, generation: u32, key: Option<u64>) {
        let generation = Generation(generation);
        match key {
            Some(key) => self.note(generation, key, Note::Sent(key)),
            None => self.count_without_key(generation),
        }
    }

    /// A client was told of a failure of the canary.
    pub(crate) fn saw_error(&self, generation: u32, key: Option<u64>) {
        if let Some(key) = key {
            self.note(Generation(generation), key, Note::SawError(key));
        }
    }

    /// Hands all notes to whoever `take`s them, which is all of them or none; then it says
    /// that it has. What was lost meanwhile is among the next.
    pub(crate) fn hand_in(&self, take: impl FnOnce(&mut Vec<Entry>) -> bool) {
        let mut notes = self.notes.borrow_mut();
        let Some((generation, _)) = notes.last().copied() else {
            return;
        };
        if take(&mut notes) && self.lost.get() > 0 {
            notes.push((generation, Note::Lost(self.lost.take())));
        }
    }

    fn note(&self, generation: Generation, key: u64, note: Note) {
        let mut recent = self.recent.borrow_mut();
        if recent.is_empty() {
            recent.resize(RECENT, None);
        }
        let entry = (generation, note);
        // The two notes about one user do not displace each other.
        let kind = u64::from(matches!(note, Note::SawError(_)));
        let index = usize::try_from((key ^ kind) % RECENT as u64).unwrap_or_default();
        let Some(cell) = recent.get_mut(index) else {
            return;
        };
        if *cell == Some(entry) {
            return;
        }
        if self.push(entry) {
            *cell = Some(entry);
        } else {
            self.lost.set(self.lost.get().saturating_add(1));
        }
    }

    /// Requests without a key that come in a row make one note.
    fn count_without_key(&self, generation: Generation) {
        if let Some((last, Note::WithoutKey(count))) = self.notes.borrow_mut().last_mut()
            && *last == generation
        {
            *count += 1;
            return;
        }
        if !self.push((generation, Note::WithoutKey(1))) {
            self.lost.set(self.lost.get().saturating_add(1));
        }
    }

    /// False if there is no room.
    fn push(&self, entry: Entry) -> bool {
        let mut notes = self.notes.borrow_mut();
        let has_room = notes.len() < NOTES_MAX;
        if has_room {
            notes.push(entry);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use haldane_decide::ledger::{Exposed, Ledger};

    use super::*;

    const NOW: Generation = Generation(1);

    fn put_into(ledger: &mut Ledger, notes: &mut Vec<Entry>) -> bool {
        for (generation, note) in notes.drain(..) {
            ledger.note(generation, note);
        }
        true
    }

    #[test]
    fn what_is_noted_is_handed_in_once_and_repetitions_are_not_kept() {
        let (slate, mut ledger) = (Slate::default(), Ledger::new(NOW));
        for _ in 0..1000 {
            slate.sent(1, Some(7));
            slate.saw_error(1, Some(263));
            slate.sent(1, Some(8));
        }
        assert_eq!(slate.notes.borrow().len(), 3);
        for _ in 0..10 {
            slate.sent(1, None);
        }
        slate.saw_error(1, None);
        assert_eq!(slate.notes.borrow().len(), 4);
        slate.hand_in(|_| false);
        slate.hand_in(|notes| put_into(&mut ledger, notes));
        slate.hand_in(|notes| put_into(&mut ledger, notes));
        let exposed = Exposed {
            users: 2,
            saw_error: 1,
            requests_without_key: 10,
        };
        assert_eq!(ledger.exposed(NOW), exposed);
        assert_eq!(ledger.is_exact(NOW), (true, true));
    }

    #[test]
    fn a_slate_is_bounded_and_says_that_it_lost_something() {
        let (slate, mut ledger) = (Slate::default(), Ledger::new(NOW));
        for user in 0..2 * NOTES_MAX as u64 {
            slate.sent(1, Some(user));
        }
        assert_eq!(slate.notes.borrow().len(), NOTES_MAX);
        slate.hand_in(|notes| put_into(&mut ledger, notes));
        slate.hand_in(|notes| put_into(&mut ledger, notes));
        assert_eq!(ledger.exposed(NOW).users, NOTES_MAX as u64);
        assert_eq!(ledger.is_exact(NOW), (false, false));
        // There is room again, for those who had none too.
        slate.sent(1, Some(2 * NOTES_MAX as u64 - 1));
        slate.hand_in(|notes| put_into(&mut ledger, notes));
        assert_eq!(ledger.exposed(NOW).users, NOTES_MAX as u64 + 1);
    }
}
