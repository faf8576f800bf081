//! What the demo measured, and whether it is what haldane promises.

use std::io;
use std::time::Duration;

use haldane_decide::role::Role;

use super::Scenario;
use super::course::{Outcome, Rollback};
use super::load::USERS;
use super::stats::{Seen, Stats, count};
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
        (Scenario::Aa | Scenario::Good, None) => say("\nv2 was not rolled back"),
        (Scenario::Aa | Scenario::Good, Some(_)) => {
            broken.push("a good canary was rolled back".to_owned());
        }
        (Scenario::Errors | Scenario::Hang | Scenario::Slow, None) => {
            broken.push("a bad canary was not rolled back".to_owned());
        }
        (Scenario::Errors | Scenario::Hang | Scenario::Slow, Some(rollback)) => match outcome
            .spoilt_at
        {
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
        let around = Around::of(rollback, &seen, &arrivals);
        around.print(rollback);
        broken.extend(around.broken(rollback));
    } else {
        report_gates(outcome);
    }
    if matches!(scenario, Scenario::Errors | Scenario::Hang) {
        let failures = canary.failures();
        row("failures of the canary", failures);
        row(
            "of them answered from stable instead",
            failures.saturating_sub(seen.errors),
        );
        if seen.errors > 0 {
            broken.push(format!(
                "clients saw {} failures of the canary",
                seen.errors
            ));
        }
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

/// What three sides counted around a rollback.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Around {
    /// Requests that ever reached the canary, by its own count.
    arrived: u64,
    /// Of them, after the weight was zero.
    arrived_after: u64,
    /// How many more reached the canary than haldane had routed there when the weight
    /// was zero.
    routed_after: u64,
    /// Requests that clients sent after the weight was zero, answered by the canary…
    to_canary: u64,
    /// …and by stable.
    to_stable: u64,
}

impl Around {
    /// `arrivals` are those at the canary, in microseconds since the epoch.
    fn of(rollback: &Rollback, seen: &Seen, arrivals: &[u64]) -> Self {
        let zero_at = rollback.zero_at();
        let arrived = count(arrivals.iter());
        Self {
            arrived,
            arrived_after: count(arrivals.iter().filter(|&&at| at > zero_at)),
            routed_after: arrived.saturating_sub(rollback.canary_requests),
            to_canary: seen.sent_after(Role::Canary, zero_at),
            to_stable: seen.sent_after(Role::Stable, zero_at),
        }
    }

    fn print(&self, rollback: &Rollback) {
        row(
            "routed to the canary after the deciding response",
            format_args!(
                "{}  ({} arrived there in all, {} were routed before)",
                self.routed_after, self.arrived, rollback.canary_requests
            ),
        );
        row(
            "sent after weight zero, answered by the canary",
            self.to_canary,
        );
        row("sent after weight zero, answered by stable", self.to_stable);
        row(
            "in flight to the canary at that moment",
            rollback.canary_in_flight,
        );
        let took = rollback
            .rollback_micros
            .map_or_else(|| "unknown".to_owned(), |micros| format!("{micros} µs"));
        row("from the deciding response to weight zero", took);
    }

    /// The promises that these numbers break.
    fn broken(&self, rollback: &Rollback) -> Vec<String> {
        let mut broken = Vec::new();
        if self.routed_after > 0 {
            broken.push(format!(
                "{} requests were routed to the canary after the deciding response",
                self.routed_after
            ));
        }
        if self.to_canary > 0 {
            broken.push(format!(
                "the canary answered {} requests that were sent after weight zero",
                self.to_canary
            ));
        }
        if self.arrived_after > rollback.canary_in_flight {
            broken.push(format!(
                "{} requests reached the canary after weight zero, but {} were in flight",
                self.arrived_after, rollback.canary_in_flight
            ));
        }
        if self.to_stable == 0 {
            broken.push("nothing was answered after the rollback, so nothing is shown".to_owned());
        }
        if rollback.rollback_micros.is_none() {
            broken.push("the rollback was not caused by a gate".to_owned());
        }
        broken
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::stats::{Answer, AnswerKind};

    /// A rollback at 1000 with the weight zero at 1010, and what was seen around it.
    fn around(canary_requests: u64, arrivals: &[u64], sent: &[(Role, u64)]) -> Vec<String> {
        let rollback = Rollback {
            at: 1000,
            canary_requests,
            canary_in_flight: 1,
            rollback_micros: Some(10),
        };
        let stats = Stats::default();
        for &(role, sent_at) in sent {
            stats.count(Answer {
                user: 1,
                sent_at,
                micros: 5,
                kind: AnswerKind::Version {
                    role,
                    status: 200,
                    spoilt: false,
                },
            });
        }
        Around::of(&rollback, &stats.seen(), arrivals).broken(&rollback)
    }

    #[test]
    fn a_request_in_flight_breaks_no_promise_and_any_later_one_does() {
        use Role::{Canary, Stable};
        let good = [(Canary, 990), (Canary, 1010), (Stable, 1011)];
        // Routed before, arrived after: it was in flight.
        assert_eq!(around(2, &[990, 1012], &good), Vec::<String>::new());
        // Sent after weight zero, and the canary answered.
        assert_eq!(
            around(3, &[990], &[(Canary, 1011), (Stable, 1011)]).len(),
            1
        );
        // More arrived than had been routed.
        assert_eq!(around(1, &[990, 991], &good).len(), 1);
        // More arrived late than were in flight.
        assert_eq!(around(3, &[990, 1011, 1012], &good).len(), 1);
        // Without a request afterwards nothing is shown.
        assert_eq!(around(2, &[990], &[(Canary, 990), (Stable, 1010)]).len(), 1);
    }
}
