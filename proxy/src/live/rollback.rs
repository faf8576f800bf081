//! The kill switch: every canary loses its traffic at once.

use haldane_decide::rollout::{Command, Order};

use super::Live;

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
