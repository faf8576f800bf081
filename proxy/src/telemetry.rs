//! Logs and metrics.

pub(crate) mod log;
pub(crate) mod metrics;
