//! What a gate compares, and with which limit: the resolved form of `[[route.gate]]`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::verdict::number;

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
    /// This many failures of the canary in a row, with no success between.
    ConsecutiveFailures {
        /// The count that breaches; at least 1.
        limit: u32,
    },
    /// The canary's share of failures; breached as soon as any limit is.
    ErrorRate {
        /// At least one.
        limits: Vec<RateLimit>,
    },
    /// Quantiles of the canary's latency; breached as soon as any limit is.
    Latency {
        /// What is timed.
        metric: LatencyMetric,
        /// At least one.
        limits: Vec<LatencyLimit>,
    },
}

/// One limit of an error-rate gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// What the canary's failure rate is compared with.
    pub bound: RateBound,
    /// Acts on what was counted, without allowing for chance.
    pub hard: bool,
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
    vec![
        GateSpec {
            name: "errors".into(),
            rule: GateRule::ErrorRate {
                limits: vec![
                    rate(RateBound::AboveStable(0.001), false),
                    rate(RateBound::AboveStable(0.05), true),
                ],
            },
        },
        GateSpec {
            name: "latency".into(),
            rule: GateRule::Latency {
                metric: LatencyMetric::Ttfb,
                limits: vec![slower(0.5, 1.25), slower(0.95, 1.2), slower(0.99, 2.0)],
            },
        },
        GateSpec {
            name: "meltdown".into(),
            rule: GateRule::ConsecutiveFailures { limit: 10 },
        },
    ]
}
