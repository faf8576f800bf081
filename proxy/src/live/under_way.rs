//! How much is under way at the versions of a route, on all workers.

use std::sync::atomic::Ordering;

use haldane_decide::role::Role;

use super::Route;

impl Route {
    /// A request begins: how many were under way before.
    pub(crate) fn enter(&self, role: Role) -> usize {
        self.lasting.under_way[role.index()].fetch_add(1, Ordering::Relaxed)
    }

    /// A request has ended.
    pub(crate) fn leave(&self, role: Role) {
        self.lasting.under_way[role.index()].fetch_sub(1, Ordering::Relaxed);
    }
}
