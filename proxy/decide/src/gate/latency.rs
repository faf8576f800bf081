//! Is the canary slower than stable allows?
//!
//! "The canary's p95 is above 24 ms" is the same as "more than 5 % of its successes
//! took longer than 24 ms", and the latter is a counter. So the gate turns each of
//! its limits into a time, the caller counts what is slower, and nothing on the
//! response path looks at a histogram.
//!
//! ## Why stable is counted against the canary's limit too
//!
//! The limit in time follows stable's quantile in the recent past. If both sides
//! become slow together, the canary exceeds it at once, and the quantile follows
//! late. So a limit relative to stable is breached only if the canary also exceeds
//! it more often than stable did at the same limit over the same time. The caller
//! counts both sides as they end, so this holds at every outcome.
//!
//! ## Why chance is allowed for
//!
//! With `c` and `s` the shares of slower successes, a limit for the quantile `q` is
//! breached if `c - max(1 - q, s) > 3 sqrt(se(canary)^2 + se(stable)^2)`, without
//! stable's part for an absolute limit. Stable's error is taken at `max(1 - q, s)`:
//! at least that of the quantile which the limit is a multiple of.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::chance::{STANDARD_ERRORS, standard_error};
use super::spec::{LatencyBound, LatencyLimit, LatencyMetric};
use super::verdict::{Comparison, Estimate, Measure};
use super::{Finding, Judgement, SAMPLE_MIN, WINDOW_SAMPLE};
use crate::role::Role;
use crate::tally::{LATENCY_LIMITS_MAX, Tally};
use crate::time::Timestamp;
use crate::window::{Sample, Window};

mod quantile;
mod slots;

use quantile::{quantile_since, sample_min, times_micros};

pub(crate) use slots::Slots;
pub use slots::{LatencyLimits, StableLatency};

/// Compares quantiles of the canary's latency in the recent past with its limits.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    metric: LatencyMetric,
    limits: Vec<Limit>,
    /// `None` until the first `absorb` after a start: the snapshot needs a histogram.
    window: Option<Window<Snapshot>>,
}

#[derive(Clone, Debug)]
struct Snapshot {
    tally: Tally,
    stable: Histogram<u64>,
}

#[derive(Clone, Debug)]
struct Limit {
    spec: LatencyLimit,
    /// `None` if the route has more limits than are counted.
    slot: Option<usize>,
    current: Option<Current>,
}

/// A limit in time, and both sides' counts against it.
#[derive(Clone, Copy, Debug)]
struct Current {
    limit: Duration,
    /// Stable's quantile that the limit is a multiple of.
    stable_quantile: Option<Duration>,
    /// As of the window's snapshots, or since the slot has a limit if that is later:
    /// before it, nothing was counted as slower.
    base: Exceeded,
    middle: Exceeded,
}

/// Cumulative counts of successes, and of those slower than the limit of their time.
#[derive(Clone, Copy, Debug, Default)]
struct Exceeded {
    canary_slower: u64,
    canary_successes: u64,
    stable_slower: u64,
    stable_successes: u64,
}

impl Latency {
    pub(super) fn new(metric: LatencyMetric, limits: &[LatencyLimit], first_slot: usize) -> Self {
        let limits = limits
            .iter()
            .enumerate()
            .map(|(index, spec)| {
                let slot = Some(first_slot + index).filter(|slot| *slot < LATENCY_LIMITS_MAX);
                Limit {
                    spec: *spec,
                    slot,
                    current: None,
                }
            })
            .collect();
        Self {
            metric,
            limits,
            window: None,
        }
    }

    pub(super) fn restart(&mut self) {
        self.window = None;
        for limit in &mut self.limits {
            limit.current = None;
        }
    }

    pub(super) fn write_limits(&self, slots: &mut Slots) {
        for limit in &self.limits {
            if let (Some(slot), Some(current)) = (limit.slot, limit.current) {
                slots[slot] = Some((self.metric, current.limit));
            }
        }
    }

    pub(super) fn absorb(
        &mut self,
        tally: &Tally,
        stable: &StableLatency<'_>,
        now: Timestamp,
    ) -> Judgement {
        let stable = stable.of(self.metric);
        let snapshot = || Snapshot {
            tally: *tally,
            stable: stable.clone(),
        };
        let window = self
            .window
            .get_or_insert_with(|| Window::new(snapshot(), now));
        for limit in &mut self.limits {
            limit.advance(tally, stable, &window.base().stable);
        }
        let judgement = judge(self.metric, &self.limits, tally);
        let sample = sample(&self.limits);
        if window.is_due(&tally.since(&window.middle().tally), sample, now) {
            window.rotate(snapshot(), now);
            for limit in &mut self.limits {
                let (Some(slot), Some(current)) = (limit.slot, &mut limit.current) else {
                    continue;
                };
                current.base = current.middle;
                current.middle = Exceeded::at(slot, tally);
            }
        }
        judgement
    }

    pub(super) fn judge(&self, tally: &Tally) -> Judgement {
        judge(self.metric, &self.limits, tally)
    }
}

fn judge(metric: LatencyMetric, limits: &[Limit], tally: &Tally) -> Judgement {
    let judged = limits.iter().map(|limit| limit.judge(metric, tally));
    judged.reduce(Judgement::worse).unwrap_or(NO_LIMIT)
}

/// Stands in for an empty list of limits, and is never breached.
const NO_LIMIT: Judgement = Judgement {
    finding: Finding::Pass,
    comparison: Comparison {
        value: 0.0,
        limit: 1.0,
        canary: Estimate {
            value: 0.0,
            count: 0,
            samples: 0,
        },
        stable: Estimate {
            value: 0.0,
            count: 0,
            samples: 0,
        },
        measure: Measure::ConsecutiveFailures,
    },
};

/// What the window must hold for every limit to be decided on it.
fn sample(limits: &[Limit]) -> Sample {
    let needed = |limits: &mut dyn Iterator<Item = &Limit>| {
        limits
            .map(|limit| sample_min(limit.spec.quantile))
            .max()
            .unwrap_or(0)
    };
    let stable = needed(&mut limits.iter().filter(|limit| limit.is_relative()));
    Sample {
        canary: needed(&mut limits.iter()).max(WINDOW_SAMPLE),
        stable,
    }
}

impl Exceeded {
    const fn at(slot: usize, tally: &Tally) -> Self {
        let (canary, stable) = (tally.of(Role::Canary), tally.of(Role::Stable));
        Self {
            canary_slower: canary.slower[slot],
            canary_successes: canary.successes,
            stable_slower: stable.slower[slot],
            stable_successes: stable.successes,
        }
    }
}

impl Limit {
    const fn is_relative(&self) -> bool {
        match self.spec.bound {
            LatencyBound::Absolute(_) => false,
            LatencyBound::TimesStable(_) => true,
        }
    }

    /// Sets the limit for what comes next.
    fn advance(&mut self, tally: &Tally, stable: &Histogram<u64>, base: &Histogram<u64>) {
        let Some(slot) = self.slot else { return };
        let limit = self.limit_now(stable, base);
        self.current = limit.map(|(limit, stable_quantile)| {
            let (base, middle) = match &self.current {
                Some(current) => (current.base, current.middle),
                None => (Exceeded::at(slot, tally), Exceeded::at(slot, tally)),
            };
            Current {
                limit,
                stable_quantile,
                base,
                middle,
            }
        });
    }

    /// The limit in time, and stable's quantile if that is what it depends on.
    fn limit_now(
        &self,
        stable: &Histogram<u64>,
        base: &Histogram<u64>,
    ) -> Option<(Duration, Option<Duration>)> {
        match self.spec.bound {
            LatencyBound::Absolute(limit) => Some((limit, None)),
            LatencyBound::TimesStable(times) => {
                let micros = quantile_since(stable, base, self.spec.quantile)?;
                let limit = Duration::from_micros(times_micros(micros, times));
                Some((limit, Some(Duration::from_micros(micros))))
            }
        }
    }

    fn judge(&self, metric: LatencyMetric, tally: &Tally) -> Judgement {
        let LatencyLimit { quantile, bound } = self.spec;
        let allowed = 1.0 - quantile.as_ratio();
        let (canary, stable) = self.estimates(tally);
        let needed = sample_min(quantile);
        let finding = if self.slot.is_none() {
            Finding::NoSlot
        } else if self.current.is_none() && self.is_relative() {
            Finding::NeedsStable
        } else if canary.samples < needed {
            Finding::NeedsCanary(needed - canary.samples)
        } else if self.is_relative() && stable.samples < SAMPLE_MIN {
            Finding::NeedsStable
        } else if self.is_exceeded(allowed, canary, stable) {
            Finding::Fail
        } else {
            Finding::Pass
        };
        let measure = Measure::Latency {
            metric,
            quantile,
            bound,
            limit: self.current.map(|current| current.limit),
            stable: self.current.and_then(|current| current.stable_quantile),
        };
        Judgement {
            finding,
            comparison: Comparison {
                value: canary.value,
                limit: allowed,
                canary,
                stable,
                measure,
            },
        }
    }

    /// The shares of successes slower than the limit, in the window.
    fn estimates(&self, tally: &Tally) -> (Estimate, Estimate) {
        let (Some(slot), Some(current)) = (self.slot, &self.current) else {
            return (Estimate::default(), Estimate::default());
        };
        let (base, now) = (&current.base, Exceeded::at(slot, tally));
        (
            Estimate::share(
                now.canary_slower.saturating_sub(base.canary_slower),
                now.canary_successes.saturating_sub(base.canary_successes),
            ),
            Estimate::share(
                now.stable_slower.saturating_sub(base.stable_slower),
                now.stable_successes.saturating_sub(base.stable_successes),
            ),
        )
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate needs no more than 52 bits"
    )]
    fn is_exceeded(&self, allowed: f64, canary: Estimate, stable: Estimate) -> bool {
        let error = standard_error(canary.count as f64, canary.samples as f64);
        if !self.is_relative() {
            return canary.value - allowed > STANDARD_ERRORS * error;
        }
        let allowed = allowed.max(stable.value);
        let samples = stable.samples as f64;
        let stable_error = standard_error(allowed * samples, samples);
        canary.value - allowed > STANDARD_ERRORS * error.hypot(stable_error)
    }
}

#[cfg(test)]
mod tests;
