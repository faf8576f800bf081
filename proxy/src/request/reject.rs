//! The only place where an error becomes a response.

use std::time::Duration;

use super::error::ProxyError;
use super::forward::{write_connection, write_field};
use super::inbound::Inbound;
use super::serve::{Next, Session};
use crate::h1::body::Framing;

/// A client gets this long to take an error.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

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
    let keep_alive = request
        .is_some_and(|request| request.keep_alive && request.framing == Framing::Empty)
        && !session.worker.lets_clients_go();
    let without_body = request.is_some_and(|request| request.head.method() == b"HEAD");
    let to_http11 = request.is_none_or(Inbound::is_http11);
    let date = session.worker.date();

    let out = session.wire.output();
    let sentence = error.sentence();
    let mut digits = itoa::Buffer::new();
    for part in [
        b"HTTP/1.1 ",
        digits.format(status).as_bytes(),
        b" ",
        reason(status),
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
    write_field(out, b"content-type", b"text/plain; charset=utf-8");
    let length = sentence.len() + 1;
    write_field(out, b"content-length", digits.format(length).as_bytes());
    write_field(out, b"x-haldane-error", code.as_bytes());
    write_field(out, b"date", &date);
    write_connection(out, keep_alive, to_http11);
    out.extend_from_slice(b"\r\n");
    if !without_body {
        out.extend_from_slice(sentence.as_bytes());
        out.push(b'\n');
    }
    match session.flush(FLUSH_TIMEOUT).await {
        Ok(()) if keep_alive => Next::Request,
        Ok(()) => Next::Linger,
        Err(_) => Next::Drop,
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
        502 => b"Bad Gateway",
        503 => b"Service Unavailable",
        504 => b"Gateway Timeout",
        505 => b"HTTP Version Not Supported",
        _ => b"Error",
    }
}
