//! Freezes rollouts, and lets them go on.

use std::sync::Arc;

use hyper::Method;
use serde::Serialize;

use super::body;
use super::command::make_safe;
use super::problem::Problem;
use super::reply::{Reply, json};
use crate::live::Live;
use crate::live::freeze::Frozen;

/// Whether rollouts are frozen, and since when.
#[derive(Serialize)]
struct FreezeView {
    frozen: Option<Arc<Frozen>>,
    changed: bool,
    persisted: bool,
}

/// Carries out `PUT` or `DELETE`. Both have no effect the second time.
pub(super) async fn change(method: &Method, body: &[u8], live: &Live) -> Result<Reply, Problem> {
    let who = body::parse_or_default(body)?;
    let changed = if *method == Method::PUT {
        live.freeze(who.actor, who.reason)
    } else {
        live.unfreeze(who.actor, who.reason)
    };
    let persisted = make_safe(live).await;
    json(&FreezeView {
        frozen: live.freeze.get(),
        changed,
        persisted,
    })
}
