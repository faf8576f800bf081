//! What has happened, why, and what the caller must do about it.

use std::fmt;

use serde::Serialize;

use crate::gate::Breach;
use crate::gate::spec::GateName;
use crate::generation::Generation;
use crate::release::change::Amendment;
use crate::time::Timestamp;
use crate::weight::Weight;

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
    /// A step has waited for evidence longer than it may.
    Overdue {
        /// What it waited for.
        detail: String,
    },
    /// The plan says so: the hold is over and every gate passes.
    Plan,
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
            Self::Overdue { detail } => write!(f, "no verdict in time: {detail}"),
            Self::Plan => f.write_str("the plan"),
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
        /// Who gets the canary at weight zero.
        reach: CanaryReach,
    },
}

/// Who gets the canary while its weight is zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CanaryReach {
    /// Nobody.
    Closed,
    /// Who asks for it by name and may: the plan has a step for that.
    Forced,
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
    /// A gate failed, and the configuration says that this is only told.
    Breached {
        /// The weight that stays.
        weight: Weight,
        /// Why it would have been rolled back.
        by: Cause,
    },
    /// The rollout is over: the version before is not needed any more.
    Completed {
        /// The weight that stays.
        weight: Weight,
    },
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
    /// Nothing moves any more but by command.
    Paused {
        /// The number of the step.
        step: u32,
        /// The weight that stays.
        weight: Weight,
        /// Why.
        by: Cause,
    },
    /// There is another canary, which gets its first traffic as soon as nothing stands
    /// against it.
    Prepared {
        /// Why.
        by: Cause,
    },
    /// The next step began.
    Progressed {
        /// Its number, counted from 1.
        step: u32,
        /// The weight was this.
        from: Weight,
        /// It is this.
        to: Weight,
        /// Why.
        by: Cause,
    },
    /// The canary has all traffic, and is still judged.
    Promoted {
        /// It had this weight.
        from: Weight,
        /// Why.
        by: Cause,
    },
    /// The hold is over and every gate passes: the step waits for a person.
    Ready {
        /// The number of the step.
        step: u32,
        /// The weight that stays.
        weight: Weight,
    },
    /// The configuration has changed what the canary is compared with, what it is
    /// judged by, or what the next generation begins with. Generation and weight stay.
    Reconfigured(Amendment),
    /// The plan goes on.
    Resumed {
        /// The number of the step.
        step: u32,
        /// The weight that stays.
        weight: Weight,
        /// Why.
        by: Cause,
    },
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
    /// The canary of a generation got its first traffic, or may be asked for by name.
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

impl NoticeKind {
    /// Why it happened, where that is not all that happened.
    #[must_use]
    pub const fn by(&self) -> Option<&Cause> {
        match self {
            Self::Breached { by, .. }
            | Self::Paused { by, .. }
            | Self::Prepared { by }
            | Self::Progressed { by, .. }
            | Self::Promoted { by, .. }
            | Self::Resumed { by, .. }
            | Self::Retried { by, .. }
            | Self::Reweighed { by, .. }
            | Self::RollbackRefused { by, .. }
            | Self::RolledBack { by, .. }
            | Self::Started { by, .. } => Some(by),
            Self::Completed { .. }
            | Self::Confirmed { .. }
            | Self::Incident { .. }
            | Self::Ready { .. }
            | Self::Reconfigured(_)
            | Self::StateDamaged { .. } => None,
        }
    }
}
