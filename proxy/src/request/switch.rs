//! A request to switch protocols: as `Upgrade` (RFC 9110 §7.8) or as extended CONNECT
//! (RFC 8441, RFC 9220), and from one to the other.

use super::fields::Fields;
use crate::h1::field::{Kind, members};
use crate::h1::head::{Head, Version};
use crate::websocket::{accept_of, new_key};

/// The field with the key of a WebSocket handshake, which only HTTP/1.1 has.
pub(crate) const KEY: &str = "sec-websocket-key";
/// The field with the answer to it.
pub(crate) const ACCEPT: &str = "sec-websocket-accept";

/// A switch that a client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Switch<'a> {
    /// As the client named it; in HTTP/1.1 it may be a list.
    protocol: &'a [u8],
    /// The key of the handshake: the client's, or haldane's if it needs one and has none.
    key: Option<Box<[u8]>>,
    /// The client has sent a key, so the upstream gets it with the other fields.
    has_key: bool,
}

impl<'a> Switch<'a> {
    /// The switch that `head` asks for. `None`: it asks for none, or for one that is
    /// not forwarded: `h2c`, by which requests are smuggled past proxies.
    pub(crate) fn in_head(head: &'a Head) -> Option<Self> {
        let protocol = match head.version {
            Version::Http10 => return None,
            Version::Http11 => asked_by_upgrade(head)?,
            Version::Http2 => Some(head.protocol()).filter(|protocol| !protocol.is_empty())?,
        };
        let sent = head.value_of(KEY.as_bytes());
        let has_key = sent.is_some() && head.version == Version::Http11;
        let mut switch = Self {
            protocol,
            key: sent.filter(|_| has_key).map(Into::into),
            has_key,
        };
        if !has_key && switch.is_websocket() {
            switch.key = Some(new_key().into_bytes().into());
        }
        Some(switch)
    }

    /// Whether frames of RFC 6455 will be exchanged.
    pub(crate) fn is_websocket(&self) -> bool {
        self.protocol.eq_ignore_ascii_case(b"websocket")
    }

    /// The protocol as the client named it.
    pub(crate) const fn protocol(&self) -> &'a [u8] {
        self.protocol
    }

    /// Adds what asks an upstream in HTTP/1.1, besides `Connection`.
    pub(crate) fn ask_by_text(&self, out: &mut Vec<u8>) {
        out.add(b"upgrade", self.protocol);
        if let Some(key) = self.key.as_ref().filter(|_| !self.has_key) {
            out.add(KEY.as_bytes(), key);
        }
    }

    /// Whether the upstream has switched; `Err` if it says so and cannot have.
    pub(crate) fn is_answered_by(&self, response: &Head) -> Result<bool, ()> {
        match (response.version, response.status) {
            (Version::Http2, 200..=299) => Ok(true),
            (Version::Http11, 101) if self.agrees_with(response) => Ok(true),
            (Version::Http10 | Version::Http11, 101) => Err(()),
            _ => Ok(false),
        }
    }

    fn agrees_with(&self, response: &Head) -> bool {
        let names_one = response
            .values(Kind::Upgrade)
            .flat_map(members)
            .any(|chosen| members(self.protocol).any(|asked| asked.eq_ignore_ascii_case(chosen)));
        // Where the client has sent the key it checks the answer itself.
        let own = self.key.as_ref().filter(|_| !self.has_key);
        names_one
            && own.is_none_or(|key| {
                response.value_of(ACCEPT.as_bytes()) == Some(accept_of(key).as_bytes())
            })
    }

    /// Adds what tells a client in HTTP/1.1 that the upstream has switched, besides
    /// `Connection`.
    pub(crate) fn answer_by_text(&self, out: &mut Vec<u8>, response: &Head) {
        let chosen = response.values(Kind::Upgrade).next();
        out.add(b"upgrade", chosen.unwrap_or(self.protocol));
        if let Some(key) = &self.key
            && response.version == Version::Http2
        {
            out.add(ACCEPT.as_bytes(), accept_of(key).as_bytes());
        }
    }
}

fn asked_by_upgrade(head: &Head) -> Option<&[u8]> {
    let asked = head
        .values(Kind::Connection)
        .flat_map(members)
        .any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let mut protocols = head.values(Kind::Upgrade);
    let (protocol, None) = (protocols.next()?, protocols.next()) else {
        return None;
    };
    let is_h2c = members(protocol).any(|member| member.eq_ignore_ascii_case(b"h2c"));
    (asked && !protocol.is_empty() && !is_h2c).then_some(protocol)
}
