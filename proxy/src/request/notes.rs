//! What is noted of a request while it is served, and the line that the access log gets
//! of it when it has ended.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use haldane_decide::outcome::FailureReason;

use super::serve::{Origin, Session};
use super::split_key::client_address;
use crate::clock::Micros;
use crate::h1::field::Kind;
use crate::h1::head::{Head, Version};
use crate::live::weight::Routed;
use crate::telemetry::access::{Destination, Entry, Request};
use crate::worker::{LocalRoute, Worker};

/// What is known so far. Whoever knows more writes it here.
#[derive(Default)]
pub(crate) struct Facts {
    /// When the request began.
    pub(crate) started: Micros,
    /// When it ended, if that was before the line is written.
    pub(crate) ended: Option<Micros>,
    pub(crate) ttfb: Option<Micros>,
    /// Where it was sent.
    pub(crate) sent: Option<(Rc<LocalRoute>, Routed)>,
    /// The salted hash of what it was split by.
    pub(crate) key: Option<u64>,
    /// The rule that decided, by name.
    pub(crate) rule: Option<Arc<str>>,
    /// It has named its version by a header, and got it.
    pub(crate) forced: bool,
    pub(crate) status: Option<u16>,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) reason: Option<FailureReason>,
    /// Stable has the request in the place of where it was sent.
    pub(crate) shielded: bool,
    /// The code of haldane's own answer.
    pub(crate) code: Option<&'static str>,
    pub(crate) complete: bool,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

/// The facts of a request, or nothing where they are of no use.
#[derive(Clone, Default)]
pub(crate) struct Notes(Option<Rc<RefCell<Facts>>>);

impl Notes {
    /// Notes something, if anything is noted.
    pub(crate) fn note(&self, write: impl FnOnce(&mut Facts)) {
        if let Some(facts) = &self.0 {
            write(&mut facts.borrow_mut());
        }
    }

    /// How much of both bodies has been passed on.
    pub(crate) fn bytes(&self, request: u64, response: u64) {
        self.note(|facts| {
            facts.request_bytes = request;
            facts.response_bytes = response;
        });
    }
}

/// A request that may have to be logged. The line is written when this is dropped.
pub(crate) struct Line<'a> {
    worker: Rc<Worker>,
    origin: Rc<Origin>,
    head: Option<&'a Head>,
    notes: Notes,
    /// It is among those of the share that is logged.
    drawn: bool,
}

impl<'a> Line<'a> {
    /// Begins with a request, whose head is there unless it could not be read. `None` if
    /// it will not be logged, whatever becomes of it.
    pub(crate) fn open(session: &mut Session, head: Option<&'a Head>) -> Option<Self> {
        session.notes = Notes::default();
        let (drawn, may_want) = session
            .worker
            .access(|access| (access.draws(), access.may_want()))?;
        if !drawn && !may_want {
            return None;
        }
        let facts = Facts {
            started: session.worker.clock.micros(),
            ..Facts::default()
        };
        let notes = Notes(Some(Rc::new(RefCell::new(facts))));
        session.notes = notes.clone();
        Some(Self {
            worker: Rc::clone(&session.worker),
            origin: Rc::clone(&session.origin),
            head,
            notes,
            drawn,
        })
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Some(facts) = &self.notes.0 else { return };
        // The route goes with it: a connection that is kept must not keep an old one.
        let facts = facts.take();
        let ended = facts.ended.unwrap_or_else(|| self.worker.clock.micros());
        let peer = self.origin.peer;
        let entry = Entry {
            ended: self.worker.clock.at(ended),
            duration: ended.saturating_sub(facts.started),
            ttfb: facts.ttfb,
            client: self.head.map_or(peer, |head| {
                client_address(head, peer, &self.worker.settings().trusted_proxies)
            }),
            request: self.head.map(request),
            routed: facts.sent.as_ref().map(|(local, routed)| {
                let config = &local.route.config;
                let version = config.version(routed.role);
                let force = config.sticky.force.as_ref();
                Destination {
                    route: &config.name,
                    role: routed.role,
                    version: version.map_or("", |version| &version.name),
                    generation: routed.generation,
                    weight: routed.weight,
                    key: facts.key,
                    rule: facts.rule.as_deref(),
                    forced: force.filter(|_| facts.forced).map(|force| &*force.header),
                }
            }),
            status: facts.status,
            grpc_status: facts.grpc_status,
            reason: facts.reason.map(FailureReason::as_str),
            shielded: facts.sent.as_ref().and_then(|(local, _)| {
                let stable = &local.route.config.stable.name;
                facts.shielded.then_some(&**stable)
            }),
            code: facts.code,
            complete: facts.complete,
            request_bytes: facts.request_bytes,
            response_bytes: facts.response_bytes,
        };
        // A session may be older than the log that is in force.
        self.worker
            .access(|access| access.record(&entry, self.drawn));
    }
}

fn request(head: &Head) -> Request<'_> {
    Request {
        method: head.method(),
        target: head.target(),
        protocol: match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        },
        host: head.values(Kind::Host).next(),
        user_agent: head.value_of(b"user-agent"),
        referer: head.value_of(b"referer"),
        traceparent: head.value_of(b"traceparent"),
        id: head.value_of(b"x-request-id"),
    }
}
