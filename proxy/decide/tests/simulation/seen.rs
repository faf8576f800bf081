//! What has happened in a simulation, so that it cannot pass by doing nothing.

use haldane_decide::gate::Breach;
use haldane_decide::rollout::{Cause, Effect, NoticeKind};

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) by_run: u64,
    pub(crate) by_rate: u64,
    pub(crate) by_latency: u64,
    pub(crate) by_command: u64,
    pub(crate) retries: u64,
    pub(crate) rejections: u64,
    pub(crate) refusals: u64,
}

pub(crate) fn breach_of(effect: &Effect) -> Option<&Breach> {
    if let Effect::Announce(notice) = effect
        && let NoticeKind::RolledBack { by, .. } = &notice.kind
        && let Cause::Breach(breach) = by
    {
        Some(breach)
    } else {
        None
    }
}

pub(crate) fn count(effects: &[Effect], seen: &mut Seen) {
    for effect in effects {
        match breach_of(effect).map(|breach| &*breach.gate) {
            Some("meltdown") => seen.by_run += 1,
            Some("errors") => seen.by_rate += 1,
            Some("latency") => seen.by_latency += 1,
            Some(_) | None => {}
        }
        if let Effect::Announce(notice) = effect {
            match notice.kind {
                NoticeKind::Retried { .. } => seen.retries += 1,
                NoticeKind::RollbackRefused { .. } => seen.refusals += 1,
                NoticeKind::RolledBack {
                    by: Cause::Command { .. } | Cause::Configuration,
                    ..
                } => seen.by_command += 1,
                NoticeKind::RolledBack {
                    by:
                        Cause::Breach(_)
                        | Cause::Overdue { .. }
                        | Cause::Plan
                        | Cause::StateDamaged { .. },
                    ..
                }
                | NoticeKind::Breached { .. }
                | NoticeKind::Completed { .. }
                | NoticeKind::Confirmed { .. }
                | NoticeKind::Incident { .. }
                | NoticeKind::Paused { .. }
                | NoticeKind::Prepared { .. }
                | NoticeKind::Progressed { .. }
                | NoticeKind::Promoted { .. }
                | NoticeKind::Ready { .. }
                | NoticeKind::Resumed { .. }
                | NoticeKind::Reconfigured(_)
                | NoticeKind::StateDamaged { .. }
                | NoticeKind::Reweighed { .. }
                | NoticeKind::Started { .. } => {}
            }
        }
    }
}
