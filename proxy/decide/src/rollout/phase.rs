//! Where a rollout stands.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Cause;
use crate::time::Timestamp;

/// Where a rollout stands. This is the whole state; there are no flags.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// The canary had all traffic for as long as it was to be watched: the rollout is over,
    /// and the version before is not needed any more.
    Complete {
        /// Since when.
        at: Timestamp,
    },
    /// Without a plan: the canary has the weight it was given, until somebody or a gate
    /// changes it. With one: it has not begun.
    Idle,
    /// Nothing moves but by command.
    Paused {
        /// Since when.
        at: Timestamp,
        /// How far it had come.
        position: Position,
        /// Why.
        by: Cause,
    },
    /// The plan is walked.
    Progressing {
        /// How far it has come.
        position: Position,
    },
    /// The canary has all traffic and is still judged.
    Promoted {
        /// The last step, and how long that has lasted.
        position: Position,
    },
    /// The canary's weight is zero, for this generation for good.
    RolledBack {
        /// Since when.
        at: Timestamp,
        /// Why.
        by: Cause,
    },
}

/// How far a rollout has come in its plan.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Position {
    /// The number of the step, counted from 1; 0 before the first.
    pub step: u32,
    /// How long the step has lasted, without pauses.
    pub held: Duration,
    /// Requests of the canary in this time.
    pub requests: u64,
    /// It was told that the step waits for a person only.
    pub ready: bool,
}

impl Position {
    /// The beginning of a step.
    #[must_use]
    pub const fn at(step: u32) -> Self {
        Self {
            step,
            held: Duration::ZERO,
            requests: 0,
            ready: false,
        }
    }
}

impl Phase {
    /// The phase without its data.
    #[must_use]
    pub const fn name(&self) -> PhaseName {
        match self {
            Self::Complete { .. } => PhaseName::Complete,
            Self::Idle => PhaseName::Idle,
            Self::Paused { .. } => PhaseName::Paused,
            Self::Progressing { .. } => PhaseName::Progressing,
            Self::Promoted { .. } => PhaseName::Promoted,
            Self::RolledBack { .. } => PhaseName::RolledBack,
        }
    }

    /// How far it has come in the plan, if it walks one.
    #[must_use]
    pub const fn position(&self) -> Option<&Position> {
        match self {
            Self::Paused { position, .. }
            | Self::Progressing { position }
            | Self::Promoted { position } => Some(position),
            Self::Complete { .. } | Self::Idle | Self::RolledBack { .. } => None,
        }
    }

    pub(super) const fn position_mut(&mut self) -> Option<&mut Position> {
        match self {
            Self::Paused { position, .. }
            | Self::Progressing { position }
            | Self::Promoted { position } => Some(position),
            Self::Complete { .. } | Self::Idle | Self::RolledBack { .. } => None,
        }
    }

    /// Whether the gates judge the canary.
    #[must_use]
    pub const fn is_judged(&self) -> bool {
        match self {
            Self::Complete { .. } | Self::RolledBack { .. } => false,
            Self::Idle | Self::Paused { .. } | Self::Progressing { .. } | Self::Promoted { .. } => {
                true
            }
        }
    }

    /// Since when it is so, and why, where that is known.
    #[must_use]
    pub const fn cause(&self) -> Option<(Timestamp, &Cause)> {
        match self {
            Self::Paused { at, by, .. } | Self::RolledBack { at, by } => Some((*at, by)),
            Self::Complete { .. }
            | Self::Idle
            | Self::Progressing { .. }
            | Self::Promoted { .. } => None,
        }
    }
}

/// A phase without its data.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// See [`Phase::Complete`].
    Complete,
    /// See [`Phase::Idle`].
    Idle,
    /// See [`Phase::Paused`].
    Paused,
    /// See [`Phase::Progressing`].
    Progressing,
    /// See [`Phase::Promoted`].
    Promoted,
    /// See [`Phase::RolledBack`].
    RolledBack,
}

impl PhaseName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Idle,
        Self::Progressing,
        Self::Paused,
        Self::Promoted,
        Self::Complete,
        Self::RolledBack,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Progressing => "progressing",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
        }
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RolledBack => "rolled back",
            Self::Complete | Self::Idle | Self::Paused | Self::Progressing | Self::Promoted => {
                self.as_str()
            }
        })
    }
}
