//! What the demo measured, and whether it is what haldane promises.

use std::io;
use std::time::Duration;

use haldane_decide::role::Role;

use super::Scenario;
use super::course::{Outcome, Rollback};
use super::load::USERS;
use super::stats::{Seen, Stats};
use super::toy::Toy;
use crate::cli::Exit;
use crate::cli::output::{Style, complain, say};

/// Prints the report; the exit says whether every promise was kept.
pub(super) fn report(scenario: Scenario, outcome: &Outcome, stats: &Stats, canary: &Toy) -> Exit {
    let seen = stats.seen();
    let arrivals = canary.arrivals();
    let mut broken = Vec::new();
    if !outcome.complete {
        broken.push("the last requests did not end in time".to_owned());
    }
    if seen.proxy_errors > 0 {
        broken.push(format!("haldane caused {} errors", seen.proxy_errors));
    }
    match (scenario, &outcome.rollback) {
        (Scenario::Good, None) => say("\nv2 was not rolled back"),
        (Scenario::Good, Some(_)) => broken.push("a good canary was rolled back".to_owned()),
        (Scenario::Errors | Scenario::Slow, None) => {
            broken.push("a bad canary was not rolled back".to_owned());
        }
        (Scenario::Errors | Scenario::Slow, Some(rollback)) => match outcome.spoilt_at {
            Some(spoilt_at) if spoilt_at <= rollback.at => {
                let took = Duration::from_micros(rollback.at - spoilt_at);
                say(format_args!(
                    "\nv2 was rolled back {:.2} s after it began to fail",
                    took.as_secs_f64()
                ));
            }
            Some(_) | None => broken.push("the canary was rolled back before it failed".to_owned()),
        },
    }
    if let Some(cause) = &outcome.route.cause {
        say(format_args!("  {cause}"));
    }
    say("\nmeasured");
    if let Some(rollback) = &outcome.rollback {
        broken.extend(report_rollback(rollback, &seen, &arrivals));
    } else {
        report_gates(outcome);
    }
    report_users(scenario, &seen);
    for promise in &broken {
        complain(promise);
    }
    if broken.is_empty() {
        Exit::Done
    } else {
        Exit::Runtime
    }
}

/// One line of the table.
fn row(what: &str, value: impl std::fmt::Display) {
    say(format_args!("  {what:<58} {value}"));
}

/// The numbers of a rollback; gives the promises that they break.
fn report_rollback(rollback: &Rollback, seen: &Seen, arrivals: &[u64]) -> Vec<String> {
    let zero_at = rollback.zero_at();
    let arrived = count(arrivals.iter());
    let routed_after = arrived.saturating_sub(rollback.canary_requests);
    let arrived_after = count(arrivals.iter().filter(|&&at| at > zero_at));
    let sent_after = seen.sent_after(Role::Canary, zero_at);
    let stable_after = seen.sent_after(Role::Stable, zero_at);
    row(
        "routed to the canary after the deciding response",
        format_args!(
            "{routed_after}  ({arrived} arrived there in all, {} were routed before)",
            rollback.canary_requests
        ),
    );
    row(
        "sent after weight zero and answered by the canary",
        sent_after,
    );
    row(
        "sent after weight zero and answered by stable",
        stable_after,
    );
    row(
        "in flight to the canary at that moment",
        rollback.canary_in_flight,
    );
    match rollback.rollback_micros {
        Some(micros) => row(
            "from the deciding response to weight zero",
            format_args!("{micros} µs"),
        ),
        None => row("from the deciding response to weight zero", "unknown"),
    }
    let mut broken = Vec::new();
    if routed_after > 0 {
        broken.push(format!(
            "{routed_after} requests were routed to the canary after the deciding response"
        ));
    }
    if sent_after > 0 {
        broken.push(format!(
            "{sent_after} requests that were sent after weight zero reached the canary"
        ));
    }
    if arrived_after > rollback.canary_in_flight {
        broken.push(format!(
            "{arrived_after} requests reached the canary after weight zero, more than were in flight"
        ));
    }
    if stable_after == 0 {
        broken.push("nothing was answered after the rollback, so nothing is shown".to_owned());
    }
    if rollback.rollback_micros.is_none() {
        broken.push("the rollback was not caused by a gate".to_owned());
    }
    broken
}

/// How many there are, in the type of counts.
fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |sum, _| sum + 1)
}

fn report_gates(outcome: &Outcome) {
    let style = Style::of(&io::stdout());
    for gate in &outcome.route.gates {
        let verdict = style.verdict(&gate.verdict, &gate.verdict);
        say(format_args!("  {verdict}  {}", gate.sentence));
    }
    row("all gates together", &outcome.route.verdict);
}

fn report_users(scenario: Scenario, seen: &Seen) {
    row(
        "users who saw an error",
        format_args!(
            "{} of {USERS}  ({} errors)",
            seen.users_with_errors.len(),
            seen.errors
        ),
    );
    if scenario == Scenario::Slow {
        row(
            "users who got a late answer",
            format_args!(
                "{} of {USERS}  ({} answers)",
                seen.users_with_spoilt.len(),
                seen.spoilt
            ),
        );
    }
    row("requests in all", seen.requests);
    row("errors caused by haldane", seen.proxy_errors);
}
