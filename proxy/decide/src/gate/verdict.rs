//! What a gate says, with the numbers it says it for, and in one sentence.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::bet::float;
use super::numbers::interval;
use super::spec::{GateName, LatencyBound, LatencyMetric, Quantile, RateBound};
use crate::outcome::{ErrorClass, RequestId};

/// What a gate says about the canary.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// The canary is worse than it may be.
    Fail,
    /// Too little evidence for either, or a reason to wait. Never starts a rollback,
    /// never counts as a pass.
    Inconclusive,
    /// It is shown that the canary is no worse than its margin.
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
    /// What was measured: a ratio for rates and for the share of slow requests, a plain
    /// count for failures in a row and for exposure.
    pub value: f64,
    /// What it may be at most, in the unit of `value`.
    pub limit: f64,
    /// What was counted of the canary.
    pub canary: Estimate,
    /// What was counted of stable.
    pub stable: Estimate,
    /// What the numbers are numbers of.
    pub measure: Measure,
    /// The evidence that the canary is worse, as a multiple of what a rollback takes;
    /// zero for a limit that acts on what was counted.
    pub evidence: f64,
    /// A request of the canary that counted against it.
    pub example: Option<RequestId>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = Comparison {
            value: self.value,
            limit: self.limit,
            canary: self.canary,
            stable: self.stable,
            measure: self.measure.clone(),
        };
        let numbers = comparison.sentence(VerdictKind::Fail);
        write!(f, "{}: {numbers}", self.gate)?;
        if self.evidence > 0.0 {
            write!(f, "; evidence {} of the bound", Times(self.evidence))?;
        }
        match &self.example {
            Some(request) => write!(f, "; for example request {request}"),
            None => Ok(()),
        }
    }
}

/// How many times, for people: `1.2x`, and beyond a thousand just that.
pub(super) struct Times(pub(super) f64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 1000.0 {
            f.write_str("over 1000x")
        } else {
            write!(f, "{}x", number(self.0))
        }
    }
}

/// The chance that an interval does not contain the true rate at some time.
const INTERVAL_ERROR: f64 = 0.05;

/// A number and what it was counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// `count / samples`, or the count itself for failures in a row and for exposure.
    pub value: f64,
    /// The true rate is not below, and was at no time, in 95 of 100 cases with `high`.
    pub low: f64,
    /// The true rate is not above.
    pub high: f64,
    /// How many exchanges had what is counted.
    pub count: u64,
    /// Among how many.
    pub samples: u64,
}

impl Estimate {
    /// Nothing was counted.
    pub(super) const NONE: Self = Self {
        value: 0.0,
        low: 0.0,
        high: 1.0,
        count: 0,
        samples: 0,
    };

    /// The share of `count` among `samples`, without its interval; zero without samples.
    pub(super) fn share(count: u64, samples: u64) -> Self {
        let value = if samples == 0 {
            0.0
        } else {
            float(count) / float(samples)
        };
        Self {
            value,
            low: 0.0,
            high: 1.0,
            count,
            samples,
        }
    }

    /// A plain count.
    pub(super) fn count(count: u64, samples: u64) -> Self {
        let value = float(count);
        Self {
            value,
            low: value,
            high: value,
            count,
            samples,
        }
    }

    /// The same with the interval of its rate. Not for every response: it is searched for.
    pub(super) fn with_interval(self) -> Self {
        let is_exact = self.low >= self.high;
        if self.samples == 0 || self.count > self.samples || self.low > 0.0 || is_exact {
            return self;
        }
        let (low, high) = interval(self.count, self.samples, INTERVAL_ERROR);
        Self { low, high, ..self }
    }
}

/// What the numbers of a gate are numbers of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Measure {
    /// How fast the error budget is used up, as a multiple of what it lasts for.
    BurnRate {
        /// The share of requests that shall not fail.
        objective: f64,
    },
    /// Failures of the canary in a row.
    ConsecutiveFailures,
    /// The share of failures.
    ErrorRate {
        /// What it is compared with.
        bound: RateBound,
        /// Whether every failure counts, not only the first of each user.
        hard: bool,
    },
    /// Whether the share of failures rises: by how many standard errors.
    ErrorTrend,
    /// Failures, or users who had one, beyond what stable's rate explains.
    Exposure {
        /// Whether users are counted.
        users: bool,
    },
    /// Errors of one kind.
    NewErrors {
        /// Which kind.
        class: ErrorClass,
    },
    /// The share of successes beyond all rungs of the ladder, in the last ten seconds.
    LatencySpike {
        /// What is timed.
        metric: LatencyMetric,
    },
    /// What something outside has answered.
    Outside {
        /// Why there is no answer, if there is none.
        problem: Option<Arc<str>>,
    },
    /// The share of bad results of a signal.
    Signal {
        /// Which signal.
        signal: Arc<str>,
        /// How far the share of good ones may lie below stable's, as a ratio.
        within: f64,
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
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    pub(super) value: f64,
    pub(super) limit: f64,
    pub(super) canary: Estimate,
    pub(super) stable: Estimate,
    pub(super) measure: Measure,
}

impl Comparison {
    /// As a breach of `gate`.
    pub(super) fn breach(
        self,
        gate: GateName,
        evidence: f64,
        example: Option<RequestId>,
    ) -> Breach {
        Breach {
            gate,
            value: self.value,
            limit: self.limit,
            canary: self.canary.with_interval(),
            stable: self.stable.with_interval(),
            measure: self.measure,
            evidence,
            example,
        }
    }

    /// The numbers in words, fit after the name of the gate.
    pub(super) fn sentence(&self, verdict: VerdictKind) -> String {
        let Estimate { count, samples, .. } = self.canary;
        match &self.measure {
            Measure::BurnRate { objective } => format!(
                "the error budget of {} burns {} as fast as it may, limit {}",
                Percent(*objective),
                Times(self.value),
                Times(self.limit)
            ),
            Measure::ConsecutiveFailures => format!(
                "canary failed {count} {} in a row, limit {}",
                if count == 1 { "time" } else { "times" },
                self.limit
            ),
            Measure::ErrorRate { bound, hard } => self.rate_sentence(*bound, *hard),
            Measure::ErrorTrend => format!(
                "canary's failure rate {} ({} standard errors, limit {}; {count} of {samples})",
                if self.value > self.limit {
                    "rises"
                } else {
                    "does not rise"
                },
                number(self.value),
                number(self.limit)
            ),
            Measure::Exposure { users } => {
                let what = if *users {
                    "users had a failure"
                } else {
                    "requests failed"
                };
                let (value, limit) = (number(self.value), number(self.limit));
                format!("{value} {what} beyond what stable's rate explains, limit {limit}")
            }
            Measure::Latency {
                metric,
                quantile,
                bound,
                limit,
                stable,
            } => self.latency_sentence(verdict, (*metric, *quantile), (*bound, *limit, *stable)),
            Measure::LatencySpike { metric } => format!(
                "{} of the canary's requests have a far slower {} than usual, limit {}",
                Percent(self.value),
                metric.as_str(),
                Percent(self.limit)
            ),
            Measure::NewErrors { class } => {
                let times = |count| if count == 1 { "time" } else { "times" };
                let (stable, times_stable) = (self.stable.count, times(self.stable.count));
                let times = times(count);
                format!("canary shows {class} {count} {times}, stable {stable} {times_stable}")
            }
            Measure::Outside {
                problem: Some(problem),
            } => format!("no answer: {problem}"),
            Measure::Outside { problem: None } => {
                let (value, limit) = (number(self.value), number(self.limit));
                format!("the answer is {value}, limit {limit}")
            }
            Measure::Signal { signal, within } => format!(
                "{signal} is good for {} of the canary's ({} of {samples}), stable {} - {}pp",
                Percent(1.0 - self.canary.value),
                samples.saturating_sub(count),
                Percent(1.0 - self.stable.value),
                number(within * 100.0)
            ),
        }
    }

    fn latency_sentence(
        &self,
        verdict: VerdictKind,
        (metric, quantile): (LatencyMetric, Quantile),
        (bound, limit, stable): (LatencyBound, Option<Duration>, Option<Duration>),
    ) -> String {
        let metric = metric.as_str();
        let Some(limit) = limit else {
            return format!("canary {quantile} of {metric} has no limit yet ({bound})");
        };
        let is = match verdict {
            VerdictKind::Fail => "above",
            VerdictKind::Inconclusive if self.value > self.limit => "maybe above",
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
        let Estimate { count, samples, .. } = self.canary;
        format!(
            "canary {quantile} of {metric} is {is} {}{against}: \
             {count} of {samples} requests were slower",
            Time(limit)
        )
    }

    fn rate_sentence(&self, bound: RateBound, hard: bool) -> String {
        let Estimate {
            value,
            count,
            samples,
            ..
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
pub(super) struct Percent(pub(super) f64);

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
