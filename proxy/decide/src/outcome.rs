//! What one exchange says about its version: for, against, or nothing.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::role::Role;
use crate::split::SplitKey;
use crate::weight::Weight;

/// How one exchange ended, as evidence about its version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Which version had the request.
    pub role: Role,
    /// What the ending says about that version.
    pub evidence: Evidence,
    /// What the request was split by, if its client keeps that; `None` if each request
    /// is split on its own.
    pub key: Option<SplitKey>,
    /// The canary's share when the request was split.
    pub weight: Weight,
    /// Which kind of error it was, if it was one; also for a 4xx, which is no failure.
    pub class: Option<ErrorClass>,
    /// The request, to be shown as an example.
    pub request: Option<RequestId>,
}

/// A kind of error, to tell new ones from those that stable shows too.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ErrorClass {
    status: u16,
    grpc: Option<u32>,
    reason: Option<FailureReason>,
}

impl ErrorClass {
    /// Stands for the kinds that are too many to be told apart.
    pub(crate) const OTHER: Self = Self::of_status(u16::MAX);

    /// Errors with this HTTP status; 0 if there was no response.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        Self {
            status,
            grpc: None,
            reason: None,
        }
    }

    /// Those of them with this gRPC status.
    #[must_use]
    pub const fn with_grpc(self, grpc: Option<u32>) -> Self {
        Self { grpc, ..self }
    }

    /// Those of them for this reason.
    #[must_use]
    pub const fn with_reason(self, reason: Option<FailureReason>) -> Self {
        Self { reason, ..self }
    }

    /// A number of its own, for hashing.
    pub(crate) fn code(self) -> u64 {
        let reason = self.reason.map_or(0, |reason| reason.index() as u64 + 1);
        let grpc = self.grpc.map_or(0, |grpc| u64::from(grpc) + 1);
        u64::from(self.status) | grpc << 16 | reason << 52
    }

    /// The kind with this code, if one has it.
    pub(crate) fn from_code(code: u64) -> Option<Self> {
        let reason = usize::try_from(code >> 52).ok()?;
        let reason = match reason.checked_sub(1) {
            Some(index) => Some(*FailureReason::ALL.get(index)?),
            None => None,
        };
        let grpc = (code >> 16 & ((1 << 36) - 1)).checked_sub(1);
        let class = Self {
            status: u16::try_from(code & 0xffff).ok()?,
            grpc: grpc.map(u32::try_from).transpose().ok()?,
            reason,
        };
        Some(class)
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            0 => f.write_str("no response")?,
            u16::MAX => f.write_str("other errors")?,
            status => write!(f, "status {status}")?,
        }
        if let Some(grpc) = self.grpc {
            write!(f, ", grpc-status {grpc}")?;
        }
        match self.reason {
            None | Some(FailureReason::Status | FailureReason::Grpc) => Ok(()),
            Some(reason) => write!(f, ", {}", reason.as_str()),
        }
    }
}

/// What a client or a tracer calls a request: the value of `x-request-id`, or the trace
/// in `traceparent`. At most 40 visible ASCII characters of it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct RequestId {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl RequestId {
    pub(crate) const BYTES_MAX: usize = 40;

    /// From the bytes of a field; `None` if there is nothing to show in them.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        let shown = text.iter().filter(|byte| byte.is_ascii_graphic());
        let mut id = Self {
            bytes: [0; Self::BYTES_MAX],
            len: 0,
        };
        for (cell, byte) in id.bytes.iter_mut().zip(shown) {
            *cell = *byte;
            id.len += 1;
        }
        (id.len > 0).then_some(id)
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::from_bytes(text.as_bytes()).ok_or_else(|| serde::de::Error::custom("no request id"))
    }
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
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// No connection could be opened.
    Connect,
    /// A gRPC call ended with a status that counts as a failure, or with none.
    Grpc,
    /// The connection broke, or what came was not HTTP, before a response head.
    Reset,
    /// Nothing came for many times as long as stable ever takes; the request may still be
    /// answered.
    Stalled,
    /// The response had a status of 500 or above.
    Status,
    /// No response head, or no progress in the body, within the limit.
    Timeout,
    /// The response body ended before it was complete.
    Truncated,
}

impl FailureReason {
    /// Every reason, in the order of [`FailureReason::index`].
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Grpc,
        Self::Reset,
        Self::Stalled,
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
            Self::Stalled => "stalled",
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
            Self::Stalled => 3,
            Self::Status => 4,
            Self::Timeout => 5,
            Self::Truncated => 6,
        }
    }
}
