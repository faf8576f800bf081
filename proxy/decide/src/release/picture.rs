//! What a release says about itself.

use super::Release;
use crate::gate::VerdictKind;
use crate::rollout::{Cause, Phase};
use crate::status::{OverallVerdict, RolloutStatus, Status};
use crate::time::Timestamp;

impl Release {
    /// What the gates said last, together and each.
    #[must_use]
    pub fn verdict(&self) -> OverallVerdict {
        let gates = self.panel.status();
        let undecided = gates
            .iter()
            .any(|gate| gate.verdict == VerdictKind::Inconclusive);
        let has_failed = self.refusals.standing().is_some()
            || self.observed.is_some()
            || matches!(self.phase().cause(), Some((_, Cause::Breach(_))));
        let verdict = if has_failed {
            VerdictKind::Fail
        } else if undecided {
            VerdictKind::Inconclusive
        } else {
            VerdictKind::Pass
        };
        OverallVerdict { verdict, gates }
    }

    /// A picture of everything, for people and for the admin API.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let phase = self.phase();
        let by = phase.cause().map(|(_, by)| by.clone());
        let refused = self.refusals.standing();
        let verdict = self.verdict();
        let waits_for = self.rollout.waiting(&verdict.gates);
        let waits_for = waits_for.map(|waiting| waiting.to_string()).or_else(|| {
            let burns = self.rollout.may_begin() && self.panel.is_burning();
            burns.then(|| "the error budget of the service to last again".to_owned())
        });
        let plan = self.rollout.plan();
        let position = phase.position().copied().unwrap_or_default();
        let rollout = (!plan.is_fixed()).then(|| {
            let step = match phase {
                Phase::Complete { .. } => plan.count(),
                Phase::Idle
                | Phase::Paused { .. }
                | Phase::Progressing { .. }
                | Phase::Promoted { .. }
                | Phase::RolledBack { .. } => position.step,
            };
            RolloutStatus::of(plan, (step, position.held, position.requests))
        });
        let (mut rolled_back_at, mut paused_at, mut completed_at) = (None, None, None);
        match phase {
            Phase::Complete { at } => completed_at = Some(*at),
            Phase::Paused { at, .. } => paused_at = Some(*at),
            Phase::RolledBack { at, .. } => rolled_back_at = Some(*at),
            Phase::Idle | Phase::Progressing { .. } | Phase::Promoted { .. } => {}
        }
        Status {
            at: now,
            phase: phase.name(),
            rolled_back_at,
            paused_at,
            completed_at,
            cause: by.as_ref().map(Cause::to_string),
            by,
            rollback_refused_at: refused.map(|refused| refused.at),
            rollback_refused: refused.map(ToString::to_string),
            observed: self.observed.as_ref().map(|(_, breach)| breach.to_string()),
            generation: self.generation(),
            weight: self.weight(),
            configured_weight: self.rollout.configured(),
            rollout,
            waits_for,
            verdict,
            commands: self.rollout.commands(),
        }
    }
}
