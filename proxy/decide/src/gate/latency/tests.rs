//! Limits in time, and who exceeds them.

use super::*;
use crate::gate::spec::Quantile;

fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 2).unwrap();
    for value in values {
        histogram.saturating_record(value);
    }
    histogram
}

fn quantile(ratio: f64) -> Quantile {
    Quantile::from_ratio(ratio).unwrap()
}

#[test]
fn the_sample_leaves_five_values_beyond_the_quantile() {
    for (ratio, values) in [
        (0.5, 50),
        (0.9, 50),
        (0.95, 100),
        (0.99, 500),
        (0.999, 5_000),
    ] {
        assert_eq!(sample_min(quantile(ratio)), values, "{ratio}");
    }
}

#[test]
fn a_quantile_forgets_what_came_before_the_base() {
    let old = histogram((0..1_000).map(|_| 100_000));
    let mut new = old.clone();
    for value in 1..=100 {
        new.record(value * 100).unwrap();
    }
    let p50 = quantile_since(&new, &old, quantile(0.5)).unwrap();
    assert!(new.equivalent(p50, 5_000), "{p50}");
    assert_eq!(quantile_since(&old, &old, quantile(0.5)), None);
    assert_eq!(
        quantile_since(&new, &old, quantile(0.99)),
        None,
        "100 values have no p99"
    );
}

#[test]
fn a_limit_is_a_multiple_or_a_millisecond_more() {
    for (micros, times, limit) in [
        (20_000, 1.2, 24_000),
        (1_000, 1.2, 2_000),
        (0, 2.0, 1_000),
        (20_000, 0.5, 21_000),
        (u64::MAX, 2.0, 1 << 62),
        (20_000, f64::MAX, 1 << 62),
        (20_000, f64::NAN, 21_000),
    ] {
        assert_eq!(times_micros(micros, times), limit, "{times} times {micros}");
    }
}
