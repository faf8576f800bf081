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
