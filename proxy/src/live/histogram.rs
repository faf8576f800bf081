//! Latency counts of one worker in the bucket layout of HDR histograms.
//!
//! `hdrhistogram` has no histogram that one thread writes while others read. The
//! counts are kept here in its layout (two significant digits, microseconds, up to
//! an hour) and turned into a real `Histogram` when they are read.

use hdrhistogram::Histogram;

use crate::sync::{AtomicU64, Ordering};

/// The longest latency that is told apart: one hour in microseconds.
const HIGHEST: u64 = 3_600_000_000;

/// Two significant digits need 256 linear sub-buckets in the first bucket.
const SUB_BUCKET_BITS: u32 = 8;
const HALF: usize = 1 << (SUB_BUCKET_BITS - 1);

/// `HIGHEST` lies below 2^32: the first bucket covers 2^8, 24 doublings follow.
pub(crate) const CELLS: usize = (32 - SUB_BUCKET_BITS as usize + 2) * HALF;

/// Counts by latency; written by one thread, read by any.
#[derive(Debug)]
pub(crate) struct Latencies {
    cells: Box<[AtomicU64]>,
    /// Microseconds in total, for the `_sum` of the exposition.
    sum: AtomicU64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts one latency. Only the owning worker calls this.
    pub(crate) fn record(&self, micros: u64) {
        let micros = micros.min(HIGHEST);
        if let Some(cell) = self.cells.get(index_of(micros)) {
            bump(cell, 1);
        }
        bump(&self.sum, micros);
    }

    /// Adds everything counted so far to `cells`, of which there are [`CELLS`].
    pub(crate) fn add_to_cells(&self, cells: &mut [u64]) {
        for (sum, cell) in cells.iter_mut().zip(&self.cells) {
            *sum += cell.load(Ordering::Relaxed);
        }
    }

    /// Adds everything counted so far to `histogram`, and returns the sum in microseconds.
    pub(crate) fn add_to(&self, histogram: &mut Histogram<u64>) -> u64 {
        for (index, cell) in self.cells.iter().enumerate() {
            let count = cell.load(Ordering::Relaxed);
            if count != 0 {
                histogram.saturating_record_n(lowest_at(index), count);
            }
        }
        self.sum.load(Ordering::Relaxed)
    }
}

/// An empty histogram that holds what [`Latencies`] can count.
#[expect(clippy::expect_used, reason = "constant bounds, tested below")]
pub(crate) fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST, 2).expect("the bounds are valid")
}

/// Adds to a counter that only this thread writes.
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(by),
        Ordering::Release,
    );
}

/// The cell of a value: its bucket is the power of two, its sub-bucket the next bits.
const fn index_of(value: u64) -> usize {
    let mask = (1 << SUB_BUCKET_BITS) - 1;
    let bucket = 64 - SUB_BUCKET_BITS - (value | mask).leading_zeros();
    bucket as usize * HALF + (value >> bucket) as usize
}

/// The value in the middle of a cell.
pub(crate) const fn middle_of(index: usize) -> u64 {
    u64::midpoint(lowest_at(index), lowest_at(index + 1))
}

/// The lowest value of a cell.
const fn lowest_at(index: usize) -> u64 {
    let bucket = (index / HALF).saturating_sub(1);
    ((index - bucket * HALF) as u64) << bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_the_library_does() {
        let ours = Latencies::new();
        let mut theirs = empty_histogram();
        let mut value = 1_u64;
        for step in 0..200_000_u64 {
            value = value
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let micros = (value >> 32) >> (step % 28);
            ours.record(micros);
            theirs.saturating_record(micros.min(HIGHEST));
        }
        let mut read = empty_histogram();
        let sum = ours.add_to(&mut read);
        assert_eq!(read.len(), theirs.len());
        assert!(sum > 0);
        for quantile in [0.001, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            assert_eq!(
                read.value_at_quantile(quantile),
                theirs.value_at_quantile(quantile)
            );
        }
    }

    #[test]
    fn every_cell_is_reached_by_its_lowest_value() {
        for index in 0..CELLS {
            assert_eq!(index_of(lowest_at(index)), index);
            assert_eq!(index_of(middle_of(index)), index);
        }
        assert!(index_of(HIGHEST) < CELLS);
    }
}
