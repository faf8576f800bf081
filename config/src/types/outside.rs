//! Gates that ask something outside for a number.

use std::time::Duration;

use haldane_decide::gate::spec::GateName;

use super::Remote;

/// Whom a gate asks, and for what. Its limits are in its
/// [`GateRule`](haldane_decide::gate::spec::GateRule).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutsideGate {
    /// The gate of this name.
    pub gate: GateName,
    /// Who is asked.
    pub remote: Remote,
    /// For what.
    pub question: Question,
    /// How often.
    pub interval: Duration,
}

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    /// What this query gives, of the HTTP API of Prometheus, which is below the URL.
    Promql(String),
    /// What a GET of the URL gives.
    Url,
}
