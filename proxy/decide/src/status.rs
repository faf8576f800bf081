//! A serialisable picture of a release, for people and for the admin API.

use serde::Serialize;

use crate::gate::{GateStatus, VerdictKind};
use crate::generation::Generation;
use crate::rollout::{Cause, CommandName, PhaseName};
use crate::time::Timestamp;
use crate::weight::Weight;

/// Where a release stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// When the picture was taken.
    pub at: Timestamp,
    /// Where the rollout stands.
    pub phase: PhaseName,
    /// When it was rolled back, if it was.
    pub rolled_back_at: Option<Timestamp>,
    /// Why it was rolled back, if it was.
    pub by: Option<Cause>,
    /// The same in one sentence.
    pub cause: Option<String>,
    /// When a rollback was refused because stable cannot be reached, if one is.
    pub rollback_refused_at: Option<Timestamp>,
    /// Why, in one sentence.
    pub rollback_refused: Option<String>,
    /// Which attempt this is.
    pub generation: Generation,
    /// The canary's share now.
    pub weight: Weight,
    /// The share with which a generation begins.
    pub configured_weight: Weight,
    /// What the gates say together, and each.
    #[serde(flatten)]
    pub verdict: OverallVerdict,
    /// The commands that would change something now.
    pub commands: &'static [CommandName],
}

/// What the gates say together, and each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverallVerdict {
    /// Fail if a gate has rolled the canary back or would have, inconclusive if any gate is,
    /// otherwise pass.
    pub verdict: VerdictKind,
    /// What each gate says, in the order of the configuration.
    pub gates: Vec<GateStatus>,
}
