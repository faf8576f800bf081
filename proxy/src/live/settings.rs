//! What holds for every connection, whatever its route. Replaced as a whole.

use std::sync::Arc;

use haldane_config::{Config, Drain, Limits, Networks};

use crate::telemetry::access::AccessLog;

/// The settings of a process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How the process ends.
    pub(crate) drain: Drain,
    /// What a client may use.
    pub(crate) limits: Limits,
    /// Whose `X-Forwarded-*` is believed.
    pub(crate) trusted_proxies: Networks,
    /// Where requests are logged, if they are.
    pub(crate) access: Option<Arc<AccessLog>>,
}

impl Settings {
    /// Those of a configuration, with the access log that was opened for it.
    pub(crate) fn of(config: &Config, access: Option<Arc<AccessLog>>) -> Self {
        Self {
            drain: config.drain,
            limits: config.limits,
            trusted_proxies: config.trusted_proxies.clone(),
            access,
        }
    }
}
