//! Per-worker counts, written without locks, read as a `Tally`.
//!
//! A shard has one writer, so a count is a plain load and store and no line is
//! shared between writers. Readers may see a count a little late, never torn.

use std::sync::{Arc, OnceLock};

use haldane_decide::gate::spec::LatencyMetric;
use haldane_decide::outcome::FailureReason;
use haldane_decide::role::Role;
use haldane_decide::tally::{Counts, LADDERS_MAX, LATENCY_LIMITS_MAX, RUNGS_MAX, Tally};
use hdrhistogram::Histogram;

use super::histogram::{Latencies, bump};
use crate::sync::{AtomicU64, Ordering};

/// The lowest status code that HTTP knows; one cell for each from here to 599.
const LOWEST_STATUS: u16 = 100;
const STATUSES: usize = 500;

/// Statuses that gRPC knows, from 0.
const GRPC_STATUSES: usize = 17;

/// One worker's counts for one route. Those of a role are shared with the route that
/// takes its place, as long as the role has the same version.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    by_role: [Arc<RoleShard>; 2],
}

/// One worker's counts for one role of a route. Padded so that neighbours share no
/// cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct RoleShard {
    started: AtomicU64,
    finished: AtomicU64,
    /// Evidence for the current generation; see [`RoleShard::read_evidence`].
    successes: AtomicU64,
    failures: AtomicU64,
    /// The same of requests that a rule decided.
    ruled_successes: AtomicU64,
    ruled_failures: AtomicU64,
    after_suspicion: AtomicU64,
    timed: AtomicU64,
    by_reason: [AtomicU64; FailureReason::ALL.len()],
    /// Allocated by the first response: most routes of a large table are idle.
    detail: OnceLock<Box<Detail>>,
}

#[derive(Debug)]
struct Detail {
    /// Evidence: timed successes by ladder and the highest rung that they were slower than.
    rungs: [[AtomicU64; RUNGS_MAX]; LADDERS_MAX],
    /// Evidence: timed successes that were slower than the limit of each slot.
    slower: [AtomicU64; LATENCY_LIMITS_MAX],
    /// Of responses that are no failures: what limits in time are made from.
    succeeded: Times,
    /// Of all others: failed responses, which are often fast and would flatter their version,
    /// and those that were given in the place of the other version.
    others: OnceLock<Box<Times>>,
    statuses: Box<[AtomicU64]>,
    /// Calls by gRPC status; the last cell is for those without one that is known.
    grpc: [AtomicU64; GRPC_STATUSES + 1],
}

#[derive(Debug)]
struct Times {
    ttfb: Latencies,
    duration: Latencies,
}

/// Which responses are meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Responses {
    All,
    /// Those whose status is no failure, and that were not given in the place of the
    /// other version.
    Succeeded,
}

/// Statuses from here on count against the version.
pub(crate) const FAILURE_STATUS: u16 = 500;

impl Shard {
    /// Counts that go on, by role.
    pub(crate) fn new(by_role: [Arc<RoleShard>; 2]) -> Self {
        Self { by_role }
    }

    /// The counts of one role.
    pub(crate) fn of(&self, role: Role) -> &RoleShard {
        &self.by_role[role.index()]
    }

    /// Adds what gates judge by to `tally`.
    pub(crate) fn read_evidence(&self, tally: &mut Tally) {
        for role in Role::ALL {
            self.of(role).read_evidence(tally, role);
        }
    }
}

impl RoleShard {
    /// A request was routed to this role.
    pub(crate) fn start(&self) {
        bump(&self.started, 1);
    }

    /// A request that was counted as started went to the other role after all.
    pub(crate) fn unstart(&self) {
        bump(&self.started, u64::MAX);
    }

    /// An exchange ended, however it ended.
    pub(crate) fn finish(&self) {
        bump(&self.finished, 1);
    }

    /// A response head with this status came after `ttfb` microseconds, to be found
    /// among these responses.
    pub(crate) fn head(&self, status: u16, (ttfb, among): (u64, Responses)) {
        let detail = self.detail.get_or_init(Detail::boxed);
        detail.times(among).ttfb.record(ttfb);
        if let Some(cell) = detail
            .statuses
            .get(usize::from(status.wrapping_sub(LOWEST_STATUS)))
        {
            bump(cell, 1);
        }
    }

    /// A gRPC call came to this point after `ttfb` microseconds: its status is not known yet.
    pub(crate) fn grpc_head(&self, ttfb: u64, among: Responses) {
        let detail = self.detail.get_or_init(Detail::boxed);
        detail.times(among).ttfb.record(ttfb);
    }

    /// A gRPC call has ended with this status, or with none.
    pub(crate) fn grpc_end(&self, status: Option<u32>) {
        let detail = self.detail.get_or_init(Detail::boxed);
        let index = status.map_or(GRPC_STATUSES, |status| status as usize);
        bump(&detail.grpc[index.min(GRPC_STATUSES)], 1);
    }

    /// haldane answered with this status in the place of the upstream.
    pub(crate) fn answered_for(&self, status: u16) {
        let detail = self.detail.get_or_init(Detail::boxed);
        if let Some(cell) = detail
            .statuses
            .get(usize::from(status.wrapping_sub(LOWEST_STATUS)))
        {
            bump(cell, 1);
        }
    }

    /// A response was complete after `duration` microseconds.
    pub(crate) fn complete(&self, duration: u64, among: Responses) {
        self.detail
            .get_or_init(Detail::boxed)
            .times(among)
            .duration
            .record(duration);
    }

    /// Evidence for the version.
    pub(crate) fn success(&self) {
        bump(&self.successes, 1);
    }

    /// That success was of a request that began when the canary was under suspicion.
    pub(crate) fn after_suspicion(&self) {
        bump(&self.after_suspicion, 1);
    }

    /// That success began under the weight in force. To be told before what it was slower
    /// than.
    pub(crate) fn timed(&self) {
        bump(&self.timed, 1);
    }

    /// It was slower than this rung of a ladder, and than none above.
    pub(crate) fn rung(&self, ladder: usize, rung: usize) {
        let detail = self.detail.get_or_init(Detail::boxed);
        if let Some(cell) = detail.rungs.get(ladder).and_then(|rungs| rungs.get(rung)) {
            bump(cell, 1);
        }
    }

    /// It was slower than the latency limit of this slot.
    pub(crate) fn slower(&self, slot: usize) {
        let detail = self.detail.get_or_init(Detail::boxed);
        if let Some(cell) = detail.slower.get(slot) {
            bump(cell, 1);
        }
    }

    /// Evidence against the version.
    pub(crate) fn failure(&self) {
        bump(&self.failures, 1);
    }

    /// The version has answered a request that a rule has sent there.
    pub(crate) fn ruled_success(&self) {
        bump(&self.ruled_successes, 1);
    }

    /// The version has failed a request that a rule has sent there.
    pub(crate) fn ruled_failure(&self) {
        bump(&self.ruled_failures, 1);
    }

    /// A failure, whichever generation it belongs to.
    pub(crate) fn failed_by(&self, reason: FailureReason) {
        bump(&self.by_reason[reason.index()], 1);
    }

    fn read_evidence(&self, tally: &mut Tally, role: Role) {
        let counts = tally.of_mut(role);
        // Failures first: a failure that is seen has the successes before it. Parts before
        // what they are a part of, which is written first.
        counts.failures += self.failures.load(Ordering::Acquire);
        counts.ruled_failures += self.ruled_failures.load(Ordering::Acquire);
        if let Some(detail) = self.detail.get() {
            detail.read_evidence(counts);
        }
        counts.after_suspicion += self.after_suspicion.load(Ordering::Acquire);
        counts.timed += self.timed.load(Ordering::Acquire);
        counts.successes += self.successes.load(Ordering::Acquire);
        counts.ruled_successes += self.ruled_successes.load(Ordering::Acquire);
    }

    /// Requests routed to this role so far.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    /// Exchanges of this role that have ended.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }

    /// Failures for this reason.
    pub(crate) fn failures_by(&self, reason: FailureReason) -> u64 {
        self.by_reason[reason.index()].load(Ordering::Acquire)
    }

    /// Calls `each` with every status that was seen and how often.
    pub(crate) fn statuses(&self, mut each: impl FnMut(u16, u64)) {
        let Some(detail) = self.detail.get() else {
            return;
        };
        for (code, cell) in (LOWEST_STATUS..).zip(detail.statuses.iter()) {
            let count = cell.load(Ordering::Relaxed);
            if count != 0 {
                each(code, count);
            }
        }
    }

    /// Calls `each` with every gRPC status that was seen and how often; `None` is none.
    pub(crate) fn grpc_statuses(&self, mut each: impl FnMut(Option<u16>, u64)) {
        let cells = self
            .detail
            .get()
            .into_iter()
            .flat_map(|detail| &detail.grpc);
        for (status, cell) in (0..).zip(cells) {
            let count = cell.load(Ordering::Relaxed);
            if count != 0 {
                each(
                    Some(status).filter(|status| usize::from(*status) < GRPC_STATUSES),
                    count,
                );
            }
        }
    }

    /// Adds how often each latency was counted of successes to `cells`.
    pub(crate) fn add_succeeded(&self, metric: LatencyMetric, cells: &mut [u64]) {
        for times in self.times_of(Responses::Succeeded) {
            times.of(metric).add_to_cells(cells);
        }
    }

    /// Adds the times to the first byte to `histogram`; returns their sum in microseconds.
    pub(crate) fn add_ttfb(&self, responses: Responses, histogram: &mut Histogram<u64>) -> u64 {
        self.times_of(responses)
            .map(|times| times.ttfb.add_to(histogram))
            .sum()
    }

    /// Adds the durations to `histogram`; returns their sum in microseconds.
    pub(crate) fn add_duration(&self, responses: Responses, histogram: &mut Histogram<u64>) -> u64 {
        self.times_of(responses)
            .map(|times| times.duration.add_to(histogram))
            .sum()
    }

    fn times_of(&self, responses: Responses) -> impl Iterator<Item = &Times> {
        let detail = self.detail.get();
        let others = detail
            .and_then(|detail| detail.others.get())
            .filter(|_| responses == Responses::All);
        detail
            .map(|detail| &detail.succeeded)
            .into_iter()
            .chain(others.map(|times| &**times))
    }
}

impl Detail {
    fn boxed() -> Box<Self> {
        Box::new(Self {
            rungs: Default::default(),
            slower: Default::default(),
            succeeded: Times::new(),
            others: OnceLock::new(),
            statuses: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            grpc: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    fn read_evidence(&self, counts: &mut Counts) {
        let rungs = counts.rungs.iter_mut().flatten();
        let slower = counts.slower.iter_mut();
        let cells = self.rungs.iter().flatten().chain(&self.slower);
        for (sum, cell) in rungs.chain(slower).zip(cells) {
            *sum += cell.load(Ordering::Acquire);
        }
    }

    fn times(&self, among: Responses) -> &Times {
        match among {
            Responses::All => self.others.get_or_init(|| Box::new(Times::new())),
            Responses::Succeeded => &self.succeeded,
        }
    }
}

impl Times {
    fn new() -> Self {
        Self {
            ttfb: Latencies::new(),
            duration: Latencies::new(),
        }
    }

    fn of(&self, metric: LatencyMetric) -> &Latencies {
        match metric {
            LatencyMetric::Duration => &self.duration,
            LatencyMetric::Ttfb => &self.ttfb,
        }
    }
}
