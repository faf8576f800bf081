//! What one gate compares, by its metric.

use haldane_decide::gate::spec::{
    GateRule, LatencyMetric, RateBound, RateLimit, RateMargin, RunLimit,
};

use super::outside::{self, Asked};
use super::{METRIC, Metric, Seen, latency};
use crate::file::{Table, Value, quoted};
use crate::report::{Finding, Report};
use crate::unit::{self, Kind, RATE_LIMIT, RATE_MARGIN, SIGNAL_LIMIT};

/// How many limits one gate may have for a failure rate.
const LIMITS_MAX: usize = 16;
const RUN_MAX: u64 = 1_000_000;

const OBJECTIVE: Kind = Kind {
    what: "an objective",
    example: "\"99.9%\"",
    units: &["{}%"],
};

impl Metric<'_> {
    /// The keys that say what is compared, and with what.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::BurnRate => &["objective"],
            Self::ConsecutiveFailures => &["rollback"],
            Self::ErrorRate | Self::Latency(_) | Self::Signal(_) => &["rollback", "advance"],
            Self::ErrorTrend | Self::NewErrors => &[],
            Self::LatencySpike => &["of"],
            Self::Outside(Asked::Promql) => &[
                "url",
                "url_file",
                "query",
                "interval",
                "rollback",
                "advance",
                "token_file",
                "ca",
            ],
            Self::Outside(Asked::Url) => &[
                "url",
                "url_file",
                "interval",
                "rollback",
                "advance",
                "token_file",
                "ca",
            ],
        }
    }
}

/// What the gate in `table` compares; its metric is given with where it is written.
pub(super) fn rule<'a>(
    table: &Table<'a>,
    (metric, written): (Metric<'a>, &Value<'a>),
    seen: &mut Seen<'a>,
    report: &mut Report,
) -> Option<GateRule> {
    reject_others(table, (metric, written), report);
    match metric {
        Metric::BurnRate => {
            let value = table.require(report, "objective", "\"99.9%\"")?;
            let objective = value.parse(report, &OBJECTIVE, unit::percent)?;
            Some(GateRule::BurnRate { objective })
        }
        Metric::ConsecutiveFailures => {
            let value = table.require(report, "rollback", "10")?;
            let limit = run_limit(&value, report)?;
            Some(GateRule::ConsecutiveFailures { limit })
        }
        Metric::ErrorRate => error_rate(table, report),
        Metric::ErrorTrend => Some(GateRule::ErrorTrend),
        Metric::Latency(metric) => {
            seen.time(metric, table, report);
            latency::rule(table, metric, report)
        }
        Metric::LatencySpike => {
            let of = table.get("of");
            let metric = match &of {
                Some(value) => value.choice(
                    report,
                    &[
                        ("ttfb", LatencyMetric::Ttfb),
                        ("duration", LatencyMetric::Duration),
                    ],
                )?,
                None => LatencyMetric::Ttfb,
            };
            seen.spikes
                .push((metric, of.unwrap_or_else(|| written.clone())));
            Some(GateRule::LatencySpike { metric })
        }
        Metric::NewErrors => Some(GateRule::NewErrors),
        Metric::Outside(asked) => outside::rule(table, asked, seen, report),
        Metric::Signal(name) => signal(table, name, report),
    }
}

/// The keys that only some gates have.
const OF_METRICS: &[&str] = &[
    "rollback",
    "advance",
    "of",
    "objective",
    "url",
    "url_file",
    "query",
    "interval",
    "token_file",
    "ca",
];

/// Reports keys that are for gates on something else.
fn reject_others(
    table: &Table<'_>,
    (metric, written): (Metric<'_>, &Value<'_>),
    report: &mut Report,
) {
    let keys = metric.keys();
    for &key in OF_METRICS {
        if keys.contains(&key) || table.get(key).is_none() {
            continue;
        }
        let metric = quoted(written.text(report, &METRIC).unwrap_or_default());
        let message = format!("`{key}` is not for gates on {metric}");
        let known = ["name", "metric"].into_iter().chain(keys.iter().copied());
        let known: Vec<&str> = known.collect();
        let hint = format!("remove it; they have: {}", known.join(", "));
        table.reject_key(report, key, Finding::new(message).hint(hint));
    }
}

/// A count, or `"auto"`.
fn run_limit(value: &Value<'_>, report: &mut Report) -> Option<RunLimit> {
    const AUTO: Kind = Kind {
        what: "a limit for failures in a row",
        example: "10 or \"auto\"",
        units: &[],
    };
    if !value.is_text() {
        let limit = value.integer(report, 1..=RUN_MAX)?;
        return u32::try_from(limit).ok().map(RunLimit::Count);
    }
    if value.text(report, &AUTO)? == "auto" {
        return Some(RunLimit::Calibrated);
    }
    let finding = Finding::new(format!("{} is not known here", value.describe()));
    let allowed = format!("expected a whole number from 1 to {RUN_MAX}, or \"auto\"");
    value.reject(report, finding.allowed(allowed))
}

fn error_rate(table: &Table<'_>, report: &mut Report) -> Option<GateRule> {
    let rollback = table
        .require(report, "rollback", "\"stable + 0.1pp\"")
        .and_then(|value| rate_limits(&value, report));
    let advance = table.read(report, "advance", None, |value, report| {
        let margin = value.parse(report, &RATE_MARGIN, unit::rate_margin)?;
        let limits = rollback.iter().flatten().map(|limit| limit.bound);
        let least = limits
            .filter_map(|bound| match bound {
                RateBound::AboveStable(by) => Some(by),
                RateBound::Absolute(_) | RateBound::TimesStable(_) => None,
            })
            .reduce(f64::min);
        match (margin, least) {
            (RateMargin::AboveStable(by), Some(least)) if by > least => {
                reject_looser(value, &RateBound::AboveStable(least).to_string(), report)
            }
            (RateMargin::AboveStable(_) | RateMargin::Service(_), _) => Some(Some(margin)),
        }
    });
    Some(GateRule::ErrorRate {
        rollback: rollback?,
        advance: advance?,
    })
}

fn rate_limits(value: &Value<'_>, report: &mut Report) -> Option<Vec<RateLimit>> {
    let items = value.one_or_many(report, LIMITS_MAX)?;
    let limits: Vec<_> = items
        .iter()
        .map(|item| item.parse(report, &RATE_LIMIT, unit::rate_limit))
        .collect();
    limits.into_iter().collect()
}

fn signal(table: &Table<'_>, name: &str, report: &mut Report) -> Option<GateRule> {
    let mut limit = |key| {
        table.read(report, key, None, |value, report| {
            let limit = value.parse(report, &SIGNAL_LIMIT, unit::signal_limit)?;
            Some(Some((limit, value.clone())))
        })
    };
    let (rollback, advance) = (limit("rollback"), limit("advance"));
    let (rollback, advance) = (rollback?, advance?);
    match (&rollback, &advance) {
        (None, None) => {
            let finding = Finding::new("a gate on a signal needs `rollback` or `advance`");
            let finding = finding.hint("add `advance = \"stable - 1pp\"`");
            report.error(table.span.clone(), &table.path, finding);
            return None;
        }
        (Some((limit, _)), Some((margin, value))) if margin > limit => {
            let limit = RateBound::AboveStable(-limit).to_string();
            return reject_looser(value, &limit, report);
        }
        (Some(_), _) | (_, Some(_)) => {}
    }
    Some(GateRule::Signal {
        signal: name.into(),
        rollback: rollback.map(|(limit, _)| limit),
        advance: advance.map(|(limit, _)| limit),
    })
}

/// Reports a margin that allows more than the limit for a rollback.
pub(super) fn reject_looser<T>(value: &Value<'_>, limit: &str, report: &mut Report) -> Option<T> {
    let finding = Finding::new(format!(
        "this margin is looser than the limit \"{limit}\" in `rollback`"
    ));
    let finding = finding.allowed(format!("expected at most \"{limit}\""));
    value.reject(
        report,
        finding.hint("or a canary could be rolled back for what it may advance with"),
    )
}
