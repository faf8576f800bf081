//! Header, cookie or client address: what of a request its role is decided by, and what
//! it is called.

use std::net::IpAddr;

use haldane_config::Networks;
use haldane_decide::outcome::RequestId;

use crate::h1::field::{Kind, members};
use crate::h1::head::Head;
use crate::live::choice::{Facts, cookie_in};

/// A request as [`crate::live::choice::Choice`] looks at it.
pub(crate) struct RequestFacts<'a> {
    pub(crate) head: &'a Head,
    /// Without the query.
    pub(crate) path: &'a [u8],
    pub(crate) peer: IpAddr,
    pub(crate) trusted_proxies: &'a Networks,
}

impl Facts for RequestFacts<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.value_of(name.as_bytes())
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.head
            .values(Kind::Cookie)
            .find_map(|value| cookie_in(value, name.as_bytes()))
    }

    fn client(&self) -> IpAddr {
        client_address(self.head, self.peer, self.trusted_proxies)
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn peer(&self) -> IpAddr {
        self.peer
    }
}

/// What a request is called: by whoever has given it a name, or by who traces it
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub(crate) fn request_id(head: &Head) -> Option<RequestId> {
    named_id(head).or_else(|| {
        let mut parts = head.value_of(b"traceparent")?.split(|byte| *byte == b'-');
        RequestId::from_bytes(parts.nth(1)?)
    })
}

/// What a request is called by whoever has given it a name.
pub(crate) fn named_id(head: &Head) -> Option<RequestId> {
    let name = head.value_of(b"x-request-id");
    name.and_then(RequestId::from_bytes)
}

/// Who sent the request: the last address in `X-Forwarded-For` that is not a
/// trusted proxy, if the peer is one; what an untrusted hop wrote is not looked at.
pub(crate) fn client_address(head: &Head, peer: IpAddr, trusted: &Networks) -> IpAddr {
    let peer = peer.to_canonical();
    if trusted.0.is_empty() || !trusted.contains(peer) {
        return peer;
    }
    let mut client = peer;
    let mut told: Vec<&[u8]> = head.values(Kind::XForwardedFor).flat_map(members).collect();
    while let Some(text) = told.pop() {
        let Some(address) = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<IpAddr>().ok())
        else {
            break;
        };
        client = address.to_canonical();
        if !trusted.contains(client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::head::HeadLimits;

    #[test]
    fn a_request_is_called_by_its_name_or_its_trace() {
        const TRACE: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (fields, name) in [
            (format!("X-Request-Id: r 1\r\n{TRACE}\r\n"), Some("r1")),
            (
                format!("x-request-id:\r\n{TRACE}\r\n"),
                Some("0af7651916cd43dd8448eb211c80319c"),
            ),
            (
                format!("{TRACE}\r\n"),
                Some("0af7651916cd43dd8448eb211c80319c"),
            ),
            ("traceparent: 00\r\n".to_owned(), None),
            (String::new(), None),
        ] {
            let mut head = Head::default();
            let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            let limits = HeadLimits {
                bytes: 1024,
                target: 1024,
                fields: 8,
            };
            let parsed = head.parse_request(text.as_bytes(), limits);
            parsed.expect("parses").expect("complete");
            let found = request_id(&head);
            assert_eq!(found.as_ref().map(RequestId::as_str), name, "{fields}");
        }
    }

    #[test]
    fn only_trusted_proxies_say_who_the_client_is() {
        let trusted = Networks(vec!["10.0.0.0/8".parse().expect("network")]);
        let client = |peer: &str, forwarded: &str| {
            let mut head = Head::default();
            let text = format!("GET / HTTP/1.1\r\n{forwarded}\r\n");
            head.parse_request(
                text.as_bytes(),
                HeadLimits {
                    bytes: 1024,
                    target: 1024,
                    fields: 8,
                },
            )
            .expect("parses")
            .expect("complete");
            client_address(&head, peer.parse().expect("address"), &trusted).to_string()
        };
        assert_eq!(
            client("192.0.2.1", "X-Forwarded-For: 1.2.3.4\r\n"),
            "192.0.2.1"
        );
        assert_eq!(
            client("10.0.0.1", "X-Forwarded-For: 1.2.3.4\r\n"),
            "1.2.3.4"
        );
        assert_eq!(
            client(
                "10.0.0.1",
                "X-Forwarded-For: 9.9.9.9, 1.2.3.4, 10.0.0.2\r\n"
            ),
            "1.2.3.4"
        );
        assert_eq!(
            client(
                "10.0.0.1",
                "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 1.2.3.4\r\n"
            ),
            "1.2.3.4"
        );
        assert_eq!(
            client(
                "10.0.0.1",
                "X-Forwarded-For: 9.9.9.9, nonsense, 10.0.0.2\r\n"
            ),
            "10.0.0.2"
        );
        assert_eq!(client("10.0.0.1", ""), "10.0.0.1");
        assert_eq!(
            client("::ffff:10.0.0.1", "X-Forwarded-For: ::ffff:1.2.3.4\r\n"),
            "1.2.3.4"
        );
    }
}
