//! What became of a request, counted, and judged where that must not wait.

use haldane_decide::outcome::{ErrorClass, Evidence, FailureReason, Outcome, RequestId};
use haldane_decide::release::Release;
use haldane_decide::role::Role;
use haldane_decide::split::SplitKey;
use haldane_decide::tally::Tally;

use super::choice::Bearing;
use super::limits::Times;
use super::shard::RoleShard;
use super::weight::Routed;
use super::{Live, Route};
use crate::clock::Micros;

/// A request as gates see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    /// Where it was sent.
    pub(crate) routed: Routed,
    /// What it was split by, if its client keeps that.
    pub(crate) key: Option<SplitKey>,
    /// What it is called, if it is the canary's.
    pub(crate) request: Option<RequestId>,
    /// What may be concluded from what becomes of it.
    pub(crate) bearing: Bearing,
}

/// On which worker something was seen, and when.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) worker: usize,
    pub(crate) at: Micros,
    pub(crate) live: &'a Live,
}

impl Route {
    /// The version has answered. `class` if what it says is an error nevertheless. True if
    /// it was slow, and is to be an example.
    pub(crate) fn succeeded(
        &self,
        subject: &Subject,
        times: &Times,
        class: Option<ErrorClass>,
        seen: Seen<'_>,
    ) -> bool {
        let shard = self.shard_of(subject, seen.worker);
        if !self.bears_on(subject) {
            if self.hears_of(subject) {
                shard.ruled_success();
            }
            return false;
        }
        shard.success();
        let is_timed = subject.routed.weight == self.setting().weight;
        let role = subject.routed.role;
        let is_example = self.trial.limits.count(shard, role, times, is_timed);
        // Only requests of the canary have names here.
        if class.is_some() || (is_example && subject.request.is_some()) {
            self.judge(subject, Evidence::Success, class, seen);
        }
        is_example
    }

    /// The version has failed the request. When this returns, a breach has made the weight
    /// zero.
    pub(crate) fn failed(
        &self,
        subject: &Subject,
        reason: FailureReason,
        class: ErrorClass,
        seen: Seen<'_>,
    ) {
        let shard = self.shard_of(subject, seen.worker);
        shard.failed_by(reason);
        if !self.hears_of(subject) {
            return;
        }
        let is_ruled = subject.bearing == Bearing::Ruled;
        if is_ruled {
            shard.ruled_failure();
        } else {
            shard.failure();
        }
        if !is_ruled || subject.routed.role == Role::Canary {
            let class = class.with_reason(Some(reason));
            self.judge(subject, Evidence::Failure(reason), Some(class), seen);
        }
    }

    /// The version has reported a result about itself.
    pub(crate) fn signalled(&self, subject: &Subject, name: &[u8], is_good: bool, worker: usize) {
        if self.bears_on(subject) {
            let role = subject.routed.role;
            self.trial.signals.count(worker, role, name, is_good);
        }
    }

    /// Whether any gate is about what versions report about themselves.
    pub(crate) fn has_signals(&self) -> bool {
        !self.trial.signals.is_empty()
    }

    /// After how long a request without an answer has failed, if that is known and gates
    /// are to hear of it.
    pub(crate) fn stalled_after(&self) -> Option<Micros> {
        let limit = self.trial.limits.stalled_after();
        limit.filter(|_| self.is_judged())
    }

    /// Whether gates look at what becomes of requests.
    pub(crate) fn is_judged(&self) -> bool {
        self.config.canary.is_some() && !self.was_rolled_back(self.setting().generation)
    }

    /// Whether what becomes of a request is evidence about the versions.
    fn bears_on(&self, subject: &Subject) -> bool {
        subject.bearing == Bearing::Drawn && self.hears_of(subject)
    }

    /// Whether gates hear what becomes of a request. What an earlier generation left
    /// behind says nothing about the current one, nor what was sent to a version that has been
    /// replaced since, or judged by other gates.
    pub(crate) fn hears_of(&self, subject: &Subject) -> bool {
        subject.bearing != Bearing::None
            && !self.trial.is_over()
            && self.setting().generation == subject.routed.generation
    }

    fn judge(
        &self,
        subject: &Subject,
        evidence: Evidence,
        class: Option<ErrorClass>,
        seen: Seen<'_>,
    ) {
        if !self.is_judged() {
            return;
        }
        let outcome = Outcome {
            role: subject.routed.role,
            evidence,
            key: subject.key,
            weight: subject.routed.weight,
            class,
            request: subject.request,
        };
        let tell = |release: &mut Release, tally: &Tally, now| match subject.bearing {
            Bearing::Drawn => release.observe(&outcome, tally, now),
            Bearing::None => Vec::new(),
            Bearing::Ruled => release.observe_ruled(&outcome, tally, now),
        };
        self.observe(seen.at, seen.live, tell);
    }

    fn shard_of(&self, subject: &Subject, worker: usize) -> &RoleShard {
        self.shard(worker, subject.routed.role)
    }
}
