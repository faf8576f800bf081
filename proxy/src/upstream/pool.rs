//! Idle connections to one address: last in, first out, checked before use.
//!
//! The newest connection is taken first, so that a pool shrinks to what the load
//! needs and the oldest, which an upstream closes first, are used least.

use std::cell::RefCell;
use std::task::{Context, Waker};

use crate::clock::Micros;
use crate::h1::wire::Wire;

/// More idle connections to one address help no worker.
const IDLE_MAX: usize = 1024;

/// How long an idle connection is kept if the upstream does not say.
pub(super) const KEEP: Micros = 60_000_000;

/// One worker's idle connections to one address.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    wire: Wire,
    until: Micros,
}

impl Pool {
    /// The newest connection that may still be kept and on which nothing has happened
    /// since it was given back.
    pub(crate) fn take(&self, now: Micros) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let mut candidate = idle.pop()?;
            if candidate.until > now && is_quiet(&mut candidate.wire) {
                return Some(candidate.wire);
            }
        }
    }

    /// Keeps a connection.
    pub(crate) fn give(&self, wire: Wire, now: Micros, keep: Option<Micros>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push(Idle {
                wire,
                until: now.saturating_add(keep.unwrap_or(KEEP).min(KEEP)),
            });
        }
    }

    /// Closes what has been idle for too long or was closed by the other end.
    pub(crate) fn close_idle(&self, now: Micros) {
        self.idle
            .borrow_mut()
            .retain_mut(|idle| idle.until > now && is_quiet(&mut idle.wire));
    }
}

/// Neither closed nor with bytes to read, as far as the runtime has heard. Bytes on
/// an idle connection belong to no request: it cannot be used again.
fn is_quiet(wire: &mut Wire) -> bool {
    wire.poll_fill(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}
