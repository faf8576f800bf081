//! A forecast for programs.

use haldane_decide::forecast::{Detection, Ending, Fault, Forecast, Shown, StepForecast, Traffic};
use haldane_decide::gate::spec::Promise;
use serde_json::{Value, json};

/// The whole of it. What never happens is null.
pub(super) fn plan(forecast: &Forecast, promise: &Promise, traffic: &Traffic) -> Value {
    json!({
        "schema": "haldane.plan/1",
        "traffic": {
            "requests_per_second": traffic.requests_per_second,
            "failure_rate": traffic.failure_rate,
            "p50_seconds": traffic.median.as_secs_f64(),
            "p99_seconds": traffic.p99.as_secs_f64(),
        },
        "false_rollback": forecast.false_rollback,
        "false_rollback_by_chance": forecast.by_chance,
        "false_advance": promise.false_advance,
        "steps": forecast.steps.iter().map(|step| self::step(step, traffic)).collect::<Vec<_>>(),
    })
}

fn step(step: &StepForecast, traffic: &Traffic) -> Value {
    json!({
        "weight": step.step.weight,
        "hold_seconds": step.step.hold.map(|hold| hold.as_secs_f64()),
        "longest_seconds": step.step.longest().map(|longest| longest.as_secs_f64()),
        "canary_per_second": step.canary_per_second,
        "faults": step.detections.iter().map(|one| fault(one, traffic)).collect::<Vec<_>>(),
        "shown": step.shown.iter().map(shown).collect::<Vec<_>>(),
        "shown_seconds": finite(step.shown_seconds()),
    })
}

fn fault(one: &Detection, traffic: &Traffic) -> Value {
    let (name, times, quantile, rate) = match one.fault {
        Fault::Failing { times } => (
            "failing",
            Some(times),
            None,
            Some(times * traffic.failure_rate),
        ),
        Fault::FailingAlways => ("failing_always", None, None, Some(1.0)),
        Fault::Slower { quantile, times } => ("slower", Some(times), Some(quantile), None),
    };
    let ending = match one.ending {
        Ending::Held => "held",
        Ending::RolledBack => "rolled_back",
        Ending::Unseen => "unseen",
    };
    json!({
        "fault": name,
        "times": times,
        "quantile": quantile,
        "failure_rate": rate,
        "ending": ending,
        "gate": one.gate,
        "canary_requests": finite(one.canary_requests),
        "seconds": finite(one.seconds),
        "users": finite(one.users),
    })
}

fn shown(one: &Shown) -> Value {
    json!({
        "gate": one.gate,
        "quantile": one.quantile,
        "margin": one.margin,
        "canary_requests": finite(one.canary_requests),
        "seconds": finite(one.seconds),
    })
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
