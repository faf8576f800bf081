//! The canary's latency limits, as workers read them with every success.

use haldane_decide::gate::spec::{GateRule, GateSpec, LatencyMetric};
use haldane_decide::release::Release;
use haldane_decide::tally::LATENCY_LIMITS_MAX;

use crate::clock::{Micros, micros};
use crate::sync::{AtomicU64, Ordering};

/// One cell for each latency limit of a route, in the order of the slots. Read by
/// workers, written under the route's lock.
pub(crate) struct LatencyBoard {
    slots: Box<[Slot]>,
}

struct Slot {
    metric: LatencyMetric,
    /// In microseconds; `u64::MAX` while there is none.
    limit: AtomicU64,
}

impl LatencyBoard {
    /// A board without limits yet, for a route with these gates.
    pub(crate) fn new(gates: &[GateSpec]) -> Self {
        let metrics = gates.iter().flat_map(|gate| {
            let (metric, limits) = match &gate.rule {
                GateRule::Latency { metric, limits } => (*metric, limits.len()),
                GateRule::ConsecutiveFailures { .. } | GateRule::ErrorRate { .. } => {
                    (LatencyMetric::Ttfb, 0)
                }
            };
            std::iter::repeat_n(metric, limits)
        });
        let slot = |metric| Slot {
            metric,
            limit: AtomicU64::new(u64::MAX),
        };
        Self {
            slots: metrics.take(LATENCY_LIMITS_MAX).map(slot).collect(),
        }
    }

    /// Shows the limits of a release. What has not changed is not stored, so that
    /// workers keep the line.
    pub(crate) fn publish(&self, release: &Release) {
        for (slot, limit) in self.slots.iter().zip(release.latency_limits().slots()) {
            let limit = limit.map_or(u64::MAX, |(_, limit)| micros(limit));
            if slot.limit.load(Ordering::Relaxed) != limit {
                slot.limit.store(limit, Ordering::Relaxed);
            }
        }
    }

    /// The slots whose limit a response of these times was slower than.
    pub(crate) fn exceeded(&self, ttfb: Micros, duration: Micros) -> impl Iterator<Item = usize> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(move |(index, slot)| {
                let took = match slot.metric {
                    LatencyMetric::Duration => duration,
                    LatencyMetric::Ttfb => ttfb,
                };
                (took > slot.limit.load(Ordering::Relaxed)).then_some(index)
            })
    }
}
