//! What people may ask for, and why it may not be done.

use std::error::Error;
use std::fmt;

use serde::Serialize;

use super::{Cause, PhaseName};
use crate::weight::Weight;

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
    pub(super) fn into_cause(self) -> Cause {
        Cause::Command {
            actor: self.actor,
            reason: self.reason,
        }
    }
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
