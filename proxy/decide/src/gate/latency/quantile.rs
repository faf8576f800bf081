//! Quantiles of what was recorded recently, and limits made from them.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::gate::SAMPLE_MIN;
use crate::gate::spec::Quantile;

/// A quantile needs this many values beyond it: with fewer, it is the extreme of
/// the sample and not a property of the version.
const VALUES_BEYOND_QUANTILE: f64 = 5.0;

/// A limit relative to stable is at least this much above stable's quantile.
/// Nobody can feel a difference below it, and on a fast local service 1.2 times
/// the quantile would be a few microseconds, which is scheduling noise.
const DIFFERENCE_MIN: Duration = Duration::from_millis(1);

/// The longest limit relative to stable: about 146 000 years.
const LIMIT_MAX_MICROS: u64 = 1 << 62;

/// How many values a quantile needs before it means anything.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, and the value is positive"
)]
pub(super) fn sample_min(quantile: Quantile) -> u64 {
    // Rounded first, or 5 / (1 - 0.95) would be 101.
    let values = VALUES_BEYOND_QUANTILE / (1.0 - quantile.as_ratio());
    ((values - 1e-6).ceil() as u64).max(SAMPLE_MIN)
}

/// `times` a quantile of stable, or a little above it if that is nearer.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a cast from a float saturates; times beyond 52 bits of microseconds do not occur"
)]
pub(super) fn times_micros(micros: u64, times: f64) -> u64 {
    let difference_min = DIFFERENCE_MIN.as_micros() as u64;
    let multiple = (micros as f64 * times).round() as u64;
    multiple
        .max(micros.saturating_add(difference_min))
        .min(LIMIT_MAX_MICROS)
}

/// A quantile of the values that `current` has and `base`, its former state, has not.
/// `None` if they are too few for it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a cast from a float saturates; counts beyond 52 bits do not occur"
)]
pub(super) fn quantile_since(
    current: &Histogram<u64>,
    base: &Histogram<u64>,
    quantile: Quantile,
) -> Option<u64> {
    let values = current.len().saturating_sub(base.len());
    if values < sample_min(quantile) {
        return None;
    }
    let rank = ((values as f64 * quantile.as_ratio()).ceil() as u64).max(1);
    let mut seen = 0_u64;
    for step in current.iter_recorded() {
        let value = step.value_iterated_to();
        seen = seen.saturating_add(step.count_at_value().saturating_sub(base.count_at(value)));
        if seen >= rank {
            return Some(value);
        }
    }
    None
}
