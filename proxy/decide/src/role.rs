//! The two sides of a release: stable and canary.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The part a version plays in a release.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The version under test.
    Canary,
    /// The version in service; has all traffic that the canary has not.
    Stable,
}

impl Role {
    /// Both roles, in the order in which they are reported.
    pub const ALL: [Self; 2] = [Self::Stable, Self::Canary];

    /// The name on the wire: `stable` or `canary`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Stable => "stable",
        }
    }

    /// A dense index for arrays by role: stable 0, canary 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Canary => 1,
            Self::Stable => 0,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
