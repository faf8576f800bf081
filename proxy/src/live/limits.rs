//! What successes are compared with, as workers read it with every one of them.

use haldane_decide::gate::spec::{GateRule, GateSpec, LatencyMetric};
use haldane_decide::release::Release;
use haldane_decide::role::Role;
use haldane_decide::tally::{LADDERS_MAX, LATENCY_LIMITS_MAX, RUNGS_MAX};

use super::shard::RoleShard;
use crate::clock::{Clock, Micros, micros};
use crate::sync::{AtomicU64, Ordering};

/// There is no such limit.
const NONE: u64 = u64::MAX;

/// An example of a slow response is asked for so often, in microseconds: to report one
/// takes a lock.
const EXAMPLE_INTERVAL: Micros = 100_000;

/// The limits of a route. Read by workers; written under the route's lock, and only what
/// has changed, so that workers keep the line.
pub(crate) struct LatencyBoard {
    /// One for each latency gate.
    ladders: Box<[Ladder]>,
    /// One for each limit of the latency gates, in the order of the slots.
    slots: Box<[Slot]>,
    /// After how long a request without an answer has failed.
    stalled_after: AtomicU64,
    /// Since when the canary is under suspicion.
    suspected_since: AtomicU64,
    /// By role, when an example is next asked for. Written by workers.
    example_due: [AtomicU64; 2],
}

/// The rungs of one gate, in microseconds by role, ascending.
struct Ladder {
    metric: LatencyMetric,
    rungs: [[AtomicU64; RUNGS_MAX]; 2],
}

/// The canary's limit, in microseconds.
struct Slot {
    metric: LatencyMetric,
    limit: AtomicU64,
}

/// How long a success took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When its request began.
    pub(crate) started: Micros,
    pub(crate) ttfb: Micros,
    pub(crate) duration: Micros,
}

impl Times {
    const fn of(&self, metric: LatencyMetric) -> Micros {
        match metric {
            LatencyMetric::Duration => self.duration,
            LatencyMetric::Ttfb => self.ttfb,
        }
    }
}

impl LatencyBoard {
    /// A board without limits yet, for a route with these gates.
    pub(crate) fn new(gates: &[GateSpec]) -> Self {
        let latency = || {
            gates.iter().filter_map(|gate| match &gate.rule {
                GateRule::Latency {
                    metric, rollback, ..
                } => Some((*metric, rollback.len())),
                GateRule::BurnRate { .. }
                | GateRule::ConsecutiveFailures { .. }
                | GateRule::ErrorRate { .. }
                | GateRule::ErrorTrend
                | GateRule::LatencySpike { .. }
                | GateRule::NewErrors
                | GateRule::Outside { .. }
                | GateRule::Signal { .. } => None,
            })
        };
        let none = || AtomicU64::new(NONE);
        let ladder = |(metric, _)| Ladder {
            metric,
            rungs: std::array::from_fn(|_| std::array::from_fn(|_| none())),
        };
        let slots = latency().flat_map(|(metric, limits)| std::iter::repeat_n(metric, limits));
        let slot = |metric| Slot {
            metric,
            limit: none(),
        };
        Self {
            ladders: latency().take(LADDERS_MAX).map(ladder).collect(),
            slots: slots.take(LATENCY_LIMITS_MAX).map(slot).collect(),
            stalled_after: none(),
            suspected_since: none(),
            example_due: Default::default(),
        }
    }

    /// Shows the limits of a release.
    pub(crate) fn publish(&self, release: &Release, clock: Clock) {
        let limits = release.latency_limits();
        for (ladder, limits) in self.ladders.iter().zip(limits.ladders()) {
            let Some(limits) = limits else { continue };
            let cells = ladder.rungs.iter().flatten();
            for (cell, rung) in cells.zip(limits.rungs.iter().flatten()) {
                show(cell, *rung);
            }
        }
        for (slot, limit) in self.slots.iter().zip(limits.slots()) {
            show(&slot.limit, limit.map_or(NONE, |(_, limit)| micros(limit)));
        }
        show(
            &self.stalled_after,
            limits.stalled_after().map_or(NONE, micros),
        );
        let since = limits.suspected_since();
        let since = since.map_or(NONE, |since| clock.moment_of(since));
        show(&self.suspected_since, since);
    }

    /// After how long a request without an answer has failed, if that is known.
    pub(crate) fn stalled_after(&self) -> Option<Micros> {
        let limit = self.stalled_after.load(Ordering::Relaxed);
        (limit != NONE).then_some(limit)
    }

    /// Counts what a success, which `shard` counts already, says besides. `is_timed` if it
    /// began under the weight in force. True if it is slow, and to be reported as an
    /// example.
    pub(crate) fn count(
        &self,
        shard: &RoleShard,
        role: Role,
        times: &Times,
        is_timed: bool,
    ) -> bool {
        if times.started >= self.suspected_since.load(Ordering::Relaxed) {
            shard.after_suspicion();
        }
        if !is_timed {
            return false;
        }
        shard.timed();
        for (index, ladder) in self.ladders.iter().enumerate() {
            let took = times.of(ladder.metric);
            let rungs = &ladder.rungs[role.index()];
            let is_exceeded = |rung: &&AtomicU64| took > rung.load(Ordering::Relaxed);
            if let Some(highest) = rungs.iter().take_while(is_exceeded).count().checked_sub(1) {
                shard.rung(index, highest);
            }
        }
        let mut is_slow = false;
        for (index, slot) in self.slots.iter().enumerate() {
            if times.of(slot.metric) > slot.limit.load(Ordering::Relaxed) {
                shard.slower(index);
                is_slow = true;
            }
        }
        is_slow && self.asks_for_example(role, times)
    }

    fn asks_for_example(&self, role: Role, times: &Times) -> bool {
        let now = times.started.saturating_add(times.duration);
        let due = &self.example_due[role.index()];
        let asks = now >= due.load(Ordering::Relaxed);
        if asks {
            due.store(now.saturating_add(EXAMPLE_INTERVAL), Ordering::Relaxed);
        }
        asks
    }
}

fn show(cell: &AtomicU64, value: u64) {
    if cell.load(Ordering::Relaxed) != value {
        cell.store(value, Ordering::Relaxed);
    }
}
