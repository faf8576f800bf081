//! The only place where an error becomes a response.

use std::time::Duration;

use bytes::Bytes;

use super::error::ProxyError;
use super::fields::Fields;
use super::http1_head::write_connection;
use super::inbound::Inbound;
use super::notes::{Line, Notes};
use super::serve::{Next, Session};
use super::{grpc, http2_head};
use crate::h1::body::Framing;
use crate::http2::stream::Stream;
use crate::peer::Peer;

/// A client gets this long to take an error.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers what could not be read as a request.
pub(crate) async fn refuse(session: &mut Session, error: &ProxyError) -> Next {
    let line = Line::open(session, None);
    let next = respond(session, error, None).await;
    drop(line);
    next
}

/// Answers for haldane. `request` is given if nothing of it is left to be read that
/// could be taken for the next one; otherwise the connection is closed.
pub(crate) async fn respond(
    session: &mut Session,
    error: &ProxyError,
    request: Option<&Inbound<'_>>,
) -> Next {
    let Some((status, code)) = error.answer() else {
        return Next::Drop;
    };
    let answer = Answer {
        status,
        code,
        sentence: error.sentence(),
        without_body: request.is_some_and(|request| request.head.method() == b"HEAD"),
        date: &session.worker.date(),
    };
    let is_call =
        matches!(session.client, Peer::H2(_)) && request.is_some_and(|request| request.is_call);
    answer.note(&session.notes, is_call);
    let keep_alive = request
        .is_some_and(|request| request.keep_alive && request.framing == Framing::Empty)
        && !session.worker.lets_clients_go()
        && !session.origin.is_spent(&session.worker);
    match &mut session.client {
        Peer::H1(wire) => {
            let to_http11 = request.is_none_or(Inbound::reads_interim);
            answer.write(wire.output(), keep_alive, to_http11);
        }
        Peer::H2(stream) => {
            if is_call {
                answer.end_call(stream);
            } else {
                answer.send(stream);
            }
        }
    }
    let flushed = session.flush(FLUSH_TIMEOUT).await;
    session.notes.note(|facts| facts.complete = flushed.is_ok());
    match flushed {
        Ok(()) if keep_alive => Next::Request,
        Ok(()) => Next::Linger,
        Err(_) => Next::Drop,
    }
}

/// An error as a response.
struct Answer<'a> {
    status: u16,
    code: &'static str,
    sentence: &'static str,
    without_body: bool,
    date: &'a [u8],
}

impl Answer<'_> {
    fn note(&self, notes: &Notes, is_call: bool) {
        notes.note(|facts| {
            facts.code = Some(self.code);
            if is_call {
                facts.status = Some(200);
                facts.grpc_status = grpc::number(grpc::status_for(self.status));
            } else {
                facts.status = Some(self.status);
                if !self.without_body {
                    facts.response_bytes = self.sentence.len() as u64 + 1;
                }
            }
        });
    }

    fn fields<F: Fields>(&self, out: &mut F) {
        let mut digits = itoa::Buffer::new();
        out.add(b"content-type", b"text/plain; charset=utf-8");
        let length = digits.format(self.sentence.len() + 1);
        out.add(b"content-length", length.as_bytes());
        out.add(b"x-haldane-error", self.code.as_bytes());
        out.add(b"date", self.date);
    }

    fn write(&self, out: &mut Vec<u8>, keep_alive: bool, to_http11: bool) {
        let mut digits = itoa::Buffer::new();
        for part in [
            b"HTTP/1.1 ",
            digits.format(self.status).as_bytes(),
            b" ",
            reason(self.status),
            b"\r\n",
        ] {
            out.extend_from_slice(part);
        }
        self.fields(out);
        write_connection(out, keep_alive, to_http11);
        out.extend_from_slice(b"\r\n");
        if !self.without_body {
            out.extend_from_slice(self.sentence.as_bytes());
            out.push(b'\n');
        }
    }

    fn send(&self, stream: &mut Stream) {
        let response = http2_head::own(self.status, |fields| self.fields(fields));
        // A client that is gone needs no answer.
        if stream.respond(response, self.without_body).is_ok() && !self.without_body {
            stream.finish_with(Bytes::from(format!("{}\n", self.sentence)));
        }
    }

    /// A call is answered as gRPC answers: by a status in a head that ends the stream.
    fn end_call(&self, stream: &mut Stream) {
        let response = http2_head::own(200, |fields| {
            fields.add(b"content-type", b"application/grpc");
            fields.add(b"grpc-status", grpc::status_for(self.status));
            fields.add(b"grpc-message", self.sentence.as_bytes());
            fields.add(b"x-haldane-error", self.code.as_bytes());
            fields.add(b"date", self.date);
        });
        drop(stream.respond(response, true));
    }
}

fn reason(status: u16) -> &'static [u8] {
    match status {
        400 => b"Bad Request",
        404 => b"Not Found",
        405 => b"Method Not Allowed",
        408 => b"Request Timeout",
        414 => b"URI Too Long",
        417 => b"Expectation Failed",
        431 => b"Request Header Fields Too Large",
        501 => b"Not Implemented",
        502 => b"Bad Gateway",
        503 => b"Service Unavailable",
        504 => b"Gateway Timeout",
        505 => b"HTTP Version Not Supported",
        _ => b"Error",
    }
}
