//! Which role a key goes to, and why it stays there.
//!
//! `position = SipHash-1-3(salt, key) * 1 000 000 >> 64`; the canary has the key
//! while `position < weight`. So raising the weight only adds keys to the canary,
//! lowering it only removes them, and processes with the same salt agree.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13x128};

use crate::role::Role;
use crate::weight::Weight;

pub mod rule;

/// What makes each rollout expose other keys: the secret key of the hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Salt(u128);

impl Salt {
    /// A salt from random bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits that [`Salt::from_bits`] makes this salt of.
    #[must_use]
    pub const fn to_bits(self) -> u128 {
        self.0
    }

    /// The salt that a text stands for: its 128-bit SipHash-1-3 under the zero key.
    ///
    /// Fixed for good, so replicas that are given the same text agree.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut hasher = SipHasher13x128::new_with_keys(0, 0);
        hasher.write(text.as_bytes());
        Self(hasher.finish128().as_u128())
    }

    /// The salt of one generation, derived from this one.
    #[must_use]
    pub fn for_generation(self, generation: u32) -> Self {
        let mut hasher = SipHasher13x128::new_with_key(&self.0.to_le_bytes());
        hasher.write(&generation.to_le_bytes());
        Self(hasher.finish128().as_u128())
    }

    /// Where `raw` lies under this salt.
    #[must_use]
    pub fn split_key(self, raw: &[u8]) -> SplitKey {
        let mut hasher = SipHasher13::new_with_key(&self.0.to_le_bytes());
        hasher.write(raw);
        SplitKey(hasher.finish())
    }
}

/// What a request is split on: the salted hash of a header, cookie or address.
///
/// Never the raw value, which may be personal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SplitKey(u64);

impl SplitKey {
    /// A key from 64 uniformly random bits, for requests that carry none.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        Self(bits)
    }

    /// The hash itself, for those who must tell keys apart and not know them.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Where the key lies, from 0 to 999 999: the canary has it while its weight
    /// in parts per million is greater.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the product is below one million"
    )]
    pub const fn position(self) -> u32 {
        ((self.0 as u128 * Weight::FULL.parts_per_million() as u128) >> 64) as u32
    }

    /// The smallest weight at which the canary has this key: one part per million
    /// more than its position.
    #[must_use]
    pub const fn first_canary_weight(self) -> Weight {
        match Weight::from_parts_per_million(self.position() + 1) {
            Some(weight) => weight,
            None => Weight::FULL,
        }
    }

    /// The role that has this key under `weight`.
    ///
    /// Monotone: raising the weight moves keys to the canary and none back.
    #[must_use]
    pub const fn role(self, weight: Weight) -> Role {
        if self.position() < weight.parts_per_million() {
            Role::Canary
        } else {
            Role::Stable
        }
    }
}

#[cfg(test)]
mod tests;
