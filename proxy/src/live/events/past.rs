//! What happened before this process began: events as an earlier one has written them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Event;

/// Numbers beyond cannot come from counting.
const SEQ_MAX: u64 = 1 << 53;

/// An event of an earlier process. Its text is shown as it was, whatever form events have
/// now.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct PastEvent {
    #[serde(skip)]
    pub(crate) seq: u64,
    #[serde(skip)]
    pub(crate) route: Option<Arc<str>>,
    text: Arc<RawValue>,
}

/// An event of this process, or of one before.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Recorded {
    Now(Event),
    Past(PastEvent),
}

/// What of an event has a meaning for who goes on.
#[derive(Deserialize)]
struct Outline {
    seq: u64,
    route: Option<Arc<str>>,
}

impl Recorded {
    /// Its number.
    pub(crate) const fn seq(&self) -> u64 {
        match self {
            Self::Now(event) => event.seq,
            Self::Past(event) => event.seq,
        }
    }
}

impl PastEvent {
    /// The event that a line is, if it is one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let outline: Outline = serde_json::from_str(line).ok()?;
        // What is only passed over may be what no reader takes: a number beyond all numbers,
        // half of a character, or a depth without end. One such event would cost them all.
        drop(serde_json::from_str::<Value>(line).ok()?);
        let text: Box<RawValue> = serde_json::from_str(line).ok()?;
        (outline.seq > 0 && outline.seq < SEQ_MAX).then(|| Self {
            seq: outline.seq,
            route: outline.route,
            text: text.into(),
        })
    }
}
