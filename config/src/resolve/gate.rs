//! What the canary must keep passing.

use haldane_decide::gate::spec::{
    GateName, GateRule, GateSpec, LatencyLimit, LatencyMetric, default_gates,
};
use haldane_decide::tally::LATENCY_LIMITS_MAX;

use super::names::{self, NAME};
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::unit::{self, LATENCY_LIMIT, Misfit, RATE_LIMIT};

const GATES_MAX: usize = 32;
/// How many limits one gate may have for a failure rate, or for one quantile.
const LIMITS_MAX: usize = 16;

/// What a gate may compare.
#[derive(Clone, Copy)]
enum Metric {
    ConsecutiveFailures,
    ErrorRate,
    Latency(LatencyMetric),
}

const METRICS: [(&str, Metric); 4] = [
    ("error_rate", Metric::ErrorRate),
    ("ttfb", Metric::Latency(LatencyMetric::Ttfb)),
    ("duration", Metric::Latency(LatencyMetric::Duration)),
    ("consecutive_failures", Metric::ConsecutiveFailures),
];

/// `[[route.gate]]`; the default gates if there is none.
pub(super) fn gates(route: &Table<'_>, report: &mut Report) -> Option<Vec<GateSpec>> {
    let Some(value) = route.get("gate") else {
        return Some(default_gates());
    };
    if !value.is_list() {
        let finding = Finding::new(format!("`gate` is not a list: found {}", value.describe()));
        return value.reject(
            report,
            finding
                .allowed("expected a list of tables")
                .hint("write `[[route.gate]]`, with two brackets"),
        );
    }
    let items = value.items(report, GATES_MAX)?;
    let mut names: Vec<GateName> = Vec::new();
    let mut latency_limits = 0;
    let mut read = Vec::new();
    for item in &items {
        let spec = gate(item, &mut names, report);
        if let Some(GateSpec {
            rule: GateRule::Latency { limits, .. },
            ..
        }) = &spec
        {
            let before = latency_limits;
            latency_limits += limits.len();
            if latency_limits > LATENCY_LIMITS_MAX && before <= LATENCY_LIMITS_MAX {
                let message =
                    format!("with this gate the route has {latency_limits} latency limits or more");
                let finding = Finding::new(message)
                    .allowed(format!("expected at most {LATENCY_LIMITS_MAX} together"));
                item.reject::<()>(report, finding);
            }
        }
        read.push(spec);
    }
    read.into_iter().collect()
}

fn gate(value: &Value<'_>, names: &mut Vec<GateName>, report: &mut Report) -> Option<GateSpec> {
    let table = value.table(report, &keys::GATE)?;
    let name = table
        .require(report, "name", "\"errors\"")
        .and_then(|value| {
            let name: GateName =
                value.parse(report, &NAME, |text| names::name(text).map(Into::into))?;
            if names.contains(&name) {
                return value.reject(
                    report,
                    Finding::new(format!("another gate of this route is named \"{name}\"")),
                );
            }
            names.push(GateName::clone(&name));
            Some(name)
        });
    let metric = table
        .require(report, "metric", "\"error_rate\"")
        .and_then(|value| metric(&value, report));
    let example = match metric {
        Some(Metric::ConsecutiveFailures) => "10",
        Some(Metric::Latency(_)) => "{ p99 = \"2x stable\" }",
        Some(Metric::ErrorRate) | None => "\"stable + 0.1pp\"",
    };
    let rollback = table.require(report, "rollback", example);
    // Without its metric, nobody can tell what the limit should look like.
    let rule = rule(metric?, &rollback?, report);
    Some(GateSpec {
        name: name?,
        rule: rule?,
    })
}

fn metric(value: &Value<'_>, report: &mut Report) -> Option<Metric> {
    let kind = unit::Kind {
        what: "a metric",
        example: "\"error_rate\"",
        units: &[],
    };
    if value.is_text() && value.text(report, &kind)?.starts_with("signal:") {
        let finding = Finding::new("this version does not have gates on signals yet");
        return value.reject(
            report,
            finding.hint("remove the gate, or use a version that has them"),
        );
    }
    value.choice(report, &METRICS)
}

fn rule(metric: Metric, rollback: &Value<'_>, report: &mut Report) -> Option<GateRule> {
    match metric {
        Metric::ConsecutiveFailures => {
            let limit = rollback.integer(report, 1..=1_000_000)?;
            Some(GateRule::ConsecutiveFailures {
                limit: u32::try_from(limit).ok()?,
            })
        }
        Metric::ErrorRate => {
            let items = rollback.one_or_many(report, LIMITS_MAX)?;
            let limits: Vec<_> = items
                .iter()
                .map(|item| item.parse(report, &RATE_LIMIT, unit::rate_limit))
                .collect();
            Some(GateRule::ErrorRate {
                limits: limits.into_iter().collect::<Option<_>>()?,
            })
        }
        Metric::Latency(metric) => Some(GateRule::Latency {
            metric,
            limits: latency_limits(rollback, report)?,
        }),
    }
}

/// A table from quantile to limit, or to a list of limits.
fn latency_limits(rollback: &Value<'_>, report: &mut Report) -> Option<Vec<LatencyLimit>> {
    let entries = rollback.entries(
        report,
        "a table from quantile to limit, such as { p99 = \"2x stable\" }",
    )?;
    if entries.is_empty() {
        return rollback.reject(
            report,
            Finding::new("there is no limit")
                .allowed("expected at least one, such as p99 = \"2x stable\""),
        );
    }
    let mut limits: Vec<Option<LatencyLimit>> = Vec::new();
    let mut quantiles = Vec::new();
    for (key, place, value) in entries {
        if value.is_table() {
            let finding = Finding::new("a key with a dot in it needs quotes, or it is two keys");
            report.error(
                place,
                &value.path,
                finding.hint("write \"p99.9\" = \"2x stable\""),
            );
            limits.push(None);
            continue;
        }
        let quantile = unit::quantile(key).and_then(|quantile| {
            if quantiles.contains(&quantile) {
                Err(Misfit::new("it is the same as another one"))
            } else {
                Ok(quantile)
            }
        });
        let quantile = match quantile {
            Ok(quantile) => quantile,
            Err(misfit) => {
                let message = format!(
                    "\"{}\" is not a quantile: {}",
                    crate::file::shortened(key),
                    misfit.reason
                );
                let finding = Finding::new(message)
                    .allowed("expected a quantile, such as p50, p99 or \"p99.9\"");
                let finding = if let Some(hint) = misfit.hint {
                    finding.hint(hint)
                } else {
                    finding
                };
                report.error(place, &value.path, finding);
                limits.push(None);
                continue;
            }
        };
        quantiles.push(quantile);
        let Some(items) = value.one_or_many(report, LIMITS_MAX) else {
            limits.push(None);
            continue;
        };
        for item in items {
            let bound = item.parse(report, &LATENCY_LIMIT, unit::latency_bound);
            limits.push(bound.map(|bound| LatencyLimit { quantile, bound }));
        }
    }
    limits.into_iter().collect()
}
