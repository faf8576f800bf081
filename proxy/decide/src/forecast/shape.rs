//! What is assumed of latencies: a log-normal distribution, and how a fault changes it.

use std::time::Duration;

use super::Traffic;

/// Stable's latencies, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    log_median: f64,
    spread: f64,
}

/// So many spreads above the median is the 99th percentile of a normal distribution.
pub(super) const P99_DEVIATIONS: f64 = 2.326_347_874;

/// The slowest responses take so many times as long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slowdown {
    pub(super) times: f64,
    /// Which share of all is the slowest.
    pub(super) slowest: f64,
}

impl Shape {
    pub(super) fn new(traffic: &Traffic) -> Self {
        let micros = |time: Duration| (time.as_secs_f64() * 1e6).max(1.0);
        let (median, p99) = (micros(traffic.median), micros(traffic.p99));
        Self {
            log_median: median.ln(),
            spread: ((p99 / median).ln() / P99_DEVIATIONS).max(1e-3),
        }
    }

    /// The logarithm of a quantile.
    pub(super) fn log_quantile(&self, quantile: f64) -> f64 {
        let (mut low, mut high) = (-9.0, 9.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if normal_tail(middle) > 1.0 - quantile {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.log_median + self.spread * high
    }

    /// The share of stable's responses that take longer than a time, as a logarithm.
    pub(super) fn share_above(&self, log: f64) -> f64 {
        normal_tail((log - self.log_median) / self.spread)
    }

    /// The same of a canary whose slowest are slower.
    pub(super) fn share_above_of(&self, log: f64, slowdown: Slowdown) -> f64 {
        if slowdown.slowest >= 1.0 {
            return self.share_above(log - slowdown.times.ln());
        }
        let cut = self.log_quantile(1.0 - slowdown.slowest);
        let slower = self.share_above((log - slowdown.times.ln()).max(cut));
        slower + (self.share_above(log) - slowdown.slowest).max(0.0)
    }
}

/// The share of a normal distribution beyond so many deviations (Abramowitz, Stegun:
/// "Handbook of Mathematical Functions", 26.2.17; the error is below 1e-7).
fn normal_tail(deviations: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let t = 1.0 / (1.0 + 0.231_641_9 * deviations.abs());
    let polynomial = COEFFICIENTS
        .iter()
        .rev()
        .fold(0.0, |sum, one| (sum + one) * t);
    let density = (-deviations * deviations / 2.0).exp() / std::f64::consts::TAU.sqrt();
    if deviations >= 0.0 {
        density * polynomial
    } else {
        1.0 - density * polynomial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normal_distribution_has_its_known_quantiles() {
        for (deviations, share) in [
            (0.0, 0.5),
            (1.281_552, 0.1),
            (1.644_854, 0.05),
            (P99_DEVIATIONS, 0.01),
            (3.090_232, 0.001),
            (-1.281_552, 0.9),
        ] {
            let found = normal_tail(deviations);
            assert!((found - share).abs() < 1e-6, "{deviations}: {found}");
        }
    }

    #[test]
    fn quantiles_are_where_they_are_given_and_a_slowdown_moves_the_slowest_only() {
        let traffic = Traffic {
            median: Duration::from_millis(40),
            p99: Duration::from_millis(250),
            ..Traffic::default()
        };
        let shape = Shape::new(&traffic);
        for (quantile, micros) in [(0.5, 40_000.0_f64), (0.99, 250_000.0)] {
            let found = shape.log_quantile(quantile).exp();
            assert!((found / micros - 1.0).abs() < 1e-3, "{quantile}: {found}");
        }
        let slowdown = Slowdown {
            times: 2.0,
            slowest: 0.03,
        };
        let above = |micros: f64| shape.share_above_of(micros.ln(), slowdown);
        assert!((above(500_000.0) - 0.01).abs() < 1e-4);
        assert!((above(40_000.0) - 0.5).abs() < 1e-4);
    }
}
