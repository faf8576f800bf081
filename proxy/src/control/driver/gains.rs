//! Lets the gates of routes see what was counted, with what stable has taken since it was last
//! looked at.

use std::collections::HashMap;
use std::sync::Arc;

use haldane_decide::gate::Baseline;
use haldane_decide::gate::spec::LatencyMetric;
use haldane_decide::role::Role;

use super::rounds::{Rest, Rounds};
use crate::live::histogram::{CELLS, middle_of};
use crate::live::{Live, Route, Routes};

/// How far the latencies of stable have been told, on every route.
#[derive(Default)]
pub(super) struct Gains {
    /// The routes as they were seen last, and one of `by_route` for each of them.
    routes: Arc<Routes>,
    by_route: Vec<RouteGains>,
    rounds: Rounds,
    /// Room to add up in.
    sums: Vec<u64>,
}

/// How far the latencies of stable on one route have been told.
struct RouteGains {
    of: Arc<Route>,
    by_metric: [Told; 2],
    rest: Rest,
}

/// What was told of one metric.
#[derive(Default)]
struct Told {
    /// By cell of the histograms, all workers together. It wraps, as what is added since
    /// does not: nobody answers four billion requests in ten seconds. Empty before the first.
    counts: Box<[u32]>,
    /// How many requests had ended then: unless it is more, there is nothing new.
    ended: u64,
}

impl Gains {
    /// Lets the gates of every route that is due see what was counted since the last call.
    pub(super) fn absorb(&mut self, live: &Live) {
        let routes = live.routes();
        if !Arc::ptr_eq(&routes, &self.routes) {
            self.adopt(&routes);
        }
        let round = self.rounds.next(routes.len());
        for (index, gains) in self.by_route.iter_mut().enumerate() {
            let requests = gains.of.all_requests();
            if !gains.rest.is_due(requests) && !round.includes(index) {
                continue;
            }
            let route = Arc::clone(&gains.of);
            if route.is_judged() {
                let sums = &mut self.sums;
                let mut fresh =
                    |metric, baseline: &mut Baseline| gains.add_to(metric, baseline, sums);
                route.absorb(&mut fresh, live);
            }
            route.fill_ledger();
        }
    }

    /// Goes on with the routes that have taken the place of those before.
    fn adopt(&mut self, routes: &Arc<Routes>) {
        self.routes = Arc::clone(routes);
        let before = std::mem::take(&mut self.by_route).into_iter();
        let mut before: HashMap<Arc<str>, RouteGains> = before
            .map(|gains| (Arc::clone(&gains.of.config.name), gains))
            .collect();
        let gains = routes
            .iter()
            .map(|route| match before.remove(&route.config.name) {
                Some(mut gains) => {
                    gains.adopt(route);
                    gains
                }
                None => RouteGains::new(route),
            });
        self.by_route = gains.collect();
    }
}

impl RouteGains {
    fn new(route: &Arc<Route>) -> Self {
        Self {
            of: Arc::clone(route),
            by_metric: Default::default(),
            rest: Rest::default(),
        }
    }

    /// Goes on with the route that has taken the place of the one before; anew if that has
    /// another stable.
    fn adopt(&mut self, route: &Arc<Route>) {
        if !self.of.counts_like(route, Role::Stable) {
            self.by_metric = Default::default();
        }
        self.of = Arc::clone(route);
        self.rest = Rest::default();
    }

    /// Adds to `baseline` what stable has taken since the last call.
    fn add_to(&mut self, metric: LatencyMetric, baseline: &mut Baseline, sums: &mut Vec<u64>) {
        let told = &mut self.by_metric[metric.index()];
        // Before the cells: what ends in between is looked at again.
        let ended = self
            .of
            .shards_of(Role::Stable)
            .map(|shard| shard.finished());
        let ended = ended.sum();
        if std::mem::replace(&mut told.ended, ended) == ended {
            return;
        }
        sums.clear();
        sums.resize(CELLS, 0);
        for shard in self.of.shards_of(Role::Stable) {
            shard.add_succeeded(metric, sums);
        }
        if told.counts.is_empty() {
            told.counts = vec![0; CELLS].into();
        }
        for (index, (told, sum)) in told.counts.iter_mut().zip(sums).enumerate() {
            let sum = low_half(*sum);
            let gained = sum.wrapping_sub(*told);
            if gained > 0 {
                baseline.add(middle_of(index), u64::from(gained));
                *told = sum;
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a count that may wrap")]
const fn low_half(count: u64) -> u32 {
    count as u32
}
