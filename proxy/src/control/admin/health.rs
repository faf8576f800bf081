//! What is said about addresses, and whether haldane is ready for traffic.

use std::sync::Arc;

use haldane_decide::refusal::StableReach;
use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;
use serde::Serialize;

use crate::live::endpoints::SHOWN_MAX;
use crate::live::{Live, Route};

/// One address of a version.
#[derive(Serialize)]
pub(super) struct AddressView {
    address: Arc<str>,
    /// Requests are sent there. Unhealthy ones get some only for want of anything better.
    healthy: bool,
    /// It gets no requests until then, or until it can be reached again.
    #[serde(skip_serializing_if = "Option::is_none")]
    ejected_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureView>,
}

/// The last failure that was the address's own doing.
#[derive(Serialize)]
struct FailureView {
    at: Timestamp,
    reason: &'static str,
}

impl AddressView {
    /// The first addresses of the version that plays a role.
    pub(super) fn of(route: &Route, role: Role, live: &Live) -> Vec<Self> {
        let Some(endpoints) = route.endpoints(role) else {
            return Vec::new();
        };
        let list = endpoints.now();
        let shown = list.iter().take(SHOWN_MAX).map(|endpoint| {
            let health = &endpoint.health;
            Self {
                address: Arc::clone(&endpoint.shown),
                healthy: endpoint.is_healthy(),
                ejected_until: health.ejected_until().map(|until| live.clock.at(until)),
                last_failure: health.last_failure().map(|(at, failure)| FailureView {
                    at: live.clock.at(at),
                    reason: failure.as_str(),
                }),
            }
        });
        shown.collect()
    }
}

/// Why no traffic should be sent here; `None` if haldane is ready for it: every route has
/// a stable address that is not known to be bad. What becomes of a canary is no reason.
pub(super) fn unready(live: &Live) -> Option<String> {
    let routes = live.routes();
    let dead = |route: &&Arc<Route>| route.stable_reach() == StableReach::Unreachable;
    let names: Vec<&str> = routes
        .iter()
        .filter(dead)
        .map(|route| &*route.config.name)
        .collect();
    if routes.is_empty() {
        Some("there is no route\n".to_owned())
    } else if names.is_empty() {
        None
    } else {
        Some(format!(
            "stable has no healthy address: {}\n",
            names.join(", ")
        ))
    }
}
