//! What a request asks for, once its head has been checked (RFC 9112 §3, §6).

use std::net::Ipv6Addr;

use crate::h1::body::Framing;
use crate::h1::field::{Kind, members};
use crate::h1::head::{Head, Version};

use super::error::{ClientError, ProxyError};
use super::grpc;
use super::switch::Switch;

/// A request head that may be forwarded.
#[derive(Clone, Debug)]
pub(crate) struct Inbound<'a> {
    pub(crate) head: &'a Head,
    /// How long its body is.
    pub(crate) framing: Framing,
    /// Host and port as the client named them; empty if it named none.
    pub(crate) host: &'a [u8],
    /// Path and query, or `*`.
    pub(crate) target: &'a [u8],
    /// The client wants to send more requests.
    pub(crate) keep_alive: bool,
    /// The client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
    /// The client wants to switch protocols.
    pub(crate) switch: Option<Switch<'a>>,
    /// It is a gRPC call.
    pub(crate) is_call: bool,
}

impl<'a> Inbound<'a> {
    /// Checks a head. Whatever two servers could understand differently is refused.
    pub(crate) fn check(head: &'a Head) -> Result<Self, ProxyError> {
        let mut switch = Switch::in_head(head);
        if head.method() == b"CONNECT" && (switch.is_none() || head.version != Version::Http2) {
            return Err(ClientError::Method.into());
        }
        let mut framing = Framing::of_request(head)?;
        if head.version == Version::Http2 && switch.is_some() {
            // What comes is not a body but the other protocol.
            framing = Framing::Empty;
        } else if framing != Framing::Empty {
            // An upgrade may be ignored (RFC 9110 §7.8), a body may not.
            switch = None;
        }
        let named = host_field(head)?;
        // A fragment is not for servers (RFC 9110 §7.1): some cut it off, others do not.
        if head.target().contains(&b'#') {
            return Err(ClientError::Target.into());
        }
        let (host, target) = match head.target() {
            b"*" if head.method() == b"OPTIONS" => (named, &b"*"[..]),
            target @ [b'/', ..] => (named, target),
            _ if head.version == Version::Http2 => return Err(ClientError::Target.into()),
            target => absolute(target).ok_or(ClientError::Target)?,
        };
        let mut expects_continue = false;
        for expectation in head.values(Kind::Expect) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(ClientError::Expectation.into());
            }
            expects_continue = true;
        }
        Ok(Self {
            head,
            framing,
            host,
            target,
            keep_alive: wants_keep_alive(head),
            expects_continue,
            switch,
            is_call: grpc::is_call(head),
        })
    }

    /// The method as HTTP/1.1 has it: a tunnel begins with a GET there.
    pub(crate) fn method(&self) -> &'a [u8] {
        match self.head.method() {
            b"CONNECT" => b"GET",
            method => method,
        }
    }

    /// The path without the query.
    pub(crate) fn path(&self) -> &'a [u8] {
        self.target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or(self.target)
    }

    /// Whether repeating the request does the same as sending it once (RFC 9110 §9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(
            self.head.method(),
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
        )
    }

    /// Whether the client reads interim responses.
    pub(crate) fn reads_interim(&self) -> bool {
        self.head.version != Version::Http10
    }
}

/// Whether the sender of this head keeps the connection open (RFC 9112 §9.3).
pub(crate) fn wants_keep_alive(head: &Head) -> bool {
    let has = |option: &[u8]| {
        head.values(Kind::Connection)
            .flat_map(members)
            .any(|member| member.eq_ignore_ascii_case(option))
    };
    match head.version {
        Version::Http10 => has(b"keep-alive") && !has(b"close"),
        Version::Http11 | Version::Http2 => !has(b"close"),
    }
}

fn host_field(head: &Head) -> Result<&[u8], ClientError> {
    let mut hosts = head.values(Kind::Host);
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_authority(host) => Ok(host),
        (None, None) if head.version == Version::Http10 => Ok(&[]),
        _ => Err(ClientError::Host),
    }
}

/// Host and port, or nothing: no userinfo, no path, nothing that a list or a log could
/// take for more (RFC 3986 §3.2.2).
fn is_authority(text: &[u8]) -> bool {
    text.is_empty()
        || host_and_port(text).is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// A host, in brackets if it is an address of IPv6, and the port; empty if there is none.
fn host_and_port(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let in_brackets = text.starts_with(b"[");
    let end = if in_brackets {
        text.iter().position(|byte| *byte == b']')? + 1
    } else {
        let colon = text.iter().position(|byte| *byte == b':');
        colon.unwrap_or(text.len())
    };
    match text.split_at(end) {
        (host, []) => Some((host, b"")),
        (host, [b':', port @ ..]) => Some((host, port)),
        _ => None,
    }
}

fn is_host(text: &[u8]) -> bool {
    if let Some(address) = text.strip_prefix(b"[") {
        let address = address.strip_suffix(b"]").map(std::str::from_utf8);
        return address.is_some_and(|text| text.is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()));
    }
    let is_plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=');
    let mut parts = text.split(|byte| *byte == b'%');
    let first = parts.next().unwrap_or_default();
    let is_encoded = |part: &[u8]| {
        let (digits, rest) = part.split_at(part.len().min(2));
        digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit) && rest.iter().all(is_plain)
    };
    !text.is_empty() && first.iter().all(is_plain) && parts.all(is_encoded)
}

/// Nothing, or a number that a port can have.
fn is_port(text: &[u8]) -> bool {
    let digits = std::str::from_utf8(text).unwrap_or("-");
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// Host and target of a request in absolute form. The target's host replaces the
/// `Host` field (RFC 9112 §3.2.2).
fn absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme)
    })?;
    let rest = &target[scheme.len()..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    if host.is_empty() || !is_authority(host) {
        return None;
    }
    match target.first() {
        None => Some((host, b"/")),
        Some(b'/') => Some((host, target)),
        // `http://host?query` has an empty path, which no origin form can say.
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::head::HeadLimits;

    fn check<T>(text: &str, read: impl Fn(Inbound<'_>) -> T) -> Result<T, &'static str> {
        let mut head = Head::default();
        let limits = HeadLimits {
            bytes: 4096,
            target: 4096,
            fields: 16,
        };
        head.parse_request(text.as_bytes(), limits)
            .expect("parses")
            .expect("complete");
        Inbound::check(&head)
            .map(read)
            .map_err(|error| error.answer().map_or("", |(_, code)| code))
    }

    #[test]
    fn there_is_one_host() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: a:80\r\n\r\n", Ok("a:80 /")),
            ("GET / HTTP/1.0\r\n\r\n", Ok(" /")),
            ("GET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n", Ok("b /x?y")),
            ("GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n", Ok("b /")),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Ok(" /")),
            ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", Ok("a: /")),
            ("GET / HTTP/1.1\r\nHost: a_b%2f!\r\n\r\n", Ok("a_b%2f! /")),
            (
                "GET / HTTP/1.1\r\nHost: [::1]:65535\r\n\r\n",
                Ok("[::1]:65535 /"),
            ),
            ("GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", Err("client_host")),
            (
                "GET / HTTP/1.1\r\nHost: [::1%25eth0]\r\n\r\n",
                Err("client_host"),
            ),
            ("GET / HTTP/1.1\r\nHost: a:+1\r\n\r\n", Err("client_host")),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Ok("a *")),
            ("GET / HTTP/1.1\r\n\r\n", Err("client_host")),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
                Err("client_host"),
            ),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Err("client_host")),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Err("client_host")),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Err("client_host")),
            ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Err("client_host")),
            (
                "GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
                Err("client_target"),
            ),
            (
                "GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
                Err("client_target"),
            ),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Err("client_target")),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", Err("client_target")),
            ("GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", Err("client_target")),
            (
                "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
                Err("client_method"),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n",
                Err("client_expectation"),
            ),
        ] {
            let got = check(text, |inbound| {
                format!(
                    "{} {}",
                    String::from_utf8_lossy(inbound.host),
                    String::from_utf8_lossy(inbound.target)
                )
            });
            assert_eq!(got.as_deref().map_err(|code| *code), expected, "{text:?}");
        }
    }

    #[test]
    fn keep_alive_depends_on_the_version() {
        for (version, connection, expected) in [
            ("1.1", "", true),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
            assert_eq!(
                check(&text, |inbound| inbound.keep_alive),
                Ok(expected),
                "{text:?}"
            );
        }
    }
}
