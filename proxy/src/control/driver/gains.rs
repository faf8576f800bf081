//! What stable has taken since it was last looked at.

use std::sync::Arc;

use haldane_decide::gate::Baseline;
use haldane_decide::gate::spec::LatencyMetric;
use haldane_decide::role::Role;

use crate::live::Route;
use crate::live::histogram::{CELLS, middle_of};

/// How far the latencies of stable on one route have been told.
pub(super) struct Gains {
    of: Arc<Route>,
    by_metric: [Told; 2],
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
    pub(super) fn new(route: &Arc<Route>) -> Self {
        Self {
            of: Arc::clone(route),
            by_metric: Default::default(),
        }
    }

    /// Goes on with the route that has taken the place of the one before; anew if that has
    /// another stable.
    pub(super) fn adopt(&mut self, route: &Arc<Route>) {
        if !self.of.counts_like(route, Role::Stable) {
            self.by_metric = Default::default();
        }
        self.of = Arc::clone(route);
    }

    /// Adds to `baseline` what stable has taken since the last call. `sums` is room to add
    /// up in.
    pub(super) fn add_to(
        &mut self,
        metric: LatencyMetric,
        baseline: &mut Baseline,
        sums: &mut Vec<u64>,
    ) {
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
