//! Idle connections to one address: last in, first out, checked before use.
//!
//! The newest connection is taken first, so that a pool shrinks to what the load
//! needs and the oldest, which an upstream closes first, are used least. How many there
//! are is bounded by how many requests were under way at once (`limits.upstream_requests`).

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

use crate::clock::Micros;
use crate::h1::wire::Wire;

/// So many idle connections to one address are kept for as long as they may be. Of what is
/// beyond them and was not needed for a while, half is closed at each look.
const SPARE: usize = 1024;

/// How long an idle connection is kept if the upstream does not say.
pub(super) const KEEP: Micros = 60_000_000;

/// One worker's idle connections to one address.
#[derive(Default)]
pub(crate) struct Pool {
    /// The least recently used ones first.
    idle: RefCell<Vec<Idle>>,
    /// The fewest that were idle at one time since the last look: no request needed these.
    unneeded: Cell<usize>,
}

struct Idle {
    wire: Box<Wire>,
    until: Micros,
}

impl Pool {
    /// The newest connection that may still be kept and on which nothing has happened
    /// since it was given back.
    pub(crate) fn take(&self, now: Micros) -> Option<Box<Wire>> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let mut candidate = idle.pop()?;
            self.unneeded.set(self.unneeded.get().min(idle.len()));
            if candidate.until > now && is_quiet(&mut candidate.wire) {
                return Some(candidate.wire);
            }
        }
    }

    /// Keeps a connection.
    pub(crate) fn give(&self, wire: Box<Wire>, now: Micros, keep: Option<Micros>) {
        self.idle.borrow_mut().push(Idle {
            wire,
            until: now.saturating_add(keep.unwrap_or(KEEP).min(KEEP)),
        });
    }

    /// Closes what has been idle for too long or was closed by the other end, and some of
    /// what the load has not needed since the last look.
    pub(crate) fn close_idle(&self, now: Micros) {
        self.close_idle_beyond(SPARE, now);
    }

    fn close_idle_beyond(&self, spare: usize, now: Micros) {
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|idle| idle.until > now && is_quiet(&mut idle.wire));
        let surplus = self.unneeded.get().min(idle.len()).saturating_sub(spare);
        idle.drain(..surplus.div_ceil(2));
        self.unneeded.set(idle.len());
    }
}

/// Neither closed nor with bytes to read, as far as the runtime has heard. Bytes on
/// an idle connection belong to no request: it cannot be used again.
fn is_quiet(wire: &mut Wire) -> bool {
    wire.poll_fill(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::net::UnixStream;

    use super::*;
    use crate::buffers::Buffers;
    use crate::h1::transport::Transport;

    /// A pool of `count` connections, and their other ends.
    fn pool(count: usize) -> (Pool, Vec<UnixStream>) {
        let (pool, buffers) = (Pool::default(), Rc::new(Buffers::default()));
        let others = (0..count).map(|_| {
            let (here, there) = UnixStream::pair().unwrap();
            let wire = Wire::new(Transport::Unix(here), Rc::clone(&buffers));
            pool.give(Box::new(wire), 0, None);
            there
        });
        let others = others.collect();
        // What came before is no load.
        pool.close_idle_beyond(usize::MAX, 0);
        (pool, others)
    }

    fn count(pool: &Pool) -> usize {
        pool.idle.borrow().len()
    }

    #[tokio::test]
    async fn what_no_request_has_needed_goes_by_halves() {
        let (pool, _others) = pool(40);
        let counts = [0; 4].map(|_| {
            pool.close_idle_beyond(10, 0);
            count(&pool)
        });
        assert_eq!(counts, [25, 17, 13, 11]);
    }

    #[tokio::test]
    async fn what_the_load_needs_stays() {
        let (pool, _others) = pool(40);
        for _ in 0..3 {
            let busy: Vec<_> = (0..35).filter_map(|_| pool.take(0)).collect();
            assert_eq!(busy.len(), 35);
            for wire in busy {
                pool.give(wire, 0, None);
            }
            pool.close_idle_beyond(10, 0);
            assert_eq!(count(&pool), 40);
        }
    }

    #[tokio::test]
    async fn what_is_too_old_or_closed_is_not_taken() {
        let (pool, mut others) = pool(3);
        assert!(pool.take(KEEP).is_none());
        let (pool, _) = (self::pool(2).0, others.pop());
        tokio::task::yield_now().await;
        pool.close_idle(0);
        assert_eq!(count(&pool), 0);
    }
}
