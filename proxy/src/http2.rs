//! HTTP/2 for both sides, over the `h2` crate: messages, and streams that look like
//! connections.
//!
//! `h2` does frames, HPACK, flow control and the rules of RFC 9113; what it gives is
//! turned into the [`Head`](crate::h1::head::Head) that the rest of haldane knows, and
//! a body into bytes that are consumed and sent like those of HTTP/1.1. Window is
//! given back only for what was passed on, so each side is as fast as the other.

pub(crate) mod message;
pub(crate) mod rewound;
pub(crate) mod stream;
pub(crate) mod together;

/// What one stream may send ahead of what is passed on.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;

/// What all streams of a client's connection may send ahead together.
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What frames with less than 256 octets may cost while they wait, each as much as it has less
/// (`h2`): a stream's window full of messages of 32 octets is not too much. By default a quarter
/// of it is.
pub(crate) const SMALL_FRAMES: usize = 2 * 1024 * 1024;

/// What all streams of an upstream's connection may send ahead: the most there is (RFC 9113
/// §6.9.1). Many clients share it, and one that does not read must not use up what others
/// need; its stream has a window of its own.
pub(crate) const SHARED_WINDOW: u32 = (1 << 31) - 1;

/// What the head of an upstream's answer may have before it is looked at: more than any
/// configuration allows, 32 octets for each field included (RFC 9113 §6.5.2).
pub(crate) const ANSWER_HEAD_BYTES: u32 = 2 * 1024 * 1024;

/// What waits to be written for one stream; back-pressure starts here.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;
