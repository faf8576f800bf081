//! What a count of rare events says about their rate.

use super::random::ln_factorial;

/// The upper limit, with 95 % confidence on this side, of the rate of what happened `count`
/// times in `trials` (Clopper and Pearson 1934).
pub(crate) fn upper_limit(count: u64, trials: u64) -> f64 {
    if count >= trials {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        // At the limit so few would be seen in 5 % of all cases only.
        if 1.0 - at_least(count + 1, trials, middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// How likely it is that something of this rate happens so often or more often.
pub(crate) fn at_least(count: u64, trials: u64, rate: f64) -> f64 {
    if rate <= 0.0 || rate >= 1.0 {
        return f64::from(u8::from(count == 0 || rate >= 1.0));
    }
    let n = trials as f64;
    let chance = |k: u64| {
        let k = k as f64;
        let ways = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
        (ways + k * rate.ln() + (n - k) * (-rate).ln_1p()).exp()
    };
    let below: f64 = (0..count).map(chance).sum();
    (1.0 - below).max(0.0)
}

/// Whether a promised rate is broken beyond doubt: fewer than one run in a thousand would
/// show so many if it were kept.
pub(crate) fn is_broken(count: u64, trials: u64, promised: f64) -> bool {
    count > 0 && at_least(count, trials, promised) < 0.001
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_nothing_is_the_rule_of_three() {
        let limit = upper_limit(0, 2000);
        assert!((limit - (1.0 - 0.05_f64.powf(1.0 / 2000.0))).abs() < 1e-9);
        // Tables of Clopper and Pearson: 5 of 100.
        assert!(
            (upper_limit(5, 100) - 0.102_25).abs() < 1e-4,
            "{}",
            upper_limit(5, 100)
        );
        assert_eq!(upper_limit(9, 9), 1.0);
    }

    #[test]
    fn a_promise_is_broken_beyond_doubt_only() {
        assert!(!is_broken(0, 2000, 0.001));
        assert!(!is_broken(7, 2000, 0.001));
        assert!(is_broken(9, 2000, 0.001));
        assert!((at_least(1, 2, 0.5) - 0.75).abs() < 1e-12);
    }
}
