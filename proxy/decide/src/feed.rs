//! A release that is fed row by row: recorded requests, simulations, tests.
//!
//! The gates are those of a running proxy, and so is what they are told. Only the counting
//! is done here, where a proxy has shards for it.

use crate::gate::{Baseline, Breach, Manner};
use crate::outcome::{ErrorClass, Evidence, FailureReason, Outcome};
use crate::plan::Plan;
use crate::release::{Release, ReleaseSpec};
use crate::role::Role;
use crate::rollout::{Cause, Effect, Notice, NoticeKind, PhaseName};
use crate::split::SplitKey;
use crate::status::Status;
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

/// Statuses from here on count against the version.
const FAILURE_FROM: u16 = 500;
/// Statuses from here on are errors with a class.
const ERROR_FROM: u16 = 400;

/// So many notices are kept: a shared fault that comes and goes is told each time.
const NOTICES_MAX: usize = 64;

/// One recorded request, in the order of completion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When its response ended.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub latency: u64,
    /// Which version had it.
    pub role: Role,
    /// The status code; 0 if there was no response.
    pub status: u16,
    /// What it was split by, hashed; `None` if it was not sticky.
    pub key: Option<u64>,
    /// The canary's share when it started, zero before the rollout.
    pub weight: Weight,
}

impl Row {
    /// When it started.
    fn started(&self) -> Timestamp {
        Timestamp::from_micros(self.at.as_micros().saturating_sub(self.latency))
    }

    fn is_failure(&self) -> bool {
        self.status == 0 || self.status >= FAILURE_FROM
    }
}

/// What the gates have decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The row that decided, counted from 1.
    pub row: u64,
    /// When it was completed.
    pub at: Timestamp,
    /// Which gate, and the numbers.
    pub breach: Breach,
    /// Rows of the canary up to then.
    pub canary_requests: u64,
    /// How many of them were failures.
    pub canary_failures: u64,
}

/// Evidence by what it comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvidenceParts {
    /// Of the bet on failures of distinct users.
    pub errors: f64,
    /// Of all kinds of errors, weighted by their parts of the promise.
    pub classes: f64,
    /// Of the bet on all failures.
    pub hard: f64,
    /// Of all rungs, weighted by their parts of the promise.
    pub latency: f64,
}

/// Whence the weight comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Weights {
    /// The rows say it.
    Told,
    /// The release walks its plan.
    Walked,
}

/// A release that is fed row by row.
#[derive(Clone, Debug)]
pub struct Feed {
    release: Release,
    weights: Weights,
    start: Timestamp,
    has_begun: bool,
    manner: Manner,
    weight: Weight,
    /// When the first request under the weight in force started.
    step_start: Timestamp,
    tally: Tally,
    /// What stable has taken since the gates took it last: there is no first byte in
    /// recorded requests, so both metrics are the same.
    fresh: Baseline,
    rows: u64,
    canary: (u64, u64),
    notices: Vec<Notice>,
    decision: Option<Decision>,
}

impl Feed {
    /// A release whose rollout begins at `start`, with the weights that the rows say. What
    /// ends before is what is known of stable; what starts before and ends later is left out.
    #[must_use]
    pub fn new(spec: ReleaseSpec, start: Timestamp) -> Self {
        let spec = ReleaseSpec {
            weight: Weight::ZERO,
            plan: Plan::default(),
            has_preconditions: false,
            ..spec
        };
        Self::with_weights(Weights::Told, spec, start)
    }

    /// A release that walks its plan from `start` on: rows are to be split by
    /// [`Feed::weight`].
    #[must_use]
    pub fn walking(spec: ReleaseSpec, start: Timestamp) -> Self {
        Self::with_weights(Weights::Walked, spec, start)
    }

    fn with_weights(weights: Weights, spec: ReleaseSpec, start: Timestamp) -> Self {
        let tally = Tally::default();
        Self {
            release: Release::new(spec, &tally, start),
            weights,
            start,
            has_begun: false,
            manner: Manner::Guarded,
            weight: Weight::ZERO,
            step_start: start,
            tally,
            fresh: Baseline::default(),
            rows: 0,
            canary: (0, 0),
            notices: Vec::new(),
            decision: None,
        }
    }

    /// The rollout begins then; for callers that did not know it before. What has been fed was
    /// before.
    pub const fn begin_at(&mut self, start: Timestamp) {
        if !self.has_begun {
            self.start = start;
        }
    }

    /// Decides as the reference engine does, which does not wait for stable to be heard.
    #[must_use]
    pub fn without_guard(mut self) -> Self {
        self.manner = Manner::Reference;
        self.release.set_manner(self.manner);
        self
    }

    /// The next request. What was decided, from the row on that did.
    pub fn row(&mut self, row: &Row) -> Option<&Decision> {
        self.rows += 1;
        if self.decision.is_some() {
            return self.decision.as_ref();
        }
        if !self.has_begun && (row.at < self.start) && row.role == Role::Stable {
            self.look_at_stable(row);
            return None;
        }
        let is_told = self.weights == Weights::Told;
        if row.started() < self.start || (is_told && row.weight.is_zero()) {
            return None;
        }
        self.begin(row);
        if self.release.deadline() <= row.at {
            let (fresh, mut is_taken) = (&self.fresh, false);
            let take = &mut |_, baseline: &mut Baseline| {
                baseline.merge(fresh);
                is_taken = true;
            };
            self.release.tick(&self.tally, take, row.at);
            if is_taken {
                self.fresh = Baseline::default();
            }
        }
        self.count(row);
        let mut effects = Vec::new();
        if let Some(outcome) = outcome_of(row) {
            effects = self.release.observe(&outcome, &self.tally, row.at);
        }
        if self.release.deadline() <= row.at {
            effects.extend(self.release.close(&self.tally, row.at));
        }
        self.decide(&effects, row)
    }

    /// The weight that the next row is to be split by, if the release walks.
    #[must_use]
    pub const fn weight(&self) -> Weight {
        self.release.weight()
    }

    /// Whether nothing will happen any more: it is complete, paused or rolled back.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(
            self.release.phase().name(),
            PhaseName::Complete | PhaseName::Paused | PhaseName::RolledBack
        )
    }

    /// What was decided, if anything was.
    #[must_use]
    pub const fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// Rows of the canary so far, and how many of them were failures.
    #[must_use]
    pub const fn canary(&self) -> (u64, u64) {
        self.canary
    }

    /// What else was said, without deciding anything: see [`NoticeKind`].
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The evidence by what it comes from.
    #[must_use]
    pub fn evidence(&self) -> EvidenceParts {
        self.release.evidence()
    }

    /// Where the release stands.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        self.release.status(now)
    }

    fn look_at_stable(&mut self, row: &Row) {
        if let Some(outcome) = outcome_of(row) {
            // Before the rollout nothing is decided.
            drop(self.release.observe(&outcome, &self.tally, row.at));
        }
        if !row.is_failure() {
            self.fresh.add(row.latency, 1);
        }
    }

    /// The weight that the request was split by is the one in force, unless the request has
    /// taken its time since the step before.
    fn begin(&mut self, row: &Row) {
        if !self.has_begun {
            self.has_begun = true;
            let fresh = std::mem::take(&mut self.fresh);
            self.release
                .take_baseline(&mut |_, baseline| baseline.merge(&fresh));
            if self.weights == Weights::Told {
                self.release.reweigh(row.weight, &self.tally, self.start);
            }
        } else if self.weights == Weights::Walked {
            if row.weight == self.weight {
                return;
            }
        } else if row.weight != self.weight
            && (self.manner == Manner::Reference || row.started() >= self.step_start)
        {
            self.release.reweigh(row.weight, &self.tally, row.at);
        } else {
            return;
        }
        self.weight = row.weight;
        self.step_start = row.started();
    }

    fn count(&mut self, row: &Row) {
        let counts = self.tally.of_mut(row.role);
        let limits = self.release.latency_limits();
        if row.role == Role::Canary {
            self.canary.0 += 1;
            self.canary.1 += u64::from(row.is_failure());
        }
        if row.is_failure() {
            counts.failures += 1;
            return;
        }
        counts.successes += 1;
        let is_after = |since: Timestamp| row.started() >= since;
        counts.after_suspicion += u64::from(limits.suspected_since().is_some_and(is_after));
        if row.weight != self.weight {
            return;
        }
        counts.timed += 1;
        for (counted, ladder) in counts.rungs.iter_mut().zip(limits.ladders()) {
            let highest = ladder.and_then(|ladder| ladder.highest_exceeded(row.role, row.latency));
            if let Some(rung) = highest {
                counted[rung] += 1;
            }
        }
        for (counted, limit) in counts.slower.iter_mut().zip(limits.slots()) {
            let exceeds = |limit: std::time::Duration| u128::from(row.latency) > limit.as_micros();
            *counted += u64::from(limit.is_some_and(|(_, limit)| exceeds(limit)));
        }
        if row.role == Role::Stable {
            self.fresh.add(row.latency, 1);
        }
    }

    fn decide(&mut self, effects: &[Effect], row: &Row) -> Option<&Decision> {
        let notices = effects.iter().filter_map(|effect| match effect {
            Effect::Announce(notice) => Some(notice),
            Effect::Reweigh { .. } => None,
        });
        let mut breach = None;
        for notice in notices {
            if let NoticeKind::RolledBack { by, .. } = &notice.kind
                && let Cause::Breach(by) = by
            {
                breach = Some(by);
            } else if self.notices.len() < NOTICES_MAX {
                self.notices.push(notice.clone());
            }
        }
        let breach = breach?;
        self.decision = Some(Decision {
            row: self.rows,
            at: row.at,
            breach: breach.clone(),
            canary_requests: self.canary.0,
            canary_failures: self.canary.1,
        });
        self.decision.as_ref()
    }
}

/// What of a row the gates are told one by one: failures, and other errors.
fn outcome_of(row: &Row) -> Option<Outcome> {
    let evidence = if row.is_failure() {
        Evidence::Failure(FailureReason::Status)
    } else if row.status >= ERROR_FROM {
        Evidence::Success
    } else {
        return None;
    };
    Some(Outcome {
        role: row.role,
        evidence,
        key: row.key.map(SplitKey::from_random),
        weight: row.weight,
        class: Some(ErrorClass::of_status(row.status)),
        request: None,
    })
}

#[cfg(test)]
mod restart;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::spec::{Promise, default_gates};

    #[test]
    fn a_request_from_before_a_step_does_not_take_the_step_back() {
        let start = Timestamp::from_micros(1_000_000);
        let spec = ReleaseSpec {
            weight: Weight::ZERO,
            gates: default_gates(),
            promise: Promise::default(),
            ..ReleaseSpec::default()
        };
        let mut feed = Feed::new(spec, start);
        let (before, after) = ("1%".parse().unwrap(), "5%".parse().unwrap());
        for (at, latency, weight, in_force) in [
            (1_100_000, 50_000, before, before),
            (2_000_000, 50_000, after, after),
            (2_100_000, 900_000, before, after),
            (2_200_000, 200_000, after, after),
            (9_000_000, 50_000, before, before),
        ] {
            let row = Row {
                at: Timestamp::from_micros(at),
                latency,
                role: Role::Stable,
                status: 200,
                key: None,
                weight,
            };
            assert!(feed.row(&row).is_none());
            assert_eq!(feed.status(row.at).weight, in_force, "{at}");
        }
        let counts = feed.tally.of(Role::Stable);
        assert_eq!((counts.successes, counts.timed), (5, 4));
    }
}
