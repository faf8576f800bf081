//! Reports exactly one outcome per exchange.

use std::rc::Rc;

use haldane_decide::outcome::{Evidence, FailureReason, Outcome};
use haldane_decide::role::Role;

use super::notes::Notes;
use crate::clock::Micros;
use crate::live::shard::{FAILURE_STATUS, RoleShard};
use crate::live::weight::Routed;
use crate::worker::{LocalRoute, Worker};

/// One request and its response, from the split to the last byte.
///
/// Reports one [`Outcome`]: at the head if the status is already a failure, else
/// when the response is complete or broken, else when it is dropped, which says
/// nothing about the version.
pub(crate) struct Exchange {
    pub(super) worker: Rc<Worker>,
    pub(super) local: Rc<LocalRoute>,
    pub(super) routed: Routed,
    notes: Notes,
    started: Micros,
    ttfb: Micros,
    status: u16,
    /// A gRPC call has begun to answer and has no status yet.
    awaits_grpc: bool,
    reported: bool,
}

/// The status of a call that its client gave up.
const GRPC_CANCELLED: u32 = 1;

/// What a response is, as far as its outcome is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// The status code tells.
    Http,
    /// A gRPC call: the status at its end tells.
    Grpc,
    /// The protocol was switched: what counts is that it was, and how it ended.
    Session,
}

/// What has become of the version since a request was routed to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// Its generation is over, for another canary.
    Past,
    /// It has lost its traffic.
    Unwanted,
    Wanted,
}

impl Standing {
    /// When a session or a call has to end, if it has to: `soon`, or what was said
    /// `before`.
    pub(crate) fn leave_by(self, before: Option<Micros>, soon: Micros) -> Option<Micros> {
        match self {
            Self::Wanted => None,
            Self::Unwanted => before.or(Some(soon)),
            // Another canary has taken its place, and it was not rolled back.
            Self::Past => before,
        }
    }
}

impl Exchange {
    /// Opens the exchange of a request that was counted as started when it was routed.
    pub(crate) fn begin(
        worker: &Rc<Worker>,
        local: &Rc<LocalRoute>,
        routed: Routed,
        started: Micros,
        notes: &Notes,
    ) -> Self {
        notes.note(|facts| {
            facts.started = started;
            facts.sent = Some((Rc::clone(local), routed));
        });
        Self {
            worker: Rc::clone(worker),
            local: Rc::clone(local),
            routed,
            notes: notes.clone(),
            started,
            ttfb: 0,
            status: 0,
            awaits_grpc: false,
            reported: false,
        }
    }

    /// The head of the final response has come. If its status is a failure, the
    /// gates have judged it when this returns.
    pub(crate) fn head(&mut self, status: u16, call: Call) {
        let now = self.worker.clock.micros();
        self.worker.deadlines.advance(now);
        self.ttfb = now.saturating_sub(self.started);
        self.status = status;
        self.notes.note(|facts| {
            facts.ttfb = Some(self.ttfb);
            facts.status = Some(status);
        });
        match call {
            Call::Http | Call::Session => self.shard().head(status, self.ttfb),
            Call::Grpc => {
                self.awaits_grpc = true;
                self.shard().grpc_head(self.ttfb);
            }
        }
        if status >= FAILURE_STATUS {
            self.report(FailureReason::Status, now);
        }
    }

    /// The version has sent its whole response. `at_once` if it came with its head.
    pub(crate) fn complete(&mut self, at_once: bool) {
        let now = if at_once {
            self.started + self.ttfb
        } else {
            self.worker.clock.micros()
        };
        let duration = now.saturating_sub(self.started);
        self.note_end(now);
        self.shard().complete(self.status, duration);
        if !self.reported {
            self.succeed(duration, now);
        }
    }

    /// A gRPC call has ended with this status, or without any.
    pub(crate) fn complete_grpc(&mut self, status: Option<u32>) {
        let now = self.worker.clock.micros();
        let duration = now.saturating_sub(self.started);
        self.awaits_grpc = false;
        self.note_end(now);
        self.notes.note(|facts| facts.grpc_status = status);
        self.shard().grpc_end(status);
        self.shard().complete(self.status, duration);
        let failures = self.local.route.config.grpc_failures;
        if failures.contains(status.unwrap_or(u32::MAX)) {
            self.report(FailureReason::Grpc, now);
        } else if !self.reported {
            self.succeed(duration, now);
        }
    }

    /// A session has ended well, or has stood long enough to be called a success. How
    /// long it took says nothing about the version.
    pub(crate) fn session_succeeded(&mut self) {
        if !self.reported {
            self.succeed(self.ttfb, self.worker.clock.micros());
        }
    }

    /// The version failed before its response was complete.
    pub(crate) fn fail(&mut self, reason: FailureReason) {
        self.report(reason, self.worker.clock.micros());
    }

    /// haldane has ended a call with this status, which says nothing about the version.
    pub(crate) fn evict(&mut self, status: u32) {
        self.awaits_grpc = false;
        self.notes.note(|facts| facts.grpc_status = Some(status));
        self.shard().grpc_end(Some(status));
    }

    /// haldane answers with this status in the place of the version.
    pub(crate) fn answered_for(&self, status: u16) {
        self.shard().answered_for(status);
    }

    /// Whether the version still has traffic.
    pub(crate) fn standing(&self) -> Standing {
        let route = &self.local.route;
        let setting = route.setting();
        if self.routed.role == Role::Stable {
            Standing::Wanted
        } else if setting.generation != self.routed.generation {
            // A rollback is not undone by the next attempt.
            if route.was_rolled_back(self.routed.generation) {
                Standing::Unwanted
            } else {
                Standing::Past
            }
        } else if setting.weight.is_zero() {
            Standing::Unwanted
        } else {
            Standing::Wanted
        }
    }

    /// Every byte of the answer has come.
    fn note_end(&self, now: Micros) {
        self.notes.note(|facts| {
            facts.complete = true;
            facts.ended = Some(now);
        });
    }

    fn succeed(&mut self, duration: Micros, now: Micros) {
        self.reported = true;
        if !self.is_current() {
            return;
        }
        let shard = self.shard();
        let mut slow = false;
        for slot in self.local.route.slower_slots(self.ttfb, duration) {
            shard.slower(slot);
            slow = true;
        }
        shard.success();
        if slow && self.routed.role == Role::Canary {
            self.judge(Evidence::Success, now);
        }
    }

    fn report(&mut self, reason: FailureReason, now: Micros) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        self.notes.note(|facts| facts.reason = Some(reason));
        self.shard().failed_by(reason);
        if self.is_current() {
            self.shard().failure();
            self.judge(Evidence::Failure(reason), now);
        }
    }

    fn judge(&self, evidence: Evidence, now: Micros) {
        let route = &self.local.route;
        if route.config.canary.is_some() {
            route.observe(
                &Outcome {
                    role: self.routed.role,
                    evidence,
                },
                now,
                &self.worker.live,
            );
        }
    }

    fn is_current(&self) -> bool {
        self.local.route.is_evidence(self.routed.generation)
    }

    fn shard(&self) -> &RoleShard {
        self.local.route.shard(self.worker.id, self.routed.role)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.awaits_grpc {
            let status = (!self.reported).then_some(GRPC_CANCELLED);
            self.notes.note(|facts| facts.grpc_status = status);
            self.shard().grpc_end(status);
        }
        self.shard().finish();
    }
}
