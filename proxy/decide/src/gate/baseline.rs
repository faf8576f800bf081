//! How long stable has taken lately, as limits in time are made from it.

use serde::{Deserialize, Serialize};

use super::tape::{Kept, Tape};

/// Buckets are one percent wide.
const WIDTH: f64 = 1.01;
/// Its natural logarithm.
const LN_WIDTH: f64 = 0.009_950_330_853_168_092;

/// From one microsecond to more than half an hour.
const BUCKETS: usize = 2200;

/// A histogram that forgets: after `HALF_LIFE` a value counts half.
///
/// Limits are made of what was seen before they are used, so an error in them costs
/// power and never validity.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Baseline {
    /// None before the first value: most routes of a large table are idle.
    counts: Vec<f64>,
    total: f64,
}

impl Baseline {
    /// After so many seconds a value counts half.
    pub(crate) const HALF_LIFE_SECONDS: f64 = 300.0;

    /// Counts responses that took so many microseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a cast from a float saturates, and the logarithm of one or more is positive"
    )]
    pub fn add(&mut self, micros: u64, count: u64) {
        let bucket = ((micros.max(1) as f64).ln() / LN_WIDTH) as usize;
        self.make_room();
        self.counts[bucket.min(BUCKETS - 1)] += count as f64;
        self.total += count as f64;
    }

    fn make_room(&mut self) {
        if self.counts.len() < BUCKETS {
            self.counts.resize(BUCKETS, 0.0);
        }
    }

    /// Adds all that another has.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.make_room();
        for (count, added) in self.counts.iter_mut().zip(&other.counts) {
            *count += added;
        }
        self.total += other.total;
    }

    /// Lets everything count less by this factor.
    pub(crate) fn decay(&mut self, factor: f64) {
        for count in &mut self.counts {
            *count *= factor;
        }
        self.total *= factor;
    }

    /// The value, in microseconds, that a share `quantile` of all does not exceed; `None`
    /// of fewer values than `values_min`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are not that many buckets"
    )]
    pub(crate) fn quantile(&self, quantile: f64, values_min: f64) -> Option<f64> {
        if self.total < values_min {
            return None;
        }
        let rank = quantile * self.total;
        let mut seen = 0.0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        let bucket = bucket.unwrap_or(BUCKETS - 1);
        Some(((bucket as f64 + 1.0) * LN_WIDTH).exp())
    }

    /// The share of values above so many microseconds.
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are not that many buckets"
    )]
    pub(crate) fn share_above(&self, micros: f64) -> f64 {
        if self.total <= 0.0 {
            return 0.0;
        }
        let above = self.counts.iter().enumerate().filter(|(bucket, _)| {
            let upper = ((*bucket as f64 + 1.0) * LN_WIDTH).exp();
            upper > micros * WIDTH.sqrt()
        });
        above.map(|(_, count)| count).sum::<f64>() / self.total
    }
}

/// Only the buckets that have something in them: most are empty.
impl Kept for Baseline {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        self.total.pass(tape);
        let mut found: Vec<(u64, f64)> = (0_u64..)
            .zip(self.counts.iter().copied())
            .filter(|(_, count)| *count > 0.0)
            .collect();
        let len = tape.length(found.len(), BUCKETS);
        found.resize(len, (0, 0.0));
        for (bucket, count) in &mut found {
            tape.count(bucket, BUCKETS as u64 - 1);
            count.pass(tape);
        }
        if tape.is_writing() {
            return;
        }
        self.counts.clear();
        if !found.is_empty() {
            self.make_room();
        }
        for (bucket, count) in found {
            let bucket = usize::try_from(bucket).unwrap_or_default();
            if let Some(cell) = self.counts.get_mut(bucket) {
                *cell = count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_percent_and_old_values_count_less() {
        let mut baseline = Baseline::default();
        assert_eq!(baseline.quantile(0.5, 50.0), None);
        for micros in 1..=10_000 {
            baseline.add(micros, 1);
        }
        for (quantile, value) in [(0.5, 5_000.0), (0.95, 9_500.0), (0.99, 9_900.0)] {
            let found = baseline.quantile(quantile, 50.0).unwrap();
            assert!((found / value - 1.0).abs() < 0.011, "{quantile}: {found}");
        }
        assert!((baseline.share_above(9_500.0) - 0.05).abs() < 0.01);
        baseline.decay(0.01);
        baseline.add(100_000, 900);
        assert!(baseline.quantile(0.5, 50.0).unwrap() > 99_000.0);
    }

    #[test]
    fn what_takes_for_ever_is_counted() {
        let mut baseline = Baseline::default();
        baseline.add(u64::MAX, 100);
        baseline.add(0, 1);
        assert!(baseline.quantile(0.99, 50.0).unwrap().is_finite());
    }
}
