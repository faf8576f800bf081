//! How far a counted share may lie from the true one by chance.

/// How many standard errors are put down to chance.
///
/// A gate looks again with every failure, and the most extreme of many looks lies
/// further out than one look would; three is what one look needs for 1 in 740.
/// For rare events the error as estimated here grows with the count itself, so the
/// chance of passing three of them is far below that (see [`standard_error`]).
pub(super) const STANDARD_ERRORS: f64 = 3.0;

/// The standard error of a share of which `count` of `samples` were seen.
///
/// With a uniform prior the true share has the distribution Beta(x + 1, n - x + 1),
/// whose variance is `m (1 - m) / (n + 3)` with the mean `m = (x + 1) / (n + 2)`.
/// That is the binomial variance with one success and one failure added, hence
/// never zero: no failure in 50 requests does not prove that there are none.
///
/// For rare events it is about `sqrt(x + 1) / n`. So with a limit near zero,
/// three standard errors are first exceeded by the tenth event, since
/// `10 > 3 sqrt(11)` and `9 < 3 sqrt(10)`: a stray failure stays a stray failure.
pub(super) fn standard_error(count: f64, samples: f64) -> f64 {
    let mean = (count + 1.0) / (samples + 2.0);
    (mean * (1.0 - mean) / (samples + 3.0)).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_has_no_error_of_zero() {
        for samples in [1.0, 50.0, 1e6] {
            assert!(standard_error(0.0, samples) > 0.0);
            assert!(standard_error(samples, samples) > 0.0);
        }
    }

    #[test]
    fn of_rare_events_the_tenth_is_beyond_chance() {
        let excess = |count: f64| count / 1e6 - STANDARD_ERRORS * standard_error(count, 1e6);
        assert!(excess(9.0) < 0.0);
        assert!(excess(10.0) > 0.0);
    }

    #[test]
    fn with_many_samples_it_is_the_binomial_one() {
        let binomial = (0.3_f64 * 0.7 / 1e6).sqrt();
        assert!((standard_error(3e5, 1e6) / binomial - 1.0).abs() < 1e-4);
    }
}
