//! A seeded generator and the distributions that simulations draw from.

/// xoshiro256++ (Blackman and Vigna 2021). The same seed gives the same numbers everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// A generator of its own for each rollout, so that threads change nothing.
    pub(crate) fn new(seed: u64, stream: &str, index: u64) -> Self {
        let mut mixer = seed;
        for word in stream.bytes().map(u64::from).chain([index]) {
            mixer = split_mix(&mut (mixer ^ word.wrapping_mul(0xD6E8_FEB8_6659_FD93)));
        }
        Self {
            state: std::array::from_fn(|_| split_mix(&mut mixer)),
        }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform between 0 and 1, never either.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// Whether something of this probability happens.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Exponential of mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// Standard normal, by the polar method.
    pub(crate) fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square < 1.0 && square > 0.0 {
                return x * (-2.0 * square.ln() / square).sqrt();
            }
        }
    }

    /// How many trials fail to happen before the first that does.
    pub(crate) fn gap(&mut self, probability: f64) -> u64 {
        if probability >= 1.0 {
            return 0;
        }
        if probability <= 0.0 {
            return u64::MAX;
        }
        // Saturates, as it should.
        (self.uniform().ln() / (-probability).ln_1p()) as u64
    }

    /// Poisson: by products below a mean of 10, else PTRS (Hörmann 1993).
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean < 10.0 {
            let (floor, mut product, mut count) = ((-mean).exp(), self.uniform(), 0);
            while product > floor {
                product *= self.uniform();
                count += 1;
            }
            return count;
        }
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let quick = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let (u, v) = (self.uniform() - 0.5, self.uniform());
            let side = 0.5 - u.abs();
            let k = ((2.0 * a / side + b) * u + mean + 0.43).floor();
            if side >= 0.07 && v <= quick {
                return k as u64;
            }
            if k < 0.0 || (side < 0.013 && v > side) {
                continue;
            }
            let left = (v * inverse_alpha / (a / (side * side) + b)).ln();
            if left <= k * mean.ln() - mean - ln_factorial(k) {
                return k as u64;
            }
        }
    }

    /// Binomial: by gaps below a mean of 10, else BTRS (Hörmann 1993).
    pub(crate) fn binomial(&mut self, trials: u64, probability: f64) -> u64 {
        if trials == 0 || probability <= 0.0 {
            return 0;
        }
        if probability >= 1.0 {
            return trials;
        }
        if probability > 0.5 {
            return trials - self.binomial(trials, 1.0 - probability);
        }
        if trials as f64 * probability < 10.0 {
            let (mut count, mut rest) = (0, trials);
            loop {
                let gap = self.gap(probability);
                if gap >= rest {
                    return count;
                }
                (count, rest) = (count + 1, rest - gap - 1);
            }
        }
        self.large_binomial(trials as f64, probability)
    }

    /// Needs a mean of at least 10 and a probability of at most one half.
    fn large_binomial(&mut self, n: f64, p: f64) -> u64 {
        let deviation = (n * p * (1.0 - p)).sqrt();
        let b = 1.15 + 2.53 * deviation;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let c = n * p + 0.5;
        let quick = 0.92 - 4.2 / b;
        loop {
            let (u, v) = (self.uniform() - 0.5, self.uniform());
            let side = 0.5 - u.abs();
            let k = ((2.0 * a / side + b) * u + c).floor();
            if k < 0.0 || k > n {
                continue;
            }
            if side >= 0.07 && v <= quick {
                return k as u64;
            }
            let alpha = (2.83 + 5.1 / b) * deviation;
            let mode = ((n + 1.0) * p).floor();
            let left = (v * alpha / (a / (side * side) + b)).ln();
            let right =
                ln_factorial(mode) + ln_factorial(n - mode) - ln_factorial(k) - ln_factorial(n - k)
                    + (k - mode) * (p / (1.0 - p)).ln();
            if left <= right {
                return k as u64;
            }
        }
    }

    /// The `rank`-th smallest of so many uniform numbers: a beta distribution.
    pub(crate) fn order_statistic(&mut self, rank: u64, count: u64) -> f64 {
        let below = self.gamma(rank as f64);
        below / (below + self.gamma((count - rank + 1) as f64))
    }

    /// Gamma of scale 1 and a shape of at least 1 (Marsaglia and Tsang 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Stirling's series from 10 on, where its error is below 1e-9.
pub(crate) fn ln_factorial(count: f64) -> f64 {
    if count < 10.0 {
        return (2..=count as u64).map(|factor| (factor as f64).ln()).sum();
    }
    let x = count + 1.0;
    let half_ln_tau = 0.918_938_533_204_672_7;
    (x - 0.5) * x.ln() - x + half_ln_tau + (1.0 / 12.0 - 1.0 / (360.0 * x * x)) / x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of draws is where it should be, within five standard errors; so is the variance.
    fn check(mean: f64, variance: f64, mut draw: impl FnMut(&mut Random) -> f64) {
        let (draws, mut random) = (40_000, Random::new(7, "check", 0));
        let values: Vec<f64> = (0..draws).map(|_| draw(&mut random)).collect();
        let found = values.iter().sum::<f64>() / f64::from(draws);
        let squares: f64 = values.iter().map(|value| (value - found).powi(2)).sum();
        let error = (variance / f64::from(draws)).sqrt();
        assert!((found - mean).abs() < 5.0 * error, "{found} is not {mean}");
        let ratio = squares / f64::from(draws) / variance;
        assert!(
            (0.9..1.1).contains(&ratio),
            "variance: {ratio} of {variance}"
        );
    }

    #[test]
    fn draws_have_the_moments_of_their_distribution() {
        check(0.5, 1.0 / 12.0, Random::uniform);
        check(1.0, 1.0, Random::exponential);
        check(0.0, 1.0, Random::normal);
        for mean in [0.3, 5.0, 12.0, 1000.0] {
            check(mean, mean, |random| random.poisson(mean) as f64);
        }
        for (trials, p) in [
            (40, 0.01),
            (950, 0.5),
            (950, 0.9),
            (60, 0.3),
            (1_000_000, 0.001),
        ] {
            let mean = trials as f64 * p;
            check(mean, mean * (1.0 - p), |random| {
                random.binomial(trials, p) as f64
            });
        }
        for p in [0.9, 0.1, 0.001] {
            let variance = (1.0 - p) / (p * p);
            check((1.0 - p) / p, variance, |random| random.gap(p) as f64);
        }
        // Beta (99, 2).
        let variance = 99.0 * 2.0 / (101.0 * 101.0 * 102.0);
        check(99.0 / 101.0, variance, |random| {
            random.order_statistic(99, 100)
        });
    }

    #[test]
    fn edges_are_exact() {
        let mut random = Random::new(1, "edges", 0);
        assert_eq!(random.binomial(0, 0.5), 0);
        assert_eq!(random.binomial(9, 0.0), 0);
        assert_eq!(random.binomial(9, 1.0), 9);
        assert_eq!(random.gap(1.0), 0);
        assert_eq!(random.gap(0.0), u64::MAX);
        assert_eq!(random.poisson(0.0), 0);
    }

    #[test]
    fn a_seed_replays_and_streams_differ() {
        let first = |seed, stream, index| Random::new(seed, stream, index).bits();
        assert_eq!(first(1, "a", 2), first(1, "a", 2));
        for other in [first(2, "a", 2), first(1, "b", 2), first(1, "a", 3)] {
            assert_ne!(first(1, "a", 2), other);
        }
    }

    #[test]
    fn factorials_agree_at_the_seam() {
        for count in [2.0, 9.0, 10.0, 11.0, 20.0] {
            let exact: f64 = (2..=count as u64).map(|factor| (factor as f64).ln()).sum();
            assert!((ln_factorial(count) - exact).abs() < 1e-8, "{count}");
        }
    }
}
