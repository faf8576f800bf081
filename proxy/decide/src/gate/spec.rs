//! What a gate compares, and with which limit: the resolved form of `[[route.gate]]`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::verdict::number;
use crate::weight::Weight;

/// The name of a gate, unique within its route.
pub type GateName = Arc<str>;

/// One gate as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct GateSpec {
    /// Its name in messages, metrics and the API.
    pub name: GateName,
    /// What it compares.
    pub rule: GateRule,
}

/// What a gate compares.
#[derive(Clone, Debug, PartialEq)]
pub enum GateRule {
    /// How fast both versions together, and each, use up the error budget of an
    /// availability objective. Holds; rolls back only with evidence against the canary.
    BurnRate {
        /// The share of requests that shall not fail, such as 0.999; between 0 and 1.
        objective: f64,
    },
    /// This many failures of the canary in a row, with no success between.
    ConsecutiveFailures {
        /// The count that breaches.
        limit: RunLimit,
    },
    /// The canary's share of failures.
    ErrorRate {
        /// How bad it may be at most; a rollback needs evidence too. At least one.
        rollback: Vec<RateLimit>,
        /// Up to which difference the canary counts as no worse.
        advance: Option<RateMargin>,
    },
    /// Whether the canary's share of failures rises. Holds, and never rolls back.
    ErrorTrend,
    /// Quantiles of the canary's latency.
    Latency {
        /// What is timed.
        metric: LatencyMetric,
        /// How slow it may be at most; a rollback needs evidence too. At least one.
        rollback: Vec<LatencyLimit>,
        /// Up to which factor the canary counts as no slower, by quantile.
        advance: Vec<LatencyMargin>,
    },
    /// Bursts of very slow responses. Holds, and never rolls back.
    LatencySpike {
        /// What is timed.
        metric: LatencyMetric,
    },
    /// Kinds of errors that stable does not show.
    NewErrors,
    /// A number that something outside is asked for: how much is too much.
    Outside {
        /// Above it, twice in a row, the canary is rolled back. Without it, it never is.
        rollback: Option<f64>,
        /// Above it the canary does not advance; `rollback` if there is none.
        advance: Option<f64>,
        /// How often it is asked for; after three times as long an answer is too old.
        interval: Duration,
    },
    /// A share of good results that is reported from outside, such as orders completed.
    Signal {
        /// Which signal.
        signal: Arc<str>,
        /// How far the canary's share of good may lie below stable's at most, as a ratio.
        rollback: Option<f64>,
        /// How far it may lie below and still count as no worse, as a ratio.
        advance: Option<f64>,
    },
}

/// How many failures in a row are too many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunLimit {
    /// As many as a run that comes by chance once in ten thousand rollouts of a million
    /// requests, given how often stable fails.
    Calibrated,
    /// This many; at least 1.
    Count(u32),
}

/// One limit of an error-rate gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// What the canary's failure rate is compared with.
    pub bound: RateBound,
    /// Counts every failure, not only the first of each user.
    pub hard: bool,
}

/// Up to which difference in failure rates a canary counts as no worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateMargin {
    /// `"stable + 0.1pp"`: of the canary's own rate.
    AboveStable(f64),
    /// `"service + 0.01pp"`: of the rate of both versions together, at the weight that
    /// comes next.
    Service(f64),
}

impl RateMargin {
    /// As a difference to stable's rate, for a canary with this weight.
    #[must_use]
    pub fn at(self, weight: Weight) -> f64 {
        match self {
            Self::AboveStable(by) => by,
            Self::Service(by) => (by / weight.as_ratio().max(1e-6)).min(0.5),
        }
    }
}

impl fmt::Display for RateMargin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, by) = match *self {
            Self::AboveStable(by) => ("stable", by),
            Self::Service(by) => ("service", by),
        };
        write!(f, "{of} + {}pp", number(by * 100.0))
    }
}

/// Up to which factor a quantile of the canary's latency counts as no slower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyMargin {
    /// Which quantile is compared.
    pub quantile: Quantile,
    /// The factor to stable's; 1.05 is 5 % slower.
    pub times: f64,
}

/// What is promised about a rollout, and what of its plan the promise depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    /// How likely a canary that is no worse is rolled back by evidence, over the whole
    /// rollout and all gates together; between 0 and 1.
    pub false_rollback: f64,
    /// How likely a canary that is worse than its margin passes, in one step; between
    /// 0 and 1.
    pub false_advance: f64,
    /// How long the rollout is planned to take. A fault that begins later is found too,
    /// with a little more evidence.
    pub horizon: Duration,
    /// How often its weight is planned to be raised after the start.
    pub steps: u32,
    /// How much harm the canary may do in all.
    pub exposure: Exposure,
}

impl Default for Promise {
    fn default() -> Self {
        Self {
            false_rollback: 0.001,
            false_advance: 0.05,
            horizon: Duration::from_secs(3600),
            steps: 1,
            exposure: Exposure::default(),
        }
    }
}

/// How much harm a canary may do in all, beyond what stable's own failure rate explains.
/// Over it, it is rolled back, whatever the evidence.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Exposure {
    /// Requests that fail.
    pub failed_requests: Option<u64>,
    /// Users, as far as split keys tell them apart, of whom a request fails.
    pub affected_users: Option<u64>,
}

/// A limit for a failure rate. Rates and differences are ratios: 0.01 is 1 % or 1 pp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateBound {
    /// `"stable + 0.1pp"`: stable's own rate plus this much.
    AboveStable(f64),
    /// `"1%"`: whatever stable does.
    Absolute(f64),
    /// `"1.5x stable"`: this many times stable's own rate.
    TimesStable(f64),
}

impl fmt::Display for RateBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AboveStable(by) => {
                let sign = if by < 0.0 { '-' } else { '+' };
                write!(f, "stable {sign} {}pp", number(by.abs() * 100.0))
            }
            Self::Absolute(rate) => write!(f, "{}%", number(rate * 100.0)),
            Self::TimesStable(times) => write!(f, "{}x stable", number(times)),
        }
    }
}

impl Serialize for RateBound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyMetric {
    /// From the request head to the last byte of the response.
    Duration,
    /// From the request head to the response head.
    Ttfb,
}

impl LatencyMetric {
    /// A dense index for arrays by metric.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Duration => 0,
            Self::Ttfb => 1,
        }
    }

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duration => "duration",
            Self::Ttfb => "ttfb",
        }
    }
}

/// One limit of a latency gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyLimit {
    /// Which quantile is compared.
    pub quantile: Quantile,
    /// What it is compared with.
    pub bound: LatencyBound,
}

/// A limit for a latency quantile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LatencyBound {
    /// `"500ms"`: whatever stable does.
    Absolute(Duration),
    /// `"1.2x stable"`: this many times stable's own quantile.
    TimesStable(f64),
}

impl fmt::Display for LatencyBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absolute(limit) => write!(f, "{}ms", number(limit.as_secs_f64() * 1e3)),
            Self::TimesStable(times) => write!(f, "{}x stable", number(times)),
        }
    }
}

impl Serialize for LatencyBound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A quantile strictly between 0 and 1, written `p50`, `p99`, `p99.9`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Quantile(f64);

impl Quantile {
    /// The quantile that `ratio` of all values do not exceed; `None` unless 0 < ratio < 1.
    #[must_use]
    pub fn from_ratio(ratio: f64) -> Option<Self> {
        (ratio > 0.0 && ratio < 1.0).then_some(Self(ratio))
    }

    /// As a ratio: 0.99 for `p99`.
    #[must_use]
    pub const fn as_ratio(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded so that 0.999 * 100 reads 99.9 and not 99.90000000000001.
        let percent = (self.0 * 100_000_000.0).round() / 1_000_000.0;
        write!(f, "p{percent}")
    }
}

impl Serialize for Quantile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The gates that a route has when its configuration names none.
#[must_use]
pub fn default_gates() -> Vec<GateSpec> {
    let rate = |bound, hard| RateLimit { bound, hard };
    let slower = |ratio, times| LatencyLimit {
        quantile: Quantile(ratio),
        bound: LatencyBound::TimesStable(times),
    };
    let margin = |ratio, times| LatencyMargin {
        quantile: Quantile(ratio),
        times,
    };
    let errors = GateRule::ErrorRate {
        rollback: vec![
            rate(RateBound::AboveStable(0.001), false),
            rate(RateBound::AboveStable(0.05), true),
        ],
        advance: Some(RateMargin::Service(0.0001)),
    };
    let latency = GateRule::Latency {
        metric: LatencyMetric::Ttfb,
        rollback: vec![slower(0.5, 1.25), slower(0.95, 1.2), slower(0.99, 2.0)],
        advance: vec![margin(0.5, 1.05), margin(0.95, 1.1), margin(0.99, 1.2)],
    };
    let meltdown = GateRule::ConsecutiveFailures {
        limit: RunLimit::Count(10),
    };
    let gate = |name: &str, rule| GateSpec {
        name: name.into(),
        rule,
    };
    vec![
        gate("errors", errors),
        gate("latency", latency),
        gate("meltdown", meltdown),
    ]
}
