//! The header fields that haldane treats in a way of its own.

/// What a field means to haldane. Everything else passes byte for byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// `Connection`: names what else is hop-by-hop, and whether the connection stays open.
    Connection,
    /// `Content-Length`.
    ContentLength,
    /// `Cookie`.
    Cookie,
    /// `Date`: added to a response that has none (RFC 9110 §6.6.1).
    Date,
    /// `Expect`: only `100-continue` is known (RFC 9110 §10.1.1).
    Expect,
    /// `Forwarded`, and what else proxies say of a client that haldane says nothing
    /// about: other `X-Forwarded-*` and `X-Real-IP` (RFC 7239). A claim.
    Forwarded,
    /// `Host`.
    Host,
    /// Meant for the next hop only, and of no further interest (RFC 9110 §7.6.1).
    HopByHop,
    /// `Keep-Alive`: hop-by-hop; its timeout says how long a pooled connection lives.
    KeepAlive,
    /// A field that is passed on as it is.
    Other,
    /// A field that only haldane may set, that imitates one with underscores, or that
    /// servers take for a setting of their own.
    Reserved,
    /// `TE`: only `trailers` survives.
    Te,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Upgrade`: hop-by-hop, passed on where the protocol is switched.
    Upgrade,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `X-Forwarded-Host`.
    XForwardedHost,
    /// `X-Forwarded-Proto`.
    XForwardedProto,
}

/// Claims about a client. Their underscore twins are dropped, like those of framing
/// fields: many servers read both as one name.
const CLAIMS: [(&[u8], Kind); 5] = [
    (b"forwarded", Kind::Forwarded),
    (b"x-forwarded-for", Kind::XForwardedFor),
    (b"x-forwarded-host", Kind::XForwardedHost),
    (b"x-forwarded-proto", Kind::XForwardedProto),
    (b"x-real-ip", Kind::Forwarded),
];

/// The prefix of most claims.
const CLAIM: &[u8] = b"x-forwarded-";

/// The prefix of the fields that only haldane sets.
const OWN: &[u8] = b"x-haldane-";

/// Which kinds there are among some fields.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kinds(u32);

impl Kinds {
    /// Adds a kind, and gives it back.
    pub(crate) fn note(&mut self, kind: Kind) -> Kind {
        self.0 |= 1 << kind as u32;
        kind
    }

    /// Whether a kind is among them.
    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }
}

impl Kind {
    /// What the field of this name means, in any spelling of case.
    ///
    /// Most fields mean nothing special: their length and first letter tell.
    pub(crate) fn of(name: &[u8]) -> Self {
        let first = name.first().map_or(0, u8::to_ascii_lowercase);
        let (known, kind): (&[u8], Self) = match (name.len(), first) {
            (_, b'f' | b'x') => return Self::of_claim(name),
            (2, b't') => (b"te", Self::Te),
            (4, b'd') => (b"date", Self::Date),
            (4, b'h') => (b"host", Self::Host),
            // Becomes HTTP_PROXY in the environment of a CGI program (CVE-2016-5385).
            (5, b'p') => (b"proxy", Self::Reserved),
            (6, b'c') => (b"cookie", Self::Cookie),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b't') => (b"trailer", Self::HopByHop),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (14, b'c') if name.contains(&b'_') => (b"content_length", Self::Reserved),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (14, b'h') => (b"http2-settings", Self::HopByHop),
            (16, b'p') => (b"proxy-connection", Self::HopByHop),
            (17, b't') if name.contains(&b'_') => (b"transfer_encoding", Self::Reserved),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            (18, b'p') => (b"proxy-authenticate", Self::HopByHop),
            (19, b'p') => (b"proxy-authorization", Self::HopByHop),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(known) {
            kind
        } else {
            Self::Other
        }
    }

    /// The same of a name that begins as claims do, and the fields that only haldane sets.
    fn of_claim(name: &[u8]) -> Self {
        let begins_with = |known: &[u8]| {
            let start = name.get(..known.len());
            start.is_some_and(|start| reads_as(start, known))
        };
        if name.len() > OWN.len() && begins_with(OWN) {
            return Self::Reserved;
        }
        let claim = match CLAIMS.iter().find(|(known, _)| reads_as(name, known)) {
            Some((_, kind)) => *kind,
            None if begins_with(CLAIM) => Self::Forwarded,
            None => return Self::Other,
        };
        if name.contains(&b'_') {
            Self::Reserved
        } else {
            claim
        }
    }

    /// Whether a trailer of this name may be passed on: framing, routing and
    /// authentication fields may not (RFC 9110 §6.5.1).
    pub(crate) fn may_trail(name: &[u8]) -> bool {
        const NEVER: [&[u8]; 7] = [
            b"authorization",
            b"cache-control",
            b"content-encoding",
            b"content-range",
            b"content-type",
            b"cookie",
            b"set-cookie",
        ];
        Self::of(name) == Self::Other && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never))
    }
}

/// Whether servers that read `_` as `-` take a field of this name for the `known` one, whose
/// name is given in lower case.
pub(crate) fn reads_as(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len() && name.iter().map(dashed).eq(known.iter().map(dashed))
}

fn dashed(byte: &u8) -> u8 {
    if *byte == b'_' {
        b'-'
    } else {
        byte.to_ascii_lowercase()
    }
}

/// Whether a token may have this byte (RFC 9110 §5.6.2).
pub(crate) fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The comma-separated members of a field value, without empty ones.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_every_spelling() {
        for (name, kind) in [
            ("Connection", Kind::Connection),
            ("CONTENT-LENGTH", Kind::ContentLength),
            ("transfer-Encoding", Kind::TransferEncoding),
            ("Proxy-Connection", Kind::HopByHop),
            ("te", Kind::Te),
            ("X-Forwarded-For", Kind::XForwardedFor),
            ("x_forwarded_for", Kind::Reserved),
            ("X-Forwarded_Proto", Kind::Reserved),
            ("X-Haldane-Role", Kind::Reserved),
            ("x_haldane_version", Kind::Reserved),
            ("x-forwarded-port", Kind::Forwarded),
            ("X-Real-IP", Kind::Forwarded),
            ("x_real_ip", Kind::Reserved),
            ("Content_Length", Kind::Reserved),
            ("transfer_encoding", Kind::Reserved),
            ("Proxy", Kind::Reserved),
            ("x-haldane", Kind::Other),
            ("x-request-id", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of(name.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn trailers_carry_no_framing() {
        assert!(Kind::may_trail(b"grpc-status"));
        for name in [
            "Content-Length",
            "host",
            "Transfer-Encoding",
            "authorization",
            "X-Forwarded-For",
            "Set-Cookie",
        ] {
            assert!(!Kind::may_trail(name.as_bytes()), "{name}");
        }
    }
}
