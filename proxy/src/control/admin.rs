//! The admin and ops listeners: requests to handlers, nothing more.
//!
//! Everything here but a scrape runs on the control thread, one handler at a time between
//! two awaits. A handler awaits the body of its request, or that the configuration was read,
//! and, after it has changed something and looked at the result, that this is safe on
//! disk. So what a handler reads and what it then changes cannot be separated by another
//! command or a reload; only a gate can act in between, and it only ever takes weight away.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use haldane_config::{AdminAddress, Secret};
use haldane_decide::rollout::Command;
use hyper::body::{Body, Bytes};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};

use super::reload::Reloader;
use crate::live::{Live, Route};
use crate::telemetry::metrics::Metrics;

mod access;
mod body;
mod command;
mod config;
mod counted;
mod explain;
mod exposure;
mod freeze;
mod health;
pub(super) mod listen;
mod page;
mod problem;
mod reply;
mod resource;
mod scrape;
mod signal;
pub(crate) mod socket;
mod stream;
mod tap;
mod view;
mod wait;

use access::Access;
use problem::Problem;
use reply::{Reply, json, text};
use resource::{OPEN_API, Resource};

/// What all listeners share.
pub(crate) struct Hub {
    live: Arc<Live>,
    metrics: Metrics,
    /// Held by whoever scrapes.
    scraping: tokio::sync::Mutex<()>,
    reloader: Weak<Reloader>,
}

/// What the handlers of one listener share.
pub(crate) struct Plane {
    hub: Arc<Hub>,
    access: Access,
}

/// Which listener a request came in by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Surface {
    /// Everything.
    Admin,
    /// Metrics and health only.
    Ops,
}

impl Hub {
    pub(crate) fn new(live: &Arc<Live>, reloader: Weak<Reloader>) -> Self {
        Self {
            live: Arc::clone(live),
            metrics: Metrics::new(live),
            scraping: tokio::sync::Mutex::default(),
            reloader,
        }
    }

    fn route(&self, name: &str) -> Result<Arc<Route>, Problem> {
        self.live
            .route(name)
            .ok_or_else(|| Problem::unknown_route(name, &self.live.routes()))
    }
}

impl Plane {
    /// For the listener at `address`.
    pub(crate) const fn new(
        hub: Arc<Hub>,
        address: AdminAddress,
        token: Arc<ArcSwapOption<Secret>>,
    ) -> Self {
        Self {
            hub,
            access: Access::new(address, token),
        }
    }
}

/// Answers a request. Cannot fail: a problem is a response too.
pub(crate) async fn answer<B>(plane: &Plane, surface: Surface, request: Request<B>) -> Reply
where
    B: Body<Data = Bytes> + Unpin,
{
    match handle(plane, surface, request).await {
        Ok(reply) => reply,
        Err(problem) => problem.into_reply(),
    }
}

async fn handle<B>(plane: &Plane, surface: Surface, request: Request<B>) -> Result<Reply, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
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
        if let Resource::Tap(_) = resource {
            plane.access.check_token(&head)?;
        }
        return match resource {
            Resource::Route(_) | Resource::Routes => wait::read(&plane.hub, resource, &head).await,
            Resource::Stream => stream::open(&plane.hub.live, &head),
            Resource::Metrics => scrape::scrape(&plane.hub, &head).await,
            _ => read(&plane.hub, resource, &head),
        };
    }
    plane.access.check_token(&head)?;
    let is_check = resource == Resource::ConfigCheck;
    if !(is_check && config::is_toml(&head)) {
        body::check_content_type(&head)?;
    }
    let most = if is_check {
        body::CONFIG_BYTES_MAX
    } else {
        body::BODY_BYTES_MAX
    };
    let body = body::read(&head, body, most).await?;
    no_query(&head)?;
    match resource {
        Resource::ConfigCheck => config::check(&plane.hub, &head, &body).await,
        Resource::ConfigReload => config::reload(&plane.hub, &body).await,
        _ => act(&plane.hub, resource, &head, &body).await,
    }
}

/// Changes nothing.
fn read(hub: &Hub, resource: Resource<'_>, head: &Parts) -> Result<Reply, Problem> {
    let live = &*hub.live;
    match resource {
        Resource::Index => Ok(page::index(head)),
        Resource::Page(file) => Ok(page::serve(file, head)),
        // Whoever is asked these questions answers them by answering.
        Resource::Liveness | Resource::Startup => Ok(text(StatusCode::OK, "ok\n")),
        Resource::Readiness if live.draining.load(Ordering::Relaxed) => {
            Ok(text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"))
        }
        Resource::Readiness => Ok(match health::unready(live) {
            None => text(StatusCode::OK, "ok\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
        }),
        Resource::OpenApi => Ok(reply::reply(
            StatusCode::OK,
            "application/json",
            OPEN_API.into(),
        )),
        Resource::Verdict(name) => {
            no_query(head)?;
            json(&view::verdict(&*hub.route(name)?, live))
        }
        Resource::Events => json(&view::events(seq(head, "since")?.unwrap_or(0), live)),
        Resource::Exposure(name) => exposure::exposure(&*hub.route(name)?, head),
        Resource::Tap(name) => tap::tap(&*hub.route(name)?, head),
        // Not reached: these are not asked with GET, or wait.
        Resource::ConfigCheck
        | Resource::ConfigReload
        | Resource::Explain
        | Resource::Freeze
        | Resource::Metrics
        | Resource::Pause(_)
        | Resource::Promote(_)
        | Resource::Resume(_)
        | Resource::Retry(_)
        | Resource::Rollback(_)
        | Resource::RollbackAll
        | Resource::Route(_)
        | Resource::Routes
        | Resource::Signal(..)
        | Resource::Stream
        | Resource::Weight(_) => Err(Problem::wrong_method(&head.method, resource.allow())),
    }
}

/// Carries out a command, or answers a question that has a body.
async fn act(
    hub: &Hub,
    resource: Resource<'_>,
    head: &Parts,
    body: &[u8],
) -> Result<Reply, Problem> {
    let live = &*hub.live;
    match resource {
        Resource::Explain => explain::explain(hub, body),
        Resource::Freeze => freeze::change(&head.method, body, live).await,
        Resource::Pause(name) => command(hub, name, Command::Pause, (head, body)).await,
        Resource::Promote(name) => {
            let (promotion, who) = command::promotion(body)?;
            let route = hub.route(name)?;
            command::give(&route, Command::Promote(promotion), who, head, live).await
        }
        Resource::Resume(name) => command(hub, name, Command::Resume, (head, body)).await,
        Resource::Retry(name) => command(hub, name, Command::Retry, (head, body)).await,
        Resource::Rollback(name) => command(hub, name, Command::Rollback, (head, body)).await,
        Resource::RollbackAll => command::rollback_all(&body::parse_or_default(body)?, live).await,
        Resource::Signal(name, signal) => signal::report(&*hub.route(name)?, signal, body),
        Resource::Weight(name) => {
            let (weight, who) = command::weight(body)?;
            let route = hub.route(name)?;
            command::give(&route, Command::SetWeight(weight), who, head, live).await
        }
        // Not reached: these are asked with GET, or wait for something.
        Resource::ConfigCheck
        | Resource::ConfigReload
        | Resource::Events
        | Resource::Exposure(_)
        | Resource::Index
        | Resource::Liveness
        | Resource::Metrics
        | Resource::OpenApi
        | Resource::Page(_)
        | Resource::Readiness
        | Resource::Route(_)
        | Resource::Routes
        | Resource::Startup
        | Resource::Stream
        | Resource::Tap(_)
        | Resource::Verdict(_) => Err(Problem::wrong_method(&head.method, resource.allow())),
    }
}

/// Gives a command that says nothing but who gives it and why.
async fn command(
    hub: &Hub,
    route: &str,
    command: Command,
    (head, body): (&Parts, &[u8]),
) -> Result<Reply, Problem> {
    let who = body::parse_or_default(body)?;
    let route = hub.route(route)?;
    command::give(&route, command, who, head, &hub.live).await
}

/// What is not understood is refused, in a query as in a body.
fn no_query(head: &Parts) -> Result<(), Problem> {
    match head.uri.query() {
        None | Some("") => Ok(()),
        Some(query) => Err(Problem::query(query, "this endpoint takes no query")),
    }
}

/// The number of an event that a query may say, as its only parameter, which has this name.
fn seq(head: &Parts, name: &str) -> Result<Option<u64>, Problem> {
    let Some(query) = head.uri.query().filter(|query| !query.is_empty()) else {
        return Ok(None);
    };
    let value = query
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('='));
    match value.and_then(|seq| seq.parse().ok()) {
        Some(seq) => Ok(Some(seq)),
        None => {
            let hint = format!(
                "the only parameter is {name}=SEQ, the number of the last event that is known"
            );
            Err(Problem::query(query, &hint))
        }
    }
}

#[cfg(test)]
mod tests;
