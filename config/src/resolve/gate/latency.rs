//! Gates on latency: tables from quantile to limit.

use haldane_decide::gate::spec::{
    GateRule, LatencyBound, LatencyLimit, LatencyMargin, LatencyMetric, Quantile,
};
use haldane_decide::tally::RUNGS_MAX;

use super::rule::reject_looser;
use crate::file::{Table, Value};
use crate::report::{Finding, Report};
use crate::unit::{self, LATENCY_LIMIT, LATENCY_MARGIN, Misfit};

/// How many limits one quantile may have.
const LIMITS_MAX: usize = 16;

/// What a gate on latency compares.
pub(super) fn rule(
    table: &Table<'_>,
    metric: LatencyMetric,
    report: &mut Report,
) -> Option<GateRule> {
    let rollback = table
        .require(report, "rollback", "{ p99 = \"2x stable\" }")
        .and_then(|value| limits(&value, report));
    let advance = table.read(report, "advance", Vec::new(), |value, report| {
        margins(value, rollback.as_deref().unwrap_or_default(), report)
    });
    Some(GateRule::Latency {
        metric,
        rollback: rollback?,
        advance: advance?,
    })
}

/// A table from quantile to limit, or to a list of limits.
fn limits(rollback: &Value<'_>, report: &mut Report) -> Option<Vec<LatencyLimit>> {
    let (entries, mut is_good) = by_quantile(rollback, "p99 = \"2x stable\"", report)?;
    let mut limits = Vec::new();
    for (quantile, value) in entries {
        let Some(items) = value.one_or_many(report, LIMITS_MAX) else {
            is_good = false;
            continue;
        };
        for item in items {
            match item.parse(report, &LATENCY_LIMIT, unit::latency_bound) {
                Some(bound) => limits.push(LatencyLimit { quantile, bound }),
                None => is_good = false,
            }
        }
    }
    is_good.then_some(limits)
}

/// A table from quantile to margin.
fn margins(
    advance: &Value<'_>,
    rollback: &[LatencyLimit],
    report: &mut Report,
) -> Option<Vec<LatencyMargin>> {
    let (entries, mut is_good) = by_quantile(advance, "p99 = \"1.2x stable\"", report)?;
    let mut margins = Vec::new();
    for (quantile, value) in entries {
        let Some(times) = value.parse(report, &LATENCY_MARGIN, unit::latency_margin) else {
            is_good = false;
            continue;
        };
        let same = rollback.iter().filter(|limit| limit.quantile == quantile);
        let least = same
            .filter_map(|limit| match limit.bound {
                LatencyBound::TimesStable(times) => Some(times),
                LatencyBound::Absolute(_) => None,
            })
            .reduce(f64::min);
        if let Some(least) = least.filter(|least| times > *least) {
            let limit = LatencyBound::TimesStable(least).to_string();
            reject_looser::<()>(&value, &limit, report);
            is_good = false;
        }
        margins.push(LatencyMargin { quantile, times });
    }
    is_good.then_some(margins)
}

/// The entries of a table whose keys are quantiles, and whether that is all of them;
/// `None` if it is no such table.
fn by_quantile<'a>(
    value: &Value<'a>,
    example: &str,
    report: &mut Report,
) -> Option<(Vec<(Quantile, Value<'a>)>, bool)> {
    let expected = format!("a table from quantile to limit, such as {{ {example} }}");
    let entries = value.entries(report, &expected)?;
    if entries.is_empty() {
        return value.reject(
            report,
            Finding::new("there is no limit")
                .allowed(format!("expected at least one, such as {example}")),
        );
    }
    let mut read: Vec<(Quantile, Value<'a>)> = Vec::new();
    let mut is_good = true;
    for (key, place, value) in entries {
        if value.is_table() {
            let finding = Finding::new("a key with a dot in it needs quotes, or it is two keys");
            let hint = "write \"p99.9\" = \"2x stable\"";
            report.error(place, &value.path, finding.hint(hint));
            is_good = false;
            continue;
        }
        let quantile = unit::quantile(key).and_then(|quantile| {
            if read.iter().any(|(other, _)| *other == quantile) {
                Err(Misfit::new("it is the same as another one"))
            } else {
                Ok(quantile)
            }
        });
        match quantile {
            Ok(quantile) => read.push((quantile, value)),
            Err(misfit) => {
                report.error(place, &value.path, no_quantile(key, misfit));
                is_good = false;
            }
        }
    }
    Some((read, is_good))
}

fn no_quantile(key: &str, misfit: Misfit) -> Finding {
    let key = crate::file::shortened(key);
    let finding = Finding::new(format!("\"{key}\" is not a quantile: {}", misfit.reason))
        .allowed("expected a quantile, such as p50, p99 or \"p99.9\"");
    match misfit.hint {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

/// Quantiles from here on are compared at two levels.
const TWO_FROM: f64 = 0.75;
/// From here on, the highest one is compared at two more: at multiples of it.
const TAIL_FROM: f64 = 0.97;

/// Whether all levels that a gate compares at have a place.
pub(super) fn check_rungs(
    gate: &Value<'_>,
    (rollback, advance): (&[LatencyLimit], &[LatencyMargin]),
    report: &mut Report,
) {
    let relative = rollback
        .iter()
        .filter(|limit| matches!(limit.bound, LatencyBound::TimesStable(_)))
        .map(|limit| limit.quantile.as_ratio());
    let shown = advance.iter().map(|margin| margin.quantile.as_ratio());
    let mut quantiles: Vec<f64> = relative.chain(shown).collect();
    quantiles.sort_by(f64::total_cmp);
    quantiles.dedup();
    let rungs: usize = quantiles
        .iter()
        .map(|quantile| if *quantile < TWO_FROM { 1 } else { 2 })
        .sum();
    let beyond = quantiles
        .last()
        .is_some_and(|highest| *highest >= TAIL_FROM);
    let rungs = rungs + if beyond { 2 } else { 0 };
    if rungs <= RUNGS_MAX {
        return;
    }
    let message = format!("with these quantiles the gate compares at {rungs} levels");
    let finding = Finding::new(message).allowed(format!("expected at most {RUNGS_MAX}"));
    gate.reject::<()>(
        report,
        finding.hint(
            "a quantile below p75 takes 1, any other 2, and the highest 2 more from p97 on; \
             put some into another gate",
        ),
    );
}
