//! The fields that are passed on: strips hop-by-hop fields, then adds haldane's own.
//!
//! First everything is removed that the next hop must not see or could mistake for
//! haldane's word, then haldane's own fields are added, so nothing that a client
//! names in `Connection` can take those away (RFC 9110 §7.6.1). What is around the
//! fields depends on the protocol: see [`super::http1_head`] and [`super::http2_head`].

use std::net::IpAddr;

use haldane_decide::role::Role;
use http::header::{DATE, VIA};

use super::fields::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, Fields, ROLE, VERSION};
use super::inbound::Inbound;
use super::marks::Marks;
use crate::h1::body::Framing;
use crate::h1::field::{Kind, members};
use crate::h1::head::{FieldRef, Head, Version};
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
    /// What the route changes about that.
    pub(crate) marks: Option<Marks<'a>>,
}

/// Adds the fields of a request as its upstream gets them, without `host`.
pub(crate) fn request_fields<F: Fields>(
    out: &mut F,
    inbound: &Inbound<'_>,
    introduction: &Introduction<'_>,
) {
    let head = inbound.head;
    let nominated = Nominated::in_head(head);
    let is_withheld = |name: &[u8]| {
        introduction
            .marks
            .is_some_and(|marks| marks.withholds(name))
    };
    for field in head.fields() {
        let pass = match field.kind {
            Kind::ContentLength | Kind::Date | Kind::Expect => true,
            Kind::Cookie | Kind::Other => !nominated.contains(&field) && !is_withheld(field.name),
            Kind::Forwarded => introduction.trusted && !nominated.contains(&field),
            Kind::Connection
            | Kind::HopByHop
            | Kind::Host
            | Kind::KeepAlive
            | Kind::Reserved
            | Kind::Te
            | Kind::TransferEncoding
            | Kind::Upgrade
            | Kind::XForwardedFor
            | Kind::XForwardedHost
            | Kind::XForwardedProto => false,
        };
        if pass {
            out.pass(&field);
        }
    }
    introduce(out, inbound, introduction);
    if let Some(marks) = introduction.marks {
        let passed = head.fields().filter(|field| !nominated.contains(field));
        marks.add(out, passed, introduction);
    }
}

/// Whether the client reads trailers, the one thing that `TE` is still for.
pub(crate) fn accepts_trailers(head: &Head) -> bool {
    head.values(Kind::Te)
        .flat_map(members)
        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

fn introduce<F: Fields>(out: &mut F, inbound: &Inbound<'_>, introduction: &Introduction<'_>) {
    let head = inbound.head;
    if introduction.trusted {
        let hops = head
            .values(Kind::XForwardedFor)
            .filter(|value| !value.is_empty())
            .flat_map(|told| [told, b", "])
            .chain([introduction.peer.as_bytes()]);
        out.add_parts(b"x-forwarded-for", hops);
    } else {
        out.add_own(&FORWARDED_FOR, introduction.peer.as_bytes());
    }
    let told = |kind| {
        head.values(kind)
            .next()
            .filter(|value| introduction.trusted && !value.is_empty())
    };
    let scheme = told(Kind::XForwardedProto).unwrap_or(introduction.scheme.as_bytes());
    out.add_own(&FORWARDED_PROTO, scheme);
    let host = told(Kind::XForwardedHost).unwrap_or(inbound.host);
    if !host.is_empty() {
        out.add_own(&FORWARDED_HOST, host);
    }
    out.add_own(
        &VIA,
        match head.version {
            Version::Http10 => b"1.0 haldane",
            Version::Http11 => b"1.1 haldane",
            Version::Http2 => b"2.0 haldane",
        },
    );
    out.add_own(&VERSION, introduction.version.as_bytes());
    out.add_own(&ROLE, introduction.role.as_str().as_bytes());
}

/// How a response is to be framed for a client with a connection of its own.
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
    /// The delivery of a response with this framing to a client of this version.
    pub(crate) fn of(framing: Framing, client: Version) -> Self {
        match framing {
            Framing::Empty | Framing::Length(_) => Self::AsIs,
            Framing::Chunked | Framing::UntilClose => match client {
                Version::Http10 => Self::UntilClose,
                Version::Http11 => Self::Chunked,
                // Streams end by themselves.
                Version::Http2 => Self::AsIs,
            },
        }
    }
}

/// What haldane adds to a response.
pub(crate) struct Envelope<'a> {
    pub(crate) delivery: Delivery,
    /// Whether the client's connection stays open, and whether it speaks HTTP/1.1.
    pub(crate) keep_alive: bool,
    pub(crate) to_http11: bool,
    pub(crate) framing: Framing,
    /// Added if the upstream gave none (RFC 9110 §6.6.1).
    pub(crate) date: &'a [u8],
    /// The version, if clients are told.
    pub(crate) version: Option<&'a str>,
    /// The split key that the client is given.
    pub(crate) issued: Option<u64>,
}

impl Envelope<'_> {
    /// Nothing follows this head, not even trailers.
    pub(crate) fn is_all(&self, head: &Head) -> bool {
        match self.framing {
            Framing::Empty => true,
            Framing::Length(length) => length == 0 && !head.is_open,
            Framing::Chunked | Framing::UntilClose => false,
        }
    }
}

/// Adds the fields of a final response as the client gets them.
pub(crate) fn response_fields<F: Fields>(out: &mut F, head: &Head, envelope: &Envelope<'_>) {
    let nominated = Nominated::in_head(head);
    let mut has_date = false;
    for field in head.fields() {
        let pass = match field.kind {
            Kind::Connection
            | Kind::HopByHop
            | Kind::KeepAlive
            | Kind::Reserved
            | Kind::Te
            | Kind::TransferEncoding
            | Kind::Upgrade => false,
            // A 204 has no length to tell (RFC 9110 §8.6), and some clients would wait
            // for it; a switch of protocols has none either.
            Kind::ContentLength => !matches!(head.status, 101 | 204),
            Kind::Date => !std::mem::replace(&mut has_date, true),
            _ => !nominated.contains(&field),
        };
        if pass {
            out.pass(&field);
        }
    }
    if !has_date {
        out.add_own(&DATE, envelope.date);
    }
    if let Some(version) = envelope.version {
        out.add_own(&VERSION, version.as_bytes());
    }
    if let Some(draw) = envelope.issued {
        let key = issued_key(draw);
        let cookie = [
            ISSUED_COOKIE.as_bytes(),
            b"=",
            &key,
            b"; Path=/; HttpOnly; SameSite=Lax",
        ];
        out.add_parts(b"set-cookie", cookie.into_iter());
    }
}

/// Adds the fields of an interim response (RFC 9110 §15.2).
pub(crate) fn interim_fields<F: Fields>(out: &mut F, head: &Head) {
    for field in head.fields().filter(|field| field.kind == Kind::Other) {
        out.pass(&field);
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
                    && !member.eq_ignore_ascii_case(b"upgrade")
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
