//! Looks after the addresses of versions beside requests: names are looked up, addresses
//! are asked whether they are well, and those that cannot be reached are tried.
//!
//! What is done for a route ends with it: with the table of routes that it is not in any
//! more, everything that was started for it is dropped.

use std::sync::Arc;
use std::time::Duration;

use haldane_config::HealthCheck;
use haldane_decide::role::Role;
use haldane_decide::weight::Weight;
use tokio::task::JoinSet;

use super::beat::Beats;
use crate::clock::{Micros, micros};
use crate::live::endpoints::{Endpoint, EndpointList, Endpoints};
use crate::live::health::{AddressFailure, Standing};
use crate::live::{Live, Route, Routes};
use crate::upstream::dial::{is_exhaustion, open};

mod check;
pub(crate) mod resolve;

use resolve::{Name, System};

/// What has changed is looked for once in so many beats.
const BEATS_PER_LOOK: u64 = 2;

/// An address that cannot be reached is tried this often, so that it is back at once
/// also without a request that would find out.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// An address that comes and goes is told of this often at most.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// Runs for as long as the process does.
pub(crate) async fn look_after(live: Arc<Live>, beats: Beats) {
    let mut looks = beats.every(BEATS_PER_LOOK);
    let mut seen: Option<Arc<Routes>> = None;
    let mut cares = Vec::new();
    loop {
        looks.due().await;
        let routes = live.routes();
        if !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &routes)) {
            cares = renewed(cares, &routes, &live);
            seen = Some(routes);
        }
        for care in &mut cares {
            care.look(&live);
        }
    }
}

fn renewed(mut before: Vec<Care>, routes: &Routes, live: &Arc<Live>) -> Vec<Care> {
    let mut cares = Vec::new();
    for (route, role) in routes
        .iter()
        .flat_map(|route| Role::ALL.map(|role| (route, role)))
    {
        let Some(endpoints) = route.endpoints(role) else {
            continue;
        };
        let is_same = |care: &Care| care.is_for(route, role);
        cares.push(match before.iter().position(is_same) {
            Some(index) => before.swap_remove(index),
            None => Care::new(route, role, endpoints, live),
        });
    }
    cares
}

/// What is done for one version of a route. Dropped, it ends.
struct Care {
    route: Arc<Route>,
    role: Role,
    endpoints: Arc<Endpoints>,
    /// One task for each name.
    _names: JoinSet<()>,
    /// What `addresses` was made from.
    seen: Option<Arc<EndpointList>>,
    addresses: Vec<AddressCare>,
}

/// What is done for one address.
struct AddressCare {
    endpoint: Arc<Endpoint>,
    /// What was last told of it.
    was_healthy: bool,
    told: Micros,
    /// The task that asks whether it is well, if there are checks.
    _checks: JoinSet<()>,
    /// An attempt to connect, if one is under way.
    probe: JoinSet<()>,
    probed: Micros,
}

impl Care {
    fn new(route: &Arc<Route>, role: Role, endpoints: &Arc<Endpoints>, live: &Arc<Live>) -> Self {
        let mut names = JoinSet::new();
        for (index, host, port) in endpoints.names() {
            let name = Name::new(endpoints, index, host, port);
            names.spawn(name.keep_resolved(System, Arc::clone(live)));
        }
        Self {
            route: Arc::clone(route),
            role,
            endpoints: Arc::clone(endpoints),
            _names: names,
            seen: None,
            addresses: Vec::new(),
        }
    }

    /// Whether this is what has to be done for the version of a role, also after other
    /// things of the route have changed.
    fn is_for(&self, route: &Arc<Route>, role: Role) -> bool {
        let (before, now) = (&self.route.config, &route.config);
        self.role == role
            && before.name == now.name
            && before.health == now.health
            && before.timeouts == now.timeouts
            && self.route.reaches_like(route, role)
    }

    fn look(&mut self, live: &Arc<Live>) {
        let list = self.endpoints.now();
        if !self
            .seen
            .as_ref()
            .is_some_and(|seen| Arc::ptr_eq(seen, &list))
        {
            self.follow(&list, live);
            self.seen = Some(list);
        }
        let now = live.clock.micros();
        let is_blind = self.is_blind();
        for address in &mut self.addresses {
            address.tell(now, &self.route, self.role);
            let standing = address.endpoint.health.standing();
            if standing == Standing::Unreachable || (is_blind && standing == Standing::Healthy) {
                address.probe(now, &self.route, self.role, live);
            }
        }
    }

    fn follow(&mut self, list: &EndpointList, live: &Arc<Live>) {
        let mut before = std::mem::take(&mut self.addresses);
        for endpoint in list {
            let is_same = |care: &AddressCare| Arc::ptr_eq(&care.endpoint, endpoint);
            let known = before.iter().position(is_same);
            self.addresses.push(match known {
                Some(index) => before.swap_remove(index),
                None => AddressCare::new(endpoint, &self.route, self.role, live),
            });
        }
    }

    /// Stable gets no request that would find out whether it can be reached, and yet a
    /// rollback would send everything there.
    fn is_blind(&self) -> bool {
        self.role == Role::Stable && self.route.setting().weight == Weight::FULL
    }
}

impl AddressCare {
    fn new(endpoint: &Arc<Endpoint>, route: &Arc<Route>, role: Role, live: &Arc<Live>) -> Self {
        let mut checks = JoinSet::new();
        match &route.config.health {
            Some(health) => {
                let target = Target::new(endpoint, route, role);
                let health: HealthCheck = health.clone();
                checks.spawn(check::keep_checking(target, health, Arc::clone(live)));
            }
            // Whatever checks said that there were before.
            None => endpoint.health.checked_no_more(live.clock.micros()),
        }
        Self {
            endpoint: Arc::clone(endpoint),
            was_healthy: true,
            told: 0,
            _checks: checks,
            probe: JoinSet::new(),
            probed: 0,
        }
    }

    /// Writes to the log what has become of the address.
    fn tell(&mut self, now: Micros, route: &Route, role: Role) {
        let is_healthy = self.endpoint.is_healthy();
        let is_due = self.told == 0 || self.told + micros(TELL_INTERVAL) <= now;
        if is_healthy == self.was_healthy || !is_due {
            return;
        }
        (self.was_healthy, self.told) = (is_healthy, now);
        let (route, address) = (&*route.config.name, &*self.endpoint.shown);
        if is_healthy {
            tracing::info!(route, %role, address, "the address is healthy again");
        } else {
            let last = self.endpoint.health.last_failure();
            let reason = last.map_or("unknown", |(_, failure)| failure.as_str());
            tracing::warn!(route, %role, address, reason, "the address is unhealthy");
        }
    }

    /// Begins to connect, unless it is being done or was a moment ago.
    fn probe(&mut self, now: Micros, route: &Arc<Route>, role: Role, live: &Arc<Live>) {
        while self.probe.try_join_next().is_some() {}
        if !self.probe.is_empty() || self.probed + micros(PROBE_INTERVAL) > now {
            return;
        }
        self.probed = now;
        let target = Target::new(&self.endpoint, route, role);
        self.probe.spawn(probe(target, Arc::clone(live)));
    }
}

/// An address, and whose it is.
struct Target {
    endpoint: Arc<Endpoint>,
    route: Arc<Route>,
    role: Role,
}

impl Target {
    fn new(endpoint: &Arc<Endpoint>, route: &Arc<Route>, role: Role) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            route: Arc::clone(route),
            role,
        }
    }
}

/// Finds out whether an address can be reached, and sends nothing.
async fn probe(target: Target, live: Arc<Live>) {
    let config = &target.route.config;
    let tls = target.route.tls[target.role.index()].as_deref();
    let opening = open(&target.endpoint.place, tls);
    let opened = tokio::time::timeout(config.timeouts.connect, opening).await;
    let health = &target.endpoint.health;
    let now = live.clock.micros();
    match (opened, health.standing()) {
        // Whether it answers as well, only a request finds out.
        (Ok(Ok(_)), Standing::Healthy) => health.succeeded(now),
        (Ok(Ok(_)), _) => health.reached(now),
        (Ok(Err(error)), _) if is_exhaustion(&error) => {}
        (Ok(Err(_)) | Err(_), _) => {
            let rule = config.ejection.as_ref();
            health.failed(AddressFailure::Connect, now, rule);
        }
    }
}
