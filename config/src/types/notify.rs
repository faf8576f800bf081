//! Who is told of what happens to releases, and how.

use super::Remote;

/// Somebody who is told: `[[notify]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NotifyTarget {
    /// Where.
    pub remote: Remote,
    /// In which form.
    pub format: NotifyFormat,
    /// Of what; at least one, each once.
    pub events: Vec<NotifyEvent>,
}

/// The form of a notice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotifyFormat {
    /// What a deployment tracker keeps.
    Deployment {
        /// Where the release happens, in the tracker's words.
        environment: String,
    },
    /// All there is to say, for programs.
    Json,
    /// A message for people, as Slack's incoming webhooks take it.
    Slack,
}

/// What somebody can be told of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotifyEvent {
    /// The rollout has ended well.
    Completed,
    /// Something is wrong that no rollback mends.
    Incident,
    /// The rollout waits for people.
    Paused,
    /// The canary has got more traffic.
    Progressed,
    /// The canary has lost its traffic.
    RolledBack,
    /// A new generation has begun.
    Started,
}

impl NotifyEvent {
    /// All, in the order in which a rollout may have them.
    pub const ALL: [Self; 6] = [
        Self::Started,
        Self::Progressed,
        Self::Paused,
        Self::RolledBack,
        Self::Completed,
        Self::Incident,
    ];

    /// As it is written and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incident => "incident",
            Self::Paused => "paused",
            Self::Progressed => "progressed",
            Self::RolledBack => "rolled_back",
            Self::Started => "started",
        }
    }
}
