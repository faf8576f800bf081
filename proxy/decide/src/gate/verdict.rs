//! What a gate says, with the numbers it says it for, and in one sentence.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::spec::{GateName, LatencyBound, LatencyMetric, Quantile, RateBound};

/// What a gate says about the canary.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[must_use]
pub enum Verdict {
    /// A limit is exceeded.
    Fail(Breach),
    /// Too little evidence. Never starts a rollback, never counts as a pass.
    Inconclusive {
        /// How many more requests of the canary until it can decide; 0 if it is
        /// stable's requests that are missing.
        needs: u64,
    },
    /// Enough evidence, and every limit is kept.
    Pass,
}

impl Verdict {
    /// The verdict without its numbers.
    #[must_use]
    pub const fn kind(&self) -> VerdictKind {
        match self {
            Self::Fail(_) => VerdictKind::Fail,
            Self::Inconclusive { .. } => VerdictKind::Inconclusive,
            Self::Pass => VerdictKind::Pass,
        }
    }
}

/// A verdict without its numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// A limit is exceeded.
    Fail,
    /// Too little evidence.
    Inconclusive,
    /// Every limit is kept.
    Pass,
}

impl VerdictKind {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Pass => "pass",
        }
    }
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed gate and the numbers it failed on. Displayed as one sentence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Breach {
    /// Which gate.
    pub gate: GateName,
    /// What was measured: a ratio for rates and for the share of slow requests,
    /// a plain count for consecutive failures.
    pub value: f64,
    /// What it may be at most, in the unit of `value`, before chance is allowed for.
    pub limit: f64,
    /// What was counted of the canary.
    pub canary: Estimate,
    /// What was counted of stable.
    pub stable: Estimate,
    /// What the numbers are numbers of.
    pub measure: Measure,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = Comparison {
            value: self.value,
            limit: self.limit,
            canary: self.canary,
            stable: self.stable,
            measure: self.measure,
        };
        write!(
            f,
            "{}: {}",
            self.gate,
            comparison.sentence(VerdictKind::Fail)
        )
    }
}

/// A number and what it was counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// `count / samples`, or the count itself for consecutive failures.
    pub value: f64,
    /// How many exchanges had what is counted.
    pub count: u64,
    /// Among how many.
    pub samples: u64,
}

impl Estimate {
    /// The share of `count` among `samples`; zero without samples.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate needs no more than 52 bits"
    )]
    pub(super) fn share(count: u64, samples: u64) -> Self {
        let value = if samples == 0 {
            0.0
        } else {
            count as f64 / samples as f64
        };
        Self {
            value,
            count,
            samples,
        }
    }
}

/// What the numbers of a gate are numbers of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Measure {
    /// Failures of the canary in a row.
    ConsecutiveFailures,
    /// The share of failures.
    ErrorRate {
        /// What it is compared with.
        bound: RateBound,
        /// Whether it acts on what was counted, without allowing for chance.
        hard: bool,
    },
    /// The share of successes that took longer than the canary's limit.
    Latency {
        /// What is timed.
        metric: LatencyMetric,
        /// Which quantile of it.
        quantile: Quantile,
        /// What it is compared with.
        bound: LatencyBound,
        /// The limit in time, if it is known yet. Seconds.
        #[serde(rename = "limit_seconds", serialize_with = "seconds")]
        limit: Option<Duration>,
        /// Stable's own quantile, if it is known and the bound refers to it. Seconds.
        #[serde(rename = "stable_seconds", serialize_with = "seconds")]
        stable: Option<Duration>,
    },
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration
        .map(|duration| duration.as_secs_f64())
        .serialize(serializer)
}

/// The numbers of one limit, whatever they say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Comparison {
    pub(super) value: f64,
    pub(super) limit: f64,
    pub(super) canary: Estimate,
    pub(super) stable: Estimate,
    pub(super) measure: Measure,
}

impl Comparison {
    /// As a breach of `gate`.
    pub(super) const fn breach(&self, gate: GateName) -> Breach {
        let Self {
            value,
            limit,
            canary,
            stable,
            measure,
        } = *self;
        Breach {
            gate,
            value,
            limit,
            canary,
            stable,
            measure,
        }
    }

    /// The numbers in words, fit after the name of the gate.
    pub(super) fn sentence(&self, verdict: VerdictKind) -> String {
        match self.measure {
            Measure::ConsecutiveFailures => format!(
                "canary failed {} {} in a row, limit {}",
                self.canary.count,
                if self.canary.count == 1 {
                    "time"
                } else {
                    "times"
                },
                self.limit
            ),
            Measure::ErrorRate { bound, hard } => self.rate_sentence(bound, hard),
            Measure::Latency {
                metric,
                quantile,
                bound,
                limit,
                stable,
            } => {
                let Some(limit) = limit else {
                    let metric = metric.as_str();
                    return format!("canary {quantile} of {metric} has no limit yet ({bound})");
                };
                let is = match verdict {
                    VerdictKind::Fail => "above",
                    VerdictKind::Inconclusive => "not known to be within",
                    VerdictKind::Pass => "within",
                };
                let against = match (bound, stable) {
                    (LatencyBound::TimesStable(times), Some(stable)) => {
                        format!(" (stable {}, limit {}x)", Time(stable), number(times))
                    }
                    (LatencyBound::TimesStable(_), None) => format!(" ({bound})"),
                    (LatencyBound::Absolute(_), _) => String::new(),
                };
                let (count, samples) = (self.canary.count, self.canary.samples);
                format!(
                    "canary {quantile} of {} is {is} {}{against}: \
                     {count} of {samples} requests were slower",
                    metric.as_str(),
                    Time(limit)
                )
            }
        }
    }

    fn rate_sentence(&self, bound: RateBound, hard: bool) -> String {
        let Estimate {
            value,
            count,
            samples,
        } = self.stable;
        let hard = if hard { " hard" } else { "" };
        let against = match bound {
            RateBound::AboveStable(by) => {
                let sign = if by < 0.0 { '-' } else { '+' };
                let (rate, by) = (Percent(value), number(by.abs() * 100.0));
                format!(" (stable {rate} {sign} {by}pp{hard}; {count} of {samples})")
            }
            RateBound::Absolute(_) => hard.to_owned(),
            RateBound::TimesStable(times) => {
                let (times, rate) = (number(times), Percent(value));
                format!(" ({times}x stable {rate}{hard}; {count} of {samples})")
            }
        };
        format!(
            "canary failed {} ({} of {}), limit {}{against}",
            Percent(self.canary.value),
            self.canary.count,
            self.canary.samples,
            Percent(self.limit)
        )
    }
}

/// A ratio as a percentage with three significant digits.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", number(self.0 * 100.0))
    }
}

/// A duration in the unit that suits it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds >= 1.0 {
            write!(f, "{}s", number(seconds))
        } else if seconds >= 0.001 {
            write!(f, "{}ms", number(seconds * 1e3))
        } else {
            write!(f, "{}µs", number(seconds * 1e6))
        }
    }
}

/// A number with three significant digits, or all those before the point,
/// without trailing zeros.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() || value.abs() < 1e-9 {
        return if value.is_finite() {
            "0".to_owned()
        } else {
            value.to_string()
        };
    }
    let mut decimals = 2;
    let mut bound = 1.0;
    while value.abs() < bound && decimals < 11 {
        decimals += 1;
        bound /= 10.0;
    }
    for bound in [10.0, 100.0] {
        if value.abs() >= bound {
            decimals -= 1;
        }
    }
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests;
