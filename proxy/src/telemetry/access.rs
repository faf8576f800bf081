//! The access log: one line for each request that is to be logged, on its way to a file.
//!
//! A worker formats a line and hands it to a bounded [`ring`]; it never writes and never
//! waits. A [`writer`] of its own thread does that. What the ring cannot take is dropped
//! and counted.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use haldane_config::{AccessFormat, AccessOutput, AccessSpec};
use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use crate::clock::{Clock, Micros};

pub(crate) mod combined;
pub(crate) mod date;
pub(crate) mod json;
mod ring;
mod writer;

use ring::Ring;
use writer::Output;

/// What one request was, and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// When it ended.
    pub(crate) ended: Timestamp,
    /// From its head to its end.
    pub(crate) duration: Micros,
    /// From its head to that of the version's answer, if one came.
    pub(crate) ttfb: Option<Micros>,
    /// Who sent it.
    pub(crate) client: IpAddr,
    /// What it asked for, if that could be read.
    pub(crate) request: Option<Request<'a>>,
    /// Where it was sent, if it was.
    pub(crate) routed: Option<Destination<'a>>,
    /// The status that the client was given, if one was.
    pub(crate) status: Option<u16>,
    /// The status of a gRPC call, if it had one.
    pub(crate) grpc_status: Option<u32>,
    /// How its version failed it.
    pub(crate) reason: Option<&'static str>,
    /// The version that answered in its place, if one was asked to.
    pub(crate) shielded: Option<&'a str>,
    /// The code of an answer that haldane gave itself.
    pub(crate) code: Option<&'static str>,
    /// Whether the answer came to its end.
    pub(crate) complete: bool,
    /// Bytes of the request's body that were passed on.
    pub(crate) request_bytes: u64,
    /// Bytes of the answer's body that were passed on.
    pub(crate) response_bytes: u64,
}

/// What a request asked for, as it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) protocol: &'static str,
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) user_agent: Option<&'a [u8]>,
    pub(crate) referer: Option<&'a [u8]>,
    pub(crate) traceparent: Option<&'a [u8]>,
    /// The value of `x-request-id`.
    pub(crate) id: Option<&'a [u8]>,
}

/// Where a request was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'a> {
    pub(crate) route: &'a str,
    pub(crate) role: Role,
    pub(crate) version: &'a str,
    pub(crate) generation: u32,
    /// The canary's share when it was sent.
    pub(crate) weight: Weight,
    /// The salted hash of what it was split by, unless that was chance.
    pub(crate) key: Option<u64>,
    /// The rule that decided in the place of the weight, if one did.
    pub(crate) rule: Option<&'a str>,
    /// The header that decided in the place of both, if one did.
    pub(crate) forced: Option<&'a str>,
}

impl Entry<'_> {
    /// Whether its version failed it, or its client was told of a failure.
    fn is_error(&self) -> bool {
        self.reason.is_some() || self.status.is_some_and(|status| status >= 500)
    }

    fn is_canary(&self) -> bool {
        self.routed
            .is_some_and(|routed| routed.role == Role::Canary)
    }
}

/// An access log in force.
pub(crate) struct AccessLog {
    spec: AccessSpec,
    ring: Arc<Ring>,
}

/// Why there is no access log: where it would go, and what is wrong there.
#[derive(Debug)]
pub(crate) struct AccessError {
    pub(crate) output: String,
    pub(crate) error: io::Error,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot write the access log to {}: {}",
            self.output, self.error
        )
    }
}

impl From<AccessError> for io::Error {
    fn from(error: AccessError) -> Self {
        Self::new(error.error.kind(), error.to_string())
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl AccessLog {
    /// The log that `spec` asks for. If it goes where `before` does, it takes over from it.
    ///
    /// # Errors
    ///
    /// If it cannot be written to there.
    pub(crate) fn open(
        spec: &AccessSpec,
        before: Option<&Arc<Self>>,
        dropped: &Arc<AtomicU64>,
        clock: Clock,
    ) -> Result<Arc<Self>, AccessError> {
        let ring = match before.filter(|before| before.spec.output == spec.output) {
            Some(before) => Arc::clone(&before.ring),
            None => Self::ring(&spec.output, dropped, clock).map_err(|error| AccessError {
                output: match &spec.output {
                    AccessOutput::File(path) => path.display().to_string(),
                    AccessOutput::Stdout => "stdout".to_owned(),
                },
                error,
            })?,
        };
        Ok(Arc::new(Self {
            spec: spec.clone(),
            ring,
        }))
    }

    fn ring(
        output: &AccessOutput,
        dropped: &Arc<AtomicU64>,
        clock: Clock,
    ) -> io::Result<Arc<Ring>> {
        let output = Output::open(output)?;
        Ring::start(output, Arc::clone(dropped), clock).map(Arc::new)
    }

    /// Whether a request is among those of the share that is logged.
    pub(crate) fn draws(&self) -> bool {
        fastrand::f64() < self.spec.sample
    }

    /// Whether a request that was not drawn may have to be logged all the same.
    pub(crate) fn may_want(&self) -> bool {
        self.spec.always.canary || self.spec.always.error
    }

    /// Logs a request if it was drawn, or is always logged. Never waits.
    pub(crate) fn record(&self, entry: &Entry<'_>, drawn: bool) {
        let always = self.spec.always;
        let wanted =
            drawn || (always.canary && entry.is_canary()) || (always.error && entry.is_error());
        if !wanted {
            return;
        }
        let mut line = Vec::with_capacity(LINE_BYTES);
        match self.spec.format {
            AccessFormat::Combined => combined::write(&mut line, entry),
            AccessFormat::Json => json::write(&mut line, entry),
        }
        line.push(b'\n');
        self.ring.push(line);
    }

    /// Writes what was logged, for as long as that goes on.
    pub(crate) async fn close(&self) {
        self.ring.close().await;
    }
}

/// What most lines take.
const LINE_BYTES: usize = 768;

/// A field of a request is cut after so many bytes: what clients send must not decide how
/// much is written.
const FIELD_BYTES_MAX: usize = 4096;

/// A field as far as it is logged, and whether that is all of it.
fn cut(field: &[u8]) -> (&[u8], bool) {
    match field.split_at_checked(FIELD_BYTES_MAX) {
        Some((start, rest)) if !rest.is_empty() => (start, false),
        Some(_) | None => (field, true),
    }
}

#[cfg(test)]
mod tests;
