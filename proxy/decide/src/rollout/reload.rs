//! What a new configuration, or another process, makes of a rollout.

use super::{Cause, Effect, NoticeKind, Phase, Position, Rollout};
use crate::generation::Generation;
use crate::plan::Plan;
use crate::release::change::{Amendment, CanaryChange, Change};
use crate::time::Timestamp;
use crate::weight::Weight;

/// How the weight was to come about before a reload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Course {
    Fixed,
    Planned,
}

impl Rollout {
    /// Takes over what the configuration says; see [`crate::release::Release::reconfigure`].
    pub(crate) fn reconfigure(
        &mut self,
        (configured, plan): (Weight, Plan),
        change: Change,
        now: Timestamp,
    ) -> Vec<Effect> {
        let same_steps = plan.steps() == self.plan.steps();
        let before = if self.plan.is_fixed() {
            Course::Fixed
        } else {
            Course::Planned
        };
        let (was_configured, reach) = (self.configured(), self.reach());
        let same_plan = plan == self.plan;
        (self.configured, self.plan) = (configured, plan);
        let amendment = Amendment {
            stable: change.stable,
            gates: change.gates,
            weight: self.configured() != was_configured,
            plan: !same_plan,
        };
        let is_rolled_back = matches!(self.phase, Phase::RolledBack { .. });
        match change.canary {
            CanaryChange::Replaced => self.start(now),
            CanaryChange::Returned if !is_rolled_back => self.start(now),
            CanaryChange::Removed => self.remove(now),
            CanaryChange::Same | CanaryChange::Returned if amendment.is_one() => {
                if !same_steps {
                    self.change_steps(before, now);
                }
                let mut effects = vec![self.announce(NoticeKind::Reconfigured(amendment), now)];
                if reach != self.reach() {
                    effects.insert(0, self.reweigh());
                }
                effects
            }
            CanaryChange::Returned | CanaryChange::Same => Vec::new(),
        }
    }

    /// A new generation, because there is another canary.
    fn start(&mut self, now: Timestamp) -> Vec<Effect> {
        self.begin_generation();
        let (weight, by) = (self.weight, Cause::Configuration);
        let kind = if self.plan.is_fixed() {
            NoticeKind::Started { weight, by }
        } else {
            NoticeKind::Prepared { by }
        };
        self.effects(kind, now)
    }

    /// There is no canary any more: what is rolled back stays so, everything else is over.
    fn remove(&mut self, now: Timestamp) -> Vec<Effect> {
        let from = self.weight;
        let reach = self.reach();
        if !matches!(self.phase, Phase::RolledBack { .. }) {
            self.go(Phase::Idle);
        }
        if from.is_zero() && reach == self.reach() {
            return Vec::new();
        }
        self.weight = Weight::ZERO;
        let (to, by) = (self.weight, Cause::Configuration);
        self.effects(NoticeKind::Reweighed { from, to, by }, now)
    }

    /// Other steps under the same canary: the weight stays, and the step that it has
    /// reached begins anew. A canary that had no plan, or no traffic, waits for a person:
    /// a reload never moves the weight.
    fn change_steps(&mut self, before: Course, now: Timestamp) {
        let position = Position::at(self.plan.reached(self.weight));
        let phase = match self.phase.clone() {
            phase @ (Phase::Complete { .. } | Phase::RolledBack { .. }) => phase,
            Phase::Promoted { position: before } => Phase::Promoted {
                position: Position {
                    step: self.plan.count(),
                    ..before
                },
            },
            Phase::Paused { .. } | Phase::Progressing { .. } if self.plan.is_fixed() => Phase::Idle,
            Phase::Paused { at, by, .. } => Phase::Paused { at, position, by },
            Phase::Progressing { .. } => Phase::Progressing { position },
            Phase::Idle if self.plan.is_fixed() || before == Course::Planned => Phase::Idle,
            Phase::Idle => Phase::Paused {
                at: now,
                position,
                by: Cause::Configuration,
            },
        };
        self.go(phase);
    }

    /// Moves to where another rollout of the same canary stands, if that is a later
    /// generation, or the same with less for the canary. Otherwise without effect.
    pub(crate) fn follow(
        &mut self,
        (generation, phase, weight): (Generation, Phase, Weight),
        now: Timestamp,
    ) -> Vec<Effect> {
        let is_later = generation > self.generation;
        if generation < self.generation || (!is_later && !self.is_above(&phase, weight)) {
            return Vec::new();
        }
        let from = self.weight;
        self.generation = generation;
        self.weight = weight;
        self.go(phase);
        if let Phase::RolledBack { by, .. } = &self.phase {
            let by = by.clone();
            self.weight = Weight::ZERO;
            return self.effects(NoticeKind::RolledBack { from, by }, now);
        }
        self.fit_plan();
        let by = Cause::Command {
            actor: Some("haldane".to_owned()),
            reason: Some("so left by the process before".to_owned()),
        };
        let to = self.weight;
        self.effects(NoticeKind::Reweighed { from, to, by }, now)
    }

    /// Whether the canary has more here than in this phase with this weight, in the same
    /// generation.
    fn is_above(&self, phase: &Phase, weight: Weight) -> bool {
        match (&self.phase, phase) {
            (Phase::RolledBack { .. }, _) => false,
            (_, Phase::RolledBack { .. }) => true,
            (Phase::Paused { .. }, _) => weight < self.weight,
            (_, Phase::Paused { .. }) => weight <= self.weight,
            (
                Phase::Complete { .. }
                | Phase::Idle
                | Phase::Progressing { .. }
                | Phase::Promoted { .. },
                _,
            ) => weight < self.weight,
        }
    }
}
