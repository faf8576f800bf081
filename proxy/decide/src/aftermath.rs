//! What comes after a rollback: whether the canary has lost its traffic indeed.

use std::fmt;
use std::time::Duration;

use crate::refusal::StableReach;
use crate::time::Timestamp;

/// Without a request for so long, the canary gets none.
const QUIET: Duration = Duration::from_secs(3);

/// The time after a rollback in which it is verified.
#[derive(Clone, Debug)]
pub struct Aftermath {
    since: Timestamp,
    patience: Duration,
    /// Since when all is as it should be, with so many requests.
    quiet: Option<(Timestamp, u64)>,
}

/// What is seen of a route after a rollback.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Requests that were ever routed to the canary.
    pub requests: u64,
    /// How many of them have not ended.
    pub in_flight: u64,
    /// Whether stable can take what the canary had.
    pub stable: StableReach,
}

/// What has come out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finding {
    /// It did not become so in time.
    Unverified(Doubt),
    /// No request is in flight, none has come for a while, and stable can be reached.
    Verified,
}

/// Why a rollback is not verified. Displayed as one sentence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// Requests hang.
    InFlight(u64),
    /// The next generation began before it was known.
    NextGeneration,
    /// The canary gets requests.
    Routed,
    /// Stable cannot be reached.
    Stable,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight(count) => write!(f, "requests of the canary that hang: {count}"),
            Self::NextGeneration => f.write_str("the next generation began before it was known"),
            Self::Routed => f.write_str("the canary still gets requests"),
            Self::Stable => f.write_str("stable cannot be reached"),
        }
    }
}

impl Aftermath {
    /// Of a rollback at this time, to be verified within so long.
    #[must_use]
    pub const fn new(since: Timestamp, patience: Duration) -> Self {
        Self {
            since,
            patience,
            quiet: None,
        }
    }

    /// How long ago the rollback was.
    #[must_use]
    pub const fn lasted(&self, now: Timestamp) -> Duration {
        now.since(self.since)
    }

    /// Looks once more. After a finding there is nothing more to find.
    pub fn look(&mut self, sight: Sight, now: Timestamp) -> Option<Finding> {
        let is_well = sight.in_flight == 0 && sight.stable == StableReach::Reachable;
        self.quiet = match self.quiet {
            _ if !is_well => None,
            Some((since, requests)) if requests == sight.requests => Some((since, requests)),
            Some(_) | None => Some((now, sight.requests)),
        };
        let quiet = self.quiet.map(|(since, _)| now.since(since));
        if quiet.is_some_and(|quiet| quiet >= QUIET) {
            return Some(Finding::Verified);
        }
        if self.lasted(now) < self.patience {
            return None;
        }
        Some(Finding::Unverified(match sight.stable {
            StableReach::Unreachable => Doubt::Stable,
            StableReach::Reachable if sight.in_flight > 0 => Doubt::InFlight(sight.in_flight),
            StableReach::Reachable => Doubt::Routed,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    /// Looks once a second until something is found: what, and after how many seconds.
    fn found(sight: impl Fn(u64) -> (u64, u64, StableReach)) -> (Finding, u64) {
        let mut aftermath = Aftermath::new(at(0), PATIENCE);
        for second in 0..100 {
            let (requests, in_flight, stable) = sight(second);
            let sight = Sight {
                requests,
                in_flight,
                stable,
            };
            if let Some(finding) = aftermath.look(sight, at(second)) {
                return (finding, second);
            }
        }
        panic!("nothing is found");
    }

    #[test]
    fn a_rollback_is_verified_when_nothing_has_come_for_a_while() {
        use StableReach::{Reachable, Unreachable};
        let verified = |seconds| (Finding::Verified, seconds);
        assert_eq!(found(|_| (7, 0, Reachable)), verified(3));
        // In flight, then ended.
        let ends = |second: u64| (7, 5_u64.saturating_sub(second), Reachable);
        assert_eq!(found(ends), verified(8));
        // Short requests between two looks.
        assert_eq!(found(|second| (second.min(4), 0, Reachable)), verified(7));
        let returns = |second: u64| (7, 0, if second < 20 { Unreachable } else { Reachable });
        assert_eq!(found(returns), verified(23));
    }

    #[test]
    fn what_does_not_become_so_in_time_is_told_with_the_reason() {
        use StableReach::{Reachable, Unreachable};
        let unverified = |doubt| (Finding::Unverified(doubt), 60);
        assert_eq!(found(|_| (7, 2, Reachable)), unverified(Doubt::InFlight(2)));
        assert_eq!(
            found(|second| (second, 0, Reachable)),
            unverified(Doubt::Routed)
        );
        assert_eq!(found(|_| (7, 2, Unreachable)), unverified(Doubt::Stable));
    }
}
