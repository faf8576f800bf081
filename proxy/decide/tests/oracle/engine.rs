//! Whole rollouts: the same evidence all along, and the same decision on the same row.

use std::collections::BTreeSet;
use std::time::Duration;

use haldane_decide::feed::{self, Decision, Feed};
use haldane_decide::gate::spec::{GateRule, GateSpec, Promise, default_gates};
use haldane_decide::gate::{Breach, Measure};
use haldane_decide::release::ReleaseSpec;
use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use crate::agreement::{assert_none, disagreement};
use crate::trace::{Family, Fired, Row, Trace, Traces};

/// The reference counts evidence in units of which a thousand suffice.
const BOUND: f64 = 1000.0;

fn weight(parts_per_million: u32) -> Weight {
    Weight::from_parts_per_million(parts_per_million).unwrap()
}

fn at(traces: &Traces, millis: u64) -> Timestamp {
    Timestamp::from_micros((traces.epoch_ms + millis) * 1000)
}

/// Those of the default gates that need evidence. The reference knows no others.
fn gates() -> Vec<GateSpec> {
    let mut gates = default_gates();
    gates.retain(|gate| !matches!(gate.rule, GateRule::ConsecutiveFailures { .. }));
    assert_eq!(gates.len(), 2);
    gates
}

fn feed_of(traces: &Traces, trace: &Trace) -> Feed {
    let (start_ms, first) = trace.schedule[0];
    let promise = Promise {
        horizon: Duration::from_millis(trace.horizon_ms),
        steps: u32::try_from(trace.schedule.len() - 1).unwrap(),
        ..Promise::default()
    };
    let spec = ReleaseSpec {
        weight: weight(first),
        gates: gates(),
        promise,
        ..ReleaseSpec::default()
    };
    Feed::new(spec, at(traces, start_ms)).without_guard()
}

fn fed(traces: &Traces, row: &Row) -> feed::Row {
    feed::Row {
        at: at(traces, row.completed_ms),
        latency: row.latency_us,
        role: if row.is_canary {
            Role::Canary
        } else {
            Role::Stable
        },
        status: row.status,
        key: row.key,
        weight: weight(row.weight),
    }
}

/// Everything in which the engine does not do what the reference did.
fn disagreements(traces: &Traces, trace: &Trace) -> Vec<String> {
    let mut found = Vec::new();
    let mut feed = feed_of(traces, trace);
    let mut checkpoints = trace.checkpoints.iter().peekable();
    for (row, number) in traces.rows(trace).iter().zip(1..) {
        if feed.row(&fed(traces, row)).is_some() {
            break;
        }
        if let Some((_, errors, classes, hard, latency)) =
            checkpoints.next_if(|checkpoint| checkpoint.0 == number)
        {
            let parts = feed.evidence();
            for (part, value, expected) in [
                ("errors", parts.errors, *errors),
                ("classes", parts.classes, *classes),
                ("hard", parts.hard, *hard),
                ("latency", parts.latency, *latency),
            ] {
                let what = format!("evidence of {part} after row {number}");
                found.extend(disagreement(&what, value, expected));
            }
        }
    }
    match (feed.decision(), &trace.fired) {
        (None, None) => {}
        (None, Some(fired)) => found.push(format!("no decision instead of row {}", fired.row)),
        (Some(decision), None) => {
            found.push(format!(
                "row {} instead of none: {}",
                decision.row, decision.breach
            ));
        }
        (Some(decision), Some(fired)) => found.extend(otherwise_decided(traces, decision, fired)),
    }
    let name = |text| format!("{} {}: {text}", trace.kind, trace.seed);
    found.into_iter().map(name).collect()
}

fn otherwise_decided(traces: &Traces, decision: &Decision, fired: &Fired) -> Vec<String> {
    let mut found = Vec::new();
    let breach = &decision.breach;
    if (decision.row, decision.at) != (fired.row, at(traces, fired.at_ms)) {
        found.push(format!(
            "row {} instead of {}: {breach}",
            decision.row, fired.row
        ));
    }
    if decision.canary_requests != fired.canary {
        let count = decision.canary_requests;
        found.push(format!(
            "{count} canary requests instead of {}",
            fired.canary
        ));
    }
    if !is_about(breach, fired.family) {
        found.push(format!("{:?} is not told by {breach}", fired.family));
    }
    found.extend(disagreement(
        "evidence",
        breach.evidence,
        fired.evidence / BOUND,
    ));
    found
}

/// Whether it is the gate, and the numbers, for where most of the evidence is from.
fn is_about(breach: &Breach, family: Family) -> bool {
    let (gate, is_measured) = match family {
        Family::Error | Family::ErrorHard => {
            let is_rate = matches!(breach.measure, Measure::ErrorRate { .. });
            ("errors", is_rate)
        }
        Family::ErrorClass => {
            let is_class = matches!(breach.measure, Measure::NewErrors { .. });
            ("errors", is_class)
        }
        Family::Latency => {
            let is_latency = matches!(breach.measure, Measure::Latency { .. });
            ("latency", is_latency)
        }
    };
    &*breach.gate == gate && is_measured
}

/// Half of the traces, so that two are run at once.
fn assert_agreement(half: usize) {
    let traces = Traces::load();
    let found: Vec<String> = (traces.traces.iter().skip(half).step_by(2))
        .flat_map(|trace| disagreements(&traces, trace))
        .collect();
    assert_none(&found);
}

#[test]
fn the_engine_decides_as_the_reference_does() {
    assert_agreement(0);
}

#[test]
fn the_engine_decides_as_the_reference_does_in_the_other_half() {
    assert_agreement(1);
}

#[test]
fn every_family_decides_somewhere_and_healthy_canaries_live() {
    let traces = Traces::load().traces;
    let families: BTreeSet<Family> = (traces.iter())
        .filter_map(|trace| trace.fired.as_ref().map(|fired| fired.family))
        .collect();
    assert_eq!(families.len(), 4, "{families:?}");
    let kinds = |fires: bool| -> BTreeSet<&str> {
        (traces.iter())
            .filter(|trace| trace.fired.is_some() == fires)
            .map(|trace| trace.kind.as_str())
            .collect()
    };
    assert!(kinds(true).len() >= 12 && kinds(false).len() >= 10);
    let checkpoints: usize = traces.iter().map(|trace| trace.checkpoints.len()).sum();
    assert!(checkpoints > 1000);
}

/// Whatever is expected wrongly is told.
#[test]
fn a_wrong_expectation_is_seen() {
    let mut traces = Traces::load();
    let index = (traces.traces.iter())
        .position(|trace| trace.kind == "errors 0.1% to 50%" && trace.fired.is_some())
        .unwrap();
    let of = |traces: &Traces| disagreements(traces, &traces.traces[index]).len();
    assert_eq!(of(&traces), 0);
    let changes: [fn(&mut Fired); 4] = [
        |fired| fired.row += 1,
        |fired| fired.canary += 1,
        |fired| fired.evidence *= 1.0 + 1e-8,
        |fired| fired.family = Family::Latency,
    ];
    for change in changes {
        let fired = traces.traces[index].fired;
        change(traces.traces[index].fired.as_mut().unwrap());
        assert!(of(&traces) > 0);
        traces.traces[index].fired = fired;
    }
    let last = traces.traces[index].checkpoints.last_mut().unwrap();
    last.1 *= 1.0 + 1e-8;
    assert!(last.1 > 0.0 && of(&traces) > 0);
}
