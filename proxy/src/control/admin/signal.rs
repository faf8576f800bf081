//! Good and bad results of a version, reported by whoever sees them.

use std::sync::Arc;

use haldane_decide::gate::spec::GateRule;
use haldane_decide::role::Role;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::body::parse;
use super::problem::{Problem, quoted};
use super::reply::{Reply, json};
use crate::live::Route;

/// More than any service has results between two reports.
const RESULTS_MAX: u64 = 1_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportBody {
    role: Role,
    #[serde(default)]
    good: u64,
    #[serde(default)]
    bad: u64,
}

/// What was taken.
#[derive(Serialize)]
struct ReportView<'a> {
    route: Arc<str>,
    signal: &'a str,
    role: Role,
    good: u64,
    bad: u64,
}

/// Tells the gates about so many results.
pub(super) fn report(route: &Route, signal: &str, body: &[u8]) -> Result<Reply, Problem> {
    let ReportBody { role, good, bad } = parse(body)?;
    if good.max(bad) > RESULTS_MAX {
        return Err(Problem::body(
            "it has more results than can be",
            format!("report at most {RESULTS_MAX} at a time"),
        ));
    }
    if !route.report_signal(signal, role, good, bad) {
        return Err(unknown(route, signal));
    }
    json(&ReportView {
        route: Arc::clone(&route.config.name),
        signal,
        role,
        good,
        bad,
    })
}

fn unknown(route: &Route, signal: &str) -> Problem {
    let gates = route.config.gates.iter();
    let known: Vec<&str> = gates
        .filter_map(|gate| match &gate.rule {
            GateRule::Signal { signal, .. } => Some(&**signal),
            _ => None,
        })
        .collect();
    let hint = if known.is_empty() {
        "give the route a gate with `metric = \"signal:NAME\"`".to_owned()
    } else {
        format!("the signals that gates are about: {}", known.join(", "))
    };
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-signal",
        "no gate is about this signal",
        format!("no gate of the route is about \"{}\"", quoted(signal)),
        hint,
    )
}
