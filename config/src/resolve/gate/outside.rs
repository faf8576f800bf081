//! Gates on what something outside answers.

use std::time::Duration;

use haldane_decide::gate::spec::GateRule;

use super::super::{duration_within, remote};
use super::Seen;
use super::rule::reject_looser;
use crate::file::{Table, Value};
use crate::report::{Finding, Report};
use crate::types::Question;
use crate::unit::{Kind, Misfit};

const QUERY_BYTES_MAX: usize = 2048;

const QUERY: Kind = Kind {
    what: "a query",
    example: "\"max(rate(process_cpu_seconds_total{version='v2'}[1m]))\"",
    units: &[],
};

/// What is asked for by the gate in `table`, by its metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Promql,
    Url,
}

/// The rule of such a gate. Whom it asks is left in `seen`.
pub(super) fn rule(
    table: &Table<'_>,
    asked: Asked,
    seen: &mut Seen<'_>,
    report: &mut Report,
) -> Option<GateRule> {
    let remote = remote::remote(table, report);
    let question = match asked {
        Asked::Promql => table
            .require(report, "query", QUERY.example)
            .and_then(|value| value.parse(report, &QUERY, query))
            .map(Question::Promql),
        Asked::Url => Some(Question::Url),
    };
    let range = (Duration::from_millis(100), Duration::from_secs(3600));
    let default = Duration::from_secs(10);
    let interval = table.read(report, "interval", default, duration_within(range));
    let mut limit = |key| {
        table.read(report, key, None, |value, report| {
            Some(Some((value.number(report)?, value.clone())))
        })
    };
    let (rollback, advance) = (limit("rollback"), limit("advance"));
    let (rollback, advance) = (rollback?, advance?);
    match (&rollback, &advance) {
        (None, None) => {
            let finding = Finding::new("a gate on an answer needs `rollback` or `advance`");
            let finding = finding.hint("add `rollback = 0.9`: more than that rolls back");
            report.error(table.span.clone(), &table.path, finding);
            return None;
        }
        (Some((limit, _)), Some((margin, value))) if margin > limit => {
            return reject_looser(value, &limit.to_string(), report);
        }
        (Some(_), _) | (_, Some(_)) => {}
    }
    let interval = interval?;
    seen.asked = Some((remote?, question?, interval));
    let number = |limit: Option<(f64, Value<'_>)>| limit.map(|(limit, _)| limit);
    Some(GateRule::Outside {
        rollback: number(rollback),
        advance: number(advance),
        interval,
    })
}

fn query(text: &str) -> Result<String, Misfit> {
    if text.trim().is_empty() {
        Err(Misfit::new("it is empty"))
    } else if text.len() > QUERY_BYTES_MAX {
        Err(Misfit::new(format!(
            "it is longer than {QUERY_BYTES_MAX} bytes"
        )))
    } else {
        Ok(text.to_owned())
    }
}
