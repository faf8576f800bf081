//! The ledger of a route: who was on its canary.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use haldane_decide::generation::Generation;
use haldane_decide::ledger::{Exposed, Ledger, Note};

use super::Route;

/// More notes do not wait here: what workers have to keep longer may find no room there.
const INBOX_MAX: usize = 1 << 16;

/// The ledger, and what is to be put into it.
#[derive(Default)]
pub(super) struct Exposure {
    /// Workers only ever append to it, and do not wait for it.
    inbox: Mutex<Vec<(Generation, Note)>>,
    /// Taken by the control plane and whoever keeps state.
    ledger: Mutex<Ledger>,
}

impl Route {
    /// Takes the notes of a worker, all of them or none. False if somebody else is at it, or
    /// there is no room.
    pub(crate) fn take_notes(&self, notes: &mut Vec<(Generation, Note)>) -> bool {
        let mut inbox = match self.lasting.exposure.inbox.try_lock() {
            Ok(inbox) => inbox,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let has_room = inbox.len() + notes.len() <= INBOX_MAX;
        if has_room {
            inbox.append(notes);
        }
        has_room
    }

    /// Puts all into the ledger that was noted, so that there is room for more.
    pub(crate) fn fill_ledger(&self) {
        if self.config.canary.is_some() {
            drop(self.ledger());
        }
    }

    /// The ledger, with all in it that was noted. Not for workers: it takes its time.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        let Exposure { inbox, ledger } = &self.lasting.exposure;
        let mut ledger = lock(ledger);
        let notes = std::mem::take(&mut *lock(inbox));
        for (generation, note) in notes {
            ledger.note(generation, note);
        }
        ledger
    }

    /// How many were exposed in a generation, as far as it is the last one.
    pub(super) fn exposed(&self, generation: Generation) -> Exposed {
        self.ledger().exposed(generation)
    }

    /// Goes on after an earlier process that had counted so many.
    pub(super) fn go_on_after(&self, generation: Generation, before: Exposed) {
        *self.ledger() = Ledger::resume(generation, before);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under these locks leaves what is valid, if not complete.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
