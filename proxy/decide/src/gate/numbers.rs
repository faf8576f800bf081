//! Intervals and counts that statements about rates are made with.

use super::bet::float;

/// A time-uniform interval for a rate of which `count` of `samples` were seen: the true
/// rate leaves it at any time with a probability of at most `error`.
///
/// The e-process of a Beta(1/2, 1/2) mixture against `p` is at least
/// `exp(n KL(count/n, p)) / (2 sqrt(n))` (Krichevsky, Trofimov: "The performance of
/// universal encoding", 1981), so by Ville's inequality the rates with
/// `n KL <= ln(1/error) + ln(2 sqrt(n))` contain the true one for all time.
#[must_use]
pub fn interval(count: u64, samples: u64, error: f64) -> (f64, f64) {
    if samples == 0 {
        return (0.0, 1.0);
    }
    let (mean, radius) = mean_and_radius(count, samples, error);
    let low = bisect(mean, 0.0, |p| divergence(mean, p) <= radius);
    (low, highest(mean, radius))
}

/// The upper end of [`interval`].
#[must_use]
pub fn upper(count: u64, samples: u64, error: f64) -> f64 {
    if samples == 0 {
        return 1.0;
    }
    let (mean, radius) = mean_and_radius(count, samples, error);
    highest(mean, radius)
}

/// The rate that was seen, and how far the true one may diverge from it.
fn mean_and_radius(count: u64, samples: u64, error: f64) -> (f64, f64) {
    let n = float(samples);
    let mean = (float(count) / n).clamp(0.0, 1.0);
    (mean, ((1.0 / error).ln() + (2.0 * n.sqrt()).ln()) / n)
}

/// The largest rate that diverges from `mean` by at most `radius`. The divergence is at
/// least `(p - mean)^2 / (2 p)`, which bounds it.
fn highest(mean: f64, radius: f64) -> f64 {
    let bound = mean + radius + (radius * radius + 2.0 * mean * radius).sqrt();
    bisect(mean, bound.min(1.0), |p| divergence(mean, p) <= radius)
}

/// The Kullback-Leibler divergence of two Bernoulli distributions in nats.
#[must_use]
pub fn divergence(p: f64, q: f64) -> f64 {
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    let (p, q) = (p.clamp(0.0, 1.0), q.clamp(0.0, 1.0));
    (part(p, q) + part(1.0 - p, 1.0 - q)).max(0.0)
}

/// The point between `inside` and `outside` where `holds` ends.
fn bisect(inside: f64, outside: f64, holds: impl Fn(f64) -> bool) -> f64 {
    if holds(outside) {
        return outside;
    }
    let (mut inside, mut outside) = (inside, outside);
    // 60 halvings are below the distance of neighbouring numbers.
    for _ in 0..60 {
        if (outside - inside).abs() <= 1e-9 * outside {
            break;
        }
        let middle = f64::midpoint(inside, outside);
        if holds(middle) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    inside
}

/// A run is never allowed to be longer: a service that fails this often has no use for it.
const RUN_MAX: u32 = 1000;

/// How many failures in a row come by chance with a probability of at most `error` in
/// `requests_max` requests that fail with probability `p`: the smallest `N` with
/// `(requests_max (1 - p) + 1) p^N <= error`.
#[must_use]
pub fn run_length(p: f64, requests_max: u64, error: f64) -> u32 {
    let p = p.clamp(0.0, 1.0);
    let starts = float(requests_max) * (1.0 - p) + 1.0;
    let mut chance = starts * p;
    let mut run = 1;
    while chance > error && run < RUN_MAX {
        chance *= p;
        run += 1;
    }
    run
}

/// How long a run that is allowed for by chance is calibrated for.
const CALIBRATED_REQUESTS: u64 = 1_000_000;
/// The chance of such a run in a healthy canary.
const CALIBRATED_ERROR: f64 = 1e-4;

/// The run that gates with a calibrated limit act on, if stable fails with probability `p`.
#[must_use]
pub fn calibrated_run(p: f64) -> u32 {
    run_length(p, CALIBRATED_REQUESTS, CALIBRATED_ERROR)
}

/// How many requests of the canary it takes to show, with a chance of 80 %, that a rate
/// `p` is exceeded by less than `margin` at a false-pass rate of 5 %: the classical size
/// `(z_0.95 + z_0.80)^2 p (1 - p) (1 + w / (1 - w)) / margin^2`. Sequential tests need
/// about as many.
#[must_use]
pub fn requests_to_show(p: f64, margin: f64, share: f64) -> f64 {
    const Z: f64 = 6.18;
    if margin <= 0.0 || share >= 1.0 {
        return f64::INFINITY;
    }
    // With no failures at all it still takes about three over the margin.
    let variance = (p * (1.0 - p)).max(0.0);
    let classical = Z * variance * (1.0 + share / (1.0 - share)) / (margin * margin);
    classical.max(3.0 / margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_contains_what_was_seen_and_shrinks() {
        let mut width = 2.0;
        for samples in [1_u64, 10, 100, 10_000, 1_000_000, 10_000_000_000] {
            let (low, high) = interval(samples / 10, samples, 0.05);
            let seen = float(samples / 10) / float(samples);
            assert!(
                (0.0..=1.0).contains(&low) && low <= seen,
                "{samples}: {low}"
            );
            assert!(
                (0.0..=1.0).contains(&high) && seen <= high,
                "{samples}: {high}"
            );
            assert!(high - low < width, "{samples}");
            width = high - low;
        }
        assert!(width < 1e-4);
        assert_eq!(interval(0, 0, 0.05), (0.0, 1.0));
        assert!(interval(7, 7, 0.05).1 > 0.999_999);
    }

    #[test]
    fn runs_are_as_long_as_in_the_table() {
        for (p, run) in [
            (0.001, 4),
            (0.01, 5),
            (0.02, 6),
            (0.05, 8),
            (0.1, 10),
            (0.2, 15),
        ] {
            assert_eq!(run_length(p, 1_000_000, 1e-4), run, "{p}");
        }
        assert_eq!(run_length(0.0, 1_000_000, 1e-4), 1);
        assert_eq!(run_length(1.0, 1_000_000, 1e-4), RUN_MAX);
    }

    #[test]
    fn a_margin_takes_as_many_requests_as_in_the_table() {
        for (p, margin, requests) in [(0.001, 0.0001, 650_145.0), (0.01, 0.002, 16_107.0)] {
            let needs = requests_to_show(p, margin, 0.05);
            assert!(
                (needs / requests - 1.0).abs() < 0.01,
                "{p} {margin}: {needs}"
            );
        }
    }
}
