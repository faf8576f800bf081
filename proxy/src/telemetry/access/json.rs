//! A line of the access log as a JSON object.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use haldane_decide::outcome::RequestId;
use serde::Serialize;

use super::{Entry, cut, date};
use crate::telemetry::visible;
use crate::trace::{Trace, TraceId};

/// What the object has, in this order. `replay` reads some of it by name.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    timestamp_ms: u64,
    route: Option<&'a str>,
    role: Option<&'static str>,
    version: Option<&'a str>,
    generation: Option<u32>,
    weight: Option<f64>,
    key: Option<String>,
    rule: Option<&'a str>,
    forced: Option<&'a str>,
    method: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
    path: Option<Cow<'a, str>>,
    protocol: Option<&'static str>,
    status: u16,
    grpc_status: Option<u32>,
    reason: Option<&'static str>,
    shielded: Option<&'a str>,
    error: Option<&'static str>,
    complete: bool,
    request_bytes: u64,
    response_bytes: u64,
    ttfb_us: Option<u64>,
    duration_us: u64,
    latency_us: u64,
    client: IpAddr,
    user_agent: Option<Cow<'a, str>>,
    referer: Option<Cow<'a, str>>,
    trace_id: Option<TraceId>,
    request_id: Option<RequestId>,
}

/// Writes the line, without its end.
pub(crate) fn write(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let (request, routed) = (entry.request, entry.routed);
    let line = Line {
        time: date::rfc3339(entry.ended),
        timestamp_ms: entry.ended.as_micros() / 1000,
        route: routed.map(|routed| routed.route),
        role: routed.map(|routed| routed.role.as_str()),
        version: routed.map(|routed| routed.version),
        generation: routed.map(|routed| routed.generation),
        weight: routed.map(|routed| routed.weight.as_ratio()),
        key: routed.map(|routed| key(routed.key)),
        rule: routed.and_then(|routed| routed.rule),
        forced: routed.and_then(|routed| routed.forced),
        method: request.map(|request| text(request.method)),
        host: request.and_then(|request| request.host).map(text),
        path: request.map(|request| text(request.target)),
        protocol: request.map(|request| request.protocol),
        status: entry.status.unwrap_or_default(),
        grpc_status: entry.grpc_status,
        reason: entry.reason,
        shielded: entry.shielded,
        error: entry.code,
        complete: entry.complete,
        request_bytes: entry.request_bytes,
        response_bytes: entry.response_bytes,
        ttfb_us: entry.ttfb,
        duration_us: entry.duration,
        latency_us: entry.duration,
        client: entry.client,
        user_agent: request.and_then(|request| request.user_agent).map(text),
        referer: request.and_then(|request| request.referer).map(text),
        trace_id: request
            .and_then(|request| request.traceparent)
            .and_then(Trace::parse)
            .map(|trace| trace.id),
        request_id: request
            .and_then(|request| request.id)
            .and_then(RequestId::from_bytes),
    };
    let start = out.len();
    if visible::write_json(out, &line).is_err() {
        // Nothing in a line can fail, and half of one must not stand.
        out.truncate(start);
        out.extend_from_slice(b"{}");
    }
}

/// What a client sent, as text: what is no UTF-8 becomes U+FFFD.
fn text(field: &[u8]) -> Cow<'_, str> {
    match cut(field) {
        (all, true) => String::from_utf8_lossy(all),
        (start, false) => Cow::Owned(format!("{}…", String::from_utf8_lossy(start))),
    }
}

/// Sixteen digits; empty is not sticky.
fn key(hash: Option<u64>) -> String {
    let mut text = String::new();
    if let Some(hash) = hash {
        // Writing to a String cannot fail.
        let _ = write!(text, "{hash:016x}");
    }
    text
}
