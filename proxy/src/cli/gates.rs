//! The gates that a verb judges with: those of a route, or the default ones.

use std::fmt;
use std::path::{Path, PathBuf};

use haldane_config::{Diagnostics, Overrides, RouteConfig};
use haldane_decide::gate::spec::{GateRule, GateSpec, Promise, default_gates};
use haldane_decide::plan::Plan;
use haldane_decide::weight::Weight;

use super::Exit;
use super::output::complain;
use super::settings::show;
use crate::origin::Origin;

/// What a route is judged by.
#[derive(Clone, Debug)]
pub(crate) struct Gates {
    pub(crate) gates: Vec<GateSpec>,
    pub(crate) promise: Promise,
    /// The canary's share, if there is a route that says it.
    pub(crate) weight: Option<Weight>,
    /// The steps that the route walks, if it does.
    pub(crate) plan: Plan,
}

/// Why there are no gates.
#[derive(Debug)]
pub(crate) enum Unusable {
    Configuration(Diagnostics),
    Route(UnclearRoute),
}

/// Which route is meant is not clear: what was asked for, and what there is.
#[derive(Debug)]
pub(crate) struct UnclearRoute {
    asked: Option<String>,
    names: Vec<String>,
}

impl fmt::Display for UnclearRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asked {
            Some(name) => write!(f, "there is no route {name:?}, only ")?,
            None => write!(f, "which route? name one with --route: ")?,
        }
        f.write_str(&self.names.join(", "))
    }
}

impl Unusable {
    /// Says why, and what to end with.
    pub(crate) fn report(&self) -> Exit {
        match self {
            Self::Configuration(diagnostics) => {
                show(diagnostics);
                Exit::Configuration
            }
            Self::Route(unclear) => {
                complain(unclear);
                Exit::Usage
            }
        }
    }
}

impl Gates {
    /// Those of a route of this configuration; the default ones without.
    pub(crate) fn load(config: Option<&Path>, route: Option<&str>) -> Result<Self, Unusable> {
        let Some(file) = config else {
            return Ok(Self {
                gates: default_gates(),
                promise: Promise::default(),
                weight: None,
                plan: Plan::default(),
            });
        };
        let origin = Origin {
            file: Some(PathBuf::from(file)),
            overrides: Overrides::default(),
        };
        let loaded = origin.load().map_err(Unusable::Configuration)?;
        let route = meant(&loaded.config.routes, route).map_err(Unusable::Route)?;
        let mut gates = route.gates.clone();
        // Nobody answers for what was recorded, or is only planned.
        gates.retain(|gate| !matches!(gate.rule, GateRule::Outside { .. }));
        Ok(Self {
            gates,
            promise: route.promise,
            weight: Some(route.weight),
            plan: route.plan.clone(),
        })
    }
}

fn meant<'a>(
    routes: &'a [RouteConfig],
    name: Option<&str>,
) -> Result<&'a RouteConfig, UnclearRoute> {
    let found = match (name, routes) {
        (Some(name), routes) => routes.iter().find(|route| &*route.name == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    found.ok_or_else(|| UnclearRoute {
        asked: name.map(str::to_owned),
        names: routes.iter().map(|route| route.name.to_string()).collect(),
    })
}
