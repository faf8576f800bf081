//! What a configuration asks of its gates that they cannot do.
//!
//! Nothing here is wrong, so it is no part of loading: whoever asks gets it, with the
//! traffic that there is, or with what does not depend on it.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::forecast::{Detection, Fault, Shown, Step, StepForecast, Traffic, forecast};
use haldane_decide::gate::numbers::calibrated_run;
use haldane_decide::gate::spec::{Exposure, GateRule, GateSpec, Promise, RunLimit};
use haldane_decide::plan::{OnBreach, Plan};
use haldane_decide::weight::Weight;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use crate::source::Source;
use crate::types::{Config, RouteConfig};

/// A run of failures that comes by chance where this share fails is too short.
const USUAL_RATE: f64 = 0.01;

/// Detection gets slow above.
const SHARE_MAX: f64 = 0.5;

/// More users at once are not needed to find what is wrong.
const FIRST_MAX: f64 = 0.05;

/// Between these shares detection is slow, and what stands at 100% is not far.
const SLOW: RangeInclusive<f64> = 0.75..=0.95;

/// Without a planned hold, nobody waits longer in one step.
const HOLD_MAX: Duration = Duration::from_secs(4 * 3600);

/// A canary that fails always should be gone by then.
const FAILING_MAX: Duration = Duration::from_secs(60);

/// All advice about the configuration that is called `name`. Without the traffic, what holds
/// for any.
#[must_use]
pub fn advice(config: &Config, name: &str, traffic: Option<&Traffic>) -> Diagnostics {
    let source = Arc::new(Source {
        name: name.to_owned(),
        text: String::new(),
    });
    let mut found = Vec::new();
    for (index, route) in config.routes.iter().enumerate() {
        let is_idle = route.plan.is_fixed() && route.weight.is_zero();
        if route.canary.is_none() || is_idle {
            continue;
        }
        let mut about = About {
            source: &source,
            route: format!("route[{index}]"),
            found: &mut found,
        };
        about.gates(route);
        if route.plan.is_fixed() {
            about.weight(route.weight);
        } else {
            about.plan(&route.plan);
        }
        about.exposure(route);
        if let Some(traffic) = traffic {
            about.traffic(route, traffic);
        }
    }
    Diagnostics(found)
}

/// Advice about one route.
struct About<'a> {
    source: &'a Arc<Source>,
    route: String,
    found: &'a mut Vec<Diagnostic>,
}

impl About<'_> {
    fn warn(&mut self, key: &str, message: String, hint: &str) {
        self.found.push(Diagnostic {
            severity: Severity::Warning,
            place: Place::whole(Arc::clone(self.source)),
            key: format!("{}.{key}", self.route),
            message,
            allowed: None,
            hint: Some(hint.to_owned()),
        });
    }

    fn gates(&mut self, route: &RouteConfig) {
        let calibrated = calibrated_run(USUAL_RATE);
        for gate in &route.gates {
            if let GateRule::ConsecutiveFailures {
                limit: RunLimit::Count(count),
            } = gate.rule
                && count < calibrated
            {
                let message = format!(
                    "the gate \"{}\" acts on {count} failures in a row, which come by chance in a \
                     million requests of a service that fails 1% of them",
                    gate.name
                );
                let hint = format!("make it {calibrated} or more, or \"auto\"");
                self.warn("gate", message, &hint);
            }
        }
    }

    /// What of a plan reaches many at once, can hardly be judged, or is never taken back.
    fn plan(&mut self, plan: &Plan) {
        let steps = plan.steps();
        let is_switch = steps.first().is_some_and(|step| step.weight.is_zero());
        let first = first_weight(plan);
        if let Some(first) = first
            .filter(|first| first.as_ratio() > FIRST_MAX && !(is_switch && *first == Weight::FULL))
        {
            let message = format!(
                "the first step gives the canary {first} of all users at once, more than 5%"
            );
            self.warn(
                "rollout",
                message,
                "begin with 1% to 5%: fewer see what is wrong",
            );
        }
        let slow = steps.iter().map(|step| step.weight);
        for weight in slow.filter(|weight| SLOW.contains(&weight.as_ratio())) {
            self.little_stable(
                weight,
                (
                    "rollout",
                    "go from 50% to 100%: there it is judged by how stable was",
                ),
            );
        }
        if plan.terms.on_breach == OnBreach::Observe {
            self.warn(
                "rollout.on_breach",
                "a breach is only told: a canary that fails keeps the weight it has until somebody \
                 rolls it back"
                    .to_owned(),
                "\"rollback\", or \"pause\" to decide by hand",
            );
        }
    }

    fn weight(&mut self, weight: Weight) {
        if weight.as_ratio() > SHARE_MAX && weight != Weight::FULL {
            let hint = "stay at or below 50%, then make the canary stable";
            self.little_stable(weight, ("weight", hint));
        }
    }

    fn little_stable(&mut self, weight: Weight, (key, hint): (&str, &str)) {
        let failures = failures_until_rolled_back(&default_errors(), weight);
        let message = format!(
            "at {weight} stable has little traffic left to compare with: it takes about \
             {failures:.0} failures to blame the canary, at 5% it takes 4",
        );
        self.warn(key, message, hint);
    }

    /// A budget that is used up before the evidence is enough decides alone, without any.
    fn exposure(&mut self, route: &RouteConfig) {
        let exposure = route.promise.exposure;
        let weight = first_weight(&route.plan).unwrap_or(route.weight);
        let failures = failures_until_rolled_back(&route.gates, weight);
        if failures.is_infinite() {
            // No gate is about failures: the budget is what there is.
            return;
        }
        let budgets = [
            ("failed_requests", exposure.failed_requests),
            ("affected_users", exposure.affected_users),
        ];
        for (key, budget) in budgets {
            let Some(budget) = budget.filter(|budget| (*budget as f64) < failures) else {
                continue;
            };
            let message = format!(
                "the budget of {budget} is used up before the gates can decide: they need about \
                 {failures:.0} failures at {weight}, and the budget rolls back without evidence"
            );
            let hint = format!("make it {failures:.0} or more, or begin with a smaller weight");
            self.warn(&format!("rollout.exposure.{key}"), message, &hint);
        }
    }

    fn traffic(&mut self, route: &RouteConfig, traffic: &Traffic) {
        let steps = if route.plan.is_fixed() {
            vec![Step::at(route.weight)]
        } else {
            Step::of_plan(&route.plan, traffic)
        };
        let forecast = forecast(&route.gates, &route.promise, &steps, traffic);
        // A plan has no stable to compare with in its last step.
        let is_compared =
            |step: &&StepForecast| route.plan.is_fixed() || step.step.weight != Weight::FULL;
        let compared: Vec<_> = forecast.steps.iter().filter(is_compared).collect();
        let key = if route.plan.is_fixed() {
            "weight"
        } else {
            "rollout"
        };
        self.detections(&compared, key);
        for step in compared {
            self.shown(step);
        }
    }

    /// What is found late: a canary that fails always in any step, anything else in all.
    fn detections(&mut self, steps: &[&StepForecast], key: &str) {
        let Some(last) = steps.last() else {
            return;
        };
        for fault in last.detections.iter().map(|one| one.fault) {
            let mut found = steps.iter().filter_map(|step| {
                let one = step.detections.iter().find(|one| one.fault == fault)?;
                Some((*step, one, is_late(step, one)))
            });
            let late = match fault {
                Fault::FailingAlways => found.find(|(_, _, late)| *late),
                Fault::Failing { .. } | Fault::Slower { .. } => {
                    let all = found.clone().all(|(_, _, late)| late);
                    found.next_back().filter(|_| all)
                }
            };
            if let Some((step, one, _)) = late {
                self.detection(step, one, key);
            }
        }
    }

    fn detection(&mut self, step: &StepForecast, one: &Detection, key: &str) {
        let fault = match one.fault {
            Fault::Failing { times } => format!("fails {times} times as often as stable"),
            Fault::FailingAlways => "fails always".to_owned(),
            Fault::Slower { quantile, times } => {
                format!("is {times} times slower at {quantile}")
            }
        };
        let when = if one.seconds.is_finite() {
            format!("only after about {}", Span(one.seconds))
        } else {
            "by no gate".to_owned()
        };
        let message = format!(
            "a canary that {fault} is found {when} at {}, with {} requests per second",
            step.step.weight,
            short(step.canary_per_second)
        );
        let hint = "give the canary more traffic, or wait for longer";
        self.warn(key, message, hint);
    }

    fn shown(&mut self, step: &StepForecast) {
        let longest = step.step.longest().unwrap_or(HOLD_MAX);
        let is_late = |one: &&Shown| one.seconds > longest.as_secs_f64() && one.seconds.is_finite();
        for one in step.shown.iter().filter(is_late) {
            let of = one
                .quantile
                .map_or_else(String::new, |quantile| format!(" at {quantile}"));
            let message = format!(
                "the gate \"{}\" cannot show its limit for advancing{of} within {}: that takes a \
                 good canary about {} at {}",
                one.gate,
                Span(longest.as_secs_f64()),
                Span(one.seconds),
                step.step.weight
            );
            self.warn(
                "gate",
                message,
                "give the canary more traffic, or the gate a wider margin",
            );
        }
    }
}

/// The weight with which a plan begins, if there is one.
fn first_weight(plan: &Plan) -> Option<Weight> {
    let mut weights = plan.steps().iter().map(|step| step.weight);
    weights.find(|weight| !weight.is_zero())
}

fn is_late(step: &StepForecast, one: &Detection) -> bool {
    let most = match one.fault {
        Fault::FailingAlways => FAILING_MAX,
        Fault::Failing { .. } | Fault::Slower { .. } => step.step.hold.unwrap_or(HOLD_MAX),
    };
    one.seconds > most.as_secs_f64()
}

/// How many failures of a canary that fails always the evidence of these gates takes.
fn failures_until_rolled_back(gates: &[GateSpec], weight: Weight) -> f64 {
    let promise = Promise {
        exposure: Exposure::default(),
        ..Promise::default()
    };
    let step = Step::at(weight);
    let forecast = forecast(gates, &promise, &[step], &Traffic::default());
    let all = forecast.steps.iter().flat_map(|step| &step.detections);
    let found = all.filter(|one| one.fault == Fault::FailingAlways);
    found.map(|one| one.canary_requests).fold(0.0, f64::max)
}

/// The default gate on failures alone: without a run that acts whatever the evidence.
fn default_errors() -> Vec<GateSpec> {
    let gates = haldane_decide::gate::spec::default_gates().into_iter();
    gates
        .filter(|gate| matches!(gate.rule, GateRule::ErrorRate { .. }))
        .collect()
}

fn short(rate: f64) -> String {
    if rate < 10.0 {
        format!("{rate:.2}")
    } else {
        format!("{rate:.0}")
    }
}

/// Seconds in the unit that suits them.
struct Span(f64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            seconds if seconds < 120.0 => (seconds, "s"),
            seconds if seconds < 7200.0 => (seconds / 60.0, "min"),
            seconds if seconds < 172_800.0 => (seconds / 3600.0, "h"),
            seconds => (seconds / 86_400.0, "days"),
        };
        write!(f, "{value:.0} {unit}")
    }
}
