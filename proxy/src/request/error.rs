//! Why haldane answered instead of the upstream, and whose doing it was.

use haldane_decide::outcome::FailureReason;

use crate::h1::body::FramingError;
use crate::h1::head::HeadError;
use crate::upstream::connect::ConnectError;

/// Why a request was not answered by its upstream, or not to the end.
#[derive(Debug)]
pub(crate) enum ProxyError {
    /// The client sent what cannot be passed on.
    Client(ClientError),
    /// The client went away; nobody is left to answer.
    ClientLeft,
    /// haldane has run out of descriptors, or of what else it needs to connect anywhere.
    Exhausted,
    /// No route takes this host and path.
    NoRoute,
    /// The version is configured to speak HTTP/2 and takes no tunnels there (RFC 8441).
    NoTunnel,
    /// As much is under way at the version as is allowed; nothing was sent to it.
    Overloaded,
    /// The version was rolled back, and the call had the grace that sessions have.
    RolledBack,
    /// The version failed.
    Upstream(UpstreamError),
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ClientError {
    /// Its body is not what its head announced.
    Body,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// More than one length, or one that is none.
    Framing,
    /// A head that is not HTTP.
    Head,
    /// More head than is allowed.
    HeadTooLarge,
    /// No `Host`, several, or one that is no host.
    Host,
    /// A method that is not forwarded: `CONNECT`.
    Method,
    /// A target in a form that is not forwarded.
    Target,
    /// A target longer than is allowed.
    TargetTooLong,
    /// Not sent in time.
    TooSlow,
    /// Not HTTP/1.0 or HTTP/1.1.
    Version,
}

/// How a version failed before the response head was passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UpstreamError {
    /// No connection could be opened.
    Connect,
    /// No connection could be opened in time.
    ConnectTimeout,
    /// The connection ended or broke before a response head.
    Reset,
    /// What came back was not an HTTP/1.1 response.
    Response,
    /// No response head in time.
    Timeout,
    /// No address is known to be well: nothing was tried.
    Unhealthy,
}

/// Whose doing an error is. Only `Upstream` counts against a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Downstream,
    Haldane,
    Upstream(FailureReason),
}

impl ProxyError {
    /// Whose doing it was.
    pub(crate) const fn side(&self) -> Side {
        match self {
            Self::Client(_) | Self::ClientLeft => Side::Downstream,
            Self::Exhausted
            | Self::NoRoute
            | Self::NoTunnel
            | Self::Overloaded
            | Self::RolledBack => Side::Haldane,
            Self::Upstream(error) => Side::Upstream(match error {
                UpstreamError::Connect
                | UpstreamError::ConnectTimeout
                | UpstreamError::Unhealthy => FailureReason::Connect,
                UpstreamError::Reset | UpstreamError::Response => FailureReason::Reset,
                UpstreamError::Timeout => FailureReason::Timeout,
            }),
        }
    }

    /// The status to answer with and the value of `x-haldane-error`, whose first
    /// word says whose doing it was. `None` if nobody is left to answer.
    pub(crate) const fn answer(&self) -> Option<(u16, &'static str)> {
        Some(match self {
            Self::ClientLeft => return None,
            Self::Exhausted => (503, "haldane_exhausted"),
            Self::NoRoute => (404, "haldane_no_route"),
            Self::NoTunnel => (501, "haldane_no_tunnel"),
            Self::Overloaded => (503, "haldane_overloaded"),
            Self::RolledBack => (503, "haldane_rolled_back"),
            Self::Client(error) => match error {
                ClientError::Body => (400, "client_body"),
                ClientError::Expectation => (417, "client_expectation"),
                ClientError::Framing => (400, "client_framing"),
                ClientError::Head => (400, "client_head"),
                ClientError::HeadTooLarge => (431, "client_head_too_large"),
                ClientError::Host => (400, "client_host"),
                ClientError::Method => (405, "client_method"),
                ClientError::Target => (400, "client_target"),
                ClientError::TargetTooLong => (414, "client_target_too_long"),
                ClientError::TooSlow => (408, "client_too_slow"),
                ClientError::Version => (505, "client_version"),
            },
            Self::Upstream(error) => match error {
                UpstreamError::Connect => (502, "upstream_connect"),
                UpstreamError::ConnectTimeout => (504, "upstream_connect_timeout"),
                UpstreamError::Reset => (502, "upstream_reset"),
                UpstreamError::Response => (502, "upstream_response"),
                UpstreamError::Timeout => (504, "upstream_timeout"),
                UpstreamError::Unhealthy => (503, "upstream_unhealthy"),
            },
        })
    }

    /// A sentence for the body of the response: nothing about addresses or internals.
    pub(crate) const fn sentence(&self) -> &'static str {
        match self {
            Self::Client(ClientError::TooSlow) => "The request did not arrive in time.",
            Self::Client(_) => "The request cannot be forwarded as it is.",
            Self::ClientLeft => "",
            Self::Exhausted => "The proxy has run out of what it needs to reach the service.",
            Self::NoRoute => "No route takes this host and path.",
            Self::NoTunnel => "The service takes no upgrades over HTTP/2.",
            Self::Overloaded => "The service has as much to do as it may have.",
            Self::RolledBack => "The version of this call was rolled back.",
            Self::Upstream(
                UpstreamError::Connect | UpstreamError::ConnectTimeout | UpstreamError::Unhealthy,
            ) => "The service cannot be reached.",
            Self::Upstream(UpstreamError::Reset | UpstreamError::Response) => {
                "The service broke off before it answered."
            }
            Self::Upstream(UpstreamError::Timeout) => "The service did not answer in time.",
        }
    }
}

impl From<HeadError> for ClientError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::BareLineFeed | HeadError::Field | HeadError::StartLine => Self::Head,
            HeadError::TargetTooLong => Self::TargetTooLong,
            HeadError::TooLarge | HeadError::TooManyFields => Self::HeadTooLarge,
            HeadError::Version => Self::Version,
        }
    }
}

impl From<ClientError> for ProxyError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<FramingError> for ProxyError {
    fn from(_: FramingError) -> Self {
        Self::Client(ClientError::Framing)
    }
}

impl From<UpstreamError> for ProxyError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl From<ConnectError> for ProxyError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Exhausted(_) | ConnectError::ExhaustedForAnother => Self::Exhausted,
            ConnectError::Failed(_) | ConnectError::FailedForAnother => {
                Self::Upstream(UpstreamError::Connect)
            }
            ConnectError::TimedOut => Self::Upstream(UpstreamError::ConnectTimeout),
        }
    }
}
