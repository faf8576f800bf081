//! How fast bets grow, and when they are enough.

/// A lane of a bet: what it begins with, as a logarithm, and by how much that grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    pub(super) log_capital: f64,
    pub(super) rate: f64,
}

/// More than anybody waits for, in whatever unit.
const UNITS_MAX: f64 = 1e15;

/// After how many units the lanes together are `enough`, if each grows as it does on
/// average; infinite if they never are.
pub(super) fn units_until(lanes: &[Growth], enough: f64) -> f64 {
    let bound = enough.ln();
    let is_enough = |units: f64| {
        let logs = lanes
            .iter()
            .map(|lane| lane.log_capital + units * lane.rate);
        let most = logs.clone().fold(f64::NEG_INFINITY, f64::max);
        // The largest is taken out, so that nothing overflows.
        most.is_finite() && most + logs.map(|log| (log - most).exp()).sum::<f64>().ln() >= bound
    };
    let mut high = 1.0;
    while !is_enough(high) {
        high *= 2.0;
        if high > UNITS_MAX {
            return f64::INFINITY;
        }
    }
    let mut low = 0.0;
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The median of a passage time whose mean is known, of a bet that grows by as much as
/// it would if its lane were true: an inverse Gaussian with the shape `mean log / 2`
/// (Chhikara, Folks: "The inverse Gaussian distribution", 1989). `log` is the evidence
/// that it takes, in nats.
pub(super) fn median_of(mean: f64, log: f64) -> f64 {
    mean * (-1.0 / log).exp()
}

/// How many of `n` there are with a chance of `p` for each: values with their chances.
pub(super) type Points = Vec<(f64, f64)>;

/// From so many on, and with as many that are not, a bell will do.
const BELL_FROM: f64 = 200.0;

/// Values of a binomial distribution, at most about `points_max` of them: neighbours are
/// taken together at their mean. An `n` between two whole numbers is one or the other.
pub(super) fn binomial(n: f64, p: f64, points_max: usize) -> Points {
    if n <= 0.0 || p <= 0.0 {
        return vec![(0.0, 1.0)];
    }
    let p = p.min(1.0);
    let (mean, spread) = (n * p, (n * p * (1.0 - p)).sqrt());
    if mean > BELL_FROM && n - mean > BELL_FROM {
        return bell(mean, spread);
    }
    let (whole, part) = (n.floor(), n.fract());
    let mut points = exact(whole, p, (mean, spread), 1.0 - part);
    if part > 0.0 {
        points.extend(exact(whole + 1.0, p, (mean, spread), part));
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    coarse(&points, points_max)
}

fn bell(mean: f64, spread: f64) -> Points {
    let chance = |deviation: f64| (-deviation * deviation / 2.0).exp();
    let deviations = (-12..=12).map(|third| f64::from(third) / 3.0);
    let sum: f64 = deviations.clone().map(chance).sum();
    deviations
        .map(|deviation| (mean + spread * deviation, chance(deviation) / sum))
        .collect()
}

/// All values with a chance worth the name, scaled to `total`.
fn exact(n: f64, p: f64, (mean, spread): (f64, f64), total: f64) -> Points {
    if total <= 0.0 {
        return Vec::new();
    }
    let low = (mean - 8.0 * spread - 8.0).floor().max(0.0);
    let high = (mean + 8.0 * spread + 8.0).ceil().min(n);
    let odds = p / (1.0 - p);
    let mut logs = Vec::new();
    let (mut value, mut log) = (low, 0.0_f64);
    while value <= high {
        logs.push((value, log));
        log += ((n - value) / (value + 1.0) * odds).ln();
        value += 1.0;
    }
    if odds.is_infinite() {
        return vec![(n, total)];
    }
    let most = logs
        .iter()
        .map(|(_, log)| *log)
        .fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|(_, log)| (log - most).exp()).sum();
    logs.into_iter()
        .map(|(value, log)| (value, total * (log - most).exp() / sum))
        .collect()
}

fn coarse(points: &[(f64, f64)], points_max: usize) -> Points {
    if points.len() <= 2 * points_max {
        return points.to_vec();
    }
    let together = points.len().div_ceil(points_max);
    let merge = |some: &[(f64, f64)]| {
        let chance: f64 = some.iter().map(|(_, chance)| chance).sum();
        let value: f64 = some.iter().map(|(value, chance)| value * chance).sum();
        (chance > 0.0).then(|| (value / chance, chance))
    };
    points.chunks(together).filter_map(merge).collect()
}

/// Blocks as bets are made on them, on average.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// How long one is, in seconds.
    pub(super) seconds: f64,
    /// What of the canary and of stable is in it.
    pub(super) canary: f64,
    pub(super) stable: f64,
}

impl Blocks {
    /// Blocks of at least `seconds` that both versions are in, at these rates.
    pub(super) fn new(seconds: f64, canary_per_second: f64, stable_per_second: f64) -> Self {
        let rarer = canary_per_second.min(stable_per_second);
        let waited = (-rarer * seconds).exp() / rarer;
        let seconds = seconds + waited;
        Self {
            seconds,
            canary: canary_per_second * seconds,
            stable: stable_per_second * seconds,
        }
    }

    /// The canary's share.
    pub(super) fn share(&self) -> f64 {
        self.canary / (self.canary + self.stable)
    }

    /// The mean of what `log_factors` says for blocks in which so many of the canary and of
    /// stable exceed, with these chances for each.
    pub(super) fn mean<const N: usize>(
        &self,
        (canary, stable): (f64, f64),
        log_factors: impl Fn(f64, f64) -> [f64; N],
    ) -> [f64; N] {
        let mut means = [0.0; N];
        let by_stable = binomial(self.stable, stable, STABLE_POINTS);
        for (exceeding, chance) in binomial(self.canary, canary, CANARY_POINTS) {
            for (of_stable, other) in &by_stable {
                let factors = log_factors(exceeding, *of_stable);
                for (mean, factor) in means.iter_mut().zip(factors) {
                    *mean += chance * other * factor;
                }
            }
        }
        means
    }
}

/// How fine distributions are cut.
const CANARY_POINTS: usize = 40;
const STABLE_POINTS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_have_the_mean_and_the_spread_of_a_binomial() {
        for (n, p) in [
            (1.0, 0.5),
            (1.07, 0.48),
            (20.0, 1.0),
            (50.0, 0.01),
            (950.0, 0.05),
            (950.0, 0.5),
            (95_000.0, 0.5),
        ] {
            let points = binomial(n, p, 40);
            let sum: f64 = points.iter().map(|(_, chance)| chance).sum();
            let mean: f64 = points.iter().map(|(value, chance)| value * chance).sum();
            let square: f64 = points
                .iter()
                .map(|(value, chance)| (value - mean).powi(2) * chance)
                .sum();
            assert!((sum - 1.0).abs() < 1e-9, "{n} {p}: {sum}");
            assert!((mean - n * p).abs() < 1e-6 * n + 1e-9, "{n} {p}: {mean}");
            let exact = n * p * (1.0 - p) + p * p * n.fract() * (1.0 - n.fract());
            assert!(
                (square - exact).abs() <= 0.05 * exact + 1e-9,
                "{n} {p}: {square}"
            );
        }
    }

    #[test]
    fn lanes_are_enough_when_their_sum_is() {
        let lane = |log_capital: f64, rate| Growth { log_capital, rate };
        let one = units_until(&[lane(0.0, 0.1)], 1000.0);
        assert!((one - 1000.0_f64.ln() / 0.1).abs() < 1e-6, "{one}");
        let two = units_until(&[lane(0.0, 0.1), lane(0.0, 0.1)], 1000.0);
        assert!((two - 500.0_f64.ln() / 0.1).abs() < 1e-6, "{two}");
        assert!(units_until(&[lane(0.0, 0.0), lane(0.0, -1.0)], 20.0).is_infinite());
        assert!(units_until(&[], 20.0).is_infinite());
        assert!(units_until(&[lane(0.0, 1e-20)], 20.0).is_infinite());
    }
}
