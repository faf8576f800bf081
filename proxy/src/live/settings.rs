//! What holds for every connection, whatever its route. Replaced as a whole.

use haldane_config::{Config, Drain, Limits, Networks};

/// The settings of a process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How the process ends.
    pub(crate) drain: Drain,
    /// What a client may use.
    pub(crate) limits: Limits,
    /// Whose `X-Forwarded-*` is believed.
    pub(crate) trusted_proxies: Networks,
}

impl Settings {
    /// Those of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            drain: config.drain,
            limits: config.limits,
            trusted_proxies: config.trusted_proxies.clone(),
        }
    }
}
