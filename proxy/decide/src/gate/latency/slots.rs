//! What the caller and the latency gates tell each other.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::gate::spec::LatencyMetric;
use crate::tally::LATENCY_LIMITS_MAX;

/// The canary's latency limits in time, by slot.
pub(crate) type Slots = [Option<(LatencyMetric, Duration)>; LATENCY_LIMITS_MAX];

/// The latency limits that successes of the canary are compared with, by slot.
///
/// A success that took longer than the limit of slot `i` is counted in
/// [`Counts::slower`](crate::tally::Counts::slower)`[i]`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LatencyLimits {
    slots: Slots,
    epoch: u64,
}

impl LatencyLimits {
    /// What is timed and how long it may take, by slot; `None` counts nothing.
    #[must_use]
    pub const fn slots(&self) -> &[Option<(LatencyMetric, Duration)>; LATENCY_LIMITS_MAX] {
        &self.slots
    }

    /// Grows whenever a slot changes.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn replace(&mut self, slots: Slots) {
        if slots != self.slots {
            *self = Self {
                slots,
                epoch: self.epoch.wrapping_add(1),
            };
        }
    }
}

/// Stable's latencies since the process started, in microseconds, of successes.
#[derive(Clone, Copy, Debug)]
pub struct StableLatency<'a> {
    /// From the request head to the last byte of the response.
    pub duration: &'a Histogram<u64>,
    /// From the request head to the response head.
    pub ttfb: &'a Histogram<u64>,
}

impl StableLatency<'_> {
    pub(super) fn of(&self, metric: LatencyMetric) -> &Histogram<u64> {
        match metric {
            LatencyMetric::Duration => self.duration,
            LatencyMetric::Ttfb => self.ttfb,
        }
    }
}
