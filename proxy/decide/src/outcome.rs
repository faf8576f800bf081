//! What one exchange says about its version: for, against, or nothing.

use crate::role::Role;

/// How one exchange ended, as evidence about its version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Which version had the request.
    pub role: Role,
    /// What the ending says about that version.
    pub evidence: Evidence,
}

/// Whether an exchange speaks for, against, or not at all about its version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// The version failed the request.
    Failure(FailureReason),
    /// The client left, or haldane refused: no evidence at all.
    Neither,
    /// The version answered.
    Success,
}

/// How a version failed a request. The `reason` label of the metrics.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FailureReason {
    /// No connection could be opened.
    Connect,
    /// A gRPC call ended with a status that counts as a failure, or with none.
    Grpc,
    /// The connection broke, or what came was not HTTP, before a response head.
    Reset,
    /// The response had a status of 500 or above.
    Status,
    /// No response head, or no progress in the body, within the limit.
    Timeout,
    /// The response body ended before it was complete.
    Truncated,
}

impl FailureReason {
    /// Every reason, in the order of [`FailureReason::index`].
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Grpc,
        Self::Reset,
        Self::Status,
        Self::Timeout,
        Self::Truncated,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Grpc => "grpc",
            Self::Reset => "reset",
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Truncated => "truncated",
        }
    }

    /// A dense index for arrays by reason.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Connect => 0,
            Self::Grpc => 1,
            Self::Reset => 2,
            Self::Status => 3,
            Self::Timeout => 4,
            Self::Truncated => 5,
        }
    }
}
