//! The heads that are passed on: strips hop-by-hop fields, then adds haldane's own.
//!
//! First everything is removed that the next hop must not see or could mistake for
//! haldane's word, then haldane's own fields are added, so nothing that a client
//! names in `Connection` can take those away (RFC 9110 §7.6.1).

use std::net::IpAddr;

use haldane_decide::role::Role;

use super::inbound::Inbound;
use crate::h1::body::Framing;
use crate::h1::field::{Kind, members};
use crate::h1::head::{FieldRef, Head};
use crate::live::choice::{ISSUED_COOKIE, issued_key};

/// What haldane tells the upstream about a request.
pub(crate) struct Introduction<'a> {
    /// The address of the direct peer, as text.
    pub(crate) peer: &'a str,
    /// The peer is a trusted proxy: what it says about the client is kept.
    pub(crate) trusted: bool,
    pub(crate) version: &'a str,
    pub(crate) role: Role,
    /// The scheme that the client used.
    pub(crate) scheme: &'static str,
    /// The header that names a version by force; it is meant for haldane only.
    pub(crate) force_header: Option<&'a str>,
}

/// Appends the head of a request as its upstream gets it.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    inbound: &Inbound<'_>,
    introduction: &Introduction<'_>,
) {
    let head = inbound.head;
    for part in [
        head.method(),
        b" ",
        inbound.target,
        b" HTTP/1.1\r\nhost: ",
        inbound.host,
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
    let nominated = Nominated::in_head(head);
    let is_force = |name: &[u8]| {
        introduction
            .force_header
            .is_some_and(|force| name.eq_ignore_ascii_case(force.as_bytes()))
    };
    for field in head.fields() {
        let pass = match field.kind {
            Kind::ContentLength | Kind::Date | Kind::Expect => true,
            Kind::Cookie | Kind::Other => !nominated.contains(&field) && !is_force(field.name),
            Kind::Forwarded => introduction.trusted && !nominated.contains(&field),
            Kind::Connection
            | Kind::HopByHop
            | Kind::Host
            | Kind::KeepAlive
            | Kind::Reserved
            | Kind::Te
            | Kind::TransferEncoding
            | Kind::XForwardedFor
            | Kind::XForwardedHost
            | Kind::XForwardedProto => false,
        };
        if pass {
            write_field(out, field.name, field.value);
        }
    }
    if inbound.framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if head
        .values(Kind::Te)
        .flat_map(members)
        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
    {
        out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    write_introduction(out, inbound, introduction);
    out.extend_from_slice(b"\r\n");
}

fn write_introduction(out: &mut Vec<u8>, inbound: &Inbound<'_>, introduction: &Introduction<'_>) {
    let head = inbound.head;
    out.extend_from_slice(b"x-forwarded-for: ");
    if introduction.trusted {
        for told in head
            .values(Kind::XForwardedFor)
            .filter(|value| !value.is_empty())
        {
            out.extend_from_slice(told);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(introduction.peer.as_bytes());
    out.extend_from_slice(b"\r\n");
    let told = |kind| {
        head.values(kind)
            .next()
            .filter(|value| introduction.trusted && !value.is_empty())
    };
    let scheme = told(Kind::XForwardedProto).unwrap_or(introduction.scheme.as_bytes());
    write_field(out, b"x-forwarded-proto", scheme);
    let host = told(Kind::XForwardedHost).unwrap_or(inbound.host);
    if !host.is_empty() {
        write_field(out, b"x-forwarded-host", host);
    }
    out.extend_from_slice(if inbound.is_http11() {
        b"via: 1.1 haldane\r\n"
    } else {
        b"via: 1.0 haldane\r\n"
    });
    write_field(out, b"x-haldane-version", introduction.version.as_bytes());
    write_field(
        out,
        b"x-haldane-role",
        introduction.role.as_str().as_bytes(),
    );
}

/// How a response is to be framed for the client that gets it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Delivery {
    /// As chunks: the client speaks HTTP/1.1 and the length is not known.
    Chunked,
    /// As the upstream's own fields say.
    AsIs,
    /// Until the connection is closed: the client speaks HTTP/1.0.
    UntilClose,
}

impl Delivery {
    /// The delivery of a response with this framing.
    pub(crate) fn of(framing: Framing, to_http11: bool) -> Self {
        match framing {
            Framing::Empty | Framing::Length(_) => Self::AsIs,
            Framing::Chunked | Framing::UntilClose if to_http11 => Self::Chunked,
            Framing::Chunked | Framing::UntilClose => Self::UntilClose,
        }
    }
}

/// What haldane adds to a response.
pub(crate) struct Envelope<'a> {
    pub(crate) delivery: Delivery,
    /// Whether the client's connection stays open, and whether it speaks HTTP/1.1.
    pub(crate) keep_alive: bool,
    pub(crate) to_http11: bool,
    /// Added if the upstream gave none (RFC 9110 §6.6.1).
    pub(crate) date: &'a [u8],
    /// The version, if clients are told.
    pub(crate) version: Option<&'a str>,
    /// The split key that the client is given.
    pub(crate) issued: Option<u64>,
}

/// Appends the head of a final response as the client gets it.
pub(crate) fn write_response(out: &mut Vec<u8>, head: &Head, envelope: &Envelope<'_>) {
    write_status_line(out, head);
    let nominated = Nominated::in_head(head);
    let mut has_date = false;
    for field in head.fields() {
        let pass = match field.kind {
            Kind::Connection
            | Kind::HopByHop
            | Kind::KeepAlive
            | Kind::Reserved
            | Kind::Te
            | Kind::TransferEncoding => false,
            // A 204 has no length to tell (RFC 9110 §8.6), and some clients would wait for it.
            Kind::ContentLength => head.status != 204,
            Kind::Date => !std::mem::replace(&mut has_date, true),
            _ => !nominated.contains(&field),
        };
        if pass {
            write_field(out, field.name, field.value);
        }
    }
    if !has_date {
        write_field(out, b"date", envelope.date);
    }
    if envelope.delivery == Delivery::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if let Some(version) = envelope.version {
        write_field(out, b"x-haldane-version", version.as_bytes());
    }
    if let Some(draw) = envelope.issued {
        for part in [
            b"set-cookie: ",
            ISSUED_COOKIE.as_bytes(),
            b"=",
            &issued_key(draw),
            b"; Path=/; HttpOnly; SameSite=Lax\r\n",
        ] {
            out.extend_from_slice(part);
        }
    }
    write_connection(out, envelope.keep_alive, envelope.to_http11);
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim response (RFC 9110 §15.2).
pub(crate) fn write_interim(out: &mut Vec<u8>, head: &Head) {
    write_status_line(out, head);
    for field in head.fields().filter(|field| field.kind == Kind::Other) {
        write_field(out, field.name, field.value);
    }
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
    for part in [
        b"HTTP/1.1 ",
        digits.format(head.status).as_bytes(),
        b" ",
        head.reason(),
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
}

pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The fields that `Connection` makes hop-by-hop.
struct Nominated<'a> {
    head: &'a Head,
    /// Anything but the usual options is named.
    any: bool,
}

impl<'a> Nominated<'a> {
    fn in_head(head: &'a Head) -> Self {
        let any = head
            .values(Kind::Connection)
            .flat_map(members)
            .any(|member| {
                !member.eq_ignore_ascii_case(b"keep-alive")
                    && !member.eq_ignore_ascii_case(b"close")
            });
        Self { head, any }
    }

    fn contains(&self, field: &FieldRef<'_>) -> bool {
        self.any
            && self
                .head
                .values(Kind::Connection)
                .flat_map(members)
                .any(|member| member.eq_ignore_ascii_case(field.name))
    }
}

/// The text of a peer's address, as it stands in `X-Forwarded-For`.
pub(crate) fn peer_text(peer: IpAddr) -> Box<str> {
    peer.to_canonical().to_string().into()
}
