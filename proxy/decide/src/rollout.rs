//! Where a rollout stands and what may happen next: the state machine of a route.

use std::error::Error;
use std::fmt;

use serde::Serialize;

use crate::gate::spec::GateName;
use crate::gate::{Breach, GateStatus};
use crate::generation::Generation;
use crate::release::change::{Amendment, CanaryChange, Change};
use crate::time::Timestamp;
use crate::weight::Weight;

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

/// What a person may ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Start a new generation with the configured weight.
    Retry,
    /// Take all traffic from the canary, for this generation for good.
    Rollback,
    /// Give the canary this share.
    SetWeight(Weight),
}

impl Command {
    /// The command without its data.
    #[must_use]
    pub const fn name(self) -> CommandName {
        match self {
            Self::Retry => CommandName::Retry,
            Self::Rollback => CommandName::Rollback,
            Self::SetWeight(_) => CommandName::Weight,
        }
    }
}

/// A command by its name on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandName {
    /// [`Command::Retry`].
    Retry,
    /// [`Command::Rollback`].
    Rollback,
    /// [`Command::SetWeight`].
    Weight,
}

impl CommandName {
    /// The name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Rollback => "rollback",
            Self::Weight => "weight",
        }
    }
}

/// A command, and who gives it why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Who says so.
    pub actor: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
}

impl Order {
    fn into_cause(self) -> Cause {
        Cause::Command {
            actor: self.actor,
            reason: self.reason,
        }
    }
}

/// Why something happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// A gate failed.
    Breach(Breach),
    /// Somebody gave a command.
    Command {
        /// Who.
        actor: Option<String>,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// The configuration says so.
    Configuration,
    /// What was kept of the release cannot be read, and so it may have been rolled back.
    StateDamaged {
        /// What is wrong with it.
        detail: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breach(breach) => breach.fmt(f),
            Self::Command { actor, reason } => {
                f.write_str("command")?;
                if let Some(actor) = actor {
                    write!(f, " by {actor}")?;
                }
                if let Some(reason) = reason {
                    write!(f, ": {reason}")?;
                }
                Ok(())
            }
            Self::Configuration => f.write_str("the configuration"),
            Self::StateDamaged { detail } => write!(f, "state damaged: {detail}"),
        }
    }
}

/// What the caller must do next, in this order.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one in a rollout, and it is moved once"
)]
pub enum Effect {
    /// Tell whoever listens.
    Announce(Notice),
    /// Make this the weight of the route, at once.
    Reweigh {
        /// Whose weight it is.
        generation: Generation,
        /// The canary's share.
        weight: Weight,
    },
}

/// A message to the outside about a transition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice {
    /// When it happened.
    pub at: Timestamp,
    /// In which generation; for a retry, the new one.
    pub generation: Generation,
    /// What happened.
    #[serde(flatten)]
    pub kind: NoticeKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NoticeKind {
    /// A gate is sure that the canary is worse, by less than a rollback takes. Said once in
    /// a generation; nothing advances while it is so.
    Confirmed {
        /// The weight that stays.
        weight: Weight,
        /// Which gate.
        gate: GateName,
        /// What it says.
        sentence: String,
    },
    /// Both versions are degraded: nothing is rolled back for it.
    Incident {
        /// The weight that stays.
        weight: Weight,
    },
    /// The configuration has changed what the canary is compared with, what it is
    /// judged by, or what the next generation begins with. Generation and weight stay.
    Reconfigured(Amendment),
    /// A new generation began after a rollback.
    Retried {
        /// With this weight.
        weight: Weight,
        /// Why.
        by: Cause,
    },
    /// The weight was changed.
    Reweighed {
        /// It was this.
        from: Weight,
        /// It is this.
        to: Weight,
        /// Why.
        by: Cause,
    },
    /// A gate failed, but stable cannot be reached: the weight stays. As soon as it
    /// can be, and a gate still fails, the canary is rolled back.
    RollbackRefused {
        /// The weight that stays.
        weight: Weight,
        /// Why it would have been rolled back.
        by: Cause,
    },
    /// The canary has lost its traffic.
    RolledBack {
        /// It had this weight.
        from: Weight,
        /// Why.
        by: Cause,
    },
    /// A new generation began because the configuration has another canary.
    Started {
        /// With this weight.
        weight: Weight,
        /// Why.
        by: Cause,
    },
    /// What was kept of the release cannot be read: the canary begins without traffic.
    StateDamaged {
        /// What is wrong with it.
        detail: String,
    },
}

/// A command that is not legal in the current phase.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rejected {
    /// What was asked for.
    pub command: Command,
    /// In which phase.
    pub phase: PhaseName,
}

impl Rejected {
    /// What the caller can do instead.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self.phase {
            PhaseName::Idle => "see the status for the commands that are legal now",
            PhaseName::RolledBack => "retry starts a new generation",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phase {
            PhaseName::Idle => write!(
                f,
                "{} is not legal while idle",
                self.command.name().as_str()
            ),
            PhaseName::RolledBack => f.write_str("this generation is rolled back and stays at 0%"),
        }
    }
}

impl Error for Rejected {}

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
