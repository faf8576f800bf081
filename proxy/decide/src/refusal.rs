//! Rollbacks that are not carried out because stable cannot be reached.

use std::fmt;
use std::time::Duration;

use crate::gate::Breach;
use crate::time::Timestamp;

/// A refusal stands for at least so long, however the gates change their minds: each
/// is told to people, and a canary that fails now and then would be told of all day.
const STANDS_FOR: Duration = Duration::from_secs(10);

/// Whether stable can take the canary's traffic.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StableReach {
    /// At least one of its addresses is not known to be unhealthy.
    #[default]
    Reachable,
    /// None of its addresses is healthy: what is sent there is answered 503.
    Unreachable,
}

/// A rollback that a gate asked for and that is not carried out. Displayed as one sentence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) at: Timestamp,
    breach: Breach,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stable cannot be reached; {}", self.breach)
    }
}

/// What is known of stable, and the refusal that stands for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    stable: StableReach,
    standing: Option<Refusal>,
}

impl Refusals {
    pub(crate) const fn tell(&mut self, reach: StableReach) {
        self.stable = reach;
    }

    /// Whether a breach must not act now.
    pub(crate) fn refuse(&self) -> bool {
        self.stable == StableReach::Unreachable
    }

    /// Notes a breach that does not act. True if none stood: people are to be told.
    pub(crate) fn note(&mut self, breach: &Breach, now: Timestamp) -> bool {
        if self.standing.is_some() {
            return false;
        }
        self.standing = Some(Refusal {
            at: now,
            breach: breach.clone(),
        });
        true
    }

    /// No gate fails any more.
    pub(crate) fn all_pass(&mut self, now: Timestamp) {
        let is_over = |refusal: &Refusal| now.since(refusal.at) >= STANDS_FOR;
        if self.standing.as_ref().is_some_and(is_over) {
            self.settle();
        }
    }

    /// The breach was acted on, or somebody has decided otherwise.
    pub(crate) fn settle(&mut self) {
        self.standing = None;
    }

    pub(crate) const fn standing(&self) -> Option<&Refusal> {
        self.standing.as_ref()
    }
}
