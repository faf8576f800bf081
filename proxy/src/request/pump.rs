//! Moves one body from one peer to another, with back-pressure.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::h1::body::{BodyReader, Framing};
use crate::h1::chunked;
use crate::http2::message::fields_in;
use crate::live::Route;
use crate::peer::Peer;
use crate::websocket::Frames;

use super::marks::Marks;
use super::replay::Replay;

/// One body on its way.
pub(crate) struct Pump {
    reader: BodyReader,
    tail: Tail,
    /// The head has said that there is nothing.
    is_told: bool,
    /// Bytes that are missing from the chunk that was opened.
    in_chunk: usize,
    ended: bool,
    /// The trailer fields of the body, as lines, once it is complete.
    trailers: Vec<u8>,
    /// Whose marks are no trailers.
    marked: Option<Arc<Route>>,
    /// Follows the frames that are moved, where there are any.
    frames: Option<Frames>,
    /// What was read of the body, while it may have to be sent once more.
    kept: Option<Rc<Replay>>,
    /// How much of that is to be sent before anything is read, and how much was.
    due: usize,
    repeated: usize,
    /// Bytes of the body that the receiver's side has taken.
    pub(crate) moved: u64,
    /// Whom the last call waited for.
    pub(crate) waits_for: End,
}

/// How a receiver that has a connection of its own is told the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tail {
    /// By the last chunk; what comes before are chunks.
    Chunk,
    /// Not at all: it counts, or its connection ends.
    Nothing,
}

impl Tail {
    /// How an upstream is told the end of a request body with this framing.
    pub(crate) fn of(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self::Chunk,
            Framing::Empty | Framing::Length(_) | Framing::UntilClose => Self::Nothing,
        }
    }
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
    /// A pump for a body with this framing, which `from` sends.
    pub(crate) fn new(from: &Peer, framing: Framing, tail: Tail) -> Self {
        Self {
            reader: from.reader(framing),
            tail,
            is_told: framing == Framing::Empty,
            in_chunk: 0,
            ended: false,
            trailers: Vec::new(),
            marked: None,
            frames: None,
            kept: None,
            due: 0,
            repeated: 0,
            moved: 0,
            waits_for: End::Sender,
        }
    }

    /// A pump for one direction of a tunnel; `frames` follows what is in it.
    pub(crate) fn tunnel(frames: Option<Frames>) -> Self {
        Self {
            reader: BodyReader::new(Framing::UntilClose),
            tail: Tail::Nothing,
            is_told: false,
            in_chunk: 0,
            ended: false,
            trailers: Vec::new(),
            marked: None,
            frames,
            kept: None,
            due: 0,
            repeated: 0,
            moved: 0,
            waits_for: End::Sender,
        }
    }

    /// Drops the trailers that are named like what this route tells of a decision, or takes
    /// for one.
    pub(crate) fn withhold(&mut self, route: &Arc<Route>) {
        if Marks::of(&route.config).is_some() {
            self.marked = Some(Arc::clone(route));
        }
    }

    /// Keeps what is read from now on, as far as `replay` takes it.
    pub(crate) fn keep(&mut self, replay: Rc<Replay>) {
        self.kept = Some(replay);
    }

    /// What was kept is not needed any more once it was sent.
    pub(crate) fn forget(&mut self) {
        if self.repeated == self.due
            && let Some(kept) = self.kept.take()
        {
            kept.lose();
        }
    }

    /// Whether everything that was read can be sent once more.
    pub(crate) fn is_repeatable(&self) -> bool {
        match &self.kept {
            Some(kept) => !kept.is_lost(),
            None => self.is_untouched(),
        }
    }

    /// Whether nothing was read since the body began, or began again.
    pub(crate) fn is_untouched(&self) -> bool {
        self.moved == self.repeated as u64
    }

    /// Begins again, towards another receiver. Everything that was read must be there.
    pub(crate) fn rewind(&mut self) {
        self.in_chunk = 0;
        self.ended = false;
        self.due = self.kept.as_ref().map_or(0, |kept| kept.len());
        self.repeated = 0;
        self.moved = 0;
        self.waits_for = End::Sender;
    }

    /// Whether the whole body was read and handed to the receiver's side.
    pub(crate) fn is_done(&self) -> bool {
        self.ended
    }

    /// The value of a trailer field, once the body is complete.
    pub(crate) fn trailer(&self, name: &[u8]) -> Option<&[u8]> {
        fields_in(&self.trailers)
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Sees bytes of a tunnel that are dropped and not moved.
    pub(crate) fn follow(&mut self, dropped: &[u8]) {
        if let Some(frames) = &mut self.frames {
            frames.follow(dropped);
        }
    }

    /// What follows the frames that are moved.
    pub(crate) fn frames(&self) -> Option<&Frames> {
        self.frames.as_ref()
    }

    /// Moves what can be moved. Ready when the body is complete; its last bytes may
    /// still wait in the receiver's write buffer, and [`Pump::finish`] says that it ends.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Peer,
        to: &mut Peer,
    ) -> Poll<Result<(), Broken>> {
        match self.poll_repeat(cx, to) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Receiver)),
            Poll::Pending => {
                self.waits_for = End::Receiver;
                return Poll::Pending;
            }
        }
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
                self.end(from);
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
    fn poll_idle(&mut self, cx: &mut Context<'_>, to: &mut Peer) -> Poll<Result<(), Broken>> {
        self.waits_for = match to.poll_flush(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Receiver)),
            Poll::Ready(Ok(())) => End::Sender,
            Poll::Pending => End::Receiver,
        };
        Poll::Pending
    }

    /// Sends what was read before.
    fn poll_repeat(&mut self, cx: &mut Context<'_>, to: &mut Peer) -> Poll<io::Result<()>> {
        while self.repeated < self.due {
            let kept = self.kept.clone();
            let bytes = kept.as_ref().map(|kept| kept.bytes());
            let left = bytes.as_ref().and_then(|bytes| bytes.get(self.repeated..));
            let Some(data) = left.filter(|data| !data.is_empty()) else {
                return Poll::Ready(Err(io::ErrorKind::NotFound.into()));
            };
            let sent = std::task::ready!(self.poll_put(cx, data, to))?;
            self.repeated += sent;
            self.moved += sent as u64;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        available: usize,
        from: &mut Peer,
        to: &mut Peer,
    ) -> Poll<io::Result<()>> {
        let data = &from.input()[..available];
        let moved = std::task::ready!(self.poll_put(cx, data, to))?;
        self.moved(moved, from);
        Poll::Ready(Ok(()))
    }

    /// Hands a part of `data` to the receiver's side: how much, at least one byte. What it
    /// does not take must come again.
    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        to: &mut Peer,
    ) -> Poll<io::Result<usize>> {
        let chunks = match to {
            Peer::H1(wire) if self.tail == Tail::Chunk => Some(wire),
            Peer::H1(_) | Peer::H2(_) => None,
        };
        let Some(wire) = chunks else {
            let sent = std::task::ready!(to.poll_send(cx, data))?;
            return Poll::Ready(something(sent));
        };
        if self.in_chunk == 0 {
            chunked::write_size(wire.output(), data.len());
            self.in_chunk = data.len();
        }
        let data = &data[..self.in_chunk.min(data.len())];
        let sent = std::task::ready!(wire.poll_send(cx, data))?;
        self.in_chunk -= sent;
        if self.in_chunk == 0 {
            wire.output().extend_from_slice(b"\r\n");
        }
        Poll::Ready(something(sent))
    }

    fn moved(&mut self, moved: usize, from: &mut Peer) {
        if let Some(kept) = &self.kept {
            kept.keep(&from.input()[..moved]);
        }
        if let Some(frames) = &mut self.frames {
            frames.follow(&from.input()[..moved]);
        }
        from.consume(moved);
        self.reader.used(moved);
        self.moved += moved as u64;
    }

    fn end(&mut self, from: &Peer) {
        self.ended = true;
        let trailers = match from {
            Peer::H1(_) => self.reader.trailers(),
            Peer::H2(stream) => stream.trailers(),
        };
        self.trailers = match self
            .marked
            .as_ref()
            .and_then(|route| Marks::of(&route.config))
        {
            Some(marks) if !trailers.is_empty() => marks.unmarked(trailers),
            Some(_) | None => trailers.to_vec(),
        };
    }

    /// Tells the receiver that the body is complete, which it must be.
    pub(crate) fn finish(&self, to: &mut Peer) {
        match to {
            Peer::H1(wire) if self.tail == Tail::Chunk => {
                chunked::write_end(wire.output(), &self.trailers);
            }
            Peer::H2(stream) if !self.is_told => stream.finish(&self.trailers),
            Peer::H1(_) | Peer::H2(_) => {}
        }
    }
}

fn something(sent: usize) -> io::Result<usize> {
    if sent == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(sent)
}
