//! What the events and the requests that failed tell of one generation.

use serde_json::Value;

use super::facts::{Facts, Rollback};
use crate::cli::happened::{EventView, date, moment};

/// The kinds of events that a generation may begin with.
const BEGINNINGS: [&str; 5] = ["prepared", "promoted", "retried", "reweighed", "started"];

/// The events of one generation, oldest first.
pub(super) struct Story<'a> {
    pub(super) events: Vec<&'a EventView>,
    /// When the next generation began.
    next_at: Option<u64>,
}

impl<'a> Story<'a> {
    pub(super) fn of(facts: &'a Facts) -> Self {
        let is_of_route = |event: &&EventView| event.route() == Some(&*facts.status.route);
        let generations = || facts.events.iter().filter(is_of_route);
        let next = generations().find(|event| event.generation() > Some(facts.generation));
        let next_at = next.map(EventView::at);
        let of_route: Vec<&EventView> = generations()
            .filter(|event| event.generation() == Some(facts.generation))
            .collect();
        let began_at = of_route.first().map(|event| event.at());
        // What concerned all routes meanwhile explains why it stood still.
        let is_meanwhile = |event: &&EventView| {
            event.route().is_none()
                && began_at.is_some_and(|began_at| event.at() >= began_at)
                && next_at.is_none_or(|next_at| event.at() < next_at)
        };
        let mut events = of_route;
        events.extend(facts.events.iter().filter(is_meanwhile));
        events.sort_by_key(|event| event.seq());
        Self { events, next_at }
    }

    pub(super) fn last(&self, kind: &str) -> Option<&'a EventView> {
        let mut of_kind = self.events.iter().rev();
        of_kind.find(|event| event.kind() == kind).copied()
    }

    /// Of a generation that is over.
    pub(super) fn outcome(&self) -> &'static str {
        if self.last("rolled_back").is_some() {
            "rolled_back"
        } else if self.last("completed").is_some() {
            "complete"
        } else {
            "superseded"
        }
    }

    /// With the event that it began with. A generation that has had its weight since haldane
    /// started has none, and what is first told of it is something later.
    pub(super) fn began_at(&self) -> Option<u64> {
        let own = self.events.iter().find(|event| event.route().is_some());
        own.filter(|event| BEGINNINGS.contains(&event.kind()))
            .map(|event| event.at())
    }

    pub(super) fn ended_at(&self, outcome: &str) -> Option<u64> {
        match outcome {
            "rolled_back" => self.last("rolled_back").map(EventView::at),
            "complete" => self.last("completed").map(EventView::at),
            "superseded" => self.next_at,
            _ => None,
        }
    }

    pub(super) fn rollback(&self, facts: &Facts) -> Option<Rollback> {
        let event = self.last("rolled_back")?;
        let first = first_failure(facts).filter(|first| *first <= event.at());
        let verified = self.last("rollback_verified");
        let unverified = self.last("rollback_unverified");
        let known = verified.or(unverified);
        Some(Rollback {
            at: date(event.at()),
            from: event.text("from").map(str::to_owned),
            who: event.who(),
            why: event.why(),
            seconds_from_first_failure: first.map(|first| seconds(first, event.at())),
            micros: event.count("rollback_micros"),
            verified: known.map(|_| verified.is_some()),
            verified_after_seconds: verified.and_then(|event| event.number("seconds")),
            unverified_because: unverified
                .filter(|_| verified.is_none())
                .and_then(EventView::why),
        })
    }

    /// Requests of the canary in a second, from the first event to the last, or to now. Not
    /// known if haldane was restarted in between: it counts from zero then.
    pub(super) fn throughput(&self, now: Option<(u64, u64)>) -> Option<f64> {
        let counts = self.events.iter();
        let counted =
            counts.filter_map(|event| Some((event.at(), event.count("canary_requests")?)));
        let points: Vec<(u64, u64)> = counted.chain(now).collect();
        let (first, last) = (points.first()?, points.last()?);
        let grows = points.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        let seconds = seconds(first.0, last.0);
        (grows && seconds > 0.0).then(|| float(last.1 - first.1) / seconds)
    }
}

/// The requests that the canary of the generation has failed, as far as they are known.
pub(super) fn failed(facts: &Facts) -> Option<impl Iterator<Item = &Value>> {
    let requests = facts.tap.as_ref()?.get("requests")?.as_array()?;
    let meant = u64::from(facts.generation);
    let is_meant = move |request: &&Value| {
        let generation = request["generation"].as_u64();
        generation.is_none_or(|generation| generation == meant)
            && request["role"].as_str().is_none_or(|role| role == "canary")
    };
    Some(requests.iter().filter(is_meant))
}

/// When the first of them was, if none is forgotten.
fn first_failure(facts: &Facts) -> Option<u64> {
    let dropped = facts.tap.as_ref()?.get("dropped")?.as_u64()?;
    let times = failed(facts)?.map(|request| moment(request["at"].as_str()?));
    let times: Vec<u64> = times.collect::<Option<_>>()?;
    times.into_iter().min().filter(|_| dropped == 0)
}

pub(super) fn seconds(from: u64, to: u64) -> f64 {
    float(to.saturating_sub(from)) / 1e6
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times are far below 2^52"
)]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
