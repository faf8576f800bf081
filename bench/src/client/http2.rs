//! HTTP/2: several requests at a time on one connection, also calls of gRPC.

use std::io::{ErrorKind, IoSlice};

use mio::{Registry, Token, event::Event};

use super::{Answered, reading, sending};
use crate::{
    case::{Case, END_MARK, Kind, Version},
    failure::Failure,
    grpc,
    h2::{self, PREFACE, Session},
    wire::{Target, Wire},
};

/// A connection with its streams.
#[derive(Debug)]
pub(crate) struct Client {
    token: Token,
    target: Target,
    wire: Option<Wire>,
    session: Session,
    /// Bytes of the session's `out` that are written.
    written: usize,
    slots: Vec<Slot>,
    next_stream: u32,
}

/// An exchange, or room for one.
#[derive(Debug, Default)]
struct Slot {
    /// 0 while there is none.
    stream: u32,
    user: usize,
    due_ns: u64,
    /// Its head has come, and was right.
    begun: bool,
    /// Its body waits for room.
    blocked: bool,
    /// The body so far.
    body: Vec<u8>,
}

impl Client {
    /// Not connected yet.
    pub(super) fn new(streams: usize, token: Token, target: Target) -> Self {
        Self {
            token,
            target,
            wire: None,
            session: Session::new(PREFACE),
            written: 0,
            slots: std::iter::repeat_with(Slot::default)
                .take(streams)
                .collect(),
            next_stream: 1,
        }
    }

    pub(super) fn start(
        &mut self,
        user: usize,
        due_ns: u64,
        case: &Case,
        registry: &Registry,
    ) -> Result<(), Failure> {
        if self.wire.is_none() {
            self.wire = Some(Wire::connect(&self.target, self.token, registry)?);
        }
        let stream = self.next_stream;
        self.next_stream += 2;
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.stream == 0) else {
            return Err(Failure::violation("more requests than streams"));
        };
        (slot.stream, slot.user, slot.due_ns) = (stream, user, due_ns);
        (slot.begun, slot.blocked) = (false, false);
        slot.body.clear();
        let blocks = if stream == 1 {
            &case.firsts
        } else {
            &case.heads
        };
        self.session
            .head(stream, &blocks[user], case.body.is_empty());
        if !case.body.is_empty() {
            slot.blocked = !self.session.body(stream, &case.body, true);
        }
        Ok(())
    }

    pub(super) fn advance(
        &mut self,
        event: &Event,
        scratch: &mut [u8],
        case: &Case,
        answered: &mut Vec<Answered>,
    ) -> Result<(), Failure> {
        if event.is_writable() {
            if let Some(wire) = &mut self.wire {
                wire.flush().map_err(|error| sending(&error))?;
            }
            self.flush()?;
        }
        if !event.is_readable() {
            return Ok(());
        }
        while let Some(wire) = &mut self.wire {
            match wire.read(scratch) {
                Ok(0) => return Err(Failure::violation("the proxy closed a connection")),
                Ok(n) => {
                    let again = wire.read_again(n, scratch.len(), event);
                    self.take(&scratch[..n], case, answered)?;
                    if !again {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(reading(&error)),
            }
        }
        Ok(())
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let (Some(wire), out) = (&mut self.wire, &mut self.session.out) else {
            return Ok(());
        };
        while self.written < out.len() {
            match wire.write(&[IoSlice::new(&out[self.written..])]) {
                Ok(n) => self.written += n,
                // A connection that is not made yet says the latter.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    ) =>
                {
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(sending(&error)),
            }
        }
        out.clear();
        self.written = 0;
        Ok(())
    }

    fn take(
        &mut self,
        bytes: &[u8],
        case: &Case,
        answered: &mut Vec<Answered>,
    ) -> Result<(), Failure> {
        self.session.feed(bytes);
        while let Some(event) = self.session.next()? {
            let (stream, end) = match event {
                h2::Event::Room => {
                    self.unblock(case);
                    continue;
                }
                h2::Event::Head { stream, end } => {
                    let slot = slot(&mut self.slots, stream)?;
                    check_head(&self.session.fields, slot, end, case)?;
                    slot.begun = true;
                    (stream, end)
                }
                h2::Event::Data { stream, at, end } => {
                    let slot = slot(&mut self.slots, stream)?;
                    slot.body.extend_from_slice(self.session.bytes(&at));
                    if end && case.kind == Kind::Grpc {
                        return Err(Failure::violation("a call ended without a status"));
                    }
                    (stream, end)
                }
            };
            if end {
                answered.push(slot(&mut self.slots, stream)?.answered(case)?);
            }
        }
        Ok(())
    }

    fn unblock(&mut self, case: &Case) {
        for slot in self.slots.iter_mut().filter(|slot| slot.blocked) {
            slot.blocked = !self.session.body(slot.stream, &case.body, true);
        }
    }
}

impl Slot {
    /// Checks the whole answer, and makes room for the next one.
    fn answered(&mut self, case: &Case) -> Result<Answered, Failure> {
        let body = match case.kind {
            Kind::Grpc => grpc::content(&self.body),
            _ => Some(&self.body[..]),
        };
        let version = body
            .filter(|body| self.begun && body.len() == case.answer_len)
            .filter(|body| body.last() == Some(&END_MARK))
            .and_then(|body| Version::of_mark(*body.first()?))
            .ok_or_else(|| {
                Failure::violation(format!(
                    "an answer of {} bytes is not as it was sent",
                    self.body.len()
                ))
            })?;
        self.stream = 0;
        Ok(Answered {
            user: self.user,
            version,
            due_ns: self.due_ns,
        })
    }
}

fn slot(slots: &mut [Slot], stream: u32) -> Result<&mut Slot, Failure> {
    slots
        .iter_mut()
        .find(|slot| slot.stream == stream)
        .ok_or_else(|| Failure::violation(format!("an answer on stream {stream}, which is none")))
}

fn check_head(fields: &h2::Fields, slot: &Slot, end: bool, case: &Case) -> Result<(), Failure> {
    let good = if slot.begun {
        case.kind == Kind::Grpc && end && fields.grpc_status == b"0"
    } else {
        let length = &fields.content_length;
        !end && fields.status == b"200"
            && (length.is_empty() || length == case.answer_len.to_string().as_bytes())
    };
    if good {
        return Ok(());
    }
    let (status, call) = [&fields.status, &fields.grpc_status]
        .map(|text| String::from_utf8_lossy(text))
        .into();
    Err(Failure::violation(format!(
        "an answer's fields say {status:?}, of a call {call:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(kind: Kind) -> (Client, Case) {
        let target = Target::plain(([127, 0, 0, 1], 1).into());
        let case = Case::new(kind);
        let mut client = Client::new(case.streams, Token(0), target);
        client.slots[0].stream = 1;
        (client, case)
    }

    fn upstream(head: &[u8], body: &[u8], trailers: &[u8]) -> Vec<u8> {
        let mut session = Session::new(&[]);
        session.head(1, head, false);
        session.body(1, body, trailers.is_empty());
        if !trailers.is_empty() {
            session.head(1, trailers, true);
        }
        session.out
    }

    fn trailers(status: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        h2::hpack::literal(b"grpc-status", status, &mut block);
        block
    }

    fn taken(kind: Kind, bytes: &[u8]) -> Result<Vec<Answered>, Failure> {
        let (mut client, case) = client(kind);
        let mut answered = Vec::new();
        client.take(bytes, &case, &mut answered)?;
        Ok(answered)
    }

    #[test]
    fn whole_answers_count() {
        let (_, case) = client(Kind::H2c);
        let answer = case.answer(Version::Canary);
        let body = &answer[answer.len() - 128..];
        let answered = taken(Kind::H2c, &upstream(&[0x88], body, &[])).unwrap();
        assert_eq!(answered[0].version, Version::Canary);
        let call = Case::new(Kind::Grpc).answer(Version::Stable);
        let bytes = upstream(&[0x88], &call, &trailers(b"0"));
        let answered = taken(Kind::Grpc, &bytes).unwrap();
        assert_eq!((answered.len(), answered[0].version), (1, Version::Stable));
    }

    #[test]
    fn wrong_answers_are_violations() {
        let (_, case) = client(Kind::H2c);
        let answer = case.answer(Version::Stable);
        let body = &answer[answer.len() - 128..];
        assert!(taken(Kind::H2c, &upstream(&[0x8d], body, &[])).is_err());
        assert!(taken(Kind::H2c, &upstream(&[0x88], &body[1..], &[])).is_err());
        assert!(taken(Kind::H2c, &upstream(&[0x88], body, &trailers(b"0"))).is_err());
        let call = Case::new(Kind::Grpc).answer(Version::Stable);
        assert!(taken(Kind::Grpc, &upstream(&[0x88], &call, &trailers(b"14"))).is_err());
        assert!(taken(Kind::Grpc, &upstream(&[0x88], &call, &[])).is_err());
        assert!(taken(Kind::Grpc, &upstream(&[0x88], &call[1..], &trailers(b"0"))).is_err());
    }
}
