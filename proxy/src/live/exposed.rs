//! The ledger of a route: who was on its canary.

use std::sync::{MutexGuard, PoisonError, TryLockError};

use haldane_decide::generation::Generation;
use haldane_decide::ledger::{Exposed, Ledger};

use super::Route;

impl Route {
    /// The ledger, for whoever may wait for it: no worker.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic under the lock leaves a ledger that is valid, if not complete.
        let ledger = &self.lasting.ledger;
        ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger, unless somebody else has it.
    pub(crate) fn try_ledger(&self) -> Option<MutexGuard<'_, Ledger>> {
        match self.lasting.ledger.try_lock() {
            Ok(ledger) => Some(ledger),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
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
