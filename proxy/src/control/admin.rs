//! The admin and ops listeners: requests to handlers, nothing more.
//!
//! Everything here runs on the control thread, one handler at a time between two
//! awaits, and a handler awaits nothing but the body of its request. So what a
//! handler reads and what it then changes cannot be separated by another command;
//! only a gate can act in between, and it only ever takes weight away.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use haldane_config::Config;
use haldane_decide::rollout::Command;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode, header};

use crate::live::{Live, Route};
use crate::telemetry::metrics::{Format, Metrics};

mod access;
mod body;
mod command;
mod explain;
mod health;
pub(super) mod listen;
mod problem;
mod reply;
mod view;

use access::Access;
use problem::Problem;
use reply::{Reply, json, text};

/// What the handlers share.
pub(super) struct Plane {
    live: Arc<Live>,
    metrics: Metrics,
    access: Access,
}

/// Which listener a request came in by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Surface {
    /// Everything.
    Admin,
    /// Metrics and health only.
    Ops,
}

impl Plane {
    pub(super) fn new(live: &Arc<Live>, config: &Config, admin: &TcpListener) -> Self {
        // The port that was given, where the configuration says 0.
        let address = admin.local_addr().unwrap_or(config.admin.listen);
        Self {
            live: Arc::clone(live),
            metrics: Metrics::new(live),
            access: Access::new(address, config.admin.token.clone()),
        }
    }

    fn route(&self, name: &str) -> Result<Arc<Route>, Problem> {
        self.live
            .route(name)
            .ok_or_else(|| Problem::unknown_route(name, &self.live.routes()))
    }
}

/// What is there, by path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resource<'a> {
    Events,
    Explain,
    Index,
    Liveness,
    Metrics,
    Readiness,
    Retry(&'a str),
    Rollback(&'a str),
    RollbackAll,
    Route(&'a str),
    Routes,
    Startup,
    Verdict(&'a str),
    Weight(&'a str),
}

/// What `GET /` says.
const ENDPOINTS: &str = "\
haldane admin API: \
GET /v1/routes, \
GET /v1/routes/{route}, \
PUT /v1/routes/{route}/weight, \
POST /v1/routes/{route}/rollback, \
POST /v1/routes/{route}/retry, \
GET /v1/routes/{route}/verdict, \
POST /v1/rollback, \
POST /v1/explain, \
GET /v1/events, \
GET /metrics, \
GET /livez, \
GET /readyz, \
GET /startupz\n";

impl<'a> Resource<'a> {
    fn find(surface: Surface, path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let resource = match *segments.as_slice() {
            ["livez"] => Self::Liveness,
            ["metrics"] => Self::Metrics,
            ["readyz"] => Self::Readiness,
            ["startupz"] => Self::Startup,
            _ if surface == Surface::Ops => return None,
            [""] => Self::Index,
            ["v1", "events"] => Self::Events,
            ["v1", "explain"] => Self::Explain,
            ["v1", "rollback"] => Self::RollbackAll,
            ["v1", "routes"] => Self::Routes,
            ["v1", "routes", route] => Self::Route(route),
            ["v1", "routes", route, "retry"] => Self::Retry(route),
            ["v1", "routes", route, "rollback"] => Self::Rollback(route),
            ["v1", "routes", route, "verdict"] => Self::Verdict(route),
            ["v1", "routes", route, "weight"] => Self::Weight(route),
            _ => return None,
        };
        Some(resource)
    }

    /// The value of `Allow`; its first method is the one that does something.
    const fn allow(self) -> &'static str {
        match self {
            Self::Explain | Self::Retry(_) | Self::Rollback(_) | Self::RollbackAll => "POST",
            Self::Weight(_) => "PUT",
            Self::Events
            | Self::Index
            | Self::Liveness
            | Self::Metrics
            | Self::Readiness
            | Self::Route(_)
            | Self::Routes
            | Self::Startup
            | Self::Verdict(_) => "GET, HEAD",
        }
    }
}

/// Answers a request. Cannot fail: a problem is a response too.
async fn answer(plane: &Plane, surface: Surface, request: Request<Incoming>) -> Reply {
    match handle(plane, surface, request).await {
        Ok(reply) => reply,
        Err(problem) => problem.into_reply(),
    }
}

async fn handle(
    plane: &Plane,
    surface: Surface,
    request: Request<Incoming>,
) -> Result<Reply, Problem> {
    let (head, body) = request.into_parts();
    let resource = Resource::find(surface, head.uri.path());
    match resource {
        _ if surface == Surface::Ops => {}
        Some(Resource::Liveness | Resource::Readiness | Resource::Startup) => {}
        Some(Resource::Metrics) => plane.access.check_scraper(&head)?,
        _ => plane.access.check_sender(&head)?,
    }
    let resource = resource.ok_or_else(|| Problem::no_endpoint(head.uri.path()))?;
    let mut allowed = resource.allow().split(", ");
    if !allowed.any(|method| method == head.method.as_str()) {
        return Err(Problem::wrong_method(&head.method, resource.allow()));
    }
    if matches!(head.method, Method::GET | Method::HEAD) {
        return read(plane, resource, &head);
    }
    plane.access.check_token(&head)?;
    body::check_content_type(&head)?;
    let body = body::read(&head, body).await?;
    act(plane, resource, &head, &body)
}

/// Changes nothing.
fn read(plane: &Plane, resource: Resource<'_>, head: &Parts) -> Result<Reply, Problem> {
    let live = &*plane.live;
    match resource {
        Resource::Index => Ok(text(StatusCode::OK, ENDPOINTS)),
        // Whoever is asked these questions answers them by answering.
        Resource::Liveness | Resource::Startup => Ok(text(StatusCode::OK, "ok\n")),
        Resource::Readiness if live.draining.load(Ordering::Relaxed) => {
            Ok(text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"))
        }
        Resource::Readiness => Ok(match health::unready(live) {
            None => text(StatusCode::OK, "ok\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
        }),
        Resource::Metrics => {
            let accept = head.headers.get_all(header::ACCEPT).iter();
            let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
            let format = Format::accepted(&accept.join(","));
            let metrics = plane
                .metrics
                .render(format)
                .map_err(|_| Problem::internal())?;
            Ok(reply::metrics(format, metrics))
        }
        Resource::Routes => {
            no_query(head)?;
            json(&view::routes(live))
        }
        Resource::Route(name) => {
            no_query(head)?;
            view::route(&*plane.route(name)?, live)
        }
        Resource::Verdict(name) => {
            no_query(head)?;
            json(&view::verdict(&*plane.route(name)?, live))
        }
        Resource::Events => json(&view::events(since(head)?, live)),
        // Not reached: these are not asked with GET.
        Resource::Explain
        | Resource::Retry(_)
        | Resource::Rollback(_)
        | Resource::RollbackAll
        | Resource::Weight(_) => Err(Problem::wrong_method(&head.method, resource.allow())),
    }
}

/// Carries out a command, or answers a question that has a body.
fn act(plane: &Plane, resource: Resource<'_>, head: &Parts, body: &[u8]) -> Result<Reply, Problem> {
    no_query(head)?;
    let live = &*plane.live;
    match resource {
        Resource::Explain => explain::explain(plane, body),
        Resource::Retry(name) => {
            let who = body::parse_or_default(body)?;
            let route = plane.route(name)?;
            command::give(&route, Command::Retry, who, head, live)
        }
        Resource::Rollback(name) => {
            let who = body::parse_or_default(body)?;
            let route = plane.route(name)?;
            command::give(&route, Command::Rollback, who, head, live)
        }
        Resource::RollbackAll => command::rollback_all(&body::parse_or_default(body)?, live),
        Resource::Weight(name) => {
            let (weight, who) = command::weight(body)?;
            let route = plane.route(name)?;
            command::give(&route, Command::SetWeight(weight), who, head, live)
        }
        // Not reached: these are asked with GET.
        Resource::Events
        | Resource::Index
        | Resource::Liveness
        | Resource::Metrics
        | Resource::Readiness
        | Resource::Route(_)
        | Resource::Routes
        | Resource::Startup
        | Resource::Verdict(_) => Err(Problem::wrong_method(&head.method, resource.allow())),
    }
}

/// What is not understood is refused, in a query as in a body.
fn no_query(head: &Parts) -> Result<(), Problem> {
    match head.uri.query() {
        None | Some("") => Ok(()),
        Some(query) => Err(Problem::query(query, "this endpoint takes no query")),
    }
}

fn since(head: &Parts) -> Result<u64, Problem> {
    let hint = "the only parameter is since=SEQ, the number of the last event that is known";
    match head.uri.query() {
        None | Some("") => Ok(0),
        Some(query) => query
            .strip_prefix("since=")
            .and_then(|seq| seq.parse().ok())
            .ok_or_else(|| Problem::query(query, hint)),
    }
}

#[cfg(test)]
mod tests;
