//! From the fine buckets that are counted to the coarse ones that are scraped.

use hdrhistogram::Histogram;

use super::marks::Mark;
use crate::live::exemplars::Slow;
use crate::live::histogram::empty_histogram;
use crate::live::series::Series;
use crate::live::shard::Responses;

/// Upper bounds for requests in seconds: half a millisecond to a minute.
const REQUEST_BOUNDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Upper bounds for rollbacks in seconds: they take microseconds.
pub(super) const ROLLBACK_BOUNDS: [f64; 11] = [
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.001,
    0.01,
    0.1,
    1.0,
];

/// A histogram as it is scraped.
pub(super) struct Buckets {
    /// Seconds in total.
    pub(super) sum: f64,
    pub(super) count: u64,
    /// Upper bound, and how many lie below it but above the one before.
    pub(super) counts: Vec<(f64, u64)>,
}

/// Which time of a request is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Times {
    Duration,
    Ttfb,
}

/// One histogram that all versions are read into, one after the other.
pub(super) struct Scratch(Histogram<u64>);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(empty_histogram())
    }

    /// The times of a version, over all workers.
    pub(super) fn read(&mut self, series: &Series, times: Times) -> Buckets {
        self.0.reset();
        let mut sum = 0;
        for shard in series.shards() {
            sum += match times {
                Times::Duration => shard.add_duration(Responses::All, &mut self.0),
                Times::Ttfb => shard.add_ttfb(Responses::All, &mut self.0),
            };
        }
        Buckets {
            sum: seconds(sum),
            ..Buckets::of(&self.0, &REQUEST_BOUNDS)
        }
    }
}

impl Buckets {
    /// For each of them, the request that stands for it, as far as there is one.
    pub(super) fn marks(&self, slow: Slow) -> Vec<Option<Mark>> {
        let mut marks = vec![None; self.counts.len()];
        for (micros, one) in slow {
            let value = seconds(micros);
            let bucket = self.counts.partition_point(|(bound, _)| *bound < value);
            if let Some(mark) = marks.get_mut(bucket)
                && mark.is_none_or(|known: Mark| known.one.at <= one.at)
            {
                *mark = Some(Mark { value, one });
            }
        }
        marks
    }

    /// `histogram`, which counts microseconds, under these bounds. The sum is as
    /// exact as the histogram is.
    pub(super) fn of(histogram: &Histogram<u64>, bounds: &[f64]) -> Self {
        let last = std::iter::once(f64::INFINITY);
        let mut counts: Vec<(f64, u64)> = bounds
            .iter()
            .copied()
            .chain(last)
            .map(|bound| (bound, 0))
            .collect();
        let mut bucket = 0;
        for value in histogram.iter_recorded() {
            let time = seconds(histogram.lowest_equivalent(value.value_iterated_to()));
            while bucket + 1 < counts.len() && time > counts[bucket].0 {
                bucket += 1;
            }
            counts[bucket].1 += value.count_at_value();
        }
        let count = counts.iter().map(|(_, count)| count).sum();
        Self {
            sum: sum_of(histogram),
            count,
            counts,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a sum of latencies needs no more than 52 bits"
)]
pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count needs no more than 52 bits"
)]
fn sum_of(histogram: &Histogram<u64>) -> f64 {
    histogram.mean() * histogram.len() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_bucket_of_the_next_bound() {
        let mut histogram = empty_histogram();
        for (micros, times) in [(0, 1), (1, 2), (2, 3), (5, 4), (90, 5), (2_000_000, 6)] {
            histogram.saturating_record_n(micros, times);
        }
        let buckets = Buckets::of(&histogram, &ROLLBACK_BOUNDS);
        let filled: Vec<_> = buckets
            .counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .copied()
            .collect();
        assert_eq!(
            filled,
            [
                (0.000_001, 3),
                (0.000_002_5, 3),
                (0.000_005, 4),
                (0.000_1, 5),
                (f64::INFINITY, 6)
            ]
        );
        assert_eq!(buckets.count, 21);
        assert!((buckets.sum - 12.000_478).abs() < 0.1, "{}", buckets.sum);
    }
}
