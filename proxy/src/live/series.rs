//! The counts of a version in a role, which outlive the routes that count there.

use std::sync::Arc;

use haldane_config::RouteConfig;
use haldane_decide::role::Role;

use super::exemplars::Exemplars;
use super::shard::{RoleShard, Shard};

/// Versions that were replaced are still shown, so that the last that they did can be
/// scraped, and go on if they come back. More of them help nobody.
const RETIRED_MAX: usize = 4;

/// What a version has done in a role of a route.
#[derive(Clone)]
pub(crate) struct Series {
    pub(crate) role: Role,
    /// The name of the version.
    pub(crate) version: Arc<str>,
    /// By worker.
    shards: Arc<[Arc<RoleShard>]>,
    /// Requests that stand for what was counted.
    pub(crate) exemplars: Arc<Exemplars>,
}

impl Series {
    /// The series of a route: those of its versions, then those that were replaced last.
    /// `before` are those of the route that it takes the place of.
    pub(super) fn of(config: &RouteConfig, before: &[Self], workers: usize) -> Vec<Self> {
        let versions = Role::ALL
            .into_iter()
            .filter_map(|role| Some((role, &config.version(role)?.name)));
        let mut series: Vec<Self> = versions
            .map(|(role, version)| {
                let known = before.iter().find(|series| series.is_of(role, version));
                known
                    .cloned()
                    .unwrap_or_else(|| Self::new(role, version, workers))
            })
            .collect();
        let in_force = series.len();
        let retired = before.iter().filter(|retired| {
            let is_of = |series: &Self| series.is_of(retired.role, &retired.version);
            !series[..in_force].iter().any(is_of)
        });
        let retired: Vec<Self> = retired.take(RETIRED_MAX).cloned().collect();
        series.extend(retired);
        series
    }

    fn new(role: Role, version: &Arc<str>, workers: usize) -> Self {
        Self {
            role,
            version: Arc::clone(version),
            shards: (0..workers).map(|_| Arc::default()).collect(),
            exemplars: Arc::default(),
        }
    }

    /// The counts of all workers, worker by worker.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &RoleShard> {
        self.shards.iter().map(|shard| &**shard)
    }

    /// How many requests have not ended.
    pub(crate) fn in_flight(&self) -> u64 {
        requests(|| self.shards()).1
    }

    fn is_of(&self, role: Role, version: &str) -> bool {
        self.role == role && &*self.version == version
    }
}

/// The shards of all workers; counts of a role that no version plays go nowhere else.
pub(super) fn shards_of(series: &[Series], config: &RouteConfig, workers: usize) -> Box<[Shard]> {
    let shard = |worker: usize| {
        let by_role = Role::ALL.map(|role| {
            let version = &config.version(role)?.name;
            let series = series.iter().find(|series| series.is_of(role, version))?;
            series.shards.get(worker).map(Arc::clone)
        });
        Shard::new(by_role.map(Option::unwrap_or_default))
    };
    (0..workers).map(shard).collect()
}

/// How many requests were routed, and how many have not ended.
pub(super) fn requests<'a, I>(shards: impl Fn() -> I) -> (u64, u64)
where
    I: Iterator<Item = &'a RoleShard>,
{
    // Ended first: a request that ends in between is then still counted as running.
    let finished: u64 = shards().map(RoleShard::finished).sum();
    let started: u64 = shards().map(RoleShard::started).sum();
    (started, started.saturating_sub(finished))
}
