//! Routes, verdicts and events, as programs read them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use haldane_decide::gate::{GateStatus, VerdictKind};
use haldane_decide::role::Role;
use haldane_decide::rollout::PhaseName;
use haldane_decide::status::Status;
use hyper::header::ETAG;
use serde::Serialize;

use super::counted::{Counted, Lately, LatelyView, TimesView};
use super::health::AddressView;
use super::problem::Problem;
use super::reply::{Reply, json, with};
use crate::live::drill::DrillReport;
use crate::live::events::Recorded;
use crate::live::freeze::Frozen;
use crate::live::{Live, Route};
use crate::telemetry::access::date::rfc3339_seconds;

/// The form of what is said about routes. Raised when a field changes its meaning.
const SCHEMA: &str = "haldane.status/1";

/// All routes.
#[derive(Serialize)]
pub(super) struct RoutesView {
    schema: &'static str,
    /// The number of the newest event, to wait for the next one.
    seq: u64,
    state: StateView,
    /// Why nothing starts or advances, if that is so.
    frozen: Option<Arc<Frozen>>,
    /// Whether haldane ends as soon as what runs is finished.
    draining: bool,
    routes: Vec<RouteView>,
    /// After a command, whether it changed anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
}

/// One route on its own.
#[derive(Serialize)]
pub(super) struct OneRouteView {
    schema: &'static str,
    state: StateView,
    /// Why nothing starts or advances, if that is so.
    frozen: Option<Arc<Frozen>>,
    #[serde(flatten)]
    route: RouteView,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
}

/// What outlives the process, and what is wrong with that.
#[derive(Serialize)]
struct StateView {
    /// Whether state is kept at all.
    kept: bool,
    /// Why the state of the process before could not be used.
    damaged: Option<Arc<str>>,
    /// Why the latest state is not on disk.
    error: Option<Arc<str>>,
}

#[derive(Serialize)]
struct RouteView {
    route: Arc<str>,
    /// The number of its newest event, to wait for the next one.
    seq: u64,
    /// What `If-Match` has to say for a command that relies on this.
    etag: String,
    #[serde(flatten)]
    status: Status,
    /// Whether every change is on disk.
    persisted: bool,
    /// How the gates were tried before the first step.
    drill: Option<DrillReport>,
    versions: VersionsView,
}

#[derive(Serialize)]
struct VersionsView {
    stable: Option<VersionView>,
    canary: Option<VersionView>,
}

/// What a version has done since the process started.
#[derive(Serialize)]
struct VersionView {
    version: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_time: Option<String>,
    requests: u64,
    in_flight: u64,
    failures: u64,
    ttfb_seconds: TimesView,
    /// Only in the stream, which watches.
    #[serde(skip_serializing_if = "Option::is_none")]
    lately: Option<LatelyView>,
    addresses: Vec<AddressView>,
}

/// May the canary go on?
#[derive(Serialize)]
pub(super) struct VerdictView {
    route: Arc<str>,
    ok: bool,
    verdict: VerdictKind,
    sentence: String,
    gates: Vec<GateStatus>,
}

/// What happened after an event that is known.
#[derive(Serialize)]
pub(super) struct EventsView {
    events: Vec<Recorded>,
    last: u64,
    /// Every event up to this one is on disk; absent before the first write.
    #[serde(skip_serializing_if = "Option::is_none")]
    persisted: Option<u64>,
}

/// Every route.
pub(super) fn routes(live: &Live) -> RoutesView {
    let routes = live.routes();
    let routes = routes.iter().map(|route| RouteView::of(route, live));
    RoutesView {
        schema: SCHEMA,
        seq: live.events.last(),
        frozen: live.freeze.get(),
        state: StateView::of(live),
        draining: live.draining.load(Ordering::Relaxed),
        routes: routes.collect(),
        changed: None,
    }
}

/// Every route, with what its versions did lately.
pub(super) fn routes_lately(lately: &mut Lately, live: &Live) -> RoutesView {
    let mut view = routes(live);
    lately.look(live);
    for RouteView {
        route, versions, ..
    } in &mut view.routes
    {
        for (role, version) in [
            (Role::Canary, &mut versions.canary),
            (Role::Stable, &mut versions.stable),
        ] {
            if let Some(version) = version {
                version.lately = lately.of(route, role);
            }
        }
    }
    view
}

/// Every route, after a command to all.
pub(super) fn changed_routes(changed: bool, live: &Live) -> RoutesView {
    RoutesView {
        changed: Some(changed),
        ..routes(live)
    }
}

/// One route, with its entity tag.
pub(super) fn route(route: &Route, live: &Live) -> Result<Reply, Problem> {
    one_route(route, None, live).into_reply()
}

/// One route, after a command to it.
pub(super) fn changed_route(route: &Route, changed: bool, live: &Live) -> OneRouteView {
    one_route(route, Some(changed), live)
}

fn one_route(route: &Route, changed: Option<bool>, live: &Live) -> OneRouteView {
    OneRouteView {
        schema: SCHEMA,
        frozen: live.freeze.get(),
        state: StateView::of(live),
        route: RouteView::of(route, live),
        changed,
    }
}

impl OneRouteView {
    /// Whether what a command left is on disk.
    pub(super) fn persisted(&mut self, persisted: bool) {
        self.route.persisted = persisted;
    }

    pub(super) fn into_reply(self) -> Result<Reply, Problem> {
        Ok(with(json(&self)?, ETAG, &self.route.etag))
    }
}

impl RoutesView {
    /// Whether what a command to all has left is on disk.
    pub(super) fn persisted(&mut self, persisted: bool) {
        for route in &mut self.routes {
            route.persisted = persisted;
        }
    }
}

impl StateView {
    fn of(live: &Live) -> Self {
        Self {
            kept: live.keeping.is_wanted(),
            damaged: live.keeping.damage().cloned(),
            error: live.keeping.error(),
        }
    }
}

/// Changes whenever the release does, and never returns: by the start of the process
/// and the newest event of the route. Counts and times are no part of it.
pub(super) fn entity_tag(route: &Route, live: &Live) -> String {
    let process = live.clock.at(0).as_micros();
    let event = live.events.last_of(&route.config.name);
    format!("\"{process:x}-{event}\"")
}

/// What a pipeline asks before it goes on. Only evidence is a pass: a canary without
/// traffic, without gates or without a version has none.
pub(super) fn verdict(route: &Route, live: &Live) -> VerdictView {
    let status = route.status(live);
    let gates = status.verdict.gates;
    let unproved = if route.config.canary.is_none() {
        Some("the route has no canary")
    } else if status.phase == PhaseName::RolledBack {
        None
    } else if status.weight.is_zero() {
        Some("the canary has no traffic")
    } else if gates.is_empty() {
        Some("no gate judges the canary")
    } else {
        None
    };
    let verdict = match unproved {
        None => status.verdict.verdict,
        Some(_) => VerdictKind::Inconclusive,
    };
    let rolled_back = status.phase == PhaseName::RolledBack;
    let of_kind = |kind| {
        let mut gates = gates.iter().filter(move |gate| gate.verdict == kind);
        gates.next().map(|gate| gate.sentence.clone())
    };
    let sentence = match (unproved, status.rollback_refused.or(status.cause)) {
        (Some(sentence), _) => sentence.to_owned(),
        (None, Some(refused)) if !rolled_back => format!("not rolled back: {refused}"),
        (None, Some(cause)) => format!("rolled back: {cause}"),
        (None, None) => of_kind(verdict)
            .filter(|_| verdict != VerdictKind::Pass)
            .unwrap_or_else(|| "every gate passes".to_owned()),
    };
    VerdictView {
        route: Arc::clone(&route.config.name),
        ok: verdict == VerdictKind::Pass && !rolled_back,
        verdict,
        sentence,
        gates,
    }
}

/// The events after `since`, oldest first.
pub(super) fn events(since: u64, live: &Live) -> EventsView {
    // Before the events: one that comes in between is then sent, not skipped.
    let last = live.events.last();
    let persisted = live.keeping.covered();
    let events = live.events.recorded_since(since);
    EventsView {
        persisted,
        last: events.last().map_or(last, Recorded::seq),
        events,
    }
}

impl RouteView {
    fn of(route: &Route, live: &Live) -> Self {
        Self {
            route: Arc::clone(&route.config.name),
            // Before the status: who waits for what comes next is told of what is in between.
            seq: live.events.last_of(&route.config.name),
            // Before it too: if the release changes in between, the tag is the older one, and
            // a command that relies on it is refused rather than misunderstood.
            etag: entity_tag(route, live),
            status: route.status(live),
            // After the status: what is safe then is what was read.
            persisted: live.keeping.has_route(&route.config.name, live),
            drill: route.drill(),
            versions: VersionsView {
                stable: VersionView::of(route, Role::Stable, live),
                canary: VersionView::of(route, Role::Canary, live),
            },
        }
    }
}

impl VersionView {
    fn of(route: &Route, role: Role, live: &Live) -> Option<Self> {
        let version = route.config.version(role)?;
        let provenance = version.provenance.clone();
        let counted = Counted::of(route, role);
        Some(Self {
            version: Arc::clone(&version.name),
            owner: provenance.owner,
            sha: provenance.sha,
            commit_time: provenance.commit_time.map(rfc3339_seconds),
            requests: counted.requests,
            in_flight: counted.in_flight,
            failures: counted.failures,
            ttfb_seconds: counted.times(),
            lately: None,
            addresses: AddressView::of(route, role, live),
        })
    }
}
