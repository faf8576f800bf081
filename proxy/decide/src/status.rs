//! A serialisable picture of a release, for people and for the admin API.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::gate::{GateStatus, VerdictKind};
use crate::generation::Generation;
use crate::plan::{Advance, Hold, OnBreach, Plan, Step};
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
    /// When it was paused, if it is.
    pub paused_at: Option<Timestamp>,
    /// When it was complete, if it is.
    pub completed_at: Option<Timestamp>,
    /// Why it was rolled back or paused, if it was.
    pub by: Option<Cause>,
    /// The same in one sentence.
    pub cause: Option<String>,
    /// When a rollback was refused because stable cannot be reached, if one is.
    pub rollback_refused_at: Option<Timestamp>,
    /// Why, in one sentence.
    pub rollback_refused: Option<String>,
    /// Why it would have been rolled back, if breaches are only told.
    pub observed: Option<String>,
    /// Which attempt this is.
    pub generation: Generation,
    /// The canary's share now.
    pub weight: Weight,
    /// The share with which a generation begins.
    pub configured_weight: Weight,
    /// How far it has come, if there is a plan.
    pub rollout: Option<RolloutStatus>,
    /// What it waits for before it goes on, as a fragment that fits after "waits for".
    pub waits_for: Option<String>,
    /// What the gates say together, and each.
    #[serde(flatten)]
    pub verdict: OverallVerdict,
    /// The commands that would change something now.
    pub commands: Vec<CommandName>,
}

/// How far a rollout has come in its plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutStatus {
    /// The number of the step, counted from 1; 0 before the first.
    pub step: u32,
    /// How long the step has lasted, without pauses. Seconds.
    #[serde(rename = "held_seconds", serialize_with = "seconds")]
    pub held: Duration,
    /// Requests of the canary in this time.
    pub requests: u64,
    /// The weight that comes next, if one does.
    pub next_weight: Option<Weight>,
    /// All steps.
    pub steps: Vec<StepStatus>,
    /// What ends a step whose hold is over.
    pub advance: Advance,
    /// What a breach does.
    pub on_breach: OnBreach,
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepStatus {
    /// The canary's share.
    pub weight: Weight,
    /// How long it is held at least. Seconds.
    #[serde(rename = "hold_seconds", serialize_with = "seconds")]
    pub time: Duration,
    /// For how many requests of the canary.
    #[serde(rename = "hold_requests")]
    pub requests: u64,
    /// Whether it lasts until a person promotes.
    pub until_promoted: bool,
}

impl From<&Step> for StepStatus {
    fn from(step: &Step) -> Self {
        let (time, requests, until_promoted) = match step.hold {
            Hold::For { time, requests } => (time, requests, false),
            Hold::UntilPromoted => (Duration::ZERO, 0, true),
        };
        Self {
            weight: step.weight,
            time,
            requests,
            until_promoted,
        }
    }
}

impl RolloutStatus {
    pub(crate) fn of(plan: &Plan, (step, held, requests): (u32, Duration, u64)) -> Self {
        let next = plan.step(step.saturating_add(1));
        Self {
            step,
            held,
            requests,
            next_weight: next.map(|next| next.weight),
            steps: plan.steps().iter().map(StepStatus::from).collect(),
            advance: plan.terms.advance,
            on_breach: plan.terms.on_breach,
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
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
