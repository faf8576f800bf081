//! Does the canary fail more often than stable allows?
//!
//! ## Why chance is allowed for
//!
//! Six failures in fifty requests are a rate of 12 %, and also what a healthy
//! version has now and then. A limit that is not hard is breached only if the
//! canary's rate `c` exceeds its bound `b` by more than three standard errors:
//!
//! ```text
//! c - b > 3 sqrt(se(canary)^2 + (db/ds)^2 se(stable)^2)
//! ```
//!
//! where `s` is stable's rate: `db/ds` is 1 for a bound that adds to it, the factor
//! for one that multiplies it, and 0 for an absolute one.

use super::chance::{STANDARD_ERRORS, standard_error};
use super::spec::{RateBound, RateLimit};
use super::verdict::{Comparison, Estimate, Measure};
use super::{Finding, Judgement, SAMPLE_MIN, WINDOW_SAMPLE};
use crate::role::Role;
use crate::tally::{Counts, Tally};
use crate::time::Timestamp;
use crate::window::{Sample, Window};

/// Compares the canary's share of failures in the recent past with its limits.
#[derive(Clone, Debug)]
pub(super) struct ErrorRate {
    limits: Vec<RateLimit>,
    window: Window<Tally>,
}

impl ErrorRate {
    pub(super) fn new(limits: Vec<RateLimit>, tally: &Tally, now: Timestamp) -> Self {
        Self {
            limits,
            window: Window::new(*tally, now),
        }
    }

    pub(super) fn restart(&mut self, tally: &Tally, now: Timestamp) {
        self.window = Window::new(*tally, now);
    }

    pub(super) fn absorb(&mut self, tally: &Tally, now: Timestamp) -> Judgement {
        let is_relative = |limit: &RateLimit| sensitivity(limit.bound) > 0.0;
        let sample = Sample {
            canary: WINDOW_SAMPLE,
            stable: if self.limits.iter().any(is_relative) {
                WINDOW_SAMPLE
            } else {
                0
            },
        };
        // Judged on the evidence as it was, or a breach could be rotated away.
        let judgement = self.judge(tally);
        if self
            .window
            .is_due(&tally.since(self.window.middle()), sample, now)
        {
            self.window.rotate(*tally, now);
        }
        judgement
    }

    pub(super) fn judge(&self, tally: &Tally) -> Judgement {
        let recent = tally.since(self.window.base());
        let (canary, stable) = (recent.of(Role::Canary), recent.of(Role::Stable));
        self.limits
            .iter()
            .map(|limit| judge_limit(*limit, canary, stable))
            .reduce(Judgement::worse)
            .unwrap_or_else(|| judge_limit(NO_LIMIT, canary, stable))
    }
}

/// Stands in for an empty list of limits, and is never breached.
const NO_LIMIT: RateLimit = RateLimit {
    bound: RateBound::Absolute(1.0),
    hard: true,
};

fn judge_limit(limit: RateLimit, canary: &Counts, stable: &Counts) -> Judgement {
    let estimate = |counts: &Counts| Estimate::share(counts.failures, counts.requests());
    let (canary, stable) = (estimate(canary), estimate(stable));
    let bound = bound(limit.bound, stable);
    let finding = if canary.samples < SAMPLE_MIN {
        Finding::NeedsCanary(SAMPLE_MIN - canary.samples)
    } else if sensitivity(limit.bound) > 0.0 && stable.samples < SAMPLE_MIN {
        Finding::NeedsStable
    } else if canary.value - bound > chance(limit, canary, stable) {
        Finding::Fail
    } else {
        Finding::Pass
    };
    let measure = Measure::ErrorRate {
        bound: limit.bound,
        hard: limit.hard,
    };
    Judgement {
        finding,
        comparison: Comparison {
            value: canary.value,
            limit: bound,
            canary,
            stable,
            measure,
        },
    }
}

/// What the canary's rate may be.
///
/// A multiple of zero is zero, and one failure in a thousand requests would be
/// infinitely worse than none. So if stable has not failed, a multiple is taken of
/// one failure among its requests, the smallest rate that it could have shown.
#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 52 bits"
)]
fn bound(bound: RateBound, stable: Estimate) -> f64 {
    let rate = match bound {
        RateBound::AboveStable(by) => stable.value + by,
        RateBound::Absolute(rate) => rate,
        RateBound::TimesStable(times) if stable.samples == 0 => times,
        RateBound::TimesStable(times) => {
            times * (stable.count.max(1) as f64 / stable.samples as f64)
        }
    };
    rate.clamp(0.0, 1.0)
}

/// By how much the bound moves with stable's rate.
fn sensitivity(bound: RateBound) -> f64 {
    match bound {
        RateBound::AboveStable(_) => 1.0,
        RateBound::Absolute(_) => 0.0,
        RateBound::TimesStable(times) => times,
    }
}

/// How far the canary's rate may exceed its bound by chance; nothing for a hard limit.
#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 52 bits"
)]
fn chance(limit: RateLimit, canary: Estimate, stable: Estimate) -> f64 {
    if limit.hard {
        return 0.0;
    }
    let error = |estimate: Estimate| standard_error(estimate.count as f64, estimate.samples as f64);
    STANDARD_ERRORS * error(canary).hypot(sensitivity(limit.bound) * error(stable))
}
