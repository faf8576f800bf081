//! One client connection: sends prepared requests and checks every byte that matters of the answers.

use std::{
    io::{ErrorKind, IoSlice, Read, Write},
    net::SocketAddr,
};

use mio::{Interest, Registry, Token, event::Event, net::TcpStream};

use crate::{
    case::{Case, END_MARK, Kind, Version},
    failure::Failure,
    message,
};

/// A connection slot; it dials when it first has something to send.
#[derive(Debug)]
pub(crate) struct Client {
    token: Token,
    target: SocketAddr,
    stream: Option<TcpStream>,
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

/// An exchange that came to its end and was right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    /// Who asked.
    pub(crate) user: usize,
    /// Who answered.
    pub(crate) version: Version,
    /// When the request was due, as told to [`Client::start`].
    pub(crate) due_ns: u64,
}

impl Client {
    /// Not connected yet.
    pub(crate) fn new(token: Token, target: SocketAddr) -> Self {
        let (stream, state, head) = (None, State::Idle, Vec::new());
        Self {
            token,
            target,
            stream,
            state,
            user: 0,
            due_ns: 0,
            head,
        }
    }

    /// Sends a user's request, over a new connection if there is none.
    pub(crate) fn start(
        &mut self,
        user: usize,
        due_ns: u64,
        case: &Case,
        registry: &Registry,
    ) -> Result<(), Failure> {
        (self.user, self.due_ns) = (user, due_ns);
        self.state = State::Send { sent: 0 };
        if self.stream.is_some() {
            return self.send(case);
        }
        let mut stream =
            TcpStream::connect(self.target).map_err(Failure::io("connect to the proxy"))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry
            .register(&mut stream, self.token, interest)
            .and_then(|()| stream.set_nodelay(true))
            .map_err(Failure::io("register a client connection"))?;
        // The first writable event says that the connection stands.
        self.stream = Some(stream);
        Ok(())
    }

    /// Goes on as far as an event allows.
    pub(crate) fn advance(
        &mut self,
        event: &Event,
        scratch: &mut [u8],
        case: &Case,
    ) -> Result<Option<Answered>, Failure> {
        if matches!(self.state, State::Send { .. }) && event.is_writable() {
            self.send(case)?;
        }
        if !event.is_readable() {
            return Ok(None);
        }
        while let Some(stream) = &mut self.stream {
            match stream.read(scratch) {
                Ok(0) => return self.ended().map(Some),
                Ok(n) => {
                    let answered = self.take(&scratch[..n], case)?;
                    if answered.is_some() {
                        return Ok(answered);
                    }
                    if !read_again(n, scratch.len(), event) {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Failure::violation(format!("reading an answer: {error}")));
                }
            }
        }
        Ok(None)
    }

    fn send(&mut self, case: &Case) -> Result<(), Failure> {
        let State::Send { mut sent } = self.state else {
            return Ok(());
        };
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let (head, body) = (case.heads[self.user].as_slice(), case.body.as_slice());
        while sent < head.len() + body.len() {
            let parts = [
                IoSlice::new(head.get(sent..).unwrap_or_default()),
                IoSlice::new(&body[sent.saturating_sub(head.len())..]),
            ];
            match stream.write_vectored(&parts) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.state = State::Send { sent };
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Failure::violation(format!("sending a request: {error}")));
                }
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
        self.stream = None;
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
            State::Body { left, first } => return self.take_body(bytes, left, first, case.kind),
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
        if fields.close && case.kind != Kind::Close {
            return Err(Failure::violation(
                "the proxy will not keep a connection alive",
            ));
        }
        self.take_body(rest, case.answer_len, None, case.kind)
    }

    fn take_body(
        &mut self,
        bytes: &[u8],
        left: usize,
        first: Option<u8>,
        kind: Kind,
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
        if kind == Kind::Close {
            self.state = State::Closing { version };
            return Ok(None);
        }
        Ok(Some(self.answered(version)))
    }
}

/// Whether an edge-triggered socket has to be read again after a read of `n` bytes: a short read
/// has emptied it, but an end that came with the data gives no second edge.
pub(crate) fn read_again(n: usize, room: usize, event: &Event) -> bool {
    n == room || event.is_read_closed()
}

/// No proxy adds this much to a head of a hundred bytes.
const HEAD_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        let mut client = Client::new(Token(0), ([127, 0, 0, 1], 1).into());
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
