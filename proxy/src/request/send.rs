//! Sends a request to its version, once more where nothing can have been processed.

use std::rc::Rc;

use haldane_decide::role::Role;

use super::error::{ClientError, ProxyError, UpstreamError};
use super::exchange::Exchange;
use super::forward::Introduction;
use super::http1_head;
use super::http2_head::{self, Destination};
use super::inbound::Inbound;
use super::marks::Marks;
use super::pump::{Pump, Tail};
use super::relay::{HeadFailure, Relay, Upload};
use super::serve::Session;
use super::switch::Switch;
use crate::h1::body::Framing;
use crate::h1::head::Head;
use crate::live::health::AddressFailure;
use crate::peer::Peer;
use crate::upstream::http2::{Multiplexed, StreamLease};
use crate::upstream::{Address, Connection, Link, Opened, Upstream};
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
    pub(crate) framing: Framing,
    /// The upstream has switched protocols: what follows is no body.
    pub(crate) switched: bool,
}

/// A connection with streams on which a head is waited for. Where nobody waits any more,
/// it gets no more requests: it may be dead.
struct Doubt(Option<Rc<Multiplexed>>);

/// What has become of a request that was sent.
pub(crate) type Sent = Result<Answer, Unanswered>;

/// Why there is no answer.
pub(crate) struct Unanswered {
    pub(crate) error: ProxyError,
    pub(crate) processed: Processed,
}

/// What a version can have done with a request that it did not answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Processed {
    /// It was not sent, or refused before anything was done.
    Nothing,
    /// It may have been processed, in part or as a whole.
    Perhaps,
}

/// Why an attempt gave no answer.
enum Failure {
    Final(Unanswered),
    /// The connection was closed before anything of this request can have been
    /// processed, or a repetition does no harm.
    Stale,
}

impl Outbound<'_> {
    /// The body of the request, of which nothing has been sent.
    pub(crate) fn upload(&self, client: &Peer) -> Upload {
        let framing = self.inbound.framing;
        let mut pump = Pump::new(client, framing, Tail::of(framing));
        pump.withhold(&self.local.route);
        Upload::new(
            pump,
            self.inbound.expects_continue,
            self.inbound.reads_interim(),
        )
    }

    /// Sends the request and waits for the head of the final response, which is in
    /// `response` then.
    pub(crate) async fn send(
        &self,
        session: &mut Session,
        response: &mut Head,
        upload: &mut Upload,
        exchange: &Exchange<'_>,
    ) -> Sent {
        // A route without a canary splits everything to stable.
        let upstream = self
            .local
            .upstream(self.role)
            .ok_or_else(|| unsent(UpstreamError::Connect))?;
        let now = session.worker.deadlines.now();
        let address = upstream.choose(now);
        let address = address.ok_or_else(|| unsent(UpstreamError::Unhealthy))?;
        // A client that upstreams may close connections for is not among the others.
        let apart = session.origin.conduct.is_rash(now);
        let pooled = upstream.check_out(&address, now, apart);
        // A request that must not be repeated is worth a system call to see whether
        // the upstream has just closed the connection.
        let mut pooled = pooled.filter(|opened| self.inbound.is_idempotent() || opened.is_quiet());
        let timeout = self.local.route.config.timeouts.connect;
        for _ in 0..ATTEMPTS {
            let opened = match pooled.take() {
                Some(opened) => opened,
                None => upstream
                    .reach(Rc::clone(&address), (timeout, apart), &session.watch)
                    .await
                    .map_err(|error| {
                        exchange.sent_to(Rc::clone(&address));
                        unsent(error)
                    })?,
            };
            let attempt = self.attempt(session, (upstream, opened), response, upload, exchange);
            match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(unanswered)) => return Err(unanswered),
                Err(Failure::Stale) => upload.rewind(),
            }
        }
        // Stale twice, which nothing but what may be repeated is.
        Err(unsent(UpstreamError::Reset))
    }

    async fn attempt(
        &self,
        session: &mut Session,
        (upstream, opened): (&Rc<Upstream>, Opened),
        response: &mut Head,
        upload: &mut Upload,
        exchange: &Exchange<'_>,
    ) -> Result<Answer, Failure> {
        if let Link::Shared(lease) = &opened.link
            && self.inbound.switch.is_some()
            && !lease.connection.takes_tunnels()
        {
            return Err(ProxyError::NoTunnel.into());
        }
        let address = opened.address();
        let mut connection = self.engage(session, upstream, (opened, &address))?;
        exchange.sent_to(address);
        if connection.shared.is_none() && !self.inbound.is_idempotent() {
            // No word of its upstream can say any more that nothing was processed.
            upload.pump.forget();
        }
        let (limits, timeouts) = (
            session.worker.head_limits(),
            self.local.route.config.timeouts,
        );
        for interim in 0..INTERIM_MAX {
            let mut relay = Relay {
                client: &mut session.client,
                upstream: &mut connection.peer,
                watch: &session.watch,
                upload,
                idle_body: self.idle_body(),
            };
            let heading = relay.head(response, limits, timeouts.response, exchange);
            let doubt = Doubt::about(connection.shared.as_ref());
            let headed = heading.await;
            doubt.dispel();
            if let Err(failure) = headed {
                if let Some(doing) = doing_of_address(failure, &connection) {
                    upstream.tell(&connection, Err(doing), session.watch.now());
                }
                session.notes.bytes(upload.pump.moved, 0);
                let failure = self.failure(failure, &connection, (interim, upload));
                connection.give_up(session.client.reason());
                return Err(failure);
            }
            let switched = self.is_switched(response)?;
            if switched || !matches!(response.status, 100 | 102..=199) {
                upstream.tell(&connection, Ok(()), session.watch.now());
                return Ok(Answer {
                    framing: self.framing(response, switched)?,
                    connection,
                    switched,
                });
            }
            exchange.end_wait();
            upload.awaits_continue &= response.status != 100;
            self.pass_interim(session, response).await?;
        }
        Err(ProxyError::from(UpstreamError::Response).into())
    }

    /// Sends the head of the request.
    fn engage(
        &self,
        session: &Session,
        upstream: &Upstream,
        (opened, address): (Opened, &Address),
    ) -> Result<Connection, Failure> {
        // With each request: a reload may have changed it.
        let settings = session.worker.settings();
        let introduction = Introduction {
            peer: &session.origin.peer_text,
            trusted: settings.trusted_proxies.contains(session.origin.peer),
            version: &upstream.version,
            role: self.role,
            scheme: session.origin.scheme,
            marks: Marks::of(&self.local.route.config),
        };
        let switch = self.inbound.switch.as_ref();
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
                        .map_err(|error| Failure::from(ProxyError::from(error)))?;
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

    fn failure(
        &self,
        failure: HeadFailure,
        connection: &Connection,
        (interim, upload): (usize, &Upload),
    ) -> Failure {
        if let Some(lease) = &connection.shared
            && failure == HeadFailure::Timeout
        {
            // It may be the connection that is dead, and all others on it with it.
            lease.connection.retire();
        }
        // An interim response is the first byte of an answer too.
        let untouched = interim == 0 && upload.pump.is_untouched();
        let replayable = connection.reused && untouched && self.inbound.is_idempotent();
        // Once a connection has ended, requests that it had begun with look the same.
        let is_open = connection
            .shared
            .as_ref()
            .is_some_and(|lease| !lease.connection.is_gone());
        match failure {
            HeadFailure::NoAnswer if replayable => Failure::Stale,
            // Whoever says goodbye has not failed, also on a connection that is new.
            HeadFailure::GoneAway if untouched && (is_open || self.inbound.is_idempotent()) => {
                Failure::Stale
            }
            HeadFailure::Refused if untouched => Failure::Stale,
            failure => Failure::Final(Unanswered {
                processed: match failure {
                    HeadFailure::Refused if interim == 0 => Processed::Nothing,
                    HeadFailure::GoneAway if interim == 0 && is_open => Processed::Nothing,
                    _ => Processed::Perhaps,
                },
                error: failure.into(),
            }),
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

impl Doubt {
    fn about(lease: Option<&StreamLease>) -> Self {
        Self(lease.map(|lease| Rc::clone(&lease.connection)))
    }

    /// It was heard of.
    fn dispel(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.retire();
        }
    }
}

/// Nothing was sent.
fn unsent(error: impl Into<ProxyError>) -> Unanswered {
    Unanswered {
        error: error.into(),
        processed: Processed::Nothing,
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

impl From<ProxyError> for Unanswered {
    fn from(error: ProxyError) -> Self {
        Self {
            error,
            processed: Processed::Perhaps,
        }
    }
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self::Final(error.into())
    }
}
