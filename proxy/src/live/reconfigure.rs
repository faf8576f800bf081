//! Routes take the place of routes.
//!
//! What a client or an operator has seen of a route goes on under its name: generation
//! and weight, what was counted, how its rollbacks went. Only the configured part is
//! made anew. `Release::reconfigure` says what becomes of the release.

use std::sync::{Arc, PoisonError};

use haldane_config::RouteConfig;
use haldane_decide::release::change::{CanaryChange, Change};
use haldane_decide::role::Role;

use super::endpoints::{self, RouteEndpoints};
use super::outlive::Beginning;
use super::series::{self, Series};
use super::trial::Trial;
use super::{Judge, Live, Route, RouteSalt, spec_of};
use crate::tls::VersionTls;

/// Routes that are gone are remembered by name, so that taking one out and putting it
/// back revives no canary that was rolled back. The oldest are forgotten.
const REMEMBERED_MAX: usize = 64;

impl Live {
    /// Where the versions of routes that are about to be put in force answer. Names that
    /// are new there have no address yet.
    pub(crate) fn next_endpoints(&self, configs: &[RouteConfig]) -> Vec<RouteEndpoints> {
        let routes = self.routes();
        let of_route = |config: &RouteConfig| {
            let before = named(&routes, &config.name);
            endpoints::of_route(config, before.as_deref())
        };
        configs.iter().map(of_route).collect()
    }

    /// Puts these routes in force, with the TLS and the addresses of their versions.
    /// Requests that are on their way end as they began.
    pub(crate) fn adopt_routes(
        &self,
        configs: &[RouteConfig],
        tls: &[VersionTls],
        endpoints: Vec<RouteEndpoints>,
    ) {
        let before = self.routes();
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let reach = tls.iter().cloned().zip(endpoints);
        let begin = Beginning {
            keeping: &self.keeping,
            events: &self.events,
            workers: self.workers,
            clock: self.clock,
        };
        let routes = configs.iter().zip(reach).map(|(config, reach)| {
            let known = named(&before, &config.name).or_else(|| named(&remembered, &config.name));
            Arc::new(match known {
                Some(known) => known.succeeded_by(config, reach, self),
                None => begin.route(config, reach),
            })
        });
        let routes: Vec<_> = routes.collect();
        remembered.retain(|route| named(&routes, &route.config.name).is_none());
        for gone in before.iter() {
            if named(&routes, &gone.config.name).is_none() {
                remembered.push(Arc::new(gone.retire(self)));
            }
        }
        let surplus = remembered.len().saturating_sub(REMEMBERED_MAX);
        remembered.drain(..surplus);
        // Last: whoever splits by the new routes reads the words as they are now.
        self.routes.store(Arc::new(routes));
    }
}

impl Live {
    /// What these routes would do to the releases that there are, one sentence for each
    /// that would notice.
    pub(crate) fn foresee(&self, configs: &[RouteConfig]) -> Vec<String> {
        let routes = self.routes();
        let sentences = routes.iter().filter_map(|route| {
            let name = &route.config.name;
            let Some(config) = configs.iter().find(|config| config.name == *name) else {
                return Some(format!("route {name}: it is gone"));
            };
            let judge = route.lock();
            let change = judge.change(route, config);
            let (tally, now) = (route.tally(), self.clock.now());
            let foreseen = judge.release.foresee(spec_of(config), change, &tally, now);
            foreseen.map(|sentence| format!("route {name}: {sentence}"))
        });
        sentences.collect()
    }
}

impl Route {
    /// Whether the version of a role is the same in both, at the same addresses and dealt
    /// with in the same manner, so that connections to it are as good for the one as for
    /// the other.
    pub(crate) fn reaches_like(&self, other: &Self, role: Role) -> bool {
        let same_tls = match (&self.tls[role.index()], &other.tls[role.index()]) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, Some(_)) | (Some(_), None) => false,
        };
        let same_endpoints = match (self.endpoints(role), other.endpoints(role)) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, Some(_)) | (Some(_), None) => false,
        };
        same_tls
            && same_endpoints
            && self.config.upstream_protocol == other.config.upstream_protocol
            && self.config.ejection == other.config.ejection
            && match (self.config.version(role), other.config.version(role)) {
                (None, None) => true,
                (Some(one), Some(other)) => one.is_reached_like(other),
                (None, Some(_)) | (Some(_), None) => false,
            }
    }

    /// The route that takes the place of this one.
    fn succeeded_by(
        &self,
        config: &RouteConfig,
        (tls, endpoints): (VersionTls, RouteEndpoints),
        live: &Live,
    ) -> Self {
        let mut judge = self.lock();
        let change = judge.change(self, config);
        let trial = if change.restarts_evidence() || self.trial.is_over() {
            // Before the word is stored below; see `weight.rs`.
            self.trial.end(judge.release.generation());
            Arc::new(Trial::new(&config.gates, live.workers))
        } else {
            Arc::clone(&self.trial)
        };
        let series = Series::of(config, &self.series, live.workers);
        let route = Self {
            config: config.clone(),
            tls,
            endpoints,
            salt: RouteSalt::new(&config.sticky.salt, self.lasting.secret),
            shards: series::shards_of(&series, config, live.workers),
            series,
            trial,
            lasting: Arc::clone(&self.lasting),
        };
        let spec = spec_of(config);
        let (tally, now) = (route.tally(), live.clock.now());
        let effects = judge.release.reconfigure(spec, change, &tally, now);
        route.trial.limits.publish(&judge.release, live.clock);
        if config.canary.is_some() {
            judge.canary.clone_from(&config.canary);
        }
        judge.stable.clone_from(&config.stable);
        // With the counts of the canary whose generation ends here, if one does.
        self.carry_out(&mut judge, effects, None, live);
        drop(judge);
        route.trim_tap();
        route
    }

    /// What is remembered of a route that is gone: everything but its counts.
    fn retire(&self, live: &Live) -> Self {
        let mut judge = self.lock();
        let change = Change {
            canary: CanaryChange::Removed,
            ..Change::NOTHING
        };
        self.trial.end(judge.release.generation());
        let spec = spec_of(&self.config);
        let (tally, now) = (self.tally(), live.clock.now());
        let effects = judge.release.reconfigure(spec, change, &tally, now);
        self.carry_out(&mut judge, effects, None, live);
        drop(judge);
        let config = RouteConfig {
            canary: None,
            ..self.config.clone()
        };
        Self {
            config,
            tls: [None, None],
            endpoints: [None, None],
            salt: RouteSalt::new(&self.config.sticky.salt, self.lasting.secret),
            shards: Box::default(),
            series: Vec::new(),
            trial: Arc::clone(&self.trial),
            lasting: Arc::clone(&self.lasting),
        }
    }
}

impl Judge {
    /// What of `route` is different in `config`, as far as a release cares.
    fn change(&self, route: &Route, config: &RouteConfig) -> Change {
        Change {
            canary: self.canary_change(route, config),
            stable: !config.stable.is_same_as(&route.config.stable),
            gates: config.gates != route.config.gates
                || config.outside != route.config.outside
                || config.promise != route.config.promise,
        }
    }

    /// What becomes of the canary of `route` under `config`.
    fn canary_change(&self, route: &Route, config: &RouteConfig) -> CanaryChange {
        let Some(canary) = &config.canary else {
            return if route.config.canary.is_some() {
                CanaryChange::Removed
            } else {
                CanaryChange::Same
            };
        };
        match &self.canary {
            Some(last) if canary.is_same_as(last) && route.config.canary.is_some() => {
                CanaryChange::Same
            }
            Some(last) if canary.is_same_as(last) => CanaryChange::Returned,
            Some(_) | None => CanaryChange::Replaced,
        }
    }
}

fn named(routes: &[Arc<Route>], name: &str) -> Option<Arc<Route>> {
    let mut routes = routes.iter();
    routes.find(|route| &*route.config.name == name).cloned()
}
