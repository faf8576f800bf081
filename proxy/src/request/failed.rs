//! What is kept of a request that its version has failed, for the tap and as an example in
//! the metrics, or that was slow. Nobody comes here whose request just went well.

use std::sync::Arc;

use haldane_decide::outcome::FailureReason;
use haldane_decide::split::SplitKey;
use haldane_decide::time::Timestamp;

use super::exchange::Exchange;
use super::inbound::Inbound;
use super::split_key::named_id;
use crate::clock::Micros;
use crate::h1::head::Version;
use crate::live::exemplars::Exemplar;
use crate::live::limits::Times;
use crate::live::tap::{Cut, FailedRequest};
use crate::trace::Trace;

impl Exchange<'_> {
    /// Keeps what there is to know of an exchange that ends now and has failed.
    #[cold]
    pub(super) fn tap(&self, reason: FailureReason, shielded: bool) {
        let (route, routed) = (&self.local.route, self.subject.routed);
        let inbound = self.inbound;
        let now = self.worker.clock.micros();
        let version = route.config.version(routed.role);
        let trace = trace_of(inbound);
        route.tap(FailedRequest {
            at: self.worker.clock.at(now),
            role: routed.role,
            version: version.map_or_else(Arc::default, |version| Arc::clone(&version.name)),
            generation: routed.generation,
            method: Cut::of(inbound.head.method()),
            path: Cut::of(inbound.path()),
            protocol: protocol_of(inbound),
            status: (self.status > 0).then_some(self.status),
            grpc_status: self.grpc_status,
            reason,
            address: self.address.take().map(|address| address.shown()),
            duration: now.saturating_sub(self.started),
            trace: trace.map(|trace| trace.id),
            id: named_id(inbound.head),
            key: self.subject.key.map(SplitKey::to_bits),
            shielded,
        });
        if let Some(one) = exemplar(trace, self.worker.clock.at(now)) {
            route.exemplify_failure(routed.role, reason, one);
        }
    }

    /// The request was slow, and is to stand for those that were.
    #[cold]
    pub(super) fn exemplify(&self, times: &Times, now: Micros) {
        if let Some(one) = exemplar(trace_of(self.inbound), self.worker.clock.at(now)) {
            let role = self.subject.routed.role;
            self.local.route.exemplify_times(role, times, one);
        }
    }
}

/// The trace that a request belongs to, if it names one.
fn trace_of(inbound: &Inbound<'_>) -> Option<Trace> {
    let field = inbound.head.value_of(b"traceparent");
    field.and_then(Trace::parse)
}

/// What can be looked up: nobody has kept a trace that is not sampled.
fn exemplar(trace: Option<Trace>, at: Timestamp) -> Option<Exemplar> {
    let sampled = trace.filter(|trace| trace.is_sampled)?;
    Some(Exemplar {
        trace: sampled.id,
        at,
    })
}

fn protocol_of(inbound: &Inbound<'_>) -> &'static str {
    match inbound.head.version {
        _ if inbound.is_call => "grpc",
        Version::Http10 => "http/1.0",
        Version::Http11 => "http/1.1",
        Version::Http2 => "h2",
    }
}
