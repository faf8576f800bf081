//! Logs and metrics.

pub(crate) mod log;
