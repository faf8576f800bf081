//! Bodies in the chunked coding, and trailers.

use crate::h1::body::{BodyReader, Framing};
use crate::h1::chunked;
use crate::http2::message;

/// What was found in a chunked body.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Chunks {
    /// The data.
    pub data: Vec<u8>,
    /// The trailers that may be passed on, as lines.
    pub trailers: Vec<u8>,
    /// Bytes that belong to the body, if it is whole.
    pub length: Option<usize>,
    /// It is malformed.
    pub is_bad: bool,
}

/// Reads a chunked body that comes in parts of this length, of which at most `taken` bytes
/// of data are used at once.
#[must_use]
pub fn chunks(bytes: &[u8], part: usize, taken: usize) -> Chunks {
    let mut reader = BodyReader::new(Framing::Chunked);
    let mut found = Chunks::default();
    let (mut start, mut end) = (0, 0);
    while !reader.is_done() && (start < end || end < bytes.len()) {
        if start == end {
            end = (end + part.max(1)).min(bytes.len());
        }
        let Ok(piece) = reader.next(&bytes[start..end]) else {
            found.is_bad = true;
            return found;
        };
        start += piece.framing;
        let used = piece.data.min(taken.max(1));
        found.data.extend_from_slice(&bytes[start..start + used]);
        start += used;
        reader.used(used);
    }
    if reader.is_done() {
        found.length = Some(start);
        found.trailers = reader.trailers().to_vec();
    }
    found
}

/// Writes a chunked body.
#[must_use]
pub fn write_chunks(data: &[u8], size: usize, trailers: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in data.chunks(size.max(1)) {
        chunked::write_size(&mut out, chunk.len());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    chunked::write_end(&mut out, trailers);
    out
}

/// Trailers as HTTP/2 has them, and again as lines.
#[must_use]
pub fn trailers(lines: &[u8]) -> (::http::HeaderMap, Vec<u8>) {
    let fields = message::trailers_of(lines);
    let lines = message::trailer_lines(&fields);
    (fields, lines.unwrap_or_default())
}
