//! Every key that a configuration may have: the one table that reading, checking and
//! suggesting share.

/// The keys of one table.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Where the table stands, without indices: `route.sticky`; empty for the top level.
    pub(crate) path: &'static str,
    /// The keys it may have.
    pub(crate) known: &'static [&'static str],
    /// Keys whose names are taken for features that this version does not have.
    pub(crate) reserved: &'static [&'static str],
}

macro_rules! tables {
    ($($name:ident = $path:literal: $known:tt, reserved $reserved:tt;)*) => {
        $(pub(crate) const $name: Keys = Keys { path: $path, known: &$known, reserved: &$reserved };)*
        /// Every table, in the order of the reference file.
        const TABLES: &[&Keys] = &[$(&$name),*];
    };
}

tables! {
    ROOT = "":
        ["listen", "state_dir",
         "workers", "trusted_proxies", "dns_refresh", "drain", "limits", "admin", "ops", "log", "tls", "route",
         "hand_over", "notify"],
        reserved ["fleet"];
    DRAIN = "drain": ["linger", "timeout"], reserved [];
    LIMITS = "limits":
        ["connections", "header_timeout", "idle_timeout", "header_bytes", "target_bytes",
         "headers", "streams", "connection_requests", "upstream_requests", "replay_bytes"],
        reserved [];
    ADMIN = "admin": ["listen", "token_file"], reserved ["tls"];
    OPS = "ops": ["listen"], reserved ["tls"];
    LISTEN = "listen": ["address", "tls", "proxy_protocol"], reserved [];
    TLS = "tls.name": ["cert", "key", "client_ca"], reserved [];
    LOG = "log":
        ["format",
         "access"],
        reserved [];
    ACCESS = "log.access": ["format", "output", "sample", "always"], reserved [];
    NOTIFY = "notify":
        ["url", "url_file", "format", "events", "token_file", "ca", "environment"],
        reserved [];
    ROUTE = "route":
        ["name", "match", "stable", "canary", "upstream_protocol", "grpc_failures",
         "timeouts", "ejection", "health", "weight", "expose_version", "tap", "sticky",
         "rollout", "gate", "rule", "baggage", "flag"],
        reserved [];
    MATCH = "route.match": ["host", "path"], reserved ["header"];
    STABLE = "route.stable":
        ["version", "upstream", "ca", "cert", "key", "owner", "sha", "commit_time"], reserved [];
    CANARY = "route.canary":
        ["version", "upstream", "ca", "cert", "key", "owner", "sha", "commit_time"], reserved [];
    TIMEOUTS = "route.timeouts":
        ["connect", "response", "idle_body", "idle_session", "session_grace"], reserved [];
    EJECTION = "route.ejection": ["failures", "time", "max"], reserved [];
    HEALTH = "route.health":
        ["path", "interval", "timeout", "unhealthy_after", "healthy_after"], reserved [];
    STICKY = "route.sticky": ["key", "on_missing", "salt", "force"], reserved [];
    FORCE = "route.sticky.force": ["header", "canary", "stable", "from"], reserved [];
    FLAG = "route.flag": ["header", "canary", "stable"], reserved [];
    RULE = "route.rule": ["name", "match", "weight", "from_weight", "until_weight"], reserved [];
    RULE_MATCH = "route.rule.match": ["header", "cookie", "path", "client", "values"], reserved [];
    ROLLOUT = "route.rollout":
        ["plan", "steps", "advance", "on_breach", "bake", "max_hold",
         "false_rollback", "false_advance", "exposure", "shield", "ledger",
         "pre", "expires"],
        reserved [];
    PRE = "route.rollout.pre": ["url", "url_file", "token_file", "ca", "timeout"], reserved [];
    EXPOSURE = "route.rollout.exposure": ["failed_requests", "affected_users"], reserved [];
    GATE = "route.gate":
        ["name", "metric", "rollback", "advance", "of", "objective",
         "url", "url_file", "query", "interval", "token_file", "ca"],
        reserved [];
}

/// The path of every key that a configuration may have, without indices, such as
/// `route.timeouts.connect`; tables before what is in them.
pub fn known_keys() -> impl Iterator<Item = String> {
    TABLES.iter().flat_map(|table| {
        table.known.iter().map(|key| {
            if table.path.is_empty() {
                (*key).to_owned()
            } else {
                format!("{}.{key}", table.path)
            }
        })
    })
}
