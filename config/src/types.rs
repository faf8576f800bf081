//! The resolved configuration: what a running haldane is told, after every check.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::gate::spec::{GateSpec, Promise};
use haldane_decide::plan::Plan;
use haldane_decide::role::Role;
use haldane_decide::snapshot::CanaryIdentity;
use haldane_decide::weight::Weight;
use ipnet::IpNet;

mod flag;
mod ledger;
mod notify;
mod outside;
mod provenance;
mod remote;
mod rule;
mod tap;

pub use flag::{Flag, Force};
pub use ledger::LedgerDetail;
pub use notify::{NotifyEvent, NotifyFormat, NotifyTarget};
pub use outside::{OutsideGate, Question};
pub use provenance::Provenance;
pub use remote::{Remote, RemoteUrl, Unusable, Url};
pub(crate) use remote::{URL_BYTES_MAX, read_token, read_token_again, read_url};
pub use rule::{RuleMatch, TargetingRule};
pub use tap::Tap;

/// Everything that a running haldane is told, checked and resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients connect; at least one.
    pub listen: Vec<Listen>,
    /// Data-plane threads; `None` is one for each CPU this process may use.
    pub workers: Option<NonZeroUsize>,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Networks,
    /// How often the names of upstreams are looked up.
    pub dns_refresh: Duration,
    /// How the process ends.
    pub drain: Drain,
    /// What a client may use.
    pub limits: Limits,
    /// The admin listener.
    pub admin: Admin,
    /// The read-only listener, if there is one.
    pub ops: Option<AdminAddress>,
    /// Where a new process asks for the listening sockets, if it may.
    pub hand_over: Option<PathBuf>,
    /// At least one; names are unique.
    pub routes: Vec<RouteConfig>,
    /// Diagnostics.
    pub log: Log,
    /// Who is told of what happens to releases.
    pub notify: Vec<NotifyTarget>,
    /// Where the state of releases is kept; without it every start begins anew.
    pub state_dir: Option<PathBuf>,
}

impl Config {
    /// Everything outside that is sent requests, besides upstreams.
    pub fn remotes(&self) -> impl Iterator<Item = &Remote> {
        let told = self.notify.iter().map(|target| &target.remote);
        let asked = self.routes.iter().flat_map(|route| &route.outside);
        let before = self.routes.iter().flat_map(|route| &route.pre);
        told.chain(asked.map(|gate| &gate.remote))
            .chain(before.map(|hook| &hook.remote))
    }
}

/// Where clients connect, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// The certificates, if clients speak TLS here.
    pub tls: Option<Arc<ServerTls>>,
    /// Connections from trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
}

/// The files of a table `[tls.NAME]`. They could be read when the configuration was;
/// what is in them was not looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerTls {
    /// The name of the table.
    pub name: Arc<str>,
    /// At least one; the first is shown to clients that ask for no name or an unknown one.
    pub pairs: Vec<Pair>,
    /// Who signs the certificates of clients; without it they need none.
    pub client_ca: Option<PathBuf>,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pair {
    /// The chain, its leaf first.
    pub cert: PathBuf,
    /// The leaf's key.
    pub key: PathBuf,
}

/// The files for TLS to the upstreams of a version.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientTls {
    /// Who signs the certificates of upstreams; without it the system's roots do.
    pub ca: Option<PathBuf>,
    /// What haldane shows of itself.
    pub pair: Option<Pair>,
}

/// A set of networks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Networks(pub Vec<IpNet>);

impl Networks {
    /// Whether `address` lies in any of them. An IPv4 address that is mapped into
    /// IPv6 counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// How the process ends after `SIGTERM`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Drain {
    /// How long new connections are still accepted while readiness already says no and
    /// clients are told to leave.
    pub linger: Duration,
    /// How long requests in flight may take after that.
    pub timeout: Duration,
}

/// What a client may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Open client connections.
    pub connections: usize,
    /// How long a request head may take from its first byte, or a connection until its first head.
    pub header_timeout: Duration,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// Bytes of a request or response head, start line included.
    pub header_bytes: usize,
    /// Of these, bytes of a request target.
    pub target_bytes: usize,
    /// Fields of a request or response head.
    pub headers: usize,
    /// Requests under way on one HTTP/2 connection.
    pub streams: u32,
    /// Requests on one connection.
    pub connection_requests: usize,
    /// Requests under way at one version of a route.
    pub upstream_requests: usize,
    /// Bytes of the body of a request to a canary that are kept, so that stable can have
    /// the request if the canary fails it.
    pub replay_bytes: usize,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Its address.
    pub listen: AdminAddress,
    /// The bearer token that state-changing requests must carry.
    pub token: Option<Secret>,
    /// The file that the token was in.
    pub token_file: Option<PathBuf>,
}

/// Where the admin or the ops listener is reached.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum AdminAddress {
    /// By whoever reaches this address.
    Tcp(SocketAddr),
    /// By whoever may open this file: a Unix socket, with an absolute path.
    Unix(PathBuf),
}

impl fmt::Display for AdminAddress {
    /// As it is written in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A text that is never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(pub Arc<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What haldane says about itself and about requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// The form of a line of diagnostics.
    pub format: LogFormat,
    /// The access log, if there is one.
    pub access: Option<AccessSpec>,
}

/// The access log: which requests are logged, how, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessSpec {
    /// The form of a line.
    pub format: AccessFormat,
    /// Where the lines go.
    pub output: AccessOutput,
    /// Which share of the requests is logged, from 0 to 1.
    pub sample: f64,
    /// Which requests are logged whatever the share.
    pub always: AccessAlways,
}

/// The form of a line of the access log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccessFormat {
    /// Apache's combined format with role and version at the end.
    Combined,
    /// One JSON object a line.
    Json,
}

/// Where the access log goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessOutput {
    /// To the end of this file.
    File(PathBuf),
    /// To the standard output of the process.
    Stdout,
}

/// Requests that are logged whatever the share.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AccessAlways {
    /// Those that were routed to the canary.
    pub canary: bool,
    /// Those that their version failed, or that got a status of 500 or above.
    pub error: bool,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Host and path, and what to do with them.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// Its name in metrics and the API.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matches: RouteMatch,
    /// The version in service.
    pub stable: Version,
    /// The version under test. Without one everything goes to stable and `weight` is zero.
    pub canary: Option<Version>,
    /// How long an upstream may take.
    pub timeouts: Timeouts,
    /// What upstreams speak.
    pub upstream_protocol: UpstreamProtocol,
    /// The gRPC statuses that count against a version.
    pub grpc_failures: GrpcStatuses,
    /// When an address that fails is left alone; `None` is never.
    pub ejection: Option<Ejection>,
    /// How addresses are asked whether they are well; `None` is not at all.
    pub health: Option<HealthCheck>,
    /// The canary's share at the start of each generation, if there is no plan.
    pub weight: Weight,
    /// How it gets its traffic otherwise.
    pub plan: Plan,
    /// What keeps a client on its version.
    pub sticky: Sticky,
    /// Who is split otherwise than by the weight; the first that matches decides.
    pub rules: Vec<TargetingRule>,
    /// What the canary must keep passing.
    pub gates: Vec<GateSpec>,
    /// Whom those of the gates ask that do, and for what.
    pub outside: Vec<OutsideGate>,
    /// What is promised about a rollout.
    pub promise: Promise,
    /// Who must agree before the first step of a plan.
    pub pre: Vec<PreHook>,
    /// What becomes of a request that the canary has failed.
    pub shield: Shield,
    /// What is told of those who were on the canary.
    pub ledger: LedgerDetail,
    /// How long a complete rollout may wait for its canary to be made stable.
    pub expires: Duration,
    /// Whether clients are told the version in `x-haldane-version`.
    pub expose_version: bool,
    /// Whether upstreams are told role and version in `baggage` too.
    pub baggage: bool,
    /// A field in which upstreams are told the role in words of their own.
    pub flag: Option<Flag>,
    /// Which requests are kept to be looked at.
    pub tap: Tap,
}

/// Who is asked before the first step of a plan, and must answer 2xx.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PreHook {
    /// Who.
    pub remote: Remote,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// What becomes of a request that the canary has failed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Shield {
    /// Stable answers it, if nothing of it can have been processed or its method is
    /// idempotent (RFC 9110 §9.2.2).
    #[default]
    Idempotent,
    /// Its client gets the failure.
    Off,
}

/// Which requests a route takes; everything by default.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct RouteMatch {
    /// The host without port, in lower case; `*.example.com` matches any subdomain.
    pub host: Option<String>,
    /// The path.
    pub path: PathMatch,
}

/// Which paths a route takes.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum PathMatch {
    /// Every path.
    #[default]
    Any,
    /// Exactly this path.
    Exact(String),
    /// This path and all below it: written `/checkout/*`, held as `/checkout`.
    Prefix(String),
}

impl PathMatch {
    /// Whether this path, without its query, is among them.
    #[must_use]
    pub fn takes(&self, path: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => path == exact.as_bytes(),
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_bytes())
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'/'))),
        }
    }
}

/// A named deployable and where it runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    /// Its name in metrics, headers and messages.
    pub name: Arc<str>,
    /// Where it answers; at least one.
    pub upstream: Vec<UpstreamAddress>,
    /// For the addresses that are reached over TLS.
    pub tls: ClientTls,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl Version {
    /// Which commit or build it is, if that is said.
    #[must_use]
    pub fn sha(&self) -> Option<Arc<str>> {
        self.provenance.sha.clone()
    }

    /// Which canary the version is, where it is one.
    #[must_use]
    pub fn canary_identity(&self) -> CanaryIdentity {
        let url = |address: &UpstreamAddress| match address {
            UpstreamAddress::Tcp { tls: true, .. } => format!("https://{address}"),
            UpstreamAddress::Tcp { tls: false, .. } => format!("http://{address}"),
            UpstreamAddress::Unix(_) => address.to_string(),
        };
        let mut upstreams: Vec<String> = self.upstream.iter().map(url).collect();
        upstreams.sort();
        CanaryIdentity {
            version: self.name.to_string(),
            upstreams,
        }
    }
}

/// One address of a version. Displayed as `host:port` or `unix:/path`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum UpstreamAddress {
    /// A TCP port.
    Tcp {
        /// A name or an address, without brackets.
        host: Arc<str>,
        /// The port.
        port: u16,
        /// It is reached over TLS: `https://`.
        tls: bool,
    },
    /// A Unix socket at this absolute path, without TLS.
    Unix(Arc<Path>),
}

impl UpstreamAddress {
    /// Whether it is reached over TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Only an IPv6 address has colons.
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// When an address that fails is left alone, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ejection {
    /// So many failures in a row eject an address; at least 1.
    pub failures: u32,
    /// The first time for so long; twice as long each time in a row.
    pub time: Duration,
    /// Never for longer.
    pub max: Duration,
}

/// How the addresses of a route's versions are asked whether they are well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    /// What is asked for, with a GET.
    pub path: Arc<str>,
    /// How often.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// So many bad answers in a row make an address unhealthy; at least 1.
    pub unhealthy_after: u32,
    /// So many good ones in a row make it healthy again; at least 1.
    pub healthy_after: u32,
}

/// How long an upstream may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// Until a connection is open.
    pub connect: Duration,
    /// From the request until the response head.
    pub response: Duration,
    /// Without any progress in a body, in either direction.
    pub idle_body: Duration,
    /// Without any progress in a session: a WebSocket or another upgrade, or a gRPC call.
    pub idle_session: Duration,
    /// How long sessions of a canary may go on after it has lost its traffic.
    pub session_grace: Duration,
}

/// What upstreams speak.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: with prior knowledge, and over TLS if the upstream chooses it by ALPN.
    H2,
}

/// A set of gRPC statuses, by number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GrpcStatuses(pub u32);

impl GrpcStatuses {
    /// The names of all statuses, by number
    /// (<https://grpc.io/docs/guides/status-codes/>).
    pub const NAMES: [&'static str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];

    /// Those that a service causes and a client cannot: `UNKNOWN`, `DEADLINE_EXCEEDED`,
    /// `INTERNAL`, `UNAVAILABLE` and `DATA_LOSS`.
    pub const DEFAULT: Self = Self(1 << 2 | 1 << 4 | 1 << 13 | 1 << 14 | 1 << 15);

    /// Whether it has this status. What is no status is one that nobody knows, which
    /// gRPC calls `UNKNOWN`.
    #[must_use]
    pub fn contains(self, status: u32) -> bool {
        const UNKNOWN: u32 = 2;
        let known = usize::try_from(status).is_ok_and(|status| status < Self::NAMES.len());
        self.0 & 1 << if known { status } else { UNKNOWN } != 0
    }
}

/// What keeps a client on its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Sticky {
    /// Where the key comes from; the first that is present wins; at least one.
    pub key: Vec<KeySource>,
    /// What happens to a request without a key.
    pub on_missing: OnMissing,
    /// Where the salt comes from.
    pub salt: SaltSource,
    /// Who may choose the version, and how.
    pub force: Option<Force>,
}

/// Where a split key comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// The client's address, as told by trusted proxies.
    ClientIp,
    /// A cookie of this name.
    Cookie(String),
    /// A header field of this name, in lower case.
    Header(String),
}

/// What happens to a request without a split key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnMissing {
    /// It is split at random and given a cookie that keeps it there.
    Cookie,
    /// It is split at random, each time anew.
    Random,
    /// It goes to stable.
    Stable,
}

/// Where the salt comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SaltSource {
    /// Random, and new for each generation.
    Auto,
    /// This text, for every generation and every replica.
    Fixed(String),
}

impl RouteConfig {
    /// The version that plays `role`.
    #[must_use]
    pub const fn version(&self, role: Role) -> Option<&Version> {
        match role {
            Role::Canary => self.canary.as_ref(),
            Role::Stable => Some(&self.stable),
        }
    }
}
