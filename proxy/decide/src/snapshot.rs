//! What of a release outlives the process, and how a release goes on from it.

use serde::{Deserialize, Serialize};

use crate::generation::Generation;
use crate::release::{Release, ReleaseSpec};
use crate::rollout::{Cause, Effect, Phase, Rollout};
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

mod stored;

use stored::StoredPhase;

/// Which canary a release is about. Another version, or other upstreams, is another canary.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CanaryIdentity {
    /// The name of the version.
    pub version: String,
    /// The URLs of its upstreams, sorted.
    pub upstreams: Vec<String>,
}

/// Where a release stands, without its evidence.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Snapshot {
    /// Which attempt it is.
    pub generation: Generation,
    /// The canary's share.
    pub weight: Weight,
    /// Where the rollout stands, since when and why.
    #[serde(with = "StoredPhase")]
    pub phase: Phase,
}

impl Release {
    /// Where the release stands.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            generation: self.generation(),
            weight: self.weight(),
            phase: self.phase_to_keep(),
        }
    }

    /// Goes on from a snapshot of the same canary: its generation, phase and weight,
    /// whatever the configured weight has become. Evidence begins anew.
    #[must_use]
    pub fn resume(spec: ReleaseSpec, from: Snapshot, tally: &Tally, now: Timestamp) -> Self {
        let rollout = Rollout::standing(spec.course(), from.standing());
        Self::with_rollout(spec, rollout, tally, now)
    }

    /// The generation after `last`, which was about another canary.
    #[must_use]
    pub fn succeed(spec: ReleaseSpec, last: Generation, tally: &Tally, now: Timestamp) -> Self {
        let weight = spec.plan.weight_before(spec.weight);
        let rollout = Rollout::standing(spec.course(), (last.next(), Phase::Idle, weight));
        Self::with_rollout(spec, rollout, tally, now)
    }

    /// A release of which nobody knows where it stood: the canary may have been rolled
    /// back, so it has no traffic until somebody starts a new generation.
    #[must_use]
    pub fn distrust(spec: ReleaseSpec, detail: String, tally: &Tally, now: Timestamp) -> Self {
        let by = Cause::StateDamaged { detail };
        let phase = Phase::RolledBack { at: now, by };
        let rollout = Rollout::standing(spec.course(), (Generation::FIRST, phase, Weight::ZERO));
        Self::with_rollout(spec, rollout, tally, now)
    }

    /// Follows a release of the same canary that went on for a while: to a later
    /// generation, or within this one to a rollback or a lower weight. Never raises
    /// the weight of a generation.
    #[must_use]
    pub fn follow(&mut self, other: Snapshot, tally: &Tally, now: Timestamp) -> Vec<Effect> {
        self.take_over(
            |rollout| rollout.follow(other.standing(), now),
            (tally, now),
        )
    }
}

impl Snapshot {
    fn standing(self) -> (Generation, Phase, Weight) {
        (self.generation, self.phase, self.weight)
    }
}

#[cfg(test)]
mod tests;
