//! Medians, quartiles and percentiles of small samples.

/// The middle half of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// First quartile.
    pub(crate) lower: f64,
    /// Second quartile.
    pub(crate) median: f64,
    /// Third quartile.
    pub(crate) upper: f64,
}

impl Spread {
    /// Of the values given; `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(Self {
            lower: quantile(&sorted, 0.25)?,
            median: quantile(&sorted, 0.5)?,
            upper: quantile(&sorted, 0.75)?,
        })
    }
}

/// Linear interpolation between order statistics (Hyndman and Fan 1996, type 7).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = share * last as f64;
    let below = position.floor() as usize;
    let low = *sorted.get(below)?;
    let high = *sorted.get((below + 1).min(last))?;
    Some(low + (high - low) * (position - below as f64))
}

/// The smallest value that at least `share` of the sorted values do not exceed.
pub(crate) fn percentile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_odd_even_and_no_values() {
        let spread = |lower, median, upper| {
            Some(Spread {
                lower,
                median,
                upper,
            })
        };
        assert_eq!(
            Spread::of(&[5.0, 1.0, 3.0, 2.0, 4.0]),
            spread(2.0, 3.0, 4.0)
        );
        assert_eq!(Spread::of(&[4.0, 1.0, 3.0, 2.0]), spread(1.75, 2.5, 3.25));
        assert_eq!(Spread::of(&[7.0]), spread(7.0, 7.0, 7.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn percentile_is_an_observed_value() {
        let sorted: Vec<u64> = (1..=1000).collect();
        assert_eq!(percentile(&sorted, 0.5), Some(500));
        assert_eq!(percentile(&sorted, 0.99), Some(990));
        assert_eq!(percentile(&sorted, 0.999), Some(999));
        assert_eq!(percentile(&sorted, 1.0), Some(1000));
        assert_eq!(percentile(&[3], 0.001), Some(3));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
