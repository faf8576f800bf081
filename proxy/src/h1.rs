//! HTTP/1.1 on the wire, for both sides: heads, body framing and a buffered stream.
//!
//! haldane relays bytes, so it reads a message into one buffer and remembers where
//! its parts lie; nothing is turned into maps and strings and back. What is
//! ambiguous in RFC 9112 is refused here, before anything is forwarded.

pub(crate) mod body;
pub(crate) mod chunked;
pub(crate) mod extension;
pub(crate) mod field;
pub(crate) mod head;
#[cfg(test)]
mod hostile;
pub(crate) mod transport;
pub(crate) mod wire;
