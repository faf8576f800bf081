//! Client connections: they send prepared requests and check every byte that matters of the answers.

mod http1;
mod http2;
mod websocket;

use std::io;

use mio::{Registry, Token, event::Event};

use crate::{
    case::{Case, Protocol, Version},
    failure::Failure,
    wire::Target,
};

/// A connection slot; it dials when it first has something to send.
#[derive(Debug)]
pub(crate) enum Client {
    /// One request at a time.
    Http1(http1::Client),
    /// [`Case::streams`] requests at a time.
    Http2(Box<http2::Client>),
    /// One message at a time.
    WebSocket(websocket::Client),
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
    pub(crate) fn new(case: &Case, token: Token, target: Target) -> Self {
        match case.kind.protocol() {
            Protocol::Http1 => Self::Http1(http1::Client::new(token, target)),
            Protocol::Http2 => {
                Self::Http2(Box::new(http2::Client::new(case.streams, token, target)))
            }
            Protocol::WebSocket => Self::WebSocket(websocket::Client::new(token, target)),
        }
    }

    /// Sends a user's request, over a new connection if there is none; over HTTP/2 it is on its
    /// way after [`Client::flush`] only. A WebSocket stays with its first user.
    pub(crate) fn start(
        &mut self,
        user: usize,
        due_ns: u64,
        case: &Case,
        registry: &Registry,
    ) -> Result<(), Failure> {
        match self {
            Self::Http1(client) => client.start(user, due_ns, case, registry),
            Self::Http2(client) => client.start(user, due_ns, case, registry),
            Self::WebSocket(client) => client.start(user, due_ns, case, registry),
        }
    }

    /// Goes on as far as an event allows; appends what was answered.
    pub(crate) fn advance(
        &mut self,
        event: &Event,
        scratch: &mut [u8],
        case: &Case,
        answered: &mut Vec<Answered>,
    ) -> Result<(), Failure> {
        match self {
            Self::Http1(client) => answered.extend(client.advance(event, scratch, case)?),
            Self::Http2(client) => client.advance(event, scratch, case, answered)?,
            Self::WebSocket(client) => answered.extend(client.advance(event, scratch, case)?),
        }
        Ok(())
    }

    /// Writes what several requests have left to be written together.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Http2(client) => client.flush(),
            Self::Http1(_) | Self::WebSocket(_) => Ok(()),
        }
    }
}

fn sending(error: &io::Error) -> Failure {
    Failure::violation(format!("sending a request: {error}"))
}

fn reading(error: &io::Error) -> Failure {
    Failure::violation(format!("reading an answer: {error}"))
}
