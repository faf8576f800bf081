//! What the canary must keep passing.

use std::time::Duration;

use haldane_decide::gate::spec::{
    GateName, GateRule, GateSpec, LatencyLimit, LatencyMargin, LatencyMetric, default_gates,
};
use haldane_decide::tally::{LADDERS_MAX, LATENCY_LIMITS_MAX};

use super::names::{self, NAME};
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::types::{OutsideGate, Question, Remote};
use crate::unit::{Kind, Misfit};

mod latency;
mod outside;
mod rule;

use outside::Asked;

const GATES_MAX: usize = 32;

const METRIC: Kind = Kind {
    what: "a metric",
    example: "\"error_rate\"",
    units: &[],
};

/// What a gate may compare.
#[derive(Clone, Copy)]
enum Metric<'a> {
    BurnRate,
    ConsecutiveFailures,
    ErrorRate,
    ErrorTrend,
    Latency(LatencyMetric),
    LatencySpike,
    NewErrors,
    Outside(Asked),
    Signal(&'a str),
}

const SIGNAL: &str = "signal:";

/// The last is for messages; signals have names.
const METRICS: [(&str, Metric<'static>); 11] = [
    ("error_rate", Metric::ErrorRate),
    ("ttfb", Metric::Latency(LatencyMetric::Ttfb)),
    ("duration", Metric::Latency(LatencyMetric::Duration)),
    ("consecutive_failures", Metric::ConsecutiveFailures),
    ("new_errors", Metric::NewErrors),
    ("error_trend", Metric::ErrorTrend),
    ("latency_spike", Metric::LatencySpike),
    ("burn_rate", Metric::BurnRate),
    ("url", Metric::Outside(Asked::Url)),
    ("promql", Metric::Outside(Asked::Promql)),
    ("signal:NAME", Metric::Signal("")),
];

/// What was read of the gates before.
#[derive(Default)]
struct Seen<'a> {
    names: Vec<GateName>,
    /// What is timed by gates on latency, broken ones included.
    timed: Vec<LatencyMetric>,
    /// Gates whose metric is not known.
    has_unknown: bool,
    /// What gates on spikes need, with where they say so.
    spikes: Vec<(LatencyMetric, Value<'a>)>,
    latency_limits: usize,
    /// Whom the gate that was read last asks, if it does.
    asked: Option<(Remote, Question, Duration)>,
    /// The gates that ask.
    outside: Vec<OutsideGate>,
}

/// The gates of a route, and whom those ask that do.
pub(super) struct Gates {
    pub(super) specs: Vec<GateSpec>,
    pub(super) outside: Vec<OutsideGate>,
}

/// `[[route.gate]]`; the default gates if there is none.
pub(super) fn gates(route: &Table<'_>, report: &mut Report) -> Option<Gates> {
    let Some(value) = route.get("gate") else {
        return Some(Gates {
            specs: default_gates(),
            outside: Vec::new(),
        });
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
    let mut seen = Seen::default();
    let mut read = Vec::new();
    for item in &items {
        let spec = gate(item, &mut seen, report);
        if let Some(GateSpec {
            rule: GateRule::Latency {
                rollback, advance, ..
            },
            ..
        }) = &spec
        {
            check_sizes(item, (rollback, advance), &mut seen, report);
        }
        read.push(spec);
    }
    seen.check_spikes(report);
    Some(Gates {
        specs: read.into_iter().collect::<Option<_>>()?,
        outside: seen.outside,
    })
}

fn gate<'a>(value: &Value<'a>, seen: &mut Seen<'a>, report: &mut Report) -> Option<GateSpec> {
    let table = value.table(report, &keys::GATE)?;
    let name = table
        .require(report, "name", "\"errors\"")
        .and_then(|value| seen.name(&value, report));
    let metric = table
        .require(report, "metric", "\"error_rate\"")
        .and_then(|value| metric(&value, report).map(|metric| (metric, value)));
    // Without its metric, nobody can tell what the rest should look like.
    let Some((metric, written)) = metric else {
        seen.has_unknown = true;
        return None;
    };
    let rule = rule::rule(&table, (metric, &written), seen, report);
    let asked = seen.asked.take();
    let (name, rule) = (name?, rule?);
    seen.outside
        .extend(asked.map(|(remote, question, interval)| OutsideGate {
            gate: GateName::clone(&name),
            remote,
            question,
            interval,
        }));
    Some(GateSpec { name, rule })
}

fn metric<'a>(value: &Value<'a>, report: &mut Report) -> Option<Metric<'a>> {
    if value.is_text()
        && let Some(name) = value.text(report, &METRIC)?.strip_prefix(SIGNAL)
    {
        let named = names::name(name).map_err(|misfit| Misfit {
            reason: format!("the name of a signal is wrong: {}", misfit.reason),
            hint: misfit
                .hint
                .map(|hint| hint.replacen('"', &format!("\"{SIGNAL}"), 1)),
        });
        return match named {
            Ok(name) => Some(Metric::Signal(name)),
            Err(misfit) => value.misfit(report, &METRIC, misfit),
        };
    }
    value.choice(report, &METRICS)
}

impl Seen<'_> {
    fn name(&mut self, value: &Value<'_>, report: &mut Report) -> Option<GateName> {
        let name: GateName =
            value.parse(report, &NAME, |text| names::name(text).map(Into::into))?;
        if self.names.contains(&name) {
            return value.reject(
                report,
                Finding::new(format!("another gate of this route is named \"{name}\"")),
            );
        }
        self.names.push(GateName::clone(&name));
        Some(name)
    }

    /// A gate on latency, which needs a place to count in.
    fn time(&mut self, metric: LatencyMetric, gate: &Table<'_>, report: &mut Report) {
        self.timed.push(metric);
        if self.timed.len() == LADDERS_MAX + 1 {
            let message = format!(
                "with this gate the route has {} gates on latency or more",
                self.timed.len()
            );
            let finding = Finding::new(message).allowed(format!("expected at most {LADDERS_MAX}"));
            report.error(gate.span.clone(), &gate.path, finding);
        }
    }

    /// Spikes are seen in what gates on latency count.
    fn check_spikes(&self, report: &mut Report) {
        let missing = self
            .spikes
            .iter()
            .filter(|(metric, _)| !self.has_unknown && !self.timed.contains(metric));
        for (metric, written) in missing {
            let metric = metric.as_str();
            let finding =
                Finding::new(format!("no gate of this route has the metric \"{metric}\""));
            let gate = format!("add a gate with `metric = \"{metric}\"`");
            let hint = match self.timed.first() {
                Some(other) => format!("{gate}, or write `of = \"{}\"`", other.as_str()),
                None => gate,
            };
            let finding = finding.allowed("spikes are seen in what such a gate counts");
            written.reject::<()>(report, finding.hint(hint));
        }
    }
}

/// Whether what a gate on latency counts has a place.
fn check_sizes(
    gate: &Value<'_>,
    (rollback, advance): (&[LatencyLimit], &[LatencyMargin]),
    seen: &mut Seen<'_>,
    report: &mut Report,
) {
    let before = seen.latency_limits;
    seen.latency_limits += rollback.len();
    let limits = seen.latency_limits;
    if limits > LATENCY_LIMITS_MAX && before <= LATENCY_LIMITS_MAX {
        let message = format!("with this gate the route has {limits} latency limits or more");
        let finding = Finding::new(message)
            .allowed(format!("expected at most {LATENCY_LIMITS_MAX} together"));
        gate.reject::<()>(report, finding);
    }
    latency::check_rungs(gate, (rollback, advance), report);
}
