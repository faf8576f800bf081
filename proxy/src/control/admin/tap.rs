//! The last requests that the versions of a route have failed.
//!
//! Unlike other reads this one needs the token, where there is one (see [`super::access`]).

use std::cmp::Reverse;
use std::sync::Arc;

use haldane_decide::outcome::{FailureReason, RequestId};
use haldane_decide::role::Role;
use hyper::StatusCode;
use hyper::http::request::Parts;
use serde::Serialize;

use super::problem::Problem;
use super::reply::{Reply, reply};
use crate::live::Route;
use crate::live::tap::FailedRequest;
use crate::telemetry::access::date;
use crate::telemetry::visible;
use crate::trace::TraceId;

/// A limit above this is a mistake: no more are ever kept.
const LIMIT_MAX: usize = 1000;

#[derive(Serialize)]
struct View {
    schema: &'static str,
    route: Arc<str>,
    generation: u32,
    /// The newest first.
    requests: Vec<RequestView>,
    /// How many others there were before those that are kept.
    dropped: u64,
}

#[derive(Serialize)]
struct RequestView {
    at: String,
    role: Role,
    version: Arc<str>,
    generation: u32,
    method: String,
    path: String,
    protocol: &'static str,
    status: Option<u16>,
    grpc_status: Option<u32>,
    reason: FailureReason,
    address: Option<Arc<str>>,
    duration_ms: f64,
    trace_id: Option<TraceId>,
    request_id: Option<RequestId>,
    key: Option<String>,
    shielded: bool,
}

/// Shows what is kept of a route.
pub(super) fn tap(route: &Route, head: &Parts) -> Result<Reply, Problem> {
    let asked = Asked::of(head)?;
    let (mut requests, mut dropped) = (Vec::new(), 0);
    for role in Role::ALL {
        if asked.role.is_none_or(|asked| asked == role) {
            let (kept, others) = route.tapped(role);
            requests.extend(kept);
            dropped += others;
        }
    }
    requests.sort_by_key(|request| Reverse(request.at));
    requests.truncate(asked.limit);
    let view = View {
        schema: "haldane.tap/1",
        route: Arc::clone(&route.config.name),
        generation: route.setting().generation,
        requests: requests.into_iter().map(RequestView::of).collect(),
        dropped,
    };
    // What clients have sent may end up on a terminal as it is.
    let mut body = Vec::new();
    visible::write_json(&mut body, &view).map_err(|_| Problem::internal())?;
    body.push(b'\n');
    Ok(reply(StatusCode::OK, "application/json", body.into()))
}

impl RequestView {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a duration needs no more than 52 bits"
    )]
    fn of(request: FailedRequest) -> Self {
        Self {
            at: date::rfc3339(request.at),
            role: request.role,
            version: request.version,
            generation: request.generation,
            method: request.method.text(),
            path: request.path.text(),
            protocol: request.protocol,
            status: request.status,
            grpc_status: request.grpc_status,
            reason: request.reason,
            address: request.address,
            duration_ms: request.duration as f64 / 1e3,
            trace_id: request.trace,
            request_id: request.id,
            key: request.key.map(|key| format!("{key:016x}")),
            shielded: request.shielded,
        }
    }
}

/// Which of them are asked for.
struct Asked {
    role: Option<Role>,
    limit: usize,
}

impl Asked {
    fn of(head: &Parts) -> Result<Self, Problem> {
        let mut asked = Self {
            role: None,
            limit: LIMIT_MAX,
        };
        let query = head.uri.query().unwrap_or_default();
        let hint = "the parameters are role=canary or role=stable, and limit=1 to 1000";
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let is_read = match part.split_once('=') {
                Some(("role", name)) => {
                    asked.role = Role::ALL.into_iter().find(|role| role.as_str() == name);
                    asked.role.is_some()
                }
                Some(("limit", limit)) => {
                    let limit = limit.parse().ok();
                    let limit = limit.filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    asked.limit = limit.unwrap_or(LIMIT_MAX);
                    limit.is_some()
                }
                _ => false,
            };
            if !is_read {
                return Err(Problem::query(query, hint));
            }
        }
        Ok(asked)
    }
}
