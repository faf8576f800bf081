//! Reports exactly one outcome per exchange.

use std::cell::Cell;
use std::rc::Rc;

use haldane_decide::outcome::{ErrorClass, FailureReason};
use haldane_decide::role::Role;
use haldane_decide::rollout::CanaryReach;
use haldane_decide::split::SplitKey;

use super::inbound::Inbound;
use super::notes::Notes;
use crate::clock::Micros;
use crate::h1::field::{Kind, members};
use crate::h1::head::Head;
use crate::live::choice::Bearing;
use crate::live::evidence::{Seen, Subject};
use crate::live::limits::Times;
use crate::live::shard::{FAILURE_STATUS, Responses, RoleShard};
use crate::upstream::Address;
use crate::waiting::Ticket;
use crate::worker::{LocalRoute, Worker};

/// One request and its response, from the split to the last byte.
///
/// Reports one outcome: at the head if the status is already a failure, else when the
/// response is complete or broken, else when it is dropped, which says nothing about the
/// version. If no head comes for too long, the worker has reported that by itself.
pub(crate) struct Exchange<'a> {
    pub(super) worker: Rc<Worker>,
    pub(super) local: Rc<LocalRoute>,
    pub(super) inbound: &'a Inbound<'a>,
    pub(super) subject: Subject,
    notes: Notes,
    pub(super) started: Micros,
    ttfb: Micros,
    /// Of the version's answer; 0 before it has come.
    pub(super) status: u16,
    /// The same of a gRPC call that has ended.
    pub(super) grpc_status: Option<u32>,
    /// A gRPC call has begun to answer and has no status yet.
    awaits_grpc: bool,
    stage: Stage,
    /// Its place among those who wait for a head.
    waits: Cell<Option<Ticket>>,
    /// Where it was sent, or was to be.
    pub(super) address: Cell<Option<Rc<Address>>>,
    /// How its version has failed it.
    failed: Cell<Option<FailureReason>>,
    /// Stable has the request because the canary has failed it.
    stands_in: bool,
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Open,
    /// Its outcome was reported.
    Reported,
    /// It is not under way any more.
    Ended,
}

/// Statuses from here on are errors, whoever's doing they are.
const ERROR_STATUS: u16 = 400;

/// The field in which a version reports results: `order_completed=1, search_empty=0`.
const SIGNAL: &[u8] = b"x-haldane-signal";

/// More results than this in one response are not looked at.
const SIGNALS_MAX: usize = 8;

/// The status of a call that went well.
const GRPC_OK: u32 = 0;

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

/// Why a version is not waited for any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Recall {
    /// Its generation was rolled back.
    RolledBack,
    /// It has taken so long that it was counted as a failure.
    Stalled,
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

impl<'a> Exchange<'a> {
    /// Opens the exchange of a request that was counted as started when it was routed.
    pub(crate) fn begin(
        (worker, local): (&Rc<Worker>, &Rc<LocalRoute>),
        inbound: &'a Inbound<'a>,
        subject: Subject,
        started: Micros,
        notes: &Notes,
    ) -> Self {
        notes.note(|facts| {
            facts.started = started;
            facts.sent = Some((Rc::clone(local), subject.routed));
        });
        if subject.routed.role == Role::Canary {
            let key = subject.key.map(SplitKey::to_bits);
            local.slate.sent(subject.routed.generation, key);
        }
        Self::open((worker, local), inbound, subject, notes, started)
    }

    /// An exchange of which nothing is known yet.
    fn open(
        (worker, local): (&Rc<Worker>, &Rc<LocalRoute>),
        inbound: &'a Inbound<'a>,
        subject: Subject,
        notes: &Notes,
        started: Micros,
    ) -> Self {
        Self {
            worker: Rc::clone(worker),
            local: Rc::clone(local),
            inbound,
            subject,
            notes: notes.clone(),
            started,
            ttfb: 0,
            status: 0,
            grpc_status: None,
            awaits_grpc: false,
            stage: Stage::Open,
            waits: Cell::new(None),
            address: Cell::new(None),
            failed: Cell::new(None),
            stands_in: false,
        }
    }

    /// Stable gets the request in the place of the canary: the canary's exchange ends, and
    /// one of stable takes its place. It is no evidence about either, since the request was
    /// not drawn for stable.
    pub(crate) fn give_to_stable(&mut self) {
        let now = self.worker.clock.micros();
        self.worker.deadlines.advance(now);
        self.notes.note(|facts| {
            facts.shielded = true;
            (facts.ttfb, facts.status) = (None, None);
        });
        let subject = self.local.route.stand_in(self.worker.id, &self.subject);
        let places = (&self.worker, &self.local);
        let mut of_stable = Self::open(places, self.inbound, subject, &self.notes, now);
        of_stable.stands_in = true;
        self.end_as(true);
        *self = of_stable;
    }

    /// The role that the request went to.
    pub(crate) fn role(&self) -> Role {
        self.subject.routed.role
    }

    /// It is about to be sent there.
    pub(crate) fn sent_to(&self, address: Rc<Address>) {
        self.address.set(Some(address));
    }

    /// From now on it is the version's turn to say something.
    pub(crate) fn await_head(&self, now: Micros) {
        let route = &self.local.route;
        let is_judged = self.subject.bearing != Bearing::None && route.config.canary.is_some();
        let is_new = self.waits.get().is_none() && !self.is_stalled();
        if is_judged && is_new {
            let who = (Rc::clone(&self.local), self.subject);
            self.waits.set(Some(self.local.waiting.enter(who, now)));
        }
    }

    /// The version has said something, or nothing is expected any more.
    pub(crate) fn end_wait(&self) {
        if let Some(ticket) = self.waits.take()
            && self.local.waiting.leave(ticket)
        {
            let reason = Some(FailureReason::Stalled);
            self.failed.set(reason);
            self.notes.note(|facts| facts.reason = reason);
        }
    }

    /// Why the version is not waited for any more, if it need not be.
    pub(crate) fn recall(&self) -> Option<Recall> {
        let routed = self.subject.routed;
        let is_counted = |ticket| self.local.waiting.is_counted(ticket);
        if self.is_stalled() || self.waits.get().is_some_and(is_counted) {
            return Some(Recall::Stalled);
        }
        let is_rolled_back = self.local.route.was_rolled_back(routed.generation);
        (routed.role == Role::Canary && is_rolled_back).then_some(Recall::RolledBack)
    }

    /// The head of the final response has come. If its status is a failure, the
    /// gates have judged it when this returns.
    pub(crate) fn head(&mut self, head: &Head, call: Call) {
        self.end_wait();
        let status = head.status;
        let now = self.worker.clock.micros();
        self.worker.deadlines.advance(now);
        self.ttfb = now.saturating_sub(self.started);
        self.status = status;
        self.notes.note(|facts| {
            // What the client sees, which may have waited for the canary before.
            facts.ttfb = Some(now.saturating_sub(facts.started));
            facts.status = Some(status);
        });
        match call {
            Call::Http | Call::Session => {
                self.shard().head(status, (self.ttfb, self.responses()));
            }
            Call::Grpc => {
                self.awaits_grpc = true;
                self.shard().grpc_head(self.ttfb, self.responses());
            }
        }
        if self.local.route.has_signals() {
            self.count_signals(head);
        }
        if status >= FAILURE_STATUS {
            self.report(FailureReason::Status, now);
        }
    }

    fn count_signals(&self, head: &Head) {
        let fields = head.fields().filter(|field| {
            field.kind == Kind::Reserved && field.name.eq_ignore_ascii_case(SIGNAL)
        });
        for result in fields
            .flat_map(|field| members(field.value))
            .take(SIGNALS_MAX)
        {
            let Some((name, value @ (b"0" | b"1"))) = halves(result) else {
                continue;
            };
            let (route, worker) = (&self.local.route, self.worker.id);
            route.signalled(&self.subject, name, value == b"1", worker);
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
        self.shard().complete(duration, self.responses());
        let is_error = self.status >= ERROR_STATUS;
        let class = is_error.then(|| ErrorClass::of_status(self.status));
        self.succeed(duration, class, now);
    }

    /// A gRPC call has ended with this status, or without any.
    pub(crate) fn complete_grpc(&mut self, status: Option<u32>) {
        let now = self.worker.clock.micros();
        let duration = now.saturating_sub(self.started);
        self.awaits_grpc = false;
        self.grpc_status = status;
        self.note_end(now);
        self.notes.note(|facts| facts.grpc_status = status);
        self.shard().grpc_end(status);
        self.shard().complete(duration, self.responses());
        let failures = self.local.route.config.grpc_failures;
        let class = ErrorClass::of_status(self.status).with_grpc(status);
        if failures.contains(status.unwrap_or(u32::MAX)) {
            self.client_sees_error();
            self.report_as(class, FailureReason::Grpc, now);
        } else {
            let is_error = status != Some(GRPC_OK);
            self.succeed(duration, is_error.then_some(class), now);
        }
    }

    /// A session has ended well, or has stood long enough to be called a success. How
    /// long it took says nothing about the version.
    pub(crate) fn session_succeeded(&mut self) {
        self.succeed(self.ttfb, None, self.worker.clock.micros());
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
        if self.subject.routed.role == Role::Stable {
            Standing::Wanted
        } else if setting.generation != self.subject.routed.generation {
            // A rollback is not undone by the next attempt.
            if route.was_rolled_back(self.subject.routed.generation) {
                Standing::Unwanted
            } else {
                Standing::Past
            }
        } else if setting.weight.is_zero() && setting.reach == CanaryReach::Closed {
            Standing::Unwanted
        } else {
            Standing::Wanted
        }
    }

    /// Nothing more comes of it: it is not under way any more.
    pub(crate) fn end(&mut self) {
        self.end_as(false);
    }

    fn end_as(&mut self, shielded: bool) {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        if stage == Stage::Ended {
            return;
        }
        self.end_wait();
        if self.awaits_grpc {
            let status = (stage == Stage::Open).then_some(GRPC_CANCELLED);
            self.notes.note(|facts| facts.grpc_status = status);
            self.shard().grpc_end(status);
        }
        self.shard().finish();
        if let Some(reason) = self.failed.get() {
            self.tap(reason, shielded);
        }
    }

    /// Whether no more is under way at the version, on this worker, than its part of what is
    /// allowed: a count of all workers would be written by each for every request.
    pub(crate) fn has_room(&self) -> bool {
        let limit = self.worker.limits().upstream_requests;
        let part = limit.div_ceil(self.worker.live.workers);
        let shard = self.shard();
        let under_way = shard.started().saturating_sub(shard.finished());
        usize::try_from(under_way).is_ok_and(|under_way| under_way <= part)
    }

    /// Every byte of an answer has come that no client gets.
    pub(crate) fn set_aside(&self) {
        let duration = self.worker.clock.micros().saturating_sub(self.started);
        self.shard().complete(duration, self.responses());
    }

    /// Every byte of the answer has come.
    fn note_end(&self, now: Micros) {
        self.notes.note(|facts| {
            facts.complete = true;
            facts.ended = Some(now);
        });
    }

    fn succeed(&mut self, duration: Micros, class: Option<ErrorClass>, now: Micros) {
        if self.is_reported() {
            return;
        }
        let times = Times {
            started: self.started,
            ttfb: self.ttfb,
            duration,
        };
        let route = &self.local.route;
        if route.succeeded(&self.subject, &times, class, self.seen(now)) {
            self.exemplify(&times, now);
        }
    }

    fn report(&mut self, reason: FailureReason, now: Micros) {
        self.report_as(ErrorClass::of_status(self.status), reason, now);
    }

    fn report_as(&mut self, class: ErrorClass, reason: FailureReason, now: Micros) {
        if self.is_reported() {
            return;
        }
        if !self.stands_in {
            self.notes.note(|facts| facts.reason = Some(reason));
            self.failed.set(Some(reason));
        }
        let route = &self.local.route;
        route.failed(&self.subject, reason, class, self.seen(now));
    }

    /// The failure reaches the client, who is to be in the ledger. One that the client is
    /// spared is a failure of the version all the same, and does not come by here.
    pub(crate) fn client_sees_error(&self) {
        if self.subject.routed.role == Role::Canary {
            let key = self.subject.key.map(SplitKey::to_bits);
            let generation = self.subject.routed.generation;
            self.local.slate.saw_error(generation, key);
        }
    }

    /// Whether the outcome was reported before. From now on it is.
    fn is_reported(&mut self) -> bool {
        self.end_wait();
        let is_open = self.stage == Stage::Open;
        if is_open {
            self.stage = Stage::Reported;
        }
        !is_open || self.is_stalled()
    }

    /// It had waited for too long.
    fn is_stalled(&self) -> bool {
        self.failed.get() == Some(FailureReason::Stalled)
    }

    fn seen(&self, at: Micros) -> Seen<'_> {
        Seen {
            worker: self.worker.id,
            at,
            live: &self.worker.live,
        }
    }

    /// Among which responses its times count. What is compared with the canary is what
    /// stable takes for the requests that were drawn for it.
    fn responses(&self) -> Responses {
        if self.stands_in || self.status >= FAILURE_STATUS {
            Responses::All
        } else {
            Responses::Succeeded
        }
    }

    fn shard(&self) -> &RoleShard {
        self.local
            .route
            .shard(self.worker.id, self.subject.routed.role)
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// What stands before and after the first `=`.
fn halves(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b'=')?;
    Some((&text[..at], &text[at + 1..]))
}
