//! Kayenta's judgement of one metric: `NetflixACAJudge` at commit a69573b, direction "increase".

/// Whether the canary's values are "High": the lower end of the two-sided 98 % confidence
/// interval of the shift is above a quarter of the estimated shift (Hodges and Lehmann).
///
/// The interval inverts the Mann-Whitney test in its normal approximation, with ties and
/// continuity corrected as R's `wilcox.test` does; a shift lies below its lower end if and
/// only if the test rejects it.
pub(crate) fn is_high(canary: &[f64], stable: &[f64]) -> bool {
    // The estimate costs more than the test, and no shift but a positive one is high.
    statistic(canary, stable, 0.0) > QUANTILE && {
        let limit = TOLERANCE * shift(canary, stable).abs();
        statistic(canary, stable, limit) > QUANTILE
    }
}

/// The median of all differences.
fn shift(canary: &[f64], stable: &[f64]) -> f64 {
    let pairs = canary
        .iter()
        .flat_map(|own| stable.iter().map(move |other| own - other));
    let mut differences: Vec<f64> = pairs.collect();
    let middle = differences.len() / 2;
    let (_, median, _) = differences.select_nth_unstable_by(middle, f64::total_cmp);
    *median
}

/// The standardised rank sum of the canary's values less `shift`.
fn statistic(canary: &[f64], stable: &[f64], shift: f64) -> f64 {
    if canary.is_empty() || stable.is_empty() {
        return 0.0;
    }
    let moved = canary.iter().map(|value| (value - shift, true));
    let mut all: Vec<(f64, bool)> = moved
        .chain(stable.iter().map(|&value| (value, false)))
        .collect();
    all.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let (mut rank_sum, mut ties, mut below) = (0.0, 0.0, 0.0);
    for equal in all.chunk_by(|one, other| one.0 == other.0) {
        let count = equal.len() as f64;
        let own = equal.iter().filter(|(_, own)| *own).count() as f64;
        rank_sum += own * (below + (count + 1.0) / 2.0);
        ties += count.powi(3) - count;
        below += count;
    }
    let (own, other) = (canary.len() as f64, stable.len() as f64);
    let distance = rank_sum - own * (own + 1.0) / 2.0 - own * other / 2.0;
    let spread = (own + other + 1.0) - ties / ((own + other) * (own + other - 1.0));
    let deviation = (own * other / 12.0 * spread).sqrt();
    if deviation > 0.0 {
        (distance - 0.5 * distance.signum()) / deviation
    } else {
        0.0
    }
}

/// The 99 % quantile of the normal distribution: two-sided confidence 98 %.
const QUANTILE: f64 = 2.326_347_874_040_841;

/// A share of the estimated shift.
const TOLERANCE: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistic_is_that_of_r() {
        // wilcox.test(c(1.1, 2.2, 3.3, 4.4), c(0.5, 1.5, 2.5), exact = FALSE): W = 9, p = 0.3768.
        let z = statistic(&[1.1, 2.2, 3.3, 4.4], &[0.5, 1.5, 2.5], 0.0);
        assert!((z - 0.883_883_476).abs() < 1e-6, "{z}");
        // Ties share their rank, and make the deviation smaller.
        let z = statistic(&[1.0, 2.0, 2.0], &[2.0, 3.0, 3.0], 0.0);
        assert!((z + std::f64::consts::SQRT_2).abs() < 1e-9, "{z}");
        assert_eq!(statistic(&[1.0; 5], &[1.0; 5], 0.0), 0.0);
        assert_eq!(statistic(&[], &[1.0], 0.0), 0.0);
    }

    #[test]
    fn five_clearly_higher_points_are_enough_and_four_are_not() {
        let stable = [1.0, 1.1, 0.9, 1.05, 0.95];
        let canary = [5.0, 5.2, 4.8, 5.1, 4.9];
        assert!(is_high(&canary, &stable));
        assert!(!is_high(&canary[..4], &stable[..4]));
        assert!(!is_high(&stable, &canary));
        assert!(!is_high(&stable, &stable));
    }

    #[test]
    fn the_estimate_is_the_median_difference() {
        assert_eq!(shift(&[3.0, 4.0, 5.0], &[1.0]), 3.0);
    }
}
