//! A connection with a read buffer and a write buffer that are held only while in use.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::transport::Transport;
use crate::buffers::{Buffers, SMALL};

/// Data up to this size is copied behind what waits to be written: one `send`
/// instead of a `writev`. Measured to be cheaper for small messages.
const COPY_MAX: usize = 4 * 1024;

/// More than this does not wait in the write buffer: back-pressure starts here.
const PENDING_MAX: usize = 64 * 1024;

/// One end of a connection.
pub(crate) struct Wire {
    transport: Transport,
    lent: Lent,
    /// Where in the input what is not consumed yet starts and ends.
    start: usize,
    end: usize,
    /// Bytes of the output that were written.
    written: usize,
    /// The last read filled the buffer: there is more where it came from.
    filled: bool,
    /// The other end has said that it writes nothing more.
    ended: bool,
}

/// Buffers that go back when they are not needed.
struct Lent {
    buffers: Rc<Buffers>,
    /// What was read. Empty while idle.
    input: Vec<u8>,
    /// What is to be written. Without capacity while that is nothing.
    output: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(transport: Transport, buffers: Rc<Buffers>) -> Self {
        Self {
            transport,
            lent: Lent {
                buffers,
                input: Vec::new(),
                output: Vec::new(),
            },
            start: 0,
            end: 0,
            written: 0,
            filled: false,
            ended: false,
        }
    }

    /// What was read and not consumed.
    pub(crate) fn input(&self) -> &[u8] {
        &self.lent.input[self.start..self.end]
    }

    /// Drops the first bytes of the input.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Whether the other end has said that it writes nothing more. It may still read.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the input buffer can take more without growing past `most` bytes.
    pub(crate) fn has_room(&self, most: usize) -> bool {
        self.end - self.start < most
    }

    /// Reads once. 0 is the end of the stream. While nothing comes and nothing is
    /// left to consume, no buffer is held.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut buffer = ReadBuf::new(&mut self.lent.input[self.end..]);
        let result = Pin::new(&mut self.transport).poll_read(cx, &mut buffer);
        let (read, full) = (buffer.filled().len(), buffer.remaining() == 0);
        match result {
            Poll::Pending => {
                if self.start == self.end {
                    self.release_input();
                }
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                self.end += read;
                self.filled = full;
                self.ended |= read == 0;
                Poll::Ready(Ok(read))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.filled && self.lent.input.len() == SMALL {
                self.release_input();
                self.lent.input = self.lent.buffers.take_large();
            }
            self.filled = false;
            if self.lent.input.is_empty() {
                self.lent.input = self.lent.buffers.take_small();
            }
        } else if self.end == self.lent.input.len() {
            if self.start > 0 {
                self.lent.input.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                // Only a head that is allowed to be larger than a buffer comes here.
                self.lent.input.resize(self.lent.input.len() * 2, 0);
            }
        }
    }

    fn release_input(&mut self) {
        (self.start, self.end) = (0, 0);
        self.lent.buffers.give(std::mem::take(&mut self.lent.input));
    }

    /// The write buffer, to append to.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        if self.lent.output.capacity() == 0 {
            self.lent.output = self.lent.buffers.take_output();
        }
        &mut self.lent.output
    }

    fn pending(&self) -> usize {
        self.lent.output.len() - self.written
    }

    /// Takes a part of `data` for writing, behind what waits already.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.len() <= COPY_MAX {
            if self.pending() > PENDING_MAX {
                ready!(self.poll_flush(cx))?;
            }
            self.output().extend_from_slice(data);
            return Poll::Ready(Ok(data.len()));
        }
        loop {
            let pending = self.pending();
            if pending == 0 {
                return Pin::new(&mut self.transport).poll_write(cx, data);
            }
            let both = [
                IoSlice::new(&self.lent.output[self.written..]),
                IoSlice::new(data),
            ];
            let sent = ready!(Pin::new(&mut self.transport).poll_write_vectored(cx, &both))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(sent.min(pending));
            if sent > pending {
                return Poll::Ready(Ok(sent - pending));
            }
        }
    }

    /// Writes what waits.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.pending() > 0 {
            let sent = ready!(
                Pin::new(&mut self.transport).poll_write(cx, &self.lent.output[self.written..])
            )?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(sent);
        }
        // Under TLS, what was taken may still wait to be sent.
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn advance(&mut self, sent: usize) {
        self.written += sent;
        if self.written == self.lent.output.len() {
            self.written = 0;
            self.lent
                .buffers
                .give_output(std::mem::take(&mut self.lent.output));
        }
    }

    /// Gives the read buffer back if it holds nothing. The other one goes when it is written.
    pub(crate) fn rest(&mut self) {
        if self.start == self.end {
            self.release_input();
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }

    /// Says that nothing more will be written where the end of the connection alone
    /// does not say it: under TLS (RFC 8446 §6.1).
    pub(crate) fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.transport.is_encrypted() {
            self.poll_shutdown(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Whether nothing has come and the other end has not closed, as the operating
    /// system knows at this moment.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = self.transport.socket().peek(&mut byte);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// What carries the connection, and what was read of it and not consumed.
    pub(crate) fn into_parts(self) -> (Transport, Vec<u8>) {
        let unread = self.input().to_vec();
        (self.transport, unread)
    }

    /// The socket, for its options.
    pub(crate) fn socket(&self) -> SockRef<'_> {
        self.transport.socket()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.buffers.give(std::mem::take(&mut self.input));
        self.buffers.give_output(std::mem::take(&mut self.output));
    }
}
