//! How a route stands, in one sentence.

use crate::cli::view::RouteView;

/// Without its name and what it waits for.
pub(super) fn sentence(route: &RouteView) -> String {
    let Some(canary) = &route.versions.canary else {
        return format!(
            "no canary, {} has all traffic",
            route.versions.stable.version
        );
    };
    let (canary, weight) = (&canary.version, &route.weight);
    let phase = route.phase.replace('_', " ");
    let mut sentence = match &*route.phase {
        "rolled_back" => format!("{phase}, {canary} gets nothing"),
        "complete" => format!("{phase}, {canary} has {weight} for good"),
        _ => format!("{phase}{}, {canary} has {weight}", step(route)),
    };
    if route.phase != "rolled_back" && !route.gates.is_empty() {
        sentence.push_str(match &*route.verdict {
            "pass" => ", every gate passes",
            "fail" => ", a gate fails",
            _ => ", not enough is known yet",
        });
    }
    if let Some(cause) = &route.cause {
        sentence.push_str(&format!(" ({cause})"));
    }
    for (what, why) in [
        ("not rolled back", &route.rollback_refused),
        ("only told", &route.observed),
        (
            "frozen",
            &route.frozen.as_ref().map(|frozen| frozen.why.clone()),
        ),
    ] {
        if let Some(why) = why {
            sentence.push_str(&format!("; {what}: {why}"));
        }
    }
    sentence
}

/// At which step, if there are some and one has begun.
fn step(route: &RouteView) -> String {
    match &route.rollout {
        Some(rollout) if rollout.step > 0 => {
            format!(" at step {} of {}", rollout.step, rollout.steps.len())
        }
        Some(_) | None => String::new(),
    }
}
