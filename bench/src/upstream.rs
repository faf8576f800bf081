//! The constant upstreams: stable and canary, served from the driver's own loop.
//!
//! They check every request they get, count it, and answer with bytes prepared before the run.

mod http2;

use std::io::{ErrorKind, Read, Write};

use mio::{
    Interest, Registry, Token,
    event::Event,
    net::{TcpListener, TcpStream},
};

use crate::{
    case::{Case, END_MARK, Kind, Protocol, REQUEST_MARK, Version},
    failure::Failure,
    h2::PREFACE,
    message, websocket,
    wire::read_again,
};
use http2::Calls;

/// Both upstreams with all their connections.
#[derive(Debug)]
pub(crate) struct Upstreams {
    registry: Registry,
    listeners: Vec<TcpListener>,
    ports: [u16; 2],
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    job: Job,
    served: [u64; 2],
}

/// What the case at hand asks of an upstream.
#[derive(Debug)]
struct Job {
    answers: [Vec<u8>; 2],
    request_line: Vec<u8>,
    /// The whole of it, as it has to arrive.
    body: Vec<u8>,
    protocol: Protocol,
    calls: bool,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    version: Version,
    state: State,
    /// The start of a head that came in parts.
    head: Vec<u8>,
    close: bool,
}

#[derive(Debug)]
enum State {
    Head,
    Body {
        left: usize,
    },
    Answer {
        sent: usize,
    },
    /// HTTP/2 from the first byte on.
    Calls(Box<Calls>),
    /// Upgraded; `left` bytes of a message are missing.
    Messages {
        left: usize,
    },
}

/// Whether a connection lives on.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Close,
    Keep,
}

impl Upstreams {
    /// Binds both on loopback.
    pub(crate) fn bind(registry: Registry) -> Result<Self, Failure> {
        let mut listeners = Vec::new();
        let mut ports = [0; 2];
        for version in Version::ALL {
            let at = version.index();
            let fail = |source| Failure::io("listen as an upstream")(source);
            let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).map_err(fail)?;
            ports[at] = listener.local_addr().map_err(fail)?.port();
            registry
                .register(&mut listener, Token(at), Interest::READABLE)
                .map_err(fail)?;
            listeners.push(listener);
        }
        Ok(Self {
            registry,
            listeners,
            ports,
            connections: Vec::new(),
            free: Vec::new(),
            job: Job::of(&Case::new(Kind::Get)),
            served: [0; 2],
        })
    }

    /// The ports, in the order of [`Version::index`].
    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// Requests answered so far, in the order of [`Version::index`].
    pub(crate) fn served(&self) -> [u64; 2] {
        self.served
    }

    /// From now on the requests of this case are expected.
    pub(crate) fn expect(&mut self, case: &Case) {
        self.job = Job::of(case);
    }

    /// Handles an event whose token is below [`TOKENS`].
    pub(crate) fn handle(&mut self, event: &Event, scratch: &mut [u8]) -> Result<(), Failure> {
        let token = event.token().0;
        if let Some(version) = Version::ALL.get(token) {
            return self.accept(*version);
        }
        let slot = token - FIRST_CONNECTION;
        // An event of a connection that this very batch has closed.
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return Ok(());
        };
        let fate = connection.advance(event, scratch, &self.job, &mut self.served)?;
        if fate == Fate::Close {
            self.connections[slot] = None;
            self.free.push(slot);
        }
        Ok(())
    }

    fn accept(&mut self, version: Version) -> Result<(), Failure> {
        loop {
            let mut stream = match self.listeners[version.index()].accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Failure::io("accept as an upstream")(error)),
            };
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            if slot >= TOKENS - FIRST_CONNECTION {
                return Err(Failure::violation("too many connections to the upstreams"));
            }
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.registry
                .register(&mut stream, Token(FIRST_CONNECTION + slot), interest)
                .and_then(|()| stream.set_nodelay(true))
                .map_err(Failure::io("register an upstream connection"))?;
            let (state, head) = (State::Head, Vec::new());
            self.connections[slot] = Some(Connection {
                stream,
                version,
                state,
                head,
                close: false,
            });
        }
    }
}

impl Job {
    fn of(case: &Case) -> Self {
        Self {
            answers: Version::ALL.map(|version| case.answer(version)),
            request_line: case.request_line.clone(),
            body: case.body.clone(),
            protocol: case.kind.protocol(),
            calls: case.kind == Kind::Grpc,
        }
    }
}

impl Connection {
    fn advance(
        &mut self,
        event: &Event,
        scratch: &mut [u8],
        job: &Job,
        served: &mut [u64; 2],
    ) -> Result<Fate, Failure> {
        if matches!(self.state, State::Answer { .. }) && self.answer(job) == Fate::Close {
            return Ok(Fate::Close);
        }
        if let State::Calls(calls) = &mut self.state
            && calls.flush(&mut self.stream).is_err()
        {
            return Ok(Fate::Close);
        }
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return self.ended(),
                Ok(n) => {
                    if self.take(&scratch[..n], job, served)? == Fate::Close {
                        return Ok(Fate::Close);
                    }
                    if !read_again(n, scratch.len(), event) {
                        return Ok(Fate::Keep);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fate::Keep),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A proxy may close with a reset when it is stopped; a lost answer is noticed by
                // the client, a lost request by the counts.
                Err(_) => return Ok(Fate::Close),
            }
        }
    }

    fn ended(&self) -> Result<Fate, Failure> {
        match &self.state {
            State::Head if self.head.is_empty() => Ok(Fate::Close),
            State::Calls(calls) if calls.is_idle() => Ok(Fate::Close),
            // Who waits for a message notices that it does not come.
            State::Messages { .. } => Ok(Fate::Close),
            State::Head | State::Body { .. } | State::Answer { .. } | State::Calls(_) => Err(
                Failure::violation("the proxy closed an upstream connection in an exchange"),
            ),
        }
    }

    /// Takes bytes, and counts and answers what they complete.
    fn take(&mut self, bytes: &[u8], job: &Job, served: &mut [u64; 2]) -> Result<Fate, Failure> {
        let at = self.version.index();
        if matches!(self.state, State::Head) && job.calls {
            return self.take_preface(bytes, job, served);
        }
        match &mut self.state {
            State::Calls(calls) => {
                served[at] += calls.take(bytes, job, &job.answers[at])?;
                let written = calls.flush(&mut self.stream);
                Ok(written.map_or(Fate::Close, |()| Fate::Keep))
            }
            State::Messages { left } => {
                let begin = job.body.len() - *left;
                if job.body.get(begin..begin + bytes.len()) != Some(bytes) {
                    return Err(Failure::violation("a message is not as it was sent"));
                }
                *left -= bytes.len();
                if *left > 0 {
                    return Ok(Fate::Keep);
                }
                *left = job.body.len();
                served[at] += 1;
                let written = self.stream.write_all(&job.answers[at]);
                Ok(written.map_or(Fate::Close, |()| Fate::Keep))
            }
            State::Answer { .. } | State::Body { .. } | State::Head => {
                if !self.take_request(bytes, job)? {
                    return Ok(Fate::Keep);
                }
                if job.protocol == Protocol::WebSocket {
                    let left = job.body.len();
                    self.state = State::Messages { left };
                    let written = self.stream.write_all(websocket::AGREED.as_bytes());
                    return Ok(written.map_or(Fate::Close, |()| Fate::Keep));
                }
                served[at] += 1;
                Ok(self.answer(job))
            }
        }
    }

    /// Where calls are expected a connection begins with the preface of HTTP/2.
    fn take_preface(
        &mut self,
        bytes: &[u8],
        job: &Job,
        served: &mut [u64; 2],
    ) -> Result<Fate, Failure> {
        self.head.extend_from_slice(bytes);
        if self.head.len() < PREFACE.len() {
            return Ok(Fate::Keep);
        }
        let head = std::mem::take(&mut self.head);
        let Some(rest) = head.strip_prefix(PREFACE) else {
            return Err(Failure::violation("a call did not come over HTTP/2"));
        };
        self.state = State::Calls(Box::new(Calls::new()));
        self.take(rest, job, served)
    }

    /// Takes bytes of a request; true when they complete it.
    fn take_request(&mut self, bytes: &[u8], job: &Job) -> Result<bool, Failure> {
        let end = match self.state {
            State::Body { left } => return self.take_body(bytes, left, job),
            State::Head if self.head.is_empty() => message::head_end(bytes),
            State::Head => None,
            State::Answer { .. } | State::Calls(_) | State::Messages { .. } => {
                return Err(Failure::violation(
                    "a request came before the last one was answered",
                ));
            }
        };
        if let Some(end) = end {
            return self.begin(&bytes[..end], &bytes[end..], job);
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = message::head_end(&self.head) else {
            return match self.head.len() {
                0..=HEAD_MAX => Ok(false),
                _ => Err(Failure::violation("a request head does not end")),
            };
        };
        let head = std::mem::take(&mut self.head);
        self.begin(&head[..end], &head[end..], job)
    }

    fn begin(&mut self, head: &[u8], rest: &[u8], job: &Job) -> Result<bool, Failure> {
        let fields = message::fields(head).map_err(Failure::violation)?;
        if !head.starts_with(&job.request_line) {
            let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            return Err(Failure::violation(format!(
                "an upstream was asked for {line:?}"
            )));
        }
        // What comes after an upgrade is no body.
        let body_len = match job.protocol {
            Protocol::WebSocket => 0,
            Protocol::Http1 | Protocol::Http2 => job.body.len(),
        };
        if fields.encoded || fields.content_length.unwrap_or(0) != body_len {
            return Err(Failure::violation(format!(
                "a request body of {body_len} bytes came as {fields:?}"
            )));
        }
        self.close = fields.close;
        if body_len == 0 {
            return if rest.is_empty() {
                Ok(true)
            } else {
                Err(Failure::violation("bytes follow a request"))
            };
        }
        self.take_body(rest, body_len, job)
    }

    fn take_body(&mut self, bytes: &[u8], left: usize, job: &Job) -> Result<bool, Failure> {
        if left == job.body.len() && bytes.first().is_some_and(|first| *first != REQUEST_MARK) {
            return Err(Failure::violation(
                "a request body does not begin as it was sent",
            ));
        }
        let Some(left) = left.checked_sub(bytes.len()) else {
            return Err(Failure::violation("bytes follow a request"));
        };
        self.state = State::Body { left };
        if left > 0 {
            return Ok(false);
        }
        match bytes.last() {
            Some(&END_MARK) => Ok(true),
            _ => Err(Failure::violation(
                "a request body does not end as it was sent",
            )),
        }
    }

    /// Writes the answer, or what is left of it.
    fn answer(&mut self, job: &Job) -> Fate {
        let answer = &job.answers[self.version.index()];
        let mut sent = match self.state {
            State::Answer { sent } => sent,
            State::Body { .. } | State::Calls(_) | State::Head | State::Messages { .. } => 0,
        };
        while sent < answer.len() {
            match self.stream.write(&answer[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.state = State::Answer { sent };
                    return Fate::Keep;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The client behind the proxy misses this answer and says so.
                Err(_) => return Fate::Close,
            }
        }
        self.state = State::Head;
        if self.close { Fate::Close } else { Fate::Keep }
    }
}

/// Tokens below this one belong to the upstreams.
pub(crate) const TOKENS: usize = 1 << 20;

/// After the two listeners.
const FIRST_CONNECTION: usize = 2;

/// No proxy adds this much to a head of a hundred bytes.
const HEAD_MAX: usize = 16 << 10;
