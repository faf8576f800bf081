//! What is there, by path.

use super::{Surface, page};

/// What is there, by path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resource<'a> {
    ConfigCheck,
    ConfigReload,
    Events,
    Explain,
    Exposure(&'a str),
    Freeze,
    Index,
    Liveness,
    Metrics,
    OpenApi,
    /// A file of the page.
    Page(page::File),
    Pause(&'a str),
    Promote(&'a str),
    Readiness,
    Resume(&'a str),
    Retry(&'a str),
    Rollback(&'a str),
    RollbackAll,
    Route(&'a str),
    Routes,
    /// Of a route, by its name.
    Signal(&'a str, &'a str),
    Startup,
    Stream,
    Tap(&'a str),
    Verdict(&'a str),
    Weight(&'a str),
}

/// What `GET /` says to who does not want the page.
pub(super) const ENDPOINTS: &str = "\
haldane admin API: \
GET /, \
GET /v1/routes, \
GET /v1/routes/{route}, \
PUT /v1/routes/{route}/weight, \
POST /v1/routes/{route}/promote, \
POST /v1/routes/{route}/pause, \
POST /v1/routes/{route}/resume, \
POST /v1/routes/{route}/rollback, \
POST /v1/routes/{route}/retry, \
GET /v1/routes/{route}/verdict, \
GET /v1/routes/{route}/exposure, \
GET /v1/routes/{route}/tap, \
POST /v1/routes/{route}/signals/{name}, \
POST /v1/rollback, \
PUT /v1/freeze, \
DELETE /v1/freeze, \
POST /v1/explain, \
POST /v1/config/check, \
POST /v1/config/reload, \
GET /v1/events, \
GET /v1/stream, \
GET /metrics, \
GET /openapi.json, \
GET /livez, \
GET /readyz, \
GET /startupz\n";

/// What all of this takes and answers, in the form of OpenAPI 3.1. An endpoint that is not in
/// it fails the tests, and so does an answer with a field that is not.
pub(super) const OPEN_API: &str = include_str!("openapi.json");

impl<'a> Resource<'a> {
    pub(super) fn find(surface: Surface, path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let resource = match *segments.as_slice() {
            ["livez"] => Self::Liveness,
            ["metrics"] => Self::Metrics,
            ["readyz"] => Self::Readiness,
            ["startupz"] => Self::Startup,
            _ if surface == Surface::Ops => return None,
            [""] => Self::Index,
            ["openapi.json"] => Self::OpenApi,
            ["page", name] => Self::Page(page::find(name)?),
            ["v1", "config", "check"] => Self::ConfigCheck,
            ["v1", "config", "reload"] => Self::ConfigReload,
            ["v1", "events"] => Self::Events,
            ["v1", "explain"] => Self::Explain,
            ["v1", "freeze"] => Self::Freeze,
            ["v1", "rollback"] => Self::RollbackAll,
            ["v1", "routes"] => Self::Routes,
            ["v1", "routes", route] => Self::Route(route),
            ["v1", "routes", route, "exposure"] => Self::Exposure(route),
            ["v1", "routes", route, "pause"] => Self::Pause(route),
            ["v1", "routes", route, "promote"] => Self::Promote(route),
            ["v1", "routes", route, "resume"] => Self::Resume(route),
            ["v1", "routes", route, "retry"] => Self::Retry(route),
            ["v1", "routes", route, "rollback"] => Self::Rollback(route),
            ["v1", "routes", route, "signals", name] => Self::Signal(route, name),
            ["v1", "routes", route, "tap"] => Self::Tap(route),
            ["v1", "routes", route, "verdict"] => Self::Verdict(route),
            ["v1", "routes", route, "weight"] => Self::Weight(route),
            ["v1", "stream"] => Self::Stream,
            _ => return None,
        };
        Some(resource)
    }

    /// The value of `Allow`; its first method is the one that does something.
    pub(super) const fn allow(self) -> &'static str {
        match self {
            Self::ConfigCheck
            | Self::ConfigReload
            | Self::Explain
            | Self::Pause(_)
            | Self::Promote(_)
            | Self::Resume(_)
            | Self::Retry(_)
            | Self::Rollback(_)
            | Self::RollbackAll
            | Self::Signal(..) => "POST",
            Self::Freeze => "PUT, DELETE",
            Self::Weight(_) => "PUT",
            Self::Events
            | Self::Exposure(_)
            | Self::Index
            | Self::Liveness
            | Self::Metrics
            | Self::OpenApi
            | Self::Page(_)
            | Self::Readiness
            | Self::Route(_)
            | Self::Routes
            | Self::Startup
            | Self::Stream
            | Self::Tap(_)
            | Self::Verdict(_) => "GET, HEAD",
        }
    }
}
