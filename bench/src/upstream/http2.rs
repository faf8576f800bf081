//! Calls of gRPC at an upstream: several at a time on one connection.

use std::io::{self, ErrorKind, Write};

use super::Job;
use crate::{
    failure::Failure,
    h2::{Event, Session, hpack},
};

/// A connection with its calls.
#[derive(Debug)]
pub(super) struct Calls {
    session: Session,
    /// Bytes of the session's `out` that are written.
    written: usize,
    open: Vec<Call>,
    /// Of an answer, and of its trailers.
    blocks: [Vec<u8>; 2],
}

#[derive(Debug)]
struct Call {
    stream: u32,
    /// Of the request, so far.
    body: Vec<u8>,
    /// The answer's head is on its way; its body waits for room.
    blocked: bool,
}

impl Calls {
    /// A connection of which the preface was taken.
    pub(super) fn new() -> Self {
        let (mut head, mut trailers) = (vec![OK], Vec::new());
        hpack::named(CONTENT_TYPE, b"application/grpc", &mut head);
        hpack::literal(b"grpc-status", b"0", &mut trailers);
        Self {
            session: Session::new(&[]),
            written: 0,
            open: Vec::new(),
            blocks: [head, trailers],
        }
    }

    /// Takes what came and answers with `answer` what is complete; returns how many calls that were.
    pub(super) fn take(&mut self, bytes: &[u8], job: &Job, answer: &[u8]) -> Result<u64, Failure> {
        self.session.feed(bytes);
        let mut answered = 0;
        while let Some(event) = self.session.next()? {
            let (stream, end) = match event {
                Event::Room => {
                    self.unblock(answer);
                    continue;
                }
                Event::Head { stream, end } => {
                    self.begin(stream, job)?;
                    (stream, end)
                }
                Event::Data { stream, at, end } => {
                    let Some(at_call) = self.position(stream) else {
                        return Err(Failure::violation("bytes of a call that is none"));
                    };
                    let call = &mut self.open[at_call];
                    call.body.extend_from_slice(self.session.bytes(&at));
                    (stream, end)
                }
            };
            if end {
                self.answer(stream, job, answer)?;
                answered += 1;
            }
        }
        Ok(answered)
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        let out = &mut self.session.out;
        while self.written < out.len() {
            match socket.write(&out[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        out.clear();
        self.written = 0;
        Ok(())
    }

    /// Whether no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    fn begin(&mut self, stream: u32, job: &Job) -> Result<(), Failure> {
        let fields = &self.session.fields;
        let line = [&fields.method[..], b" ", &fields.path, b" HTTP/1.1\r\n"].concat();
        if !job.calls || line != job.request_line {
            let line = String::from_utf8_lossy(&line);
            return Err(Failure::violation(format!(
                "an upstream was called for {line:?}"
            )));
        }
        self.open.push(Call {
            stream,
            body: Vec::new(),
            blocked: false,
        });
        Ok(())
    }

    fn answer(&mut self, stream: u32, job: &Job, answer: &[u8]) -> Result<(), Failure> {
        let call = self.position(stream).map(|at| &mut self.open[at]);
        let Some(call) = call.filter(|call| call.body == job.body) else {
            return Err(Failure::violation("a call is not as it was sent"));
        };
        call.blocked = true;
        let [head, _] = &self.blocks;
        self.session.head(stream, head, false);
        self.unblock(answer);
        Ok(())
    }

    fn unblock(&mut self, answer: &[u8]) {
        let Self {
            session,
            open,
            blocks: [_, trailers],
            ..
        } = self;
        open.retain(|call| {
            let done = call.blocked && session.body(call.stream, answer, false);
            if done {
                session.head(call.stream, trailers, true);
            }
            !done
        });
    }

    fn position(&self, stream: u32) -> Option<usize> {
        self.open.iter().position(|call| call.stream == stream)
    }
}

/// `:status: 200` in the static table.
const OK: u8 = 0x88;

/// `content-type` in the static table.
const CONTENT_TYPE: u8 = 31;
