//! What a configuration would do to a release, told before it is in force.

use super::change::{CanaryChange, Change};
use super::{Release, ReleaseSpec};
use crate::rollout::{Phase, PhaseName};
use crate::tally::Tally;
use crate::time::Timestamp;

impl Release {
    /// What [`Release::reconfigure`] with the same arguments would do, in one sentence;
    /// `None` if nothing that anybody would notice. It is done to a copy, so it cannot
    /// differ from what will happen, unless something else happens first.
    #[must_use]
    pub fn foresee(
        &self,
        spec: ReleaseSpec,
        change: Change,
        tally: &Tally,
        now: Timestamp,
    ) -> Option<String> {
        let mut after = self.clone();
        let begins_anew = self.with_gates(change, &spec).restarts_evidence();
        let has_other_steps = spec.plan.steps() != self.spec.plan.steps();
        let effects = after.reconfigure(spec, change, tally, now);
        if effects.is_empty() {
            return None;
        }
        let before = self.place();
        if after.generation() != self.generation() {
            let generation = after.generation();
            let begins = if after.rollout.plan().is_fixed() {
                format!("begins with {}", after.weight())
            } else {
                format!("begins at its first step, {},", after.rollout.configured())
            };
            let begins = begins.trim_end_matches(',');
            return Some(format!(
                "another canary: generation {generation} {begins}, instead of {before}"
            ));
        }
        if change.canary == CanaryChange::Removed {
            return Some(format!("the canary is gone, after {before}"));
        }
        let mut told = if after.place() == before {
            format!("{before} goes on")
        } else {
            format!("{before} becomes {}", after.place())
        };
        if has_other_steps && after.phase().name() == PhaseName::Progressing {
            told.push_str("; its hold begins anew");
        }
        if begins_anew && after.phase().is_judged() {
            told.push_str("; its evidence begins anew");
        }
        Some(told)
    }

    /// Where it stands, in a few words.
    fn place(&self) -> String {
        let phase = self.phase().name();
        let step = match self.phase() {
            Phase::Paused { position, .. } | Phase::Progressing { position }
                if position.step > 0 =>
            {
                format!(" at step {}", position.step)
            }
            Phase::Complete { .. }
            | Phase::Idle
            | Phase::Paused { .. }
            | Phase::Progressing { .. }
            | Phase::Promoted { .. }
            | Phase::RolledBack { .. } => String::new(),
        };
        format!("{phase}{step} with {}", self.weight())
    }
}
