//! Which role a request gets, and why: forced, by its split key under the weight of the
//! route or that of a rule, or for want of one.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use haldane_config::{Force, KeySource, OnMissing, RouteConfig, RuleMatch, Sticky, TargetingRule};
use haldane_decide::role::Role;
use haldane_decide::rollout::CanaryReach;
use haldane_decide::split::rule::Rule;
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
    /// The path without the query.
    fn path(&self) -> &[u8];
    /// The address of the direct peer.
    fn peer(&self) -> IpAddr;
}

/// What of a request decides its role, before the weight is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) claim: Claim<'a>,
    /// The first rule that matches, whether it is in force or not.
    pub(crate) rule: Option<&'a TargetingRule>,
}

/// What gates may conclude from what becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bearing {
    /// Its role was drawn under the weight of the route: it tells the versions apart.
    Drawn,
    /// Nothing: it asked for its version by name, or could not have got another.
    None,
    /// A rule decided. What goes wrong is harm, but cannot be compared: whom a rule matches
    /// may fare otherwise than others, and may depend on what a version has done.
    Ruled,
}

impl<'a> Choice<'a> {
    /// Reads from `facts` what a route asks for. `draw` is 64 random bits.
    pub(crate) fn read<F: Facts>(config: &'a RouteConfig, facts: &'a F, draw: u64) -> Self {
        Self {
            claim: Claim::read(&config.sticky, facts, draw),
            rule: rule_for(&config.rules, facts),
        }
    }

    /// The role under this salt and setting, and the salted key if the client keeps it. The
    /// canary may be one that can be asked for by name although its weight is zero.
    pub(crate) fn pick(&self, salt: Salt, setting: Setting) -> (Role, Option<SplitKey>) {
        let share = self.share(setting.weight);
        match (self.claim, setting.reach) {
            (Claim::Forced(role), CanaryReach::Forced) if setting.weight.is_zero() => (role, None),
            (Claim::Issued(_) | Claim::Key(..), _) => {
                let key = self.claim.split_key(salt);
                (key.map_or(Role::Stable, |key| key.role(share)), key)
            }
            (Claim::Forced(_) | Claim::Random(_) | Claim::Unkeyed, _) => {
                (self.claim.role(salt, share), None)
            }
        }
    }

    /// The canary's share of requests like this one, under this weight of the route.
    pub(crate) fn share(&self, weight: Weight) -> Weight {
        match self.claim {
            // A share of nothing would beat the name.
            Claim::Forced(_) => weight,
            Claim::Issued(_) | Claim::Key(..) | Claim::Random(_) | Claim::Unkeyed => self
                .rule
                .map_or(weight, |target| target.rule.share_at(weight)),
        }
    }

    /// The rule that decides under this weight of the route, if one does.
    pub(crate) fn rule_in_force(&self, weight: Weight) -> Option<&'a TargetingRule> {
        match self.claim {
            Claim::Forced(_) => None,
            Claim::Issued(_) | Claim::Key(..) | Claim::Random(_) | Claim::Unkeyed => self
                .rule
                .filter(|target: &&TargetingRule| Rule::is_in_force(&target.rule, weight)),
        }
    }

    /// The name of that rule.
    pub(crate) fn rule_name(&self, weight: Weight) -> Option<Arc<str>> {
        self.rule_in_force(weight)
            .map(|target| Arc::clone(&target.name))
    }

    /// What may be concluded from it, if it was split under this weight of the route.
    pub(crate) fn bearing(&self, weight: Weight) -> Bearing {
        match self.claim {
            Claim::Forced(_) => Bearing::None,
            _ if self.rule_in_force(weight).is_some() => Bearing::Ruled,
            Claim::Issued(_) | Claim::Key(..) | Claim::Random(_) => Bearing::Drawn,
            Claim::Unkeyed if weight == Weight::FULL => Bearing::Drawn,
            Claim::Unkeyed => Bearing::None,
        }
    }
}

/// The first rule that matches.
pub(crate) fn rule_for<'a, F: Facts>(
    rules: &'a [TargetingRule],
    facts: &F,
) -> Option<&'a TargetingRule> {
    // What proxies tell is read once, however many rules ask for it.
    let client = OnceCell::new();
    let has = |found: Option<&[u8]>, values: &[String]| {
        found.is_some_and(|found| {
            values.is_empty() || values.iter().any(|value| value.as_bytes() == found)
        })
    };
    rules.iter().find(|target| match &target.matches {
        RuleMatch::Client(networks) => networks.contains(*client.get_or_init(|| facts.client())),
        RuleMatch::Cookie { name, values } => has(facts.cookie(name), values),
        RuleMatch::Header { name, values } => has(facts.header(name), values),
        RuleMatch::Path(pattern) => pattern.takes(facts.path()),
    })
}

/// How a request can be split.
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

    /// The role under this salt and share. A forced canary never beats a share of zero.
    fn role(&self, salt: Salt, weight: Weight) -> Role {
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
    force.role_of(value)
}

#[cfg(test)]
mod tests {
    use haldane_config::{Networks, SaltSource};

    use super::*;

    /// A request with one header field from one peer.
    struct Asks(&'static str, IpAddr);

    impl Facts for Asks {
        fn header(&self, name: &str) -> Option<&[u8]> {
            (name == "x-feature").then_some(self.0.as_bytes())
        }

        fn cookie(&self, _name: &str) -> Option<&[u8]> {
            None
        }

        fn client(&self) -> IpAddr {
            self.1
        }

        fn path(&self) -> &[u8] {
            b"/"
        }

        fn peer(&self) -> IpAddr {
            self.1
        }
    }

    /// Who is not heard goes to stable here, so that only a word can lead to the canary.
    #[test]
    fn a_word_of_the_flag_decides_for_those_who_are_believed() {
        let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let networks = Networks(vec!["10.0.0.0/8".parse().expect("a network")]);
        let sticky = Sticky {
            key: vec![KeySource::Header("x-user".to_owned())],
            on_missing: OnMissing::Stable,
            salt: SaltSource::Auto,
            force: Some(Force {
                header: "x-feature".to_owned(),
                canary: texts(&["on", "true"]),
                stable: texts(&["off", "false"]),
                from: networks,
            }),
        };
        let half = Weight::from_parts_per_million(500_000).expect("a share");
        let salt = Salt::from_text("tests");
        for (word, peer, named) in [
            ("on", "10.1.2.3", Some(Role::Canary)),
            ("true", "10.1.2.3", Some(Role::Canary)),
            ("off", "10.1.2.3", Some(Role::Stable)),
            ("false", "10.1.2.3", Some(Role::Stable)),
            ("On", "10.1.2.3", None),
            ("on ", "10.1.2.3", None),
            ("", "10.1.2.3", None),
            ("canary", "10.1.2.3", None),
            ("on", "192.0.2.1", None),
        ] {
            let facts = Asks(word, peer.parse().expect("an address"));
            let claim = Claim::read(&sticky, &facts, 0);
            let expected = named.map_or(Claim::Unkeyed, Claim::Forced);
            assert_eq!(claim, expected, "{word:?} from {peer}");
            let choice = Choice { claim, rule: None };
            let role = |weight, reach| {
                choice
                    .pick(
                        salt,
                        Setting {
                            generation: 1,
                            weight,
                            reach,
                        },
                    )
                    .0
            };
            let is_named = named.unwrap_or(Role::Stable);
            assert_eq!(role(half, CanaryReach::Closed), is_named);
            // Before the first step those who ask by name are let in, after a rollback nobody.
            assert_eq!(role(Weight::ZERO, CanaryReach::Forced), is_named);
            assert_eq!(role(Weight::ZERO, CanaryReach::Closed), Role::Stable);
        }
    }

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
