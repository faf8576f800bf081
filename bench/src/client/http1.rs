//! HTTP/1.1: one request at a time on a connection, or on a new one each.

use std::io::{ErrorKind, IoSlice};

use mio::{Registry, Token, event::Event};

use super::{Answered, reading, sending};
use crate::{
    case::{Case, END_MARK, Version},
    failure::Failure,
    message,
    wire::{Target, Wire},
};

/// A connection slot; it dials when it first has something to send.
#[derive(Debug)]
pub(crate) struct Client {
    token: Token,
    target: Target,
    wire: Option<Wire>,
    state: State,
    user: usize,
    due_ns: u64,
    /// The start of a head that came in parts.
    head: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    Send {
        sent: usize,
    },
    Head,
    Body {
        left: usize,
        first: Option<u8>,
    },
    /// The answer is complete and the proxy has to close.
    Closing {
        version: Version,
    },
}

impl Client {
    /// Not connected yet.
    pub(super) fn new(token: Token, target: Target) -> Self {
        let (wire, state, head) = (None, State::Idle, Vec::new());
        Self {
            token,
            target,
            wire,
            state,
            user: 0,
            due_ns: 0,
            head,
        }
    }

    /// Sends a user's request, over a new connection if there is none.
    pub(super) fn start(
        &mut self,
        user: usize,
        due_ns: u64,
        case: &Case,
        registry: &Registry,
    ) -> Result<(), Failure> {
        (self.user, self.due_ns) = (user, due_ns);
        self.state = State::Send { sent: 0 };
        if self.wire.is_some() {
            return self.send(case);
        }
        // The first writable event says that the connection stands.
        self.wire = Some(Wire::connect(&self.target, self.token, registry)?);
        Ok(())
    }

    /// Goes on as far as an event allows.
    pub(super) fn advance(
        &mut self,
        event: &Event,
        scratch: &mut [u8],
        case: &Case,
    ) -> Result<Option<Answered>, Failure> {
        if event.is_writable() {
            if let Some(wire) = &mut self.wire {
                wire.flush().map_err(|error| sending(&error))?;
            }
            self.send(case)?;
        }
        if !event.is_readable() {
            return Ok(None);
        }
        while let Some(wire) = &mut self.wire {
            match wire.read(scratch) {
                Ok(0) => return self.ended().map(Some),
                Ok(n) => {
                    let again = wire.read_again(n, scratch.len(), event);
                    let answered = self.take(&scratch[..n], case)?;
                    if answered.is_some() {
                        return Ok(answered);
                    }
                    if !again {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(reading(&error)),
            }
        }
        Ok(None)
    }

    fn send(&mut self, case: &Case) -> Result<(), Failure> {
        let State::Send { mut sent } = self.state else {
            return Ok(());
        };
        let Some(wire) = &mut self.wire else {
            return Ok(());
        };
        let (head, body) = (case.heads[self.user].as_slice(), case.body.as_slice());
        while sent < head.len() + body.len() {
            let parts = [
                IoSlice::new(head.get(sent..).unwrap_or_default()),
                IoSlice::new(&body[sent.saturating_sub(head.len())..]),
            ];
            match wire.write(&parts) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.state = State::Send { sent };
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(sending(&error)),
            }
        }
        self.state = State::Head;
        Ok(())
    }

    fn ended(&mut self) -> Result<Answered, Failure> {
        let State::Closing { version } = self.state else {
            let state = self.state;
            return Err(Failure::violation(format!(
                "the proxy closed a connection in {state:?}"
            )));
        };
        self.wire = None;
        Ok(self.answered(version))
    }

    fn answered(&mut self, version: Version) -> Answered {
        self.state = State::Idle;
        Answered {
            user: self.user,
            version,
            due_ns: self.due_ns,
        }
    }

    fn take(&mut self, bytes: &[u8], case: &Case) -> Result<Option<Answered>, Failure> {
        match self.state {
            State::Idle | State::Closing { .. } => {
                return Err(Failure::violation("bytes follow an answer"));
            }
            State::Send { .. } => {
                return Err(Failure::violation(
                    "an answer came before its request was sent",
                ));
            }
            State::Body { left, first } => return self.take_body(bytes, left, first, case),
            State::Head if self.head.is_empty() => {
                if let Some(end) = message::head_end(bytes) {
                    return self.begin(&bytes[..end], &bytes[end..], case);
                }
            }
            State::Head => {}
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = message::head_end(&self.head) else {
            return match self.head.len() {
                0..=HEAD_MAX => Ok(None),
                _ => Err(Failure::violation("an answer's head does not end")),
            };
        };
        let head = std::mem::take(&mut self.head);
        self.begin(&head[..end], &head[end..], case)
    }

    fn begin(
        &mut self,
        head: &[u8],
        rest: &[u8],
        case: &Case,
    ) -> Result<Option<Answered>, Failure> {
        if !head.starts_with(b"HTTP/1.1 200") {
            let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            return Err(Failure::violation(format!("an answer begins {line:?}")));
        }
        let fields = message::fields(head).map_err(Failure::violation)?;
        if fields.encoded || fields.content_length != Some(case.answer_len) {
            return Err(Failure::violation(format!(
                "an answer of {} bytes came as {fields:?}",
                case.answer_len
            )));
        }
        if fields.close && !case.kind.closes() {
            return Err(Failure::violation(
                "the proxy will not keep a connection alive",
            ));
        }
        self.take_body(rest, case.answer_len, None, case)
    }

    fn take_body(
        &mut self,
        bytes: &[u8],
        left: usize,
        first: Option<u8>,
        case: &Case,
    ) -> Result<Option<Answered>, Failure> {
        let first = first.or_else(|| bytes.first().copied());
        let Some(left) = left.checked_sub(bytes.len()) else {
            return Err(Failure::violation("bytes follow an answer"));
        };
        if left > 0 {
            self.state = State::Body { left, first };
            return Ok(None);
        }
        let version = first
            .and_then(Version::of_mark)
            .filter(|_| bytes.last() == Some(&END_MARK))
            .ok_or_else(|| Failure::violation("an answer does not begin and end as it was sent"))?;
        if case.kind.closes() {
            self.state = State::Closing { version };
            return Ok(None);
        }
        Ok(Some(self.answered(version)))
    }
}

/// No proxy adds this much to a head of a hundred bytes.
const HEAD_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Kind;

    fn client() -> Client {
        let target = Target::plain(([127, 0, 0, 1], 1).into());
        let mut client = Client::new(Token(0), target);
        client.state = State::Head;
        client
    }

    #[test]
    fn an_answer_is_understood_however_it_is_cut() {
        let case = Case::new(Kind::Get);
        let answer = case.answer(Version::Canary);
        for cut in 1..answer.len() {
            let mut client = client();
            assert!(client.take(&answer[..cut], &case).unwrap().is_none());
            let answered = client.take(&answer[cut..], &case).unwrap().unwrap();
            assert_eq!(answered.version, Version::Canary, "cut at {cut}");
        }
    }

    #[test]
    fn wrong_answers_are_violations() {
        let case = Case::new(Kind::Get);
        let good = String::from_utf8(case.answer(Version::Stable)).unwrap();
        for (from, to) in [
            ("200 OK", "502 Bad Gateway"),
            ("content-length: 128", "content-length: 127"),
            ("content-length: 128", "transfer-encoding: chunked"),
            (
                "content-length: 128",
                "content-length: 128\r\nconnection: close",
            ),
            ("\r\n\r\nS", "\r\n\r\nX"),
            (".E", ".."),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(client().take(bad.as_bytes(), &case).is_err(), "{to:?}");
        }
        let long = format!("{good}.");
        assert!(client().take(long.as_bytes(), &case).is_err());
        assert!(client().take(good.as_bytes(), &case).unwrap().is_some());
    }

    #[test]
    fn a_connection_per_request_ends_with_its_close() {
        let case = Case::new(Kind::Close);
        let mut client = client();
        assert!(
            client
                .take(&case.answer(Version::Stable), &case)
                .unwrap()
                .is_none()
        );
        assert_eq!(client.ended().unwrap().version, Version::Stable);
        assert!(self::client().ended().is_err());
    }
}
