//! Where a rollout stands and what may happen next: the state machine of a route.

use std::fmt;

use serde::Serialize;

use crate::gate::{Breach, GateStatus};
use crate::generation::Generation;
use crate::release::change::{Amendment, CanaryChange, Change};
use crate::time::Timestamp;
use crate::weight::Weight;

mod command;
mod notice;

pub use command::{Command, CommandName, Order, Rejected};
pub use notice::{Cause, Effect, Notice, NoticeKind};

/// Where a rollout stands. This is the whole state; there are no flags.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "one in a rollout, and it is moved once"
)]
pub enum Phase {
    /// The canary has the weight it was given, until somebody or a gate changes it.
    Idle,
    /// The canary's weight is zero, for this generation for good.
    RolledBack {
        /// Since when.
        at: Timestamp,
        /// Why.
        by: Cause,
    },
}

impl Phase {
    /// The phase without its data.
    #[must_use]
    pub const fn name(&self) -> PhaseName {
        match self {
            Self::Idle => PhaseName::Idle,
            Self::RolledBack { .. } => PhaseName::RolledBack,
        }
    }
}

/// A phase without its data.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// See [`Phase::Idle`].
    Idle,
    /// See [`Phase::RolledBack`].
    RolledBack,
}

impl PhaseName {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::RolledBack => "rolled_back",
        }
    }

    /// The commands that would change something in this phase.
    #[must_use]
    pub const fn commands(self) -> &'static [CommandName] {
        match self {
            Self::Idle => &[CommandName::Weight, CommandName::Rollback],
            Self::RolledBack => &[CommandName::Retry],
        }
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::RolledBack => "rolled back",
        })
    }
}

/// One route's phase, generation and weight.
#[derive(Clone, Debug)]
pub(crate) struct Rollout {
    configured: Weight,
    generation: Generation,
    phase: Phase,
    weight: Weight,
}

impl Rollout {
    /// The first generation, with the configured weight.
    pub(crate) const fn new(configured: Weight) -> Self {
        Self {
            configured,
            generation: Generation::FIRST,
            phase: Phase::Idle,
            weight: configured,
        }
    }

    /// A rollout that stands there. What is rolled back has no weight, whatever is said.
    pub(crate) fn standing(
        configured: Weight,
        (generation, phase, weight): (Generation, Phase, Weight),
    ) -> Self {
        let weight = match phase {
            Phase::Idle => weight,
            Phase::RolledBack { .. } => Weight::ZERO,
        };
        Self {
            configured,
            generation,
            phase,
            weight,
        }
    }

    /// Moves to where another rollout of the same canary stands, if that is a later
    /// generation, or the same with less for the canary. Otherwise without effect.
    pub(crate) fn follow(
        &mut self,
        (generation, phase, weight): (Generation, Phase, Weight),
        now: Timestamp,
    ) -> Vec<Effect> {
        let (latched, later) = (
            matches!(self.phase, Phase::RolledBack { .. }),
            generation > self.generation,
        );
        let lower = generation == self.generation && !latched;
        let from = self.weight;
        match phase {
            Phase::RolledBack { at, by } if later || lower => {
                self.generation = generation;
                self.weight = Weight::ZERO;
                self.phase = Phase::RolledBack { at, by: by.clone() };
                self.effects(NoticeKind::RolledBack { from, by }, now)
            }
            Phase::Idle if later || (lower && weight < from) => {
                self.generation = generation;
                self.weight = weight;
                self.phase = Phase::Idle;
                let by = Cause::Command {
                    actor: Some("haldane".to_owned()),
                    reason: Some("so left by the process before".to_owned()),
                };
                let to = weight;
                self.effects(NoticeKind::Reweighed { from, to, by }, now)
            }
            Phase::Idle | Phase::RolledBack { .. } => Vec::new(),
        }
    }

    pub(crate) const fn configured(&self) -> Weight {
        self.configured
    }

    pub(crate) const fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) const fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) const fn weight(&self) -> Weight {
        self.weight
    }

    /// Carries out a command.
    ///
    /// | phase | retry | rollback | weight 0 | weight above 0 |
    /// | --- | --- | --- | --- | --- |
    /// | idle | no effect | → rolled back | weight 0 | that weight |
    /// | rolled back | → idle, next generation, configured weight | no effect | no effect | rejected |
    ///
    /// A weight that is in force already has no effect. What has no effect returns
    /// an empty `Vec`, which does not allocate.
    pub(crate) fn handle(&mut self, order: Order, now: Timestamp) -> Result<Vec<Effect>, Rejected> {
        let rejected = Rejected {
            command: order.command,
            phase: self.phase.name(),
        };
        match (&self.phase, order.command) {
            (Phase::Idle, Command::Retry) | (Phase::RolledBack { .. }, Command::Rollback) => {
                Ok(Vec::new())
            }
            (Phase::Idle, Command::Rollback) => Ok(self.roll_back(order.into_cause(), now)),
            (Phase::Idle, Command::SetWeight(to)) if to == self.weight => Ok(Vec::new()),
            (Phase::Idle, Command::SetWeight(to)) => {
                let from = self.weight;
                self.weight = to;
                let by = order.into_cause();
                Ok(self.effects(NoticeKind::Reweighed { from, to, by }, now))
            }
            (Phase::RolledBack { .. }, Command::Retry) => {
                self.phase = Phase::Idle;
                self.generation = self.generation.next();
                self.weight = self.configured;
                let by = order.into_cause();
                Ok(self.effects(
                    NoticeKind::Retried {
                        weight: self.weight,
                        by,
                    },
                    now,
                ))
            }
            (Phase::RolledBack { .. }, Command::SetWeight(Weight::ZERO)) => Ok(Vec::new()),
            (Phase::RolledBack { .. }, Command::SetWeight(_)) => Err(rejected),
        }
    }

    /// Takes the canary's traffic away because a gate failed. No effect if it is
    /// rolled back already.
    pub(crate) fn breach(&mut self, breach: Breach, now: Timestamp) -> Vec<Effect> {
        match self.phase {
            Phase::Idle => self.roll_back(Cause::Breach(breach), now),
            Phase::RolledBack { .. } => Vec::new(),
        }
    }

    /// Takes over what the configuration says; see [`crate::release::Release::reconfigure`].
    pub(crate) fn reconfigure(
        &mut self,
        configured: Weight,
        change: Change,
        now: Timestamp,
    ) -> Vec<Effect> {
        let amendment = Amendment {
            stable: change.stable,
            gates: change.gates,
            weight: configured != self.configured,
        };
        self.configured = configured;
        let is_rolled_back = matches!(self.phase, Phase::RolledBack { .. });
        let by = Cause::Configuration;
        match change.canary {
            CanaryChange::Replaced => self.start(now),
            CanaryChange::Returned if !is_rolled_back => self.start(now),
            CanaryChange::Removed if !self.weight.is_zero() => {
                let from = self.weight;
                self.weight = Weight::ZERO;
                let to = self.weight;
                self.effects(NoticeKind::Reweighed { from, to, by }, now)
            }
            CanaryChange::Same | CanaryChange::Returned if amendment.is_one() => {
                vec![self.announce(NoticeKind::Reconfigured(amendment), now)]
            }
            CanaryChange::Removed | CanaryChange::Returned | CanaryChange::Same => Vec::new(),
        }
    }

    /// A new generation, because there is another canary.
    fn start(&mut self, now: Timestamp) -> Vec<Effect> {
        self.phase = Phase::Idle;
        self.generation = self.generation.next();
        self.weight = self.configured;
        let (weight, by) = (self.weight, Cause::Configuration);
        self.effects(NoticeKind::Started { weight, by }, now)
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
        self.phase = Phase::RolledBack {
            at: now,
            by: by.clone(),
        };
        self.effects(NoticeKind::RolledBack { from, by }, now)
    }

    /// The weight comes first: it is what protects users, the notice can wait.
    fn effects(&self, kind: NoticeKind, at: Timestamp) -> Vec<Effect> {
        let (generation, weight) = (self.generation, self.weight);
        vec![
            Effect::Reweigh { generation, weight },
            self.announce(kind, at),
        ]
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
