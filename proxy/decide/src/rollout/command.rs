//! What people may ask for, and why it may not be done.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::{Cause, PhaseName};
use crate::weight::Weight;

/// What a person may ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Stop the plan where it is, whatever the gates say.
    Pause,
    /// Go on, whatever the gates say.
    Promote(Promotion),
    /// Let the plan go on.
    Resume,
    /// Start a new generation.
    Retry,
    /// Take all traffic from the canary, for this generation for good.
    Rollback,
    /// Give the canary this share.
    SetWeight(Weight),
}

/// How far a promotion goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Promotion {
    /// To all traffic.
    Full,
    /// To the next step. If the number of the present one is given, only from there, so
    /// that a repeated command does not go two steps.
    Next {
        /// The number of the step that is to be left; 0 before the first.
        from: Option<u32>,
    },
}

impl Command {
    /// The command without its data.
    #[must_use]
    pub const fn name(self) -> CommandName {
        match self {
            Self::Pause => CommandName::Pause,
            Self::Promote(_) => CommandName::Promote,
            Self::Resume => CommandName::Resume,
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
    /// [`Command::Pause`].
    Pause,
    /// [`Command::Promote`].
    Promote,
    /// [`Command::Resume`].
    Resume,
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
            Self::Pause => "pause",
            Self::Promote => "promote",
            Self::Resume => "resume",
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
    pub(super) fn into_cause(self) -> Cause {
        Cause::Command {
            actor: self.actor,
            reason: self.reason,
        }
    }
}

/// A command that is not legal now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected {
    /// What was asked for.
    pub command: Command,
    /// In which phase.
    pub phase: PhaseName,
    /// What stands against it.
    pub why: Objection,
}

/// What stands against a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Objection {
    /// Nothing starts or advances while that is so; this is why.
    Frozen(Arc<str>),
    /// There are no steps.
    NoPlan,
    /// What must hold before the first step does not; this is why.
    Preconditions(Arc<str>),
    /// The generation is rolled back.
    RolledBack,
}

impl Rejected {
    /// What the caller can do instead.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match &self.why {
            Objection::Frozen(_) => "unfreeze first; rollback, pause and lower weights always work",
            Objection::NoPlan => "set a weight, or promote with `full`",
            Objection::Preconditions(_) => "the rollout begins by itself as soon as they hold",
            Objection::RolledBack => "retry starts a new generation",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self.command.name().as_str();
        match &self.why {
            Objection::Frozen(why) => write!(f, "{command} is not legal while frozen ({why})"),
            Objection::NoPlan => write!(f, "{command} needs a plan, and the route has none"),
            Objection::Preconditions(why) => write!(f, "{command} is not legal yet: {why}"),
            Objection::RolledBack => f.write_str("this generation is rolled back and stays at 0%"),
        }
    }
}

impl Error for Rejected {}
