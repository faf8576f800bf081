//! Response times: a log-normal service and a bimodal one, and what a canary can do to them.

use super::random::Random;

/// What a service's response times look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Family {
    /// 98 % around 25 ms, 2 % around 300 ms: a cache that sometimes misses ("BI").
    Bimodal,
    /// Around 25 ms, with a p99 of 160 ms ("LN").
    LogNormal,
}

/// How a canary is slower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Not at all.
    None,
    /// Every response takes so many times as long.
    All(f64),
    /// So many responses, as a share, are in the slow mode.
    SlowMode(f64),
    /// The slowest responses take longer.
    Tail {
        /// How many of them, as a share.
        share: f64,
        /// So many times as long.
        times: f64,
    },
}

/// A distribution of response times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latency {
    modes: [Mode; 2],
    /// From where on responses take longer, and how many times: none at infinity.
    tail: (f64, f64),
    tail_share: f64,
    scale: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Mode {
    share: f64,
    median: f64,
    /// Of the logarithm.
    deviation: f64,
}

impl Family {
    fn modes(self) -> [Mode; 2] {
        let mode = |share, median, deviation| Mode {
            share,
            median,
            deviation,
        };
        match self {
            Self::Bimodal => [mode(0.98, 25_000.0, 0.4), mode(0.02, 300_000.0, 0.3)],
            Self::LogNormal => [mode(1.0, 25_000.0, 0.8), mode(0.0, 25_000.0, 0.8)],
        }
    }
}

impl Latency {
    /// A service whose responses have changed so.
    pub(crate) fn new(family: Family, change: Change) -> Self {
        let mut latency = Self {
            modes: family.modes(),
            tail: (f64::INFINITY, 1.0),
            tail_share: 0.0,
            scale: 1.0,
        };
        match change {
            Change::None => {}
            Change::All(times) => latency.scale = times,
            Change::SlowMode(share) => {
                latency.modes[0].share = 1.0 - share;
                latency.modes[1].share = share;
            }
            Change::Tail { share, times } => {
                (latency.tail, latency.tail_share) = ((latency.quantile(share), times), share);
            }
        }
        latency
    }

    /// The same, so many times as slow.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            scale: self.scale * factor,
            ..self
        }
    }

    /// The share of responses that take longer than this.
    pub(crate) fn survival(&self, micros: f64) -> f64 {
        let unscaled = micros / self.scale;
        let (from, times) = self.tail;
        if unscaled < from {
            self.base_survival(unscaled)
        } else if unscaled < from * times {
            self.tail_share
        } else {
            self.base_survival(unscaled / times)
        }
    }

    /// What this share of responses takes longer than.
    pub(crate) fn quantile(&self, survival: f64) -> f64 {
        let (mut low, mut high) = (0.0_f64, 25.0_f64);
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if self.survival(middle.exp()) > survival {
                low = middle;
            } else {
                high = middle;
            }
        }
        high.exp()
    }

    /// One response.
    pub(crate) fn draw(&self, random: &mut Random) -> f64 {
        let mode = self.modes[usize::from(random.chance(self.modes[1].share))];
        let base = mode.median * (mode.deviation * random.normal()).exp();
        let (from, times) = self.tail;
        self.scale * if base < from { base } else { base * times }
    }

    /// Shares of responses in cells of equal width in the logarithm, 1 % wide.
    pub(crate) fn cells(&self) -> Vec<f64> {
        let edge = |index: u32| self.survival((f64::from(index) * 0.01).exp());
        (400..2200)
            .map(|index| edge(index) - edge(index + 1))
            .collect()
    }

    fn base_survival(&self, micros: f64) -> f64 {
        let of = |mode: &Mode| {
            mode.share * normal_survival((micros / mode.median).ln() / mode.deviation)
        };
        if self.modes[1].share > 0.0 {
            self.modes.iter().map(of).sum()
        } else {
            of(&self.modes[0])
        }
    }
}

/// The standard normal's upper tail: Chebyshev fit of the complementary error function, good
/// to 1.2e-7 of its value everywhere (Press et al., Numerical Recipes, section 6.2).
fn normal_survival(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let fit = FIT.iter().rev().fold(0.0, |sum, factor| sum * t + factor);
    let upper = 0.5 * t * (fit - z * z).exp();
    if x >= 0.0 { upper } else { 1.0 - upper }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::information::{concurrent_densities, requests};

    #[test]
    fn the_normal_tail_is_that_of_tables() {
        for (x, tail) in [
            (0.0, 0.5),
            (1.0, 0.158_655_3),
            (2.326_348, 0.01),
            (-1.0, 0.841_344_7),
        ] {
            assert!((normal_survival(x) - tail).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn draws_quantiles_and_survival_belong_together() {
        let changes = [
            Change::None,
            Change::All(1.2),
            Change::SlowMode(0.05),
            Change::Tail {
                share: 0.03,
                times: 2.0,
            },
        ];
        for change in changes {
            let latency = Latency::new(Family::Bimodal, change).times(1.5);
            let mut random = Random::new(3, "latency", 0);
            let draws: Vec<f64> = (0..40_000).map(|_| latency.draw(&mut random)).collect();
            for share in [0.5, 0.1, 0.04, 0.01] {
                let at = latency.quantile(share);
                assert!(
                    (latency.survival(at) - share).abs() < 1e-6,
                    "{change:?} {share}"
                );
                let longer = draws.iter().filter(|draw| **draw > at).count() as f64 / 40_000.0;
                assert!(
                    (longer - share).abs() < 5.0 * (share / 40_000.0).sqrt(),
                    "{change:?}"
                );
            }
        }
    }

    #[test]
    fn full_bounds_are_those_of_the_reference() {
        let tail = |share, times| Change::Tail { share, times };
        let rows = [
            (Family::LogNormal, Change::All(1.2), 281.3),
            (Family::LogNormal, Change::All(2.0), 19.8),
            (Family::LogNormal, tail(0.03, 2.0), 111.0),
            (Family::LogNormal, tail(0.02, 4.0), 93.9),
            (Family::Bimodal, Change::All(1.2), 69.5),
            (Family::Bimodal, Change::All(2.0), 5.4),
            (Family::Bimodal, tail(0.03, 2.0), 110.3),
            (Family::Bimodal, tail(0.02, 4.0), 92.7),
            (Family::Bimodal, Change::SlowMode(0.05), 458.2),
        ];
        for (family, change, bound) in rows {
            let cells = |change| Latency::new(family, change).cells();
            let nats = concurrent_densities(&cells(change), &cells(Change::None), 0.05);
            let found = requests(nats, 0.001);
            assert!(
                (found / bound - 1.0).abs() < 0.05,
                "{family:?} {change:?}: {found}"
            );
        }
    }
}
