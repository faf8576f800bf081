//! Sends a request to its version, once more where nothing can have been processed.

use std::rc::Rc;

use haldane_decide::role::Role;

use super::error::{ClientError, ProxyError, UpstreamError};
use super::forward::{self, Introduction};
use super::inbound::Inbound;
use super::pump::Pump;
use super::relay::{HeadFailure, Relay, Upload};
use super::serve::Session;
use crate::h1::body::Framing;
use crate::h1::head::Head;
use crate::upstream::{Connection, Upstream};
use crate::worker::LocalRoute;

/// More interim responses than this are no answer to one request.
const INTERIM_MAX: usize = 32;

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
}

/// Why an attempt gave no answer.
enum Failure {
    Final(ProxyError),
    /// The pooled connection was closed before anything of this request can have
    /// been processed, or a repetition does no harm.
    Stale,
}

impl Outbound<'_> {
    /// Sends the request and waits for the head of the final response, which is in
    /// `response` then.
    pub(crate) async fn send(
        &self,
        session: &mut Session,
        response: &mut Head,
    ) -> Result<Answer, ProxyError> {
        // A route without a canary splits everything to stable.
        let upstream = self
            .local
            .upstream(self.role)
            .ok_or(UpstreamError::Connect)?;
        let endpoint = upstream.choose();
        let pooled = upstream.check_out(endpoint, session.worker.deadlines.now());
        // A request that must not be repeated is worth a system call to see whether
        // the upstream has just closed the connection.
        let pooled =
            pooled.filter(|connection| self.inbound.is_idempotent() || connection.wire.is_quiet());
        if let Some(connection) = pooled {
            match self.attempt(session, upstream, connection, response).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Stale) => {}
            }
        }
        let timeout = self.local.route.config.timeouts.connect;
        let connection = upstream
            .connect(endpoint, timeout, &session.watch)
            .await
            .map_err(|error| {
                tracing::debug!(route = &*self.local.route.config.name, role = %self.role, %error, "cannot connect");
                UpstreamError::from(error)
            })?;
        self.attempt(session, upstream, connection, response)
            .await
            .map_err(|failure| match failure {
                Failure::Final(error) => error,
                Failure::Stale => UpstreamError::Reset.into(),
            })
    }

    async fn attempt(
        &self,
        session: &mut Session,
        upstream: &Rc<Upstream>,
        mut connection: Connection,
        response: &mut Head,
    ) -> Result<Answer, Failure> {
        self.write_head(session, upstream, &mut connection);
        let framing = self.inbound.framing;
        let mut upload = Upload::new(
            Pump::new(framing, framing == Framing::Chunked),
            self.inbound.expects_continue,
        );
        let reused = connection.reused;
        let (limits, timeouts) = (
            session.worker.head_limits(),
            self.local.route.config.timeouts,
        );
        for interim in 0..INTERIM_MAX {
            let mut relay = Relay {
                client: &mut session.wire,
                upstream: &mut connection.wire,
                watch: &session.watch,
                upload: &mut upload,
                idle_body: timeouts.idle_body,
            };
            if let Err(failure) = relay.head(response, limits, timeouts.response).await {
                // An interim response is the first byte of an answer too.
                let untouched = interim == 0 && upload.pump.moved == 0;
                let replayable = reused && untouched && self.inbound.is_idempotent();
                return Err(match failure {
                    HeadFailure::NoAnswer if replayable => Failure::Stale,
                    failure => Failure::Final(failure.into()),
                });
            }
            if !matches!(response.status, 100 | 102..=199) {
                let framing = self.framing(response).map_err(Failure::Final)?;
                return Ok(Answer {
                    connection,
                    upload,
                    framing,
                });
            }
            upload.awaits_continue &= response.status != 100;
            self.pass_interim(session, response)
                .await
                .map_err(Failure::Final)?;
        }
        Err(Failure::Final(UpstreamError::Response.into()))
    }

    fn write_head(&self, session: &Session, upstream: &Upstream, connection: &mut Connection) {
        let sticky = &self.local.route.config.sticky;
        let introduction = Introduction {
            peer: &session.peer_text,
            trusted: session.trusted,
            version: &upstream.version,
            role: self.role,
            scheme: session.scheme,
            force_header: sticky.force.as_ref().map(|force| &*force.header),
        };
        forward::write_request(connection.wire.output(), self.inbound, &introduction);
    }

    fn framing(&self, response: &Head) -> Result<Framing, ProxyError> {
        // haldane forwards no upgrade, so nothing may switch protocols; what is not a
        // status of HTTP could be read in two ways.
        if response.status == 101 || !(100..=599).contains(&response.status) {
            return Err(UpstreamError::Response.into());
        }
        Framing::of_response(response, self.inbound.head.method())
            .map_err(|_| UpstreamError::Response.into())
    }

    /// Passes an interim response on at once, to a client that understands it.
    async fn pass_interim(&self, session: &mut Session, response: &Head) -> Result<(), ProxyError> {
        let wanted =
            self.inbound.is_http11() && (response.status != 100 || self.inbound.expects_continue);
        if !wanted {
            return Ok(());
        }
        forward::write_interim(session.wire.output(), response);
        let timeout = self.local.route.config.timeouts.idle_body;
        session
            .flush(timeout)
            .await
            .map_err(|_| ProxyError::ClientLeft)
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

impl From<HeadFailure> for ProxyError {
    fn from(failure: HeadFailure) -> Self {
        match failure {
            HeadFailure::ClientBody => Self::Client(ClientError::Body),
            HeadFailure::ClientLeft => Self::ClientLeft,
            HeadFailure::ClientTooSlow => Self::Client(ClientError::TooSlow),
            HeadFailure::Malformed => Self::Upstream(UpstreamError::Response),
            HeadFailure::NoAnswer | HeadFailure::Reset => Self::Upstream(UpstreamError::Reset),
            HeadFailure::Timeout => Self::Upstream(UpstreamError::Timeout),
        }
    }
}
