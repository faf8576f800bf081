//! What differs between two configurations, as a running haldane cares about it.

use std::fmt;
use std::sync::Arc;

use haldane_decide::gate::spec::Promise;

use crate::types::{Config, RouteConfig, Version};

/// What differs between a configuration and the one that takes its place.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Difference {
    /// Keys of the top level whose values differ, `route` excepted.
    pub keys: Vec<&'static str>,
    /// Those of them that only a restart can change.
    pub restart: Vec<&'static str>,
    /// Routes that differ, by name: those that are there in the order of the new
    /// configuration, then those that are gone.
    pub routes: Vec<(Arc<str>, RouteDifference)>,
}

/// What has become of a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteDifference {
    /// It is new.
    Added,
    /// It is still there. What of it differs, at least one thing.
    Changed(Vec<Part>),
    /// It is gone.
    Removed,
}

/// A part of a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// There is another canary: another name, or other addresses.
    Canary,
    /// There is a canary, and there was none.
    CanaryAdded,
    /// There is none any more.
    CanaryRemoved,
    /// What the canary must keep passing.
    Gates,
    /// Anything else: matches, timeouts, stickiness, certificates.
    Other,
    /// How the canary gets its traffic.
    Plan,
    /// What is promised about a rollout.
    Promise,
    /// Who is split otherwise than by the weight.
    Rules,
    /// Another stable: another name, or other addresses.
    Stable,
    /// The weight at the start of each generation.
    Weight,
}

impl Difference {
    /// What `new` has otherwise than `old`.
    #[must_use]
    pub fn between(old: &Config, new: &Config) -> Self {
        // Every field by name, so that none can be forgotten: what is not compared is
        // not reloaded.
        let Config {
            listen,
            workers,
            trusted_proxies,
            dns_refresh,
            drain,
            limits,
            admin,
            ops,
            hand_over,
            routes,
            log,
            notify,
            state_dir,
        } = new;
        let keys = [
            ("listen", old.listen != *listen),
            ("workers", old.workers != *workers),
            ("trusted_proxies", old.trusted_proxies != *trusted_proxies),
            ("dns_refresh", old.dns_refresh != *dns_refresh),
            ("drain", old.drain != *drain),
            ("limits", old.limits != *limits),
            ("admin", old.admin != *admin),
            ("ops", old.ops != *ops),
            ("log", old.log != *log),
            ("notify", old.notify != *notify),
            ("hand_over", old.hand_over != *hand_over),
            ("state_dir", old.state_dir != *state_dir),
        ];
        let differing = keys.iter().filter(|(_, differs)| *differs);
        let keys: Vec<_> = differing.map(|(key, _)| *key).collect();
        let restart = keys.iter().copied().filter(|key| needs_restart(key));
        let now = routes.iter().filter_map(|route| {
            let difference = match by_name(old, &route.name) {
                None => RouteDifference::Added,
                Some(before) => RouteDifference::Changed(parts(before, route)),
            };
            (difference != RouteDifference::Changed(Vec::new()))
                .then(|| (Arc::clone(&route.name), difference))
        });
        let gone = old
            .routes
            .iter()
            .filter(|route| by_name(new, &route.name).is_none())
            .map(|route| (Arc::clone(&route.name), RouteDifference::Removed));
        Self {
            restart: restart.collect(),
            routes: now.chain(gone).collect(),
            keys,
        }
    }

    /// Whether the two are the same for a running haldane.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.routes.is_empty()
    }

    /// One sentence for each thing that differs.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let keys = self.keys.iter().map(|key| {
            if self.restart.contains(key) {
                format!("{key} changed, which needs a restart")
            } else {
                format!("{key} changed")
            }
        });
        let routes = self
            .routes
            .iter()
            .map(|(name, difference)| format!("route {name}: {difference}"));
        keys.chain(routes).collect()
    }
}

impl fmt::Display for RouteDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added => f.write_str("added"),
            Self::Changed(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", part.as_str())?;
                }
                Ok(())
            }
            Self::Removed => f.write_str("removed"),
        }
    }
}

impl Part {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "another canary",
            Self::CanaryAdded => "canary added",
            Self::CanaryRemoved => "canary removed",
            Self::Gates => "gates changed",
            Self::Other => "settings changed",
            Self::Plan => "plan changed",
            Self::Promise => "promise changed",
            Self::Rules => "rules changed",
            Self::Stable => "another stable",
            Self::Weight => "configured weight changed",
        }
    }
}

impl Version {
    /// Whether this is the same version in the same places: its name and its set of
    /// addresses. Certificates say how it is reached, not what it is.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let within = |one: &Self, other: &Self| {
            let mut addresses = one.upstream.iter();
            addresses.all(|address| other.upstream.contains(address))
        };
        self.name == other.name && within(self, other) && within(other, self)
    }
}

impl Version {
    /// Whether requests go to both at the same places and in the same way.
    #[must_use]
    pub fn is_reached_like(&self, other: &Self) -> bool {
        self.name == other.name && self.upstream == other.upstream && self.tls == other.tls
    }
}

/// Threads are started once.
fn needs_restart(key: &str) -> bool {
    matches!(key, "hand_over" | "state_dir" | "workers")
}

fn by_name<'a>(config: &'a Config, name: &str) -> Option<&'a RouteConfig> {
    config.routes.iter().find(|route| &*route.name == name)
}

fn parts(old: &RouteConfig, new: &RouteConfig) -> Vec<Part> {
    let canary = match (&old.canary, &new.canary) {
        (None, Some(_)) => Some(Part::CanaryAdded),
        (Some(_), None) => Some(Part::CanaryRemoved),
        (Some(old), Some(new)) if !new.is_same_as(old) => Some(Part::Canary),
        (None, None) | (Some(_), Some(_)) => None,
    };
    let stable = !new.stable.is_same_as(&old.stable);
    // What is told apart above is made the same, so that only the rest can differ.
    let mut rest = new.clone();
    rest.weight = old.weight;
    rest.gates.clone_from(&old.gates);
    rest.outside.clone_from(&old.outside);
    rest.promise = old.promise;
    rest.plan.clone_from(&old.plan);
    rest.rules.clone_from(&old.rules);
    if canary.is_some() {
        rest.canary.clone_from(&old.canary);
    }
    if stable {
        rest.stable.clone_from(&old.stable);
    }
    let parts = [
        canary,
        stable.then_some(Part::Stable),
        (old.gates != new.gates || old.outside != new.outside).then_some(Part::Gates),
        (old.plan != new.plan).then_some(Part::Plan),
        (promised(old) != promised(new)).then_some(Part::Promise),
        (old.rules != new.rules).then_some(Part::Rules),
        (old.weight != new.weight).then_some(Part::Weight),
        (rest != *old).then_some(Part::Other),
    ];
    parts.into_iter().flatten().collect()
}

/// What is promised whatever the plan is.
fn promised(route: &RouteConfig) -> Promise {
    let Promise { horizon, steps, .. } = Promise::default();
    Promise {
        horizon,
        steps,
        ..route.promise
    }
}
