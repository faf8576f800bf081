//! What the admin API says about routes, as far as the verbs show it.

use serde::Deserialize;

use super::client::{Client, Failure};

/// The reply about all routes.
#[derive(Debug, Deserialize)]
pub(crate) struct Routes {
    pub(crate) routes: Vec<RouteView>,
    #[serde(default)]
    pub(crate) frozen: Option<FrozenView>,
    /// The number of the newest event.
    #[serde(default)]
    pub(crate) seq: u64,
    /// Only in the reply to a command.
    #[serde(default)]
    pub(crate) changed: bool,
}

impl Routes {
    /// Each as if it had been asked about on its own.
    pub(crate) fn into_routes(self) -> Vec<RouteView> {
        let mut routes = self.routes;
        for route in &mut routes {
            route.frozen.clone_from(&self.frozen);
        }
        routes
    }
}

/// Why nothing starts or advances.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FrozenView {
    pub(crate) why: String,
}

/// Whether rollouts are frozen.
#[derive(Debug, Deserialize)]
pub(crate) struct FreezeView {
    pub(crate) frozen: Option<FrozenView>,
    pub(crate) changed: bool,
}

/// One route.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RouteView {
    pub(crate) route: String,
    /// When this was true, in microseconds since the epoch.
    pub(crate) at: u64,
    pub(crate) phase: String,
    /// Only where one route is asked about.
    #[serde(default)]
    pub(crate) frozen: Option<FrozenView>,
    pub(crate) rolled_back_at: Option<u64>,
    #[serde(default)]
    pub(crate) paused_at: Option<u64>,
    #[serde(default)]
    pub(crate) completed_at: Option<u64>,
    /// Why it was rolled back or paused.
    pub(crate) cause: Option<String>,
    /// Why it was not, although a gate fails.
    #[serde(default)]
    pub(crate) rollback_refused: Option<String>,
    /// Why it would have been, if breaches are only told.
    #[serde(default)]
    pub(crate) observed: Option<String>,
    /// How far it has come, if there is a plan.
    #[serde(default)]
    pub(crate) rollout: Option<RolloutView>,
    /// What it waits for before it goes on.
    #[serde(default)]
    pub(crate) waits_for: Option<String>,
    pub(crate) generation: u32,
    pub(crate) weight: String,
    pub(crate) configured_weight: String,
    pub(crate) verdict: String,
    pub(crate) gates: Vec<GateView>,
    /// Those that would change something now.
    pub(crate) commands: Vec<String>,
    pub(crate) versions: Versions,
    /// Only in the reply to a command.
    #[serde(default)]
    pub(crate) changed: bool,
}

/// How far a rollout has come in its plan.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(feature = "tui"),
    expect(dead_code, reason = "only the screen shows all of it")
)]
pub(crate) struct RolloutView {
    /// Counted from 1; 0 before the first.
    pub(crate) step: u32,
    /// How long the step has lasted, without pauses.
    #[serde(default)]
    pub(crate) held_seconds: f64,
    /// Requests of the canary in this time.
    #[serde(default)]
    pub(crate) requests: u64,
    pub(crate) steps: Vec<StepView>,
}

/// One step of a plan.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(feature = "tui"),
    expect(dead_code, reason = "only the screen shows all of it")
)]
pub(crate) struct StepView {
    pub(crate) weight: String,
    #[serde(default)]
    pub(crate) hold_seconds: f64,
    #[serde(default)]
    pub(crate) hold_requests: u64,
    #[serde(default)]
    pub(crate) until_promoted: bool,
}

/// What one gate says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct GateView {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) verdict: String,
    #[serde(default)]
    pub(crate) canary: EstimateView,
    #[serde(default)]
    pub(crate) stable: EstimateView,
    /// That the canary is worse, as a multiple of what a rollback takes.
    #[serde(default)]
    pub(crate) evidence: Option<f64>,
    /// Begins with the name of the gate.
    pub(crate) sentence: String,
}

/// How many exchanges had what a gate counts, among how many.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct EstimateView {
    pub(crate) count: u64,
    pub(crate) samples: u64,
}

/// Both versions of a route.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Versions {
    pub(crate) stable: VersionView,
    pub(crate) canary: Option<VersionView>,
}

/// What one version did since the process started.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct VersionView {
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) owner: Option<String>,
    #[serde(default)]
    pub(crate) sha: Option<String>,
    pub(crate) requests: u64,
    pub(crate) in_flight: u64,
    pub(crate) failures: u64,
    pub(crate) ttfb_seconds: Quantiles,
    #[serde(default)]
    pub(crate) addresses: Vec<AddressView>,
}

/// One address of a version.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AddressView {
    pub(crate) address: String,
    pub(crate) healthy: bool,
}

/// Times until the first byte, in seconds; nothing before the first response.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Quantiles {
    #[serde(default)]
    pub(crate) mean: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
}

/// The route that is meant: the one that is named, or the only one there is.
pub(crate) async fn meant(client: &Client, name: Option<&str>) -> Result<String, Failure> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    let all: Routes = client.get("/v1/routes").await?.read()?;
    match all.routes.as_slice() {
        [only] => Ok(only.route.clone()),
        routes => {
            let names: Vec<&str> = routes.iter().map(|route| route.route.as_str()).collect();
            Err(Failure::Request(format!(
                "which route? there are {}: {}",
                names.len(),
                names.join(", ")
            )))
        }
    }
}

/// The path of a route's resource, with whatever stands in its name.
pub(crate) fn path_of(route: &str, rest: &str) -> String {
    let mut path = "/v1/routes/".to_owned();
    for byte in route.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path.push_str(rest);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_route_leaves_its_place_in_the_path() {
        assert_eq!(
            path_of("check-out_1", "/weight"),
            "/v1/routes/check-out_1/weight"
        );
        assert_eq!(
            path_of("../a b?c#d/é", ""),
            "/v1/routes/..%2Fa%20b%3Fc%23d%2F%C3%A9"
        );
    }
}
