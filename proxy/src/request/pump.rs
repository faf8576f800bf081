//! Moves one body from one connection to another, with back-pressure.

use std::io;
use std::task::{Context, Poll};

use crate::h1::body::{BodyReader, Framing};
use crate::h1::chunked;
use crate::h1::wire::Wire;

/// One body on its way.
pub(crate) struct Pump {
    reader: BodyReader,
    /// Whether the receiver gets chunks.
    chunked: bool,
    /// Bytes that are missing from the chunk that was opened.
    in_chunk: usize,
    ended: bool,
    /// Bytes of the body that the receiver's side has taken.
    pub(crate) moved: u64,
    /// Whom the last call waited for.
    pub(crate) waits_for: End,
}

/// An end of a pump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Receiver,
    Sender,
}

/// Why a body did not arrive whole.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The receiver is gone.
    Receiver,
    /// The sender is gone, or stopped before the end.
    Sender,
    /// What the sender sent is not the announced framing.
    Framing,
}

impl Pump {
    /// A pump for a body with this framing. `chunked`: the receiver gets chunks.
    pub(crate) fn new(framing: Framing, chunked: bool) -> Self {
        Self {
            reader: BodyReader::new(framing),
            chunked,
            in_chunk: 0,
            ended: false,
            moved: 0,
            waits_for: End::Sender,
        }
    }

    /// Whether the whole body was read and handed to the receiver's connection.
    pub(crate) fn is_done(&self) -> bool {
        self.ended
    }

    /// Moves what can be moved. Ready when the body is complete; its last bytes may
    /// still wait in the receiver's write buffer.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Wire,
        to: &mut Wire,
    ) -> Poll<Result<(), Broken>> {
        while !self.ended {
            let piece = self
                .reader
                .next(from.input())
                .map_err(|_| Broken::Framing)?;
            from.consume(piece.framing);
            if piece.data > 0 {
                match self.poll_move(cx, piece.data, from, to) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Receiver)),
                    Poll::Pending => {
                        self.waits_for = End::Receiver;
                        return Poll::Pending;
                    }
                }
            } else if self.reader.is_done() {
                self.end(to);
            } else {
                match from.poll_fill(cx) {
                    Poll::Ready(Ok(0)) if self.reader.ends_at_close() => {}
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Broken::Sender)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => return self.poll_idle(cx, to),
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing to read: what was moved goes out now, it may be all for a while.
    fn poll_idle(&mut self, cx: &mut Context<'_>, to: &mut Wire) -> Poll<Result<(), Broken>> {
        self.waits_for = match to.poll_flush(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Receiver)),
            Poll::Ready(Ok(())) => End::Sender,
            Poll::Pending => End::Receiver,
        };
        Poll::Pending
    }

    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        available: usize,
        from: &mut Wire,
        to: &mut Wire,
    ) -> Poll<io::Result<()>> {
        if self.chunked && self.in_chunk == 0 {
            chunked::write_size(to.output(), available);
            self.in_chunk = available;
        }
        let most = if self.chunked {
            self.in_chunk.min(available)
        } else {
            available
        };
        let moved = std::task::ready!(to.poll_send(cx, &from.input()[..most]))?;
        if moved == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        from.consume(moved);
        self.reader.used(moved);
        self.moved += moved as u64;
        if self.chunked {
            self.in_chunk -= moved;
            if self.in_chunk == 0 {
                to.output().extend_from_slice(b"\r\n");
            }
        }
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, to: &mut Wire) {
        self.ended = true;
        if self.chunked {
            chunked::write_end(to.output(), self.reader.trailers());
        }
    }
}
