//! Sends a request to its version, once more where nothing can have been processed.

use std::rc::Rc;

use haldane_decide::role::Role;

use super::error::{ClientError, ProxyError, UpstreamError};
use super::exchange::Exchange;
use super::forward::Introduction;
use super::http1_head;
use super::http2_head::{self, Destination};
use super::inbound::Inbound;
use super::pump::{Pump, Tail};
use super::relay::{HeadFailure, Relay, Upload};
use super::serve::Session;
use super::switch::Switch;
use crate::h1::body::Framing;
use crate::h1::head::Head;
use crate::live::health::AddressFailure;
use crate::peer::Peer;
use crate::upstream::{Connection, Link, Opened, Upstream};
use crate::worker::LocalRoute;

/// More interim responses than this are no answer to one request.
const INTERIM_MAX: usize = 32;

/// A request is sent once more if nothing of it can have been processed.
const ATTEMPTS: usize = 2;

/// A request and where it goes.
pub(crate) struct Outbound<'a> {
    pub(crate) inbound: &'a Inbound<'a>,
    pub(crate) local: &'a LocalRoute,
    pub(crate) role: Role,
}

/// The head of the final response has come.
pub(crate) struct Answer {
    pub(crate) connection: Connection,
    /// What is left of the request body.
    pub(crate) upload: Upload,
    pub(crate) framing: Framing,
    /// The upstream has switched protocols: what follows is no body.
    pub(crate) switched: bool,
}

/// Why an attempt gave no answer.
enum Failure {
    Final(ProxyError),
    /// The connection was closed before anything of this request can have been
    /// processed, or a repetition does no harm.
    Stale,
}

impl Outbound<'_> {
    /// Sends the request and waits for the head of the final response, which is in
    /// `response` then.
    pub(crate) async fn send(
        &self,
        session: &mut Session,
        response: &mut Head,
        exchange: &Exchange,
    ) -> Result<Answer, ProxyError> {
        // A route without a canary splits everything to stable.
        let upstream = self
            .local
            .upstream(self.role)
            .ok_or(UpstreamError::Connect)?;
        let now = session.worker.deadlines.now();
        let address = upstream.choose(now).ok_or(UpstreamError::Unhealthy)?;
        let pooled = upstream.check_out(&address, now);
        // A request that must not be repeated is worth a system call to see whether
        // the upstream has just closed the connection.
        let mut pooled = pooled.filter(|opened| self.inbound.is_idempotent() || opened.is_quiet());
        let timeout = self.local.route.config.timeouts.connect;
        for _ in 0..ATTEMPTS {
            let opened = match pooled.take() {
                Some(opened) => opened,
                None => upstream
                    .reach(Rc::clone(&address), timeout, &session.watch)
                    .await
                    .map_err(UpstreamError::from)?,
            };
            let attempt = self.attempt(session, upstream, opened, response, exchange);
            match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Stale) => {}
            }
        }
        Err(UpstreamError::Reset.into())
    }

    async fn attempt(
        &self,
        session: &mut Session,
        upstream: &Rc<Upstream>,
        opened: Opened,
        response: &mut Head,
        exchange: &Exchange,
    ) -> Result<Answer, Failure> {
        if let Link::Shared(lease) = &opened.link
            && self.inbound.switch.is_some()
            && !lease.connection.takes_tunnels()
        {
            return Err(Failure::Final(ProxyError::NoTunnel));
        }
        let mut connection = self.engage(session, upstream, opened)?;
        let framing = self.inbound.framing;
        let mut upload = Upload::new(
            Pump::new(&session.client, framing, Tail::of(framing)),
            self.inbound.expects_continue,
        );
        let (limits, timeouts) = (
            session.worker.head_limits(),
            self.local.route.config.timeouts,
        );
        for interim in 0..INTERIM_MAX {
            let mut relay = Relay {
                client: &mut session.client,
                upstream: &mut connection.peer,
                watch: &session.watch,
                upload: &mut upload,
                idle_body: self.idle_body(),
            };
            let heading = relay.head(response, limits, timeouts.response, exchange);
            if let Err(failure) = heading.await {
                // An interim response is the first byte of an answer too.
                let untouched = interim == 0 && upload.pump.moved == 0;
                if let Some(doing) = doing_of_address(failure, &connection) {
                    upstream.tell(&connection, Err(doing), session.watch.now());
                }
                session.notes.bytes(upload.pump.moved, 0);
                let failure = self.failure(failure, &connection, untouched);
                connection.give_up(session.client.reason());
                return Err(failure);
            }
            let switched = self.is_switched(response).map_err(Failure::Final)?;
            if switched || !matches!(response.status, 100 | 102..=199) {
                upstream.tell(&connection, Ok(()), session.watch.now());
                return Ok(Answer {
                    framing: self.framing(response, switched).map_err(Failure::Final)?,
                    connection,
                    upload,
                    switched,
                });
            }
            exchange.end_wait();
            upload.awaits_continue &= response.status != 100;
            self.pass_interim(session, response)
                .await
                .map_err(Failure::Final)?;
        }
        Err(Failure::Final(UpstreamError::Response.into()))
    }

    /// Sends the head of the request.
    fn engage(
        &self,
        session: &Session,
        upstream: &Upstream,
        opened: Opened,
    ) -> Result<Connection, Failure> {
        let sticky = &self.local.route.config.sticky;
        // With each request: a reload may have changed it.
        let settings = session.worker.settings();
        let introduction = Introduction {
            peer: &session.origin.peer_text,
            trusted: settings.trusted_proxies.contains(session.origin.peer),
            version: &upstream.version,
            role: self.role,
            scheme: session.origin.scheme,
            force_header: sticky.force.as_ref().map(|force| &*force.header),
        };
        let switch = self.inbound.switch.as_ref();
        let address = opened.address();
        opened.engage(|link| match link {
            Link::Own(mut wire) => {
                http1_head::write_request(wire.output(), self.inbound, &introduction, switch);
                Ok((Peer::H1(wire), None))
            }
            Link::Shared(lease) => {
                let destination = Destination {
                    tls: address.is_encrypted(),
                    authority: address.authority(),
                };
                let request =
                    http2_head::request(self.inbound, &introduction, switch, &destination)
                        .map_err(|error| Failure::Final(error.into()))?;
                let finished = self.inbound.framing == Framing::Empty && switch.is_none();
                // Nothing has been sent on a connection that takes no more streams.
                let stream = lease
                    .connection
                    .open(request, finished)
                    .map_err(|_| Failure::Stale)?;
                Ok((Peer::H2(stream), Some(lease)))
            }
        })
    }

    fn failure(&self, failure: HeadFailure, connection: &Connection, untouched: bool) -> Failure {
        if let Some(lease) = &connection.shared
            && failure == HeadFailure::Timeout
        {
            // It may be the connection that is dead, and all others on it with it.
            lease.connection.retire();
        }
        let replayable = connection.reused && untouched && self.inbound.is_idempotent();
        // Once a connection has ended, requests that it had begun with look the same.
        let is_open = connection
            .shared
            .as_ref()
            .is_some_and(|lease| !lease.connection.is_gone());
        match failure {
            HeadFailure::GoneAway | HeadFailure::NoAnswer if replayable => Failure::Stale,
            HeadFailure::GoneAway if untouched && is_open => Failure::Stale,
            HeadFailure::Refused if untouched => Failure::Stale,
            failure => Failure::Final(failure.into()),
        }
    }

    /// Whether the upstream has switched protocols, which it may if it was asked to.
    fn is_switched(&self, response: &Head) -> Result<bool, ProxyError> {
        let broken = || UpstreamError::Response.into();
        match &self.inbound.switch {
            Some(switch) => switch.is_answered_by(response).map_err(|()| broken()),
            None if response.status == 101 => Err(broken()),
            None => Ok(false),
        }
    }

    fn framing(&self, response: &Head, switched: bool) -> Result<Framing, ProxyError> {
        if switched {
            return Ok(Framing::UntilClose);
        }
        // What is not a status of HTTP could be read in two ways.
        if !(200..=599).contains(&response.status) {
            return Err(UpstreamError::Response.into());
        }
        Framing::of_response(response, self.inbound.method())
            .map_err(|_| UpstreamError::Response.into())
    }

    /// Passes an interim response on at once, to a client that understands it.
    async fn pass_interim(&self, session: &mut Session, response: &Head) -> Result<(), ProxyError> {
        let wanted = self.inbound.reads_interim()
            && (response.status != 100 || self.inbound.expects_continue);
        if !wanted {
            return Ok(());
        }
        match &mut session.client {
            Peer::H1(wire) => http1_head::write_interim(wire.output(), response),
            Peer::H2(stream) => stream
                .inform(http2_head::interim(response))
                .map_err(|_| ProxyError::ClientLeft)?,
        }
        session
            .flush(self.idle_body())
            .await
            .map_err(|_| ProxyError::ClientLeft)
    }

    /// How long nothing may move in a body before somebody has failed. Calls may be
    /// silent for long.
    pub(crate) fn idle_body(&self) -> std::time::Duration {
        let timeouts = &self.local.route.config.timeouts;
        if self.inbound.is_call {
            timeouts.idle_session
        } else {
            timeouts.idle_body
        }
    }

    /// What the client has asked to switch to.
    pub(crate) fn switch(&self) -> Option<&Switch<'_>> {
        self.inbound.switch.as_ref()
    }

    /// The name of the version, if clients of this route are told.
    pub(crate) fn told_version(&self) -> Option<&str> {
        let config = &self.local.route.config;
        config
            .expose_version
            .then(|| config.version(self.role).map(|version| &*version.name))
            .flatten()
    }
}

/// What a failure says about the address, if it is the address's own doing. A slow
/// answer is the version's; so is one stream that ends while its connection lives. And
/// any upstream may close a connection that was idle.
fn doing_of_address(failure: HeadFailure, connection: &Connection) -> Option<AddressFailure> {
    let is_fresh = !connection.reused
        && connection
            .shared
            .as_ref()
            .is_none_or(|lease| lease.connection.is_gone());
    match failure {
        HeadFailure::Malformed => Some(AddressFailure::Broken),
        HeadFailure::NoAnswer | HeadFailure::Reset if is_fresh => Some(AddressFailure::Broken),
        HeadFailure::ClientBody
        | HeadFailure::ClientLeft
        | HeadFailure::ClientTooSlow
        | HeadFailure::GoneAway
        | HeadFailure::NoAnswer
        | HeadFailure::Refused
        | HeadFailure::Reset
        | HeadFailure::Timeout => None,
    }
}

impl From<HeadFailure> for ProxyError {
    fn from(failure: HeadFailure) -> Self {
        match failure {
            HeadFailure::ClientBody => Self::Client(ClientError::Body),
            HeadFailure::ClientLeft => Self::ClientLeft,
            HeadFailure::ClientTooSlow => Self::Client(ClientError::TooSlow),
            HeadFailure::Malformed => Self::Upstream(UpstreamError::Response),
            HeadFailure::GoneAway
            | HeadFailure::NoAnswer
            | HeadFailure::Refused
            | HeadFailure::Reset => Self::Upstream(UpstreamError::Reset),
            HeadFailure::Timeout => Self::Upstream(UpstreamError::Timeout),
        }
    }
}
