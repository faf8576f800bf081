//! Reads routes, at once or as soon as something has happened.

use std::time::Duration;

use hyper::http::request::Parts;

use super::problem::Problem;
use super::reply::{Reply, json};
use super::resource::Resource;
use super::{Hub, seq, view};
use crate::live::Live;

/// Nobody waits longer for an answer; whoever wants to asks again.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Answers `GET /v1/routes` and `GET /v1/routes/{route}`. With `?wait=SEQ` only once there
/// is an event after that one, of the route or of any, or after [`WAIT_MAX`].
pub(super) async fn read(
    hub: &Hub,
    resource: Resource<'_>,
    head: &Parts,
) -> Result<Reply, Problem> {
    let live = &*hub.live;
    let seen = seq(head, "wait")?;
    match resource {
        Resource::Route(name) => {
            // Before the wait: a name that is wrong is told at once.
            let route = hub.route(name)?;
            if let Some(seen) = seen {
                until(live, || live.events.last_of(&route.config.name) > seen).await;
            }
            view::route(&*hub.route(name)?, live)
        }
        _ => {
            if let Some(seen) = seen {
                until(live, || live.events.last() > seen).await;
            }
            json(&view::routes(live))
        }
    }
}

async fn until(live: &Live, is_reached: impl Fn() -> bool) {
    let mut newest = live.events.subscribe();
    let reached = newest.wait_for(|_| is_reached());
    // Whether it was reached or not, the answer is what is there now.
    drop(tokio::time::timeout(WAIT_MAX, reached).await);
}
