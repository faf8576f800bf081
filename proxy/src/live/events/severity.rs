//! How much an event matters to people.

use haldane_decide::rollout::{Cause, NoticeKind};
use serde::Serialize;

use super::{AftermathKind, Happening, ProcessEventKind};

/// How much an event matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody must act.
    Critical,
    /// All is as planned.
    Info,
    /// Somebody should look.
    Warning,
}

impl Severity {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }

    /// Of an event.
    pub(crate) const fn of(what: &Happening) -> Self {
        match what {
            Happening::Agreement(_) => Self::Info,
            Happening::Aftermath(event) => match event.kind {
                AftermathKind::RollbackUnverified { .. } => Self::Warning,
                AftermathKind::RollbackVerified => Self::Info,
            },
            Happening::Process(event) => match event.kind {
                ProcessEventKind::Frozen { .. } | ProcessEventKind::ReloadFailed { .. } => {
                    Self::Warning
                }
                ProcessEventKind::Reloaded { .. } | ProcessEventKind::Unfrozen { .. } => Self::Info,
            },
            Happening::Release(event) => Self::of_notice(&event.notice.kind),
        }
    }

    /// Of a change of one route. What somebody has asked for matters less.
    pub(crate) const fn of_notice(kind: &NoticeKind) -> Self {
        match kind {
            NoticeKind::Breached { .. }
            | NoticeKind::Confirmed { .. }
            | NoticeKind::Incident { .. } => Self::Warning,
            NoticeKind::Completed { .. }
            | NoticeKind::Prepared { .. }
            | NoticeKind::Progressed { .. }
            | NoticeKind::Promoted { .. }
            | NoticeKind::Ready { .. }
            | NoticeKind::Reconfigured(_)
            | NoticeKind::Resumed { .. }
            | NoticeKind::Retried { .. }
            | NoticeKind::Reweighed { .. }
            | NoticeKind::Started { .. } => Self::Info,
            NoticeKind::Paused { by, .. } => match by {
                Cause::Command { .. } | Cause::Configuration | Cause::Plan => Self::Info,
                Cause::Overdue { .. } | Cause::StateDamaged { .. } => Self::Warning,
                Cause::Breach(_) => Self::Critical,
            },
            NoticeKind::RollbackRefused { .. } | NoticeKind::StateDamaged { .. } => Self::Critical,
            NoticeKind::RolledBack { by, .. } => match by {
                Cause::Command { .. } | Cause::Configuration | Cause::Plan => Self::Warning,
                Cause::Breach(_) | Cause::Overdue { .. } | Cause::StateDamaged { .. } => {
                    Self::Critical
                }
            },
        }
    }
}
