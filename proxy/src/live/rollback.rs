//! The kill switch: every canary loses its traffic at once. And how fast those were that
//! gates have made.

use std::sync::Arc;

use haldane_decide::gate::Breach;
use haldane_decide::release::Release;
use haldane_decide::rollout::{Cause, Command, Notice, NoticeKind, Order, PhaseName};

use super::{Judge, Live};
use crate::clock::Micros;

impl Live {
    /// Rolls back every route that has a canary. True if anything changed.
    pub(crate) fn rollback_all(&self, actor: &str, reason: Option<&str>) -> bool {
        self.rollback_all_by(Some(actor), reason)
    }

    /// [`Live::rollback_all`] by somebody who need not have said who they are.
    pub(crate) fn rollback_all_by(&self, actor: Option<&str>, reason: Option<&str>) -> bool {
        let mut changed = false;
        for route in self.routes().iter() {
            if route.config.canary.is_none() {
                continue;
            }
            let order = Order {
                command: Command::Rollback,
                actor: actor.map(str::to_owned),
                reason: reason.map(str::to_owned),
            };
            // A rollback is legal in every phase.
            changed |= route.command(order, self).unwrap_or(false);
        }
        changed
    }
}

impl Judge {
    /// Records how long a breach took to become weight zero, if the notice is one.
    pub(super) fn note_breach(
        &mut self,
        notice: &Notice,
        seen: Option<Micros>,
        done: Micros,
    ) -> Option<Micros> {
        let NoticeKind::RolledBack {
            by: Cause::Breach(Breach { gate, .. }),
            ..
        } = &notice.kind
        else {
            return None;
        };
        match self
            .rollbacks_by_gate
            .iter_mut()
            .find(|(name, _)| name == gate)
        {
            Some((_, count)) => *count += 1,
            None => self.rollbacks_by_gate.push((Arc::clone(gate), 1)),
        }
        let took = done.saturating_sub(seen?);
        self.rollback_times.saturating_record(took);
        Some(took)
    }
}

/// The generation of a release if it is rolled back, else 0.
pub(super) fn rolled_back_of(release: &Release) -> u32 {
    match release.phase().name() {
        PhaseName::RolledBack => release.generation().0,
        PhaseName::Complete
        | PhaseName::Idle
        | PhaseName::Paused
        | PhaseName::Progressing
        | PhaseName::Promoted => 0,
    }
}
