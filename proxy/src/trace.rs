//! The trace that a request belongs to, as its client names it
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>).

use std::fmt;

use serde::{Serialize, Serializer};

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// Whether whoever traces may have kept it.
    pub(crate) is_sampled: bool,
}

/// The name of a trace: 32 hexadecimal digits, not all of them zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TraceId(u128);

/// The flag of a trace that is sampled.
const SAMPLED: u128 = 1;

impl Trace {
    /// From the value of a field. `None` if that is no valid `traceparent`: then it names
    /// no trace.
    pub(crate) fn parse(field: &[u8]) -> Option<Self> {
        let mut parts = field.split(|byte| *byte == b'-');
        let version = hex(parts.next()?, 2).filter(|version| *version != 0xff)?;
        let id = hex(parts.next()?, 32).filter(|id| *id != 0)?;
        let _parent = hex(parts.next()?, 16).filter(|parent| *parent != 0)?;
        let flags = hex(parts.next()?, 2)?;
        // Later versions may say more.
        let is_over = parts.next().is_none();
        (version > 0 || is_over).then_some(Self {
            id: TraceId(id),
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// So many digits, in lower case.
fn hex(text: &[u8], digits: usize) -> Option<u128> {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let text = std::str::from_utf8(text).ok()?;
    let is_whole = text.len() == digits && text.as_bytes().iter().all(is_hex);
    is_whole.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_a_name_and_may_be_sampled() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (rest, is_sampled) in [
            ("00f067aa0ba902b7-01", true),
            ("00f067aa0ba902b7-03", true),
            ("00f067aa0ba902b7-00", false),
            ("00f067aa0ba902b7-02", false),
        ] {
            let trace = Trace::parse(format!("00-{id}-{rest}").as_bytes()).expect("is valid");
            assert_eq!(
                (trace.id.to_string(), trace.is_sampled),
                (id.to_owned(), is_sampled)
            );
        }
        let small = Trace::parse(b"00-0000000000000000000000000000000a-00f067aa0ba902b7-01");
        let small = small.expect("is valid").id.to_string();
        assert_eq!(small, "0000000000000000000000000000000a");
    }

    #[test]
    fn what_is_not_valid_names_no_trace() {
        for field in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, 00",
        ] {
            assert_eq!(Trace::parse(field.as_bytes()), None, "{field}");
        }
    }
}
