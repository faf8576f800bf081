//! `Generation`: one attempt at a rollout; a rolled-back one never returns.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of an attempt at a rollout, counted from 1.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

impl Generation {
    /// The first attempt.
    pub const FIRST: Self = Self(1);

    /// The attempt after this one; the last one has none and is returned again.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_generation_is_one_higher_and_the_last_has_none() {
        assert_eq!(Generation::FIRST.next(), Generation(2));
        assert_eq!(Generation(u32::MAX).next(), Generation(u32::MAX));
    }
}
