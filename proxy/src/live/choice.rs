//! Which role a request gets, and why: forced, by its split key, or for want of one.

use std::net::IpAddr;

use haldane_config::{Force, KeySource, OnMissing, Sticky};
use haldane_decide::role::Role;
use haldane_decide::rollout::CanaryReach;
use haldane_decide::split::{Salt, SplitKey};
use haldane_decide::weight::Weight;

use super::weight::Setting;

/// The cookie that haldane issues under `on_missing = "cookie"`.
pub(crate) const ISSUED_COOKIE: &str = "haldane-key";

/// What a choice needs to know of a request.
pub(crate) trait Facts {
    /// The value of the first field of this (lower-case) name.
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// The value of the first cookie of this name.
    fn cookie(&self, name: &str) -> Option<&[u8]>;
    /// The client's address, as told by trusted proxies.
    fn client(&self) -> IpAddr;
    /// The address of the direct peer.
    fn peer(&self) -> IpAddr;
}

/// What of a request decides its role, before the weight is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Claim<'a> {
    /// A trusted peer named the role.
    Forced(Role),
    /// It has a split key, from the source with this index.
    Key(KeyBytes<'a>, usize),
    /// It was given a new key, to be set as a cookie.
    Issued(u64),
    /// It has no key and is split by this random draw.
    Random(u64),
    /// It has no key and goes to stable.
    Unkeyed,
}

/// A split key as it was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyBytes<'a> {
    Address(IpAddr),
    Text(&'a [u8]),
}

impl<'a> Claim<'a> {
    /// Reads from `facts` what `sticky` asks for. `draw` is 64 random bits.
    pub(crate) fn read<F: Facts>(sticky: &Sticky, facts: &'a F, draw: u64) -> Self {
        if let Some(role) = sticky.force.as_ref().and_then(|force| forced(force, facts)) {
            return Self::Forced(role);
        }
        for (index, source) in sticky.key.iter().enumerate() {
            let text = match source {
                KeySource::ClientIp => return Self::Key(KeyBytes::Address(facts.client()), index),
                KeySource::Cookie(name) => facts.cookie(name),
                KeySource::Header(name) => facts.header(name),
            };
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                return Self::Key(KeyBytes::Text(text), index);
            }
        }
        match sticky.on_missing {
            OnMissing::Cookie => {
                match facts.cookie(ISSUED_COOKIE).filter(|text| !text.is_empty()) {
                    Some(text) => Self::Key(KeyBytes::Text(text), sticky.key.len()),
                    None => Self::Issued(draw),
                }
            }
            OnMissing::Random => Self::Random(draw),
            OnMissing::Stable => Self::Unkeyed,
        }
    }

    /// The role under this salt and weight. A forced canary never beats weight zero.
    pub(crate) fn role(&self, salt: Salt, weight: Weight) -> Role {
        if weight.is_zero() {
            return Role::Stable;
        }
        match self {
            Self::Forced(role) => *role,
            Self::Unkeyed if weight == Weight::FULL => Role::Canary,
            Self::Unkeyed => Role::Stable,
            Self::Issued(_) | Self::Key(..) | Self::Random(_) => self
                .split_key(salt)
                .map_or(Role::Stable, |key| key.role(weight)),
        }
    }

    /// [`Claim::split`] under a setting, whose canary may be asked for by name although its
    /// weight is zero.
    pub(crate) fn pick(&self, salt: Salt, setting: Setting) -> (Role, Option<SplitKey>) {
        match (self, setting.reach) {
            (Self::Forced(role), CanaryReach::Forced) if setting.weight.is_zero() => (*role, None),
            _ => self.split(salt, setting.weight),
        }
    }

    /// The role under this salt and weight, and the salted key if the client keeps it.
    pub(crate) fn split(&self, salt: Salt, weight: Weight) -> (Role, Option<SplitKey>) {
        match self {
            Self::Forced(_) | Self::Random(_) | Self::Unkeyed => (self.role(salt, weight), None),
            Self::Issued(_) | Self::Key(..) => {
                let key = self.split_key(salt);
                let role = key.map_or(Role::Stable, |key| key.role(weight));
                (role, key)
            }
        }
    }

    /// Whether the role was drawn under this weight: who asks for one by name, or could
    /// not have got another, is not like the others.
    pub(crate) fn is_drawn(&self, weight: Weight) -> bool {
        match self {
            Self::Forced(_) => false,
            Self::Issued(_) | Self::Key(..) | Self::Random(_) => true,
            Self::Unkeyed => weight == Weight::FULL,
        }
    }

    /// The salted key that the request is split by, if it is split.
    pub(crate) fn split_key(&self, salt: Salt) -> Option<SplitKey> {
        match self {
            Self::Forced(_) | Self::Unkeyed => None,
            Self::Issued(draw) => Some(salt.split_key(&issued_key(*draw))),
            Self::Key(KeyBytes::Address(address), _) => {
                Some(salt.split_key(&address_bytes(*address)))
            }
            Self::Key(KeyBytes::Text(text), _) => Some(salt.split_key(text)),
            Self::Random(draw) => Some(SplitKey::from_random(*draw)),
        }
    }

    /// The salted key, if the client keeps it: what is split by chance has none.
    pub(crate) fn lasting_key(&self, salt: Salt) -> Option<u64> {
        match self {
            Self::Random(_) => None,
            Self::Forced(_) | Self::Issued(_) | Self::Key(..) | Self::Unkeyed => {
                self.split_key(salt).map(SplitKey::to_bits)
            }
        }
    }
}

/// The value of a cookie in a `Cookie` field (RFC 6265 §4.2.1).
pub(crate) fn cookie_in<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    field.split(|byte| *byte == b';').find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"=")?;
        Some(
            value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""))
                .unwrap_or(value),
        )
    })
}

/// The text of a key that haldane issues: 16 hexadecimal digits.
pub(crate) fn issued_key(draw: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|index| DIGITS[(draw >> (60 - 4 * index) & 0xf) as usize])
}

/// An address as key: 16 bytes, IPv4 mapped into IPv6, so that one client has one
/// key on every kind of listener.
fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn forced<F: Facts>(force: &Force, facts: &F) -> Option<Role> {
    let value = facts.header(&force.header)?;
    if !force.from.contains(facts.peer()) {
        return None;
    }
    Role::ALL
        .into_iter()
        .find(|role| value.eq_ignore_ascii_case(role.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let field = b"a=1; session=abc; sessions=x;b=\"q\"; session=second";
        for (name, value) in [
            ("session", Some("abc")),
            ("a", Some("1")),
            ("b", Some("q")),
            ("ession", None),
            ("c", None),
        ] {
            assert_eq!(
                cookie_in(field, name.as_bytes()),
                value.map(str::as_bytes),
                "{name}"
            );
        }
    }
}
