//! What a new configuration changes of a release.

use serde::Serialize;

/// How a new configuration differs from the one before, as far as a release cares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change {
    /// What has become of the canary.
    pub canary: CanaryChange,
    /// Stable is another version, or runs elsewhere.
    pub stable: bool,
    /// The canary is judged otherwise.
    pub gates: bool,
}

/// What has become of the canary. Another version, or other addresses, is another canary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CanaryChange {
    /// There is none any more.
    Removed,
    /// There is another one than the last, or the first one.
    Replaced,
    /// There was none, and now there is the one again that was there before.
    Returned,
    /// It is the same, or there is none as before.
    Same,
}

/// What a new configuration changed of a generation that goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each of them is one thing that can differ"
)]
pub struct Amendment {
    /// What the canary is compared with.
    #[serde(rename = "stable_changed")]
    pub stable: bool,
    /// What it is judged by.
    #[serde(rename = "gates_changed")]
    pub gates: bool,
    /// The weight that the next generation begins with.
    #[serde(rename = "configured_weight_changed")]
    pub weight: bool,
    /// What the plan says: steps, holds, or what a breach does.
    #[serde(rename = "plan_changed")]
    pub plan: bool,
}

impl Change {
    /// Nothing that a release cares about.
    pub const NOTHING: Self = Self {
        canary: CanaryChange::Same,
        stable: false,
        gates: false,
    };

    /// Whether what was seen before is no evidence any more.
    #[must_use]
    pub fn restarts_evidence(self) -> bool {
        self.canary != CanaryChange::Same || self.stable || self.gates
    }
}

impl Amendment {
    /// Whether anything changed.
    pub(crate) const fn is_one(self) -> bool {
        self.stable || self.gates || self.weight || self.plan
    }
}

#[cfg(test)]
mod tests;
