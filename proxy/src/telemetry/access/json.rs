//! A line of the access log as a JSON object.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::{Entry, cut, date};

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
    trace_id: Option<&'a str>,
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
            .and_then(trace_id),
    };
    let start = out.len();
    let written = line.serialize(&mut Serializer::with_formatter(&mut *out, Visible));
    if written.is_err() {
        // Nothing in a line can fail, and half of one must not stand.
        out.truncate(start);
        out.extend_from_slice(b"{}");
    }
}

/// JSON on one line, without anything that a terminal would act on.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut formatter = CompactFormatter;
        let mut shown = 0;
        for (at, character) in fragment.char_indices().filter(|(_, c)| is_hidden(*c)) {
            formatter.write_string_fragment(writer, &fragment[shown..at])?;
            // All of these lie in the basic plane.
            write!(writer, "\\u{:04x}", u32::from(character))?;
            shown = at + character.len_utf8();
        }
        formatter.write_string_fragment(writer, &fragment[shown..])
    }
}

/// Control characters, ends of lines, and what changes the direction of a text: the JSON
/// library escapes those below U+0020 only.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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

/// The trace in a `traceparent` (<https://www.w3.org/TR/trace-context/#traceparent-header>).
fn trace_id(field: &[u8]) -> Option<&str> {
    let field = std::str::from_utf8(field).ok()?;
    let mut parts = field.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = trace.len() == 32 && is_hex(trace) && trace.bytes().any(|byte| byte != b'0');
    (version.len() == 2 && is_hex(version) && version != "ff" && is_id).then_some(trace)
}
