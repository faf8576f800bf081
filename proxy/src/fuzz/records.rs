//! Records of requests: those that are read, and those that are written.

use std::io::BufReader;
use std::net::IpAddr;

use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use crate::cli::replay::rows::{BadRow, Reading, Rows};
use crate::telemetry::access::{Destination, Entry, Request, combined, json};
use crate::trace::Trace;

/// A row that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Counted from 1.
    pub row: u64,
    /// In microseconds since 1970.
    pub at: u64,
    /// In microseconds.
    pub latency: u64,
    /// `stable` or `canary`.
    pub role: &'static str,
    /// 0 if there was no response.
    pub status: u16,
    /// Hashed.
    pub key: Option<u64>,
    /// In parts per million.
    pub weight: u32,
}

/// All rows up to the end or the first bad one, and the line and text of that. They come in
/// parts of `part` bytes.
#[must_use]
pub fn rows(bytes: &[u8], part: usize, weight: Option<u32>) -> (Vec<Row>, Option<(u64, String)>) {
    let reading = Reading {
        weight: weight.and_then(Weight::from_parts_per_million),
        route: None,
    };
    let mut found = Vec::new();
    let read = || -> Result<(), BadRow> {
        let input = BufReader::with_capacity(part.max(1), bytes);
        let mut rows = Rows::open(input, reading)?;
        while let Some(record) = rows.next()? {
            found.push(Row {
                row: record.row,
                at: record.at.as_micros(),
                latency: record.latency,
                role: record.role.as_str(),
                status: record.status,
                key: record.key,
                weight: record.weight.parts_per_million(),
            });
        }
        Ok(())
    };
    let bad = read().err();
    (found, bad.map(|bad| (bad.line, bad.what)))
}

/// The trace that a `traceparent` names, if it is one, and whether that is sampled.
#[must_use]
pub fn trace(field: &[u8]) -> Option<(String, bool)> {
    Trace::parse(field).map(|trace| (trace.id.to_string(), trace.is_sampled))
}

/// A request that is logged.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a> {
    /// In microseconds since 1970.
    pub ended: u64,
    /// In microseconds.
    pub duration: u64,
    /// Who sent it.
    pub client: IpAddr,
    /// What it asked for.
    pub method: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// Fields of it.
    pub host: Option<&'a [u8]>,
    /// Fields of it.
    pub user_agent: Option<&'a [u8]>,
    /// Fields of it.
    pub referer: Option<&'a [u8]>,
    /// Fields of it.
    pub traceparent: Option<&'a [u8]>,
    /// The value of `x-request-id`.
    pub id: Option<&'a [u8]>,
    /// The version that it was sent to, if it was.
    pub version: Option<&'a str>,
    /// The header that decided its role, if one did.
    pub forced: Option<&'a str>,
    /// What it was split by.
    pub key: Option<u64>,
    /// What the client was told.
    pub status: Option<u16>,
    /// How its version failed it.
    pub reason: Option<&'static str>,
}

/// Its lines: as JSON, and in the combined format.
#[must_use]
pub fn lines(logged: &Logged<'_>) -> (Vec<u8>, Vec<u8>) {
    let entry = Entry {
        ended: Timestamp::from_micros(logged.ended),
        duration: logged.duration,
        ttfb: None,
        client: logged.client,
        request: Some(Request {
            method: logged.method,
            target: logged.target,
            protocol: "HTTP/1.1",
            host: logged.host,
            user_agent: logged.user_agent,
            referer: logged.referer,
            traceparent: logged.traceparent,
            id: logged.id,
        }),
        routed: logged.version.map(|version| Destination {
            route: "default",
            role: Role::Canary,
            version,
            generation: 1,
            weight: Weight::ZERO,
            key: logged.key,
            rule: None,
            forced: logged.forced,
        }),
        status: logged.status,
        grpc_status: None,
        reason: logged.reason,
        shielded: None,
        code: None,
        complete: true,
        request_bytes: 0,
        response_bytes: 1,
    };
    let (mut object, mut line) = (Vec::new(), Vec::new());
    json::write(&mut object, &entry);
    combined::write(&mut line, &entry);
    (object, line)
}
