//! The other end of an exchange: a connection of its own, or one stream of many.

use std::io;
use std::task::{Context, Poll, Waker};

use crate::h1::body::{BodyReader, Framing};
use crate::h1::wire::Wire;
use crate::http2::stream::Stream;

/// A client or an upstream, as the path of a request sees it.
pub(crate) enum Peer {
    H1(Box<Wire>),
    H2(Stream),
}

impl Peer {
    /// What finds a body with this framing in what comes in.
    pub(crate) fn reader(&self, framing: Framing) -> BodyReader {
        match self {
            // The stream ends where the body does, and `h2` has compared it with its length.
            Self::H2(_) if framing != Framing::Empty => BodyReader::new(Framing::UntilClose),
            Self::H1(_) | Self::H2(_) => BodyReader::new(framing),
        }
    }

    /// What was read and not consumed.
    pub(crate) fn input(&self) -> &[u8] {
        match self {
            Self::H1(wire) => wire.input(),
            Self::H2(stream) => stream.input(),
        }
    }

    /// Drops the first bytes of the input.
    pub(crate) fn consume(&mut self, bytes: usize) {
        match self {
            Self::H1(wire) => wire.consume(bytes),
            Self::H2(stream) => stream.consume(bytes),
        }
    }

    /// Reads once. 0 is the end of what this peer sends.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::H1(wire) => wire.poll_fill(cx),
            Self::H2(stream) => stream.poll_fill(cx),
        }
    }

    /// Takes a part of `data` for sending.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::H1(wire) => wire.poll_send(cx, data),
            Self::H2(stream) => stream.poll_send(cx, data),
        }
    }

    /// Writes what waits. The task of an HTTP/2 connection does that by itself, once it has it.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::H1(wire) => wire.poll_flush(cx),
            Self::H2(stream) => Poll::Ready(stream.release()),
        }
    }

    /// Whether this peer has given its stream up, if it has one.
    pub(crate) fn is_given_up(&mut self) -> bool {
        match self {
            Self::H1(_) => false,
            Self::H2(stream) => {
                let cx = &mut Context::from_waker(Waker::noop());
                stream.poll_given_up(cx).is_ready()
            }
        }
    }

    /// Whether the head of a final response was sent to this peer, if it has a stream.
    pub(crate) fn is_answered(&self) -> bool {
        match self {
            Self::H1(_) => false,
            Self::H2(stream) => stream.is_answered(),
        }
    }

    /// Why this peer gave its stream up, if it has one and did.
    pub(crate) fn reason(&self) -> Option<h2::Reason> {
        match self {
            Self::H1(_) => None,
            Self::H2(stream) => stream.reason(),
        }
    }
}
