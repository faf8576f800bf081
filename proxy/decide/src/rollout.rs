//! Where a rollout stands and what may happen next: the state machine of a route.

use std::sync::Arc;

use crate::gate::{Breach, GateStatus};
use crate::generation::Generation;
use crate::plan::{OnBreach, Plan};
use crate::time::Timestamp;
use crate::weight::Weight;

mod command;
mod notice;
mod obey;
mod phase;
mod reload;
mod walk;

pub use command::{Command, CommandName, Objection, Order, Promotion, Rejected};
pub use notice::{CanaryReach, Cause, Effect, Notice, NoticeKind};
pub use phase::{Phase, PhaseName, Position};

/// One route's phase, generation and weight.
#[derive(Clone, Debug)]
pub(crate) struct Rollout {
    /// The weight of a generation without a plan.
    configured: Weight,
    plan: Plan,
    generation: Generation,
    phase: Phase,
    weight: Weight,
    barriers: Barriers,
    /// Up to when time, and how many requests of the canary, are counted in the position.
    counted: Option<(Timestamp, u64)>,
    /// The position as it is kept: it follows in strides.
    kept: Position,
}

/// What stands against starting or advancing.
#[derive(Clone, Debug, Default)]
struct Barriers {
    /// Nothing starts or advances; this is why.
    frozen: Option<Arc<str>>,
    preconditions: Preconditions,
}

/// What must hold before the first step.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Preconditions {
    /// It is not known yet, or does not hold; this is why.
    Awaited(Arc<str>),
    /// It holds, or there is nothing.
    #[default]
    Met,
}

impl Rollout {
    /// The first generation, which begins with the configured weight, or with the plan.
    pub(crate) fn new(configured: Weight, plan: Plan) -> Self {
        let weight = plan.weight_before(configured);
        Self::standing((configured, plan), (Generation::FIRST, Phase::Idle, weight))
    }

    /// A rollout that stands there. What is rolled back has no weight, whatever is said.
    pub(crate) fn standing(
        (configured, plan): (Weight, Plan),
        (generation, phase, weight): (Generation, Phase, Weight),
    ) -> Self {
        let is_rolled_back = matches!(phase, Phase::RolledBack { .. });
        let mut rollout = Self {
            configured,
            plan,
            generation,
            weight: if is_rolled_back { Weight::ZERO } else { weight },
            kept: phase.position().copied().unwrap_or_default(),
            phase,
            barriers: Barriers::default(),
            counted: None,
        };
        rollout.fit_plan();
        rollout
    }

    /// The weight with which a generation begins.
    pub(crate) fn configured(&self) -> Weight {
        let first = self.plan.steps().first();
        first.map_or(self.configured, |step| step.weight)
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) const fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The phase as it is kept for another process: how far it has come follows in strides,
    /// so that there is not something new all the time.
    pub(crate) fn phase_to_keep(&self) -> Phase {
        let mut phase = self.phase.clone();
        if let Some(position) = phase.position_mut() {
            *position = self.kept;
        }
        phase
    }

    pub(crate) const fn weight(&self) -> Weight {
        self.weight
    }

    /// The weight of the next step; the present one if there is none.
    pub(crate) fn next_weight(&self) -> Weight {
        let step = match &self.phase {
            Phase::Idle | Phase::RolledBack { .. } => 0,
            Phase::Complete { .. } => return self.weight,
            Phase::Paused { position, .. }
            | Phase::Progressing { position }
            | Phase::Promoted { position } => position.step,
        };
        let next = self.plan.step(step.saturating_add(1));
        next.map_or(self.weight, |next| next.weight.max(self.weight))
    }

    /// Who gets the canary while its weight is zero: at a step that has none, who asks for
    /// it by name.
    pub(crate) fn reach(&self) -> CanaryReach {
        let step = self.phase.position().map_or(0, |position| position.step);
        match self.plan.step(step) {
            Some(step) if step.weight.is_zero() && self.phase.is_judged() => CanaryReach::Forced,
            Some(_) | None => CanaryReach::Closed,
        }
    }

    /// Nothing starts or advances as long as there is a reason.
    pub(crate) fn freeze(&mut self, why: Option<Arc<str>>) {
        self.barriers.frozen = why;
    }

    pub(crate) fn set_preconditions(&mut self, preconditions: Preconditions) {
        self.barriers.preconditions = preconditions;
    }

    /// Acts on a failed gate as the plan says. No effect if it has acted already.
    pub(crate) fn breach(&mut self, breach: Breach, now: Timestamp) -> Vec<Effect> {
        let by = Cause::Breach(breach);
        match (&self.phase, self.plan.terms.on_breach) {
            (Phase::Complete { .. } | Phase::RolledBack { .. }, _) => Vec::new(),
            (
                Phase::Paused {
                    by: Cause::Breach(_),
                    ..
                },
                OnBreach::Pause,
            ) => Vec::new(),
            (_, OnBreach::Pause) => self.pause(by, now),
            (_, OnBreach::Observe) => {
                let weight = self.weight;
                vec![self.announce(NoticeKind::Breached { weight, by }, now)]
            }
            (_, OnBreach::Rollback) => self.roll_back(by, now),
        }
    }

    /// Tells that both versions are degraded. Changes nothing.
    pub(crate) fn incident(&self, at: Timestamp) -> Effect {
        let weight = self.weight;
        self.announce(NoticeKind::Incident { weight }, at)
    }

    /// Tells that the canary is worse by less than a rollback takes. Changes nothing.
    pub(crate) fn confirmed(&self, gate: GateStatus, at: Timestamp) -> Effect {
        let kind = NoticeKind::Confirmed {
            weight: self.weight,
            gate: gate.name,
            sentence: gate.sentence,
        };
        self.announce(kind, at)
    }

    /// Makes this the weight, for those who replay what others have decided.
    pub(crate) const fn force(&mut self, weight: Weight) {
        self.weight = weight;
    }

    /// Tells that a breach does not act. Changes nothing.
    pub(crate) fn refuse(&self, breach: Breach, at: Timestamp) -> Effect {
        let (weight, by) = (self.weight, Cause::Breach(breach));
        self.announce(NoticeKind::RollbackRefused { weight, by }, at)
    }

    fn roll_back(&mut self, by: Cause, now: Timestamp) -> Vec<Effect> {
        let from = self.weight;
        self.weight = Weight::ZERO;
        self.go(Phase::RolledBack {
            at: now,
            by: by.clone(),
        });
        self.effects(NoticeKind::RolledBack { from, by }, now)
    }

    fn pause(&mut self, by: Cause, now: Timestamp) -> Vec<Effect> {
        let position = self.phase.position().copied().unwrap_or_default();
        self.go(Phase::Paused {
            at: now,
            position,
            by: by.clone(),
        });
        let (step, weight) = (position.step, self.weight);
        vec![self.announce(NoticeKind::Paused { step, weight, by }, now)]
    }

    /// Changes the phase. The time and the requests of a step count from the next look on.
    fn go(&mut self, phase: Phase) {
        self.kept = phase.position().copied().unwrap_or_default();
        self.phase = phase;
        self.counted = None;
    }

    /// The weight comes first: it is what protects users, the notice can wait.
    fn effects(&self, kind: NoticeKind, at: Timestamp) -> Vec<Effect> {
        vec![self.reweigh(), self.announce(kind, at)]
    }

    fn reweigh(&self) -> Effect {
        Effect::Reweigh {
            generation: self.generation,
            weight: self.weight,
            reach: self.reach(),
        }
    }

    const fn announce(&self, kind: NoticeKind, at: Timestamp) -> Effect {
        Effect::Announce(Notice {
            at,
            generation: self.generation,
            kind,
        })
    }
}

#[cfg(test)]
mod tests;
