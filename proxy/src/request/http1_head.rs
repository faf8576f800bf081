//! Heads as text: what HTTP/1.1 has around the fields.

use super::fields::Fields;
use super::forward::{
    Delivery, Envelope, Introduction, accepts_trailers, interim_fields, request_fields,
    response_fields,
};
use super::inbound::Inbound;
use super::switch::Switch;
use crate::h1::body::Framing;
use crate::h1::field::Kind;
use crate::h1::head::{Head, Version};

/// Appends the head of a request.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    inbound: &Inbound<'_>,
    introduction: &Introduction<'_>,
    switch: Option<&Switch<'_>>,
) {
    for part in [
        inbound.method(),
        b" ",
        inbound.target,
        b" HTTP/1.1\r\nhost: ",
        inbound.host,
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
    request_fields(out, inbound, introduction);
    if inbound.framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    // HTTP/2 says by its frames that there is no body; here some servers ask for a length.
    if inbound.head.version == Version::Http2
        && inbound.framing == Framing::Empty
        && matches!(inbound.head.method(), b"PATCH" | b"POST" | b"PUT")
        && inbound.head.values(Kind::ContentLength).next().is_none()
    {
        out.add(b"content-length", b"0");
    }
    match switch {
        Some(switch) => {
            out.add(b"connection", b"upgrade");
            switch.ask_by_text(out);
        }
        None if accepts_trailers(inbound.head) => {
            out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
        }
        None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a final response.
pub(crate) fn write_response(out: &mut Vec<u8>, head: &Head, envelope: &Envelope<'_>) {
    write_status_line(out, head);
    response_fields(out, head, envelope);
    if envelope.delivery == Delivery::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    // HTTP/2 says by its frames that there is no body.
    if envelope.framing == Framing::Length(0) && head.values(Kind::ContentLength).next().is_none() {
        out.add(b"content-length", b"0");
    }
    write_connection(out, envelope.keep_alive, envelope.to_http11);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head that makes a connection a tunnel.
pub(crate) fn write_switch(
    out: &mut Vec<u8>,
    head: &Head,
    envelope: &Envelope<'_>,
    switch: &Switch<'_>,
) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    response_fields(out, head, envelope);
    out.add(b"connection", b"upgrade");
    switch.answer_by_text(out, head);
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim response (RFC 9110 §15.2).
pub(crate) fn write_interim(out: &mut Vec<u8>, head: &Head) {
    write_status_line(out, head);
    interim_fields(out, head);
    out.extend_from_slice(b"\r\n");
}

/// Appends what the client must know about its connection, where it is not the default.
pub(crate) fn write_connection(out: &mut Vec<u8>, keep_alive: bool, to_http11: bool) {
    match (keep_alive, to_http11) {
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, false) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, true) => {}
    }
}

fn write_status_line(out: &mut Vec<u8>, head: &Head) {
    let mut digits = itoa::Buffer::new();
    let reason = match head.version {
        Version::Http10 | Version::Http11 => head.reason(),
        Version::Http2 => http::StatusCode::from_u16(head.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default()
            .as_bytes(),
    };
    for part in [
        b"HTTP/1.1 ",
        digits.format(head.status).as_bytes(),
        b" ",
        reason,
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
}
