//! How a client with many streams behaves: whether it gives up more than anybody has
//! reason to.
//!
//! A stream that is opened and reset at once costs the client nothing, and an upstream a
//! request. Upstreams count that by connection, and close one that is shared for what a
//! single client does. So whoever does it again and again gets connections of its own to
//! upstreams, and is sent away if it goes on. Giving up later, or within an answer, or now
//! and then, is nobody's business.

use std::cell::Cell;

use crate::clock::Micros;

/// A request that lives longer was waited for.
const RASH: Micros = 1_000_000;

/// One that lives shorter was not meant. Clients with short deadlines, whose service hangs,
/// give up later: they are kept apart at most.
const SUDDEN: Micros = 100_000;

/// A request that was given up rashly is forgotten after so long, one after another: 33 a
/// second, as servers of HTTP/2 allow by default.
const FORGOTTEN_AFTER: Micros = 30_000;

/// With more that are not forgotten a client is kept apart.
const APART: Micros = 16;

/// With more it is sent away.
const UNBEARABLE: Micros = 1_000;

/// What is remembered of a client: until when all it gave up will be forgotten.
#[derive(Debug, Default)]
pub(crate) struct Conduct(Cell<Micros>);

impl Conduct {
    /// A request ended that had begun at `begun`: it was answered, or given up before.
    pub(crate) fn note(&self, begun: Micros, now: Micros, answered: bool) {
        if answered {
            self.0.set(self.0.get().saturating_sub(FORGOTTEN_AFTER));
            return;
        }
        let (lived, before) = (now.saturating_sub(begun), self.0.get().max(now));
        if lived < SUDDEN || lived < RASH && self.remembered(now) < 2 * APART {
            self.0.set(before + FORGOTTEN_AFTER);
        }
    }

    /// Whether upstreams are to see the client on connections of its own.
    pub(crate) fn is_rash(&self, now: Micros) -> bool {
        self.remembered(now) > APART
    }

    /// Whether the client has to go.
    pub(crate) fn is_unbearable(&self, now: Micros) -> bool {
        self.remembered(now) > UNBEARABLE
    }

    /// Requests that were given up rashly and are not forgotten.
    fn remembered(&self, now: Micros) -> Micros {
        self.0.get().saturating_sub(now).div_ceil(FORGOTTEN_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    #[test]
    fn who_gives_up_at_once_again_and_again_is_kept_apart_and_then_sent_away() {
        let conduct = Conduct::default();
        let counts = |until: u64| {
            for _ in conduct.remembered(SECOND)..until {
                conduct.note(SECOND, SECOND, false);
            }
            (conduct.is_rash(SECOND), conduct.is_unbearable(SECOND))
        };
        assert_eq!(counts(16), (false, false));
        assert_eq!(counts(17), (true, false));
        assert_eq!(counts(1_000), (true, false));
        assert_eq!(counts(1_001), (true, true));
        assert!(conduct.is_rash(30 * SECOND));
        assert!(!conduct.is_rash(31 * SECOND), "and forgotten");
    }

    #[test]
    fn who_waits_or_is_answered_as_often_is_not() {
        let conduct = Conduct::default();
        for _ in 0..10_000 {
            conduct.note(SECOND, 2 * SECOND, false);
        }
        assert_eq!(conduct.remembered(2 * SECOND), 0);
        for _ in 0..10_000 {
            conduct.note(2 * SECOND, 2 * SECOND, false);
            conduct.note(2 * SECOND, 2 * SECOND, true);
        }
        assert!(!conduct.is_rash(2 * SECOND));
        for _ in 0..10_000 {
            conduct.note(2 * SECOND, 2 * SECOND + SUDDEN, false);
        }
        assert!(conduct.is_rash(2 * SECOND + SUDDEN), "but no more");
        assert!(!conduct.is_unbearable(2 * SECOND));
        for second in 3..1_000 {
            for _ in 0..33 {
                conduct.note(second * SECOND, second * SECOND, false);
            }
        }
        assert!(!conduct.is_unbearable(1_000 * SECOND));
    }
}
