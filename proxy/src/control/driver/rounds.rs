//! Which routes are looked at with a beat.
//!
//! Most routes of a large table are idle, and to look at one takes a microsecond or more,
//! since nothing of it is in a cache: a thousand of them, ten times a second, would take 4 %
//! of a processor.

/// So many routes are looked at with every beat, also without requests.
const AT_ONCE: usize = 100;

/// Of more routes, each without requests is looked at once in so many beats.
const BEATS: usize = 10;

/// Counts the beats.
#[derive(Debug, Default)]
pub(super) struct Rounds(usize);

/// The routes whose turn it is with one beat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    beat: usize,
    routes: usize,
}

impl Rounds {
    /// The next beat, for so many routes.
    pub(super) fn next(&mut self, routes: usize) -> Round {
        self.0 = self.0.wrapping_add(1);
        Round {
            beat: self.0 % BEATS,
            routes,
        }
    }
}

impl Round {
    /// Whether it is the turn of the route with this index. A different tenth with each beat,
    /// so that no beat takes long.
    pub(super) const fn includes(self, index: usize) -> bool {
        self.routes <= AT_ONCE || index % BEATS == self.beat
    }
}

/// Whether a route is at rest.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// How many requests were routed, and how many had not ended, when last asked.
    seen: Option<(u64, u64)>,
}

impl Rest {
    /// Whether the route has to be looked at now, whosever turn it is: a request is under way,
    /// or was when this was asked last, or has come since. `requests`: how many were routed,
    /// and how many have not ended.
    pub(super) fn is_due(&mut self, requests: (u64, u64)) -> bool {
        let before = self.seen.replace(requests);
        before != Some(requests) || requests.1 > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(routes: usize, index: usize, beats: usize) -> usize {
        let mut rounds = Rounds::default();
        let is_turn = |_: &usize| rounds.next(routes).includes(index);
        (0..beats).filter(is_turn).count()
    }

    #[test]
    fn few_routes_always_have_their_turn_and_many_once_in_ten_beats() {
        assert_eq!(turns(AT_ONCE, 7, 50), 50);
        for index in [0, 7, AT_ONCE] {
            assert_eq!(turns(AT_ONCE + 1, index, 50), 5, "{index}");
        }
        let mut rounds = Rounds::default();
        for _ in 0..20 {
            let round = rounds.next(1_000);
            let count = (0..1_000).filter(|index| round.includes(*index)).count();
            assert_eq!(count, 100);
        }
    }

    #[test]
    fn a_route_is_due_until_all_its_requests_were_seen_to_have_ended() {
        let mut rest = Rest::default();
        assert!(rest.is_due((0, 0)), "never looked at");
        assert!(!rest.is_due((0, 0)));
        assert!(rest.is_due((1, 1)), "one has come");
        assert!(rest.is_due((1, 1)), "it is under way");
        assert!(rest.is_due((1, 0)), "it has ended since");
        assert!(!rest.is_due((1, 0)));
        assert!(rest.is_due((2, 0)), "one has come and ended");
        assert!(!rest.is_due((2, 0)));
    }
}
