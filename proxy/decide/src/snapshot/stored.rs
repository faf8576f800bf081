//! The stored form of a phase: exact, where the form for people rounds.
//!
//! Numbers are written as their bits, so that what is read is what was written, also
//! where JSON has no number for it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::gate::spec::{GateName, LatencyBound, LatencyMetric, Quantile, RateBound};
use crate::gate::{Breach, Estimate, Measure};
use crate::outcome::{ErrorClass, RequestId};
use crate::rollout::{Cause, Phase, Position};
use crate::time::Timestamp;

#[derive(Deserialize, Serialize)]
#[serde(remote = "Phase", rename_all = "snake_case")]
pub(super) enum StoredPhase {
    Complete {
        at: Timestamp,
    },
    Idle,
    Paused {
        at: Timestamp,
        position: Position,
        #[serde(with = "StoredCause")]
        by: Cause,
    },
    Progressing {
        position: Position,
    },
    Promoted {
        position: Position,
    },
    RolledBack {
        at: Timestamp,
        #[serde(with = "StoredCause")]
        by: Cause,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(remote = "Cause", rename_all = "snake_case")]
enum StoredCause {
    #[serde(with = "StoredBreach")]
    Breach(Breach),
    Command {
        actor: Option<String>,
        reason: Option<String>,
    },
    Configuration,
    Overdue {
        detail: String,
    },
    Plan,
    StateDamaged {
        detail: String,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(remote = "Breach")]
struct StoredBreach {
    gate: GateName,
    #[serde(with = "bits")]
    value: f64,
    #[serde(with = "bits")]
    limit: f64,
    #[serde(with = "StoredEstimate")]
    canary: Estimate,
    #[serde(with = "StoredEstimate")]
    stable: Estimate,
    #[serde(with = "StoredMeasure")]
    measure: Measure,
    // Not in files that are older than evidence.
    #[serde(default, with = "bits")]
    evidence: f64,
    #[serde(default)]
    example: Option<RequestId>,
}

#[derive(Deserialize, Serialize)]
#[serde(remote = "Estimate")]
struct StoredEstimate {
    #[serde(with = "bits")]
    value: f64,
    #[serde(default, with = "bits")]
    low: f64,
    #[serde(default = "one", with = "bits")]
    high: f64,
    count: u64,
    samples: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(remote = "Measure", rename_all = "snake_case")]
enum StoredMeasure {
    BurnRate {
        #[serde(with = "bits")]
        objective: f64,
    },
    ConsecutiveFailures,
    ErrorRate {
        #[serde(with = "StoredRateBound")]
        bound: RateBound,
        hard: bool,
    },
    Latency {
        #[serde(with = "StoredMetric")]
        metric: LatencyMetric,
        #[serde(with = "quantile")]
        quantile: Quantile,
        #[serde(with = "StoredLatencyBound")]
        bound: LatencyBound,
        limit: Option<Duration>,
        stable: Option<Duration>,
    },
    ErrorTrend,
    Exposure {
        users: bool,
    },
    NewErrors {
        class: ErrorClass,
    },
    LatencySpike {
        #[serde(with = "StoredMetric")]
        metric: LatencyMetric,
    },
    Outside {
        problem: Option<Arc<str>>,
    },
    Signal {
        signal: Arc<str>,
        #[serde(with = "bits")]
        within: f64,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(remote = "LatencyMetric", rename_all = "snake_case")]
enum StoredMetric {
    Duration,
    Ttfb,
}

#[derive(Deserialize, Serialize)]
#[serde(remote = "RateBound", rename_all = "snake_case")]
enum StoredRateBound {
    AboveStable(#[serde(with = "bits")] f64),
    Absolute(#[serde(with = "bits")] f64),
    TimesStable(#[serde(with = "bits")] f64),
}

#[derive(Deserialize, Serialize)]
#[serde(remote = "LatencyBound", rename_all = "snake_case")]
enum StoredLatencyBound {
    Absolute(Duration),
    TimesStable(#[serde(with = "bits")] f64),
}

/// An interval that was not kept may be any.
const fn one() -> f64 {
    1.0
}

mod bits {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde asks for"
    )]
    pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

mod quantile {
    use super::{Deserializer, Quantile, Serializer, bits, de};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde asks for"
    )]
    pub(super) fn serialize<S: Serializer>(value: &Quantile, to: S) -> Result<S::Ok, S::Error> {
        bits::serialize(&value.as_ratio(), to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Quantile, D::Error> {
        Quantile::from_ratio(bits::deserialize(from)?)
            .ok_or_else(|| de::Error::custom("not a quantile"))
    }
}
