//! Numbers that look random and are the same in every run.

use std::env;
use std::ops::Range;

/// The seeds of a simulation: `count` of them, unless the environment says how many, or
/// which one.
pub(crate) fn seeds(count: u64) -> Range<u64> {
    let number = |name: &str| {
        env::var(name)
            .ok()
            .map(|value| value.parse::<u64>().expect("a number in the environment"))
    };
    match (number("HALDANE_SEED"), number("HALDANE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(count),
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `bound`, without it.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        (((self.next() as u128) * (bound as u128)) >> 64) as u64
    }

    /// An index of something with `len` elements.
    pub(crate) fn index(&mut self, len: u64) -> usize {
        usize::try_from(self.below(len)).unwrap()
    }

    /// From 0 to 1, without either.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Normal, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let (a, b) = (self.unit(), self.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}
