//! Recorded requests as lines of JSON: with the names of the CSV columns, or haldane's own
//! access log, which has them too and says more.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, Read};

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, Visitor};

use super::rows::{BadRow, Line, hash, role, status};

/// Objects, one on each line.
pub(crate) struct JsonRows<R> {
    input: R,
    text: Vec<u8>,
    line: u64,
    /// The route that is read: the one that is asked for, or the first there is.
    route: Option<String>,
    is_asked_for: bool,
}

/// Longer lines are something else.
const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Deserialize)]
struct Object<'a> {
    timestamp_ms: Option<f64>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    status: Option<f64>,
    latency_us: Option<f64>,
    #[serde(default)]
    key: Key,
    weight: Option<f64>,
    /// The rest is only in the access log, this one in every line of it.
    duration_us: Option<IgnoredAny>,
    #[serde(borrow)]
    route: Option<Cow<'a, str>>,
    /// How its version failed the request.
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    /// Which version answered in its place.
    shielded: Option<IgnoredAny>,
    /// What haldane answered itself.
    error: Option<IgnoredAny>,
    /// The rule that decided in the place of the weight.
    rule: Option<IgnoredAny>,
}

/// A hashed key; nothing if it is empty or null.
#[derive(Clone, Copy, Debug, Default)]
struct Key(Option<u64>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number or null as key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
        Ok(Key(hash(text.as_bytes())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Key, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Key, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<Key, E> {
        Ok(Key(None))
    }
}

impl<R: BufRead> JsonRows<R> {
    pub(crate) fn new(input: R, route: Option<String>) -> Self {
        Self {
            input,
            text: Vec::new(),
            line: 0,
            is_asked_for: route.is_some(),
            route,
        }
    }

    /// The line that was read last.
    pub(crate) const fn line(&self) -> u64 {
        self.line
    }

    /// The next line; nothing in it if it says nothing about a version.
    pub(crate) fn next(&mut self) -> Result<Option<Option<Line>>, BadRow> {
        loop {
            self.text.clear();
            self.line += 1;
            let mut input = self.input.by_ref().take(LINE_BYTES_MAX as u64);
            let read = input.read_until(b'\n', &mut self.text);
            let line = self.line;
            let bad = |what| BadRow { line, what };
            if read.map_err(|error| bad(format!("cannot read on: {error}")))? == 0 {
                return Ok(None);
            }
            let text = self.text.trim_ascii();
            if text.len() >= LINE_BYTES_MAX {
                return Err(bad("the line is longer than 1 MiB".to_owned()));
            }
            if !text.is_empty() {
                let object: Object<'_> =
                    serde_json::from_slice(text).map_err(|error| bad(said(&error)))?;
                let route = (&mut self.route, self.is_asked_for);
                return parse(&object, route).map(Some).map_err(bad);
            }
        }
    }
}

/// What is wrong with a line, without the number that serde gives it.
fn said(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    format!("not a row as JSON: {message} at column {}", error.column())
}

fn parse(
    object: &Object<'_>,
    (route, is_asked_for): (&mut Option<String>, bool),
) -> Result<Option<Line>, String> {
    let is_log = object.duration_us.is_some();
    // It was sent to no version, or by a rule, which is no evidence.
    if is_log && (object.role.is_none() || object.rule.is_some()) {
        return Ok(None);
    }
    if let Some(own) = &object.route {
        match route {
            Some(route) if *route == *own => {}
            Some(_) if is_asked_for => return Ok(None),
            Some(route) => {
                return Err(format!(
                    "there is a route {own:?} beside {route:?}; name one with --route"
                ));
            }
            None => *route = Some(own.to_string()),
        }
    }
    let missing = |name: &str, allowed: &str| format!("{name} is missing; allowed is {allowed}");
    let timestamp_ms = object.timestamp_ms.ok_or_else(|| {
        missing(
            "timestamp_ms",
            "when the response ended, in milliseconds since 1970",
        )
    })?;
    let text = object
        .role
        .as_ref()
        .ok_or_else(|| missing("role", "stable or canary"))?;
    let number = object
        .status
        .ok_or_else(|| missing("status", "an HTTP status, or 0 for no response"))?;
    let latency_us = object
        .latency_us
        .ok_or_else(|| missing("latency_us", "how long the request took, in microseconds"))?;
    let mut status = status(number)?;
    if is_log {
        match object.reason {
            // Its client left, or haldane refused it or gave it to the other version: that
            // says nothing about the version.
            None if status == 0 || object.error.is_some() || object.shielded.is_some() => {
                return Ok(None);
            }
            // It has failed whatever its client was told.
            Some(_) if status < 500 => status = 0,
            None | Some(_) => {}
        }
    }
    Ok(Some(Line {
        timestamp_ms,
        role: role(text.as_bytes())?,
        status,
        latency_us,
        key: object.key.0,
        weight: object.weight,
    }))
}
