//! The plan of a rollout: steps, holds, and what ends them.

use std::time::Duration;

use haldane_decide::plan::{Advance, BuiltIn, InvalidPlan, OnBreach, Plan, Step, Terms};

use super::{duration_within, read};
use crate::file::{Table, Value};
use crate::report::{Finding, Report};
use crate::unit::{self, STEP};

/// More steps are no plan that anybody follows.
const STEPS_MAX: usize = 100;

/// Nothing in a rollout lasts longer.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 3600);

/// The plan in `[route.rollout]`, of a route that this is.
pub(super) fn plan(
    route: &Table<'_>,
    table: Option<&Table<'_>>,
    report: &mut Report,
) -> Option<Plan> {
    let terms = terms(table, report);
    let Some(table) = table else {
        return Some(Plan::fixed(terms?));
    };
    let steps = match (table.get("plan"), table.get("steps")) {
        (Some(_), Some(steps)) => {
            let finding = Finding::new("there are both `plan` and `steps`");
            return steps.reject(
                report,
                finding.hint("`plan` names steps that come with haldane: leave one out"),
            );
        }
        (Some(name), None) => name.choice(report, &BuiltIn::ALL).map(BuiltIn::steps),
        (None, Some(steps)) => steps_of(&steps, report),
        (None, None) => {
            for key in ["advance", "max_hold"] {
                if table.get(key).is_some() {
                    let finding =
                        Finding::new(format!("`{key}` is about steps, and there are none"));
                    let finding = finding.hint("add `plan = \"standard\"` or `steps`");
                    table.reject_key(report, key, finding);
                }
            }
            return Some(Plan::fixed(terms?));
        }
    };
    fits_route(route, report)?;
    let (steps, terms) = (steps?, terms?);
    warn_unreachable(&steps, route, table, report);
    match Plan::new(steps, terms) {
        Ok(plan) => Some(plan),
        Err(invalid) => {
            let value = table.get("steps")?;
            reject(&value, invalid, report)
        }
    }
}

fn terms(table: Option<&Table<'_>>, report: &mut Report) -> Option<Terms> {
    let default = Terms::default();
    let advance = [("auto", Advance::Auto), ("manual", Advance::Manual)];
    let on_breach = [
        ("rollback", OnBreach::Rollback),
        ("pause", OnBreach::Pause),
        ("observe", OnBreach::Observe),
    ];
    let advance = read(
        table,
        report,
        ("advance", default.advance),
        |value, report| value.choice(report, &advance),
    );
    let on_breach = read(
        table,
        report,
        ("on_breach", default.on_breach),
        |value, report| value.choice(report, &on_breach),
    );
    let watch = read(
        table,
        report,
        ("bake", default.watch),
        duration_within((Duration::ZERO, LONGEST)),
    );
    let max_hold = read(
        table,
        report,
        ("max_hold", default.max_hold),
        duration_within((Duration::from_secs(1), LONGEST)),
    );
    Some(Terms {
        advance: advance?,
        on_breach: on_breach?,
        watch: watch?,
        max_hold: max_hold?,
    })
}

fn steps_of(value: &Value<'_>, report: &mut Report) -> Option<Vec<Step>> {
    let items = value.items(report, STEPS_MAX)?;
    let steps: Vec<_> = items
        .iter()
        .map(|item| item.parse(report, &STEP, unit::step))
        .collect();
    steps.into_iter().collect()
}

/// Where there is a plan, it alone sets the weight.
fn fits_route(route: &Table<'_>, report: &mut Report) -> Option<()> {
    if let Some(weight) = route.get("weight") {
        let finding = Finding::new("there are both a weight and a plan");
        return weight.reject(
            report,
            finding.hint("the plan sets the weight: leave `weight` out"),
        );
    }
    Some(())
}

/// A step without traffic is there to be tried by name.
fn warn_unreachable(steps: &[Step], route: &Table<'_>, table: &Table<'_>, report: &mut Report) {
    let is_dark = steps.first().is_some_and(|step| step.weight.is_zero());
    let sticky = route.get("sticky");
    let has_force = sticky.is_some_and(|sticky| sticky.has_key("force"));
    if !is_dark || has_force {
        return;
    }
    let key = if table.get("steps").is_some() {
        "steps"
    } else {
        "plan"
    };
    if let Some(value) = table.get(key) {
        let finding = Finding::new("nobody can reach the canary in the first step")
            .hint("let it be asked for by name: `sticky.force`");
        report.warning(value.span.clone(), &value.path, finding);
    }
}

fn reject(steps: &Value<'_>, invalid: InvalidPlan, report: &mut Report) -> Option<Plan> {
    let (index, hint) = match invalid {
        InvalidPlan::EndsEarly => (
            None,
            "add \"100%\" at the end: a rollout ends with all traffic",
        ),
        InvalidPlan::NoStep => (None, "leave `steps` out, or write at least two"),
        InvalidPlan::NotRising(index) => {
            let hint = "the weight of a canary only rises; `haldane weight` lowers it by hand";
            (Some(index), hint)
        }
        InvalidPlan::WithoutHold(index) => (
            Some(index),
            "write \"5% for 20m\", \"5% for 20m and 500 requests\" or \"5% until promoted\"",
        ),
    };
    let finding = Finding::new(invalid.to_string()).hint(hint);
    let items = steps.items(report, STEPS_MAX)?;
    match index.and_then(|index| items.get(index)) {
        Some(item) => item.reject(report, finding),
        None => steps.reject(report, finding),
    }
}
