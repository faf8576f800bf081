//! WebSockets: an upgrade, and then one message after the other there and back.

use std::io::{ErrorKind, IoSlice};

use mio::{Registry, Token, event::Event};

use super::{Answered, reading, sending};
use crate::{
    case::{Case, END_MARK, Version},
    failure::Failure,
    message,
    websocket::{FRAME_HEAD, PROOF, content},
    wire::{Target, Wire},
};

/// A connection, which belongs to one user from its upgrade on.
#[derive(Debug)]
pub(crate) struct Client {
    token: Token,
    target: Target,
    wire: Option<Wire>,
    state: State,
    user: usize,
    due_ns: u64,
    /// What came of an answer so far.
    input: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The upgrade is to be asked for once the connection stands.
    Dialled,
    /// The upgrade was asked for.
    Asked,
    /// A message is on its way.
    Sent,
    Idle,
}

impl Client {
    /// Not connected yet.
    pub(super) fn new(token: Token, target: Target) -> Self {
        Self {
            token,
            target,
            wire: None,
            state: State::Dialled,
            user: 0,
            due_ns: 0,
            input: Vec::new(),
        }
    }

    pub(super) fn start(
        &mut self,
        user: usize,
        due_ns: u64,
        case: &Case,
        registry: &Registry,
    ) -> Result<(), Failure> {
        self.due_ns = due_ns;
        if self.wire.is_some() {
            return self.send(&case.body, State::Sent);
        }
        self.user = user;
        self.wire = Some(Wire::connect(&self.target, self.token, registry)?);
        Ok(())
    }

    pub(super) fn advance(
        &mut self,
        event: &Event,
        scratch: &mut [u8],
        case: &Case,
    ) -> Result<Option<Answered>, Failure> {
        if self.state == State::Dialled && event.is_writable() {
            self.send(&case.heads[self.user], State::Asked)?;
        }
        if !event.is_readable() {
            return Ok(None);
        }
        while let Some(wire) = &mut self.wire {
            match wire.read(scratch) {
                Ok(0) => return Err(Failure::violation("the proxy closed a WebSocket")),
                Ok(n) => {
                    let again = wire.read_again(n, scratch.len(), event);
                    self.input.extend_from_slice(&scratch[..n]);
                    let answered = self.take(case)?;
                    if answered.is_some() || !again {
                        return Ok(answered);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(reading(&error)),
            }
        }
        Ok(None)
    }

    /// What is sent is shorter than any socket's room, and nothing else is on its way.
    fn send(&mut self, bytes: &[u8], then: State) -> Result<(), Failure> {
        let Some(wire) = &mut self.wire else {
            return Ok(());
        };
        match wire.write(&[IoSlice::new(bytes)]) {
            Ok(n) if n == bytes.len() => {
                self.state = then;
                Ok(())
            }
            Ok(_) => Err(Failure::violation("a message was taken in part only")),
            Err(error) => Err(sending(&error)),
        }
    }

    fn take(&mut self, case: &Case) -> Result<Option<Answered>, Failure> {
        match self.state {
            State::Asked => self.upgraded(case).map(|()| None),
            State::Sent => self.message(case),
            State::Dialled | State::Idle => {
                Err(Failure::violation("bytes came that nobody asked for"))
            }
        }
    }

    fn upgraded(&mut self, case: &Case) -> Result<(), Failure> {
        let Some(end) = message::head_end(&self.input) else {
            return Ok(());
        };
        let proven = self.input.windows(PROOF.len()).any(|part| part == PROOF);
        if !self.input.starts_with(b"HTTP/1.1 101") || !proven || end != self.input.len() {
            let head = String::from_utf8_lossy(&self.input);
            return Err(Failure::violation(format!("an upgrade came to {head:?}")));
        }
        self.input.clear();
        self.send(&case.body, State::Sent)
    }

    fn message(&mut self, case: &Case) -> Result<Option<Answered>, Failure> {
        if self.input.len() < FRAME_HEAD + case.answer_len {
            return Ok(None);
        }
        let version = content(&self.input)
            .filter(|content| content.last() == Some(&END_MARK))
            .and_then(|content| Version::of_mark(*content.first()?))
            .ok_or_else(|| Failure::violation("a message is not as it was sent"))?;
        self.input.clear();
        self.state = State::Idle;
        Ok(Some(Answered {
            user: self.user,
            version,
            due_ns: self.due_ns,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{case::Kind, websocket};

    fn client(state: State, input: &[u8]) -> Client {
        let mut client = Client::new(Token(0), Target::plain(([127, 0, 0, 1], 1).into()));
        client.state = state;
        client.input = input.to_vec();
        client
    }

    #[test]
    fn a_message_counts_when_it_is_whole() {
        let case = Case::new(Kind::Ws);
        let answer = case.answer(Version::Canary);
        for cut in 0..answer.len() {
            let taken = client(State::Sent, &answer[..cut]).take(&case).unwrap();
            assert!(taken.is_none(), "cut at {cut}");
        }
        let answered = client(State::Sent, &answer).take(&case).unwrap().unwrap();
        assert_eq!(answered.version, Version::Canary);
    }

    #[test]
    fn wrong_messages_and_upgrades_are_violations() {
        let case = Case::new(Kind::Ws);
        let good = case.answer(Version::Stable);
        let long = [&good[..], b"."].concat();
        let other = [&good[..good.len() - 1], b"."].concat();
        for bad in [long, other] {
            assert!(client(State::Sent, &bad).take(&case).is_err());
        }
        assert!(client(State::Idle, &good).take(&case).is_err());
        for (from, to) in [("101", "200"), ("s3p", "S3p"), ("\r\n\r\n", "\r\n\r\n.")] {
            let bad = websocket::AGREED.replacen(from, to, 1);
            assert!(
                client(State::Asked, bad.as_bytes()).take(&case).is_err(),
                "{to:?}"
            );
        }
    }
}
