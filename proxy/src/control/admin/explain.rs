//! Which version a request gets, why, and from which weight on.
//!
//! The choice is made by the code that makes it for requests; only what it reads
//! comes from the question.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use haldane_config::{KeySource, RouteConfig};
use haldane_decide::role::Role;
use haldane_decide::rollout::CanaryReach;
use haldane_decide::split::SplitKey;
use haldane_decide::weight::Weight;
use serde::{Deserialize, Serialize};

use super::Hub;
use super::body::parse;
use super::problem::Problem;
use super::reply::{Reply, json};
use crate::live::choice::{Claim, Facts, ISSUED_COOKIE, KeyBytes, cookie_in};
use crate::live::weight::Setting;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// May be left out if there is only one.
    route: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The client's address, after all trusted proxies.
    client: Option<IpAddr>,
    /// Who connected; the client if it is left out.
    peer: Option<IpAddr>,
    /// The split key itself, in the place of everything that it could be read from.
    key: Option<String>,
}

#[derive(Serialize)]
struct Explanation {
    route: Arc<str>,
    /// Absent if it is left to chance.
    role: Option<Role>,
    version: Option<Arc<str>>,
    why: String,
    position_percent: Option<f64>,
    canary_from: Option<Weight>,
    weight: Weight,
    generation: u32,
}

/// Answers a question.
pub(super) fn explain(hub: &Hub, body: &[u8]) -> Result<Reply, Problem> {
    let question: Question = parse(body)?;
    let routes = hub.live.routes();
    let route = match (&question.route, routes.as_slice()) {
        (Some(name), _) => hub.route(name)?,
        (None, [only]) => Arc::clone(only),
        (None, _) => {
            let names: Vec<&str> = routes.iter().map(|route| &*route.config.name).collect();
            let hint = format!("give one of: {}", names.join(", "));
            return Err(Problem::body("\"route\" is missing", hint));
        }
    };
    let config = &route.config;
    let facts = Asked::new(&question);
    let claim = facts.claim(config)?;
    let setting = route.setting();
    let salt = route.salt(setting.generation);
    let key = match claim {
        Claim::Key(..) => claim.split_key(salt),
        Claim::Forced(_) | Claim::Issued(_) | Claim::Random(_) | Claim::Unkeyed => None,
    };
    let by_chance = matches!(claim, Claim::Issued(_) | Claim::Random(_));
    let undecided = !setting.weight.is_zero() && setting.weight != Weight::FULL;
    let role = (!by_chance || !undecided).then(|| claim.pick(salt, setting).0);
    let version = role.and_then(|role| config.version(role));
    json(&Explanation {
        route: Arc::clone(&config.name),
        role,
        version: version.map(|version| Arc::clone(&version.name)),
        why: why(config, &claim, key, setting),
        position_percent: key.map(|key| f64::from(key.position()) / 10_000.0),
        canary_from: key.map(SplitKey::first_canary_weight),
        weight: setting.weight,
        generation: setting.generation,
    })
}

/// The request that is asked about.
struct Asked<'a> {
    /// Names in lower case.
    headers: Vec<(String, &'a [u8])>,
    client: Option<IpAddr>,
    peer: Option<IpAddr>,
    key: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn new(question: &'a Question) -> Self {
        let headers = question.headers.iter();
        Self {
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().as_bytes()))
                .collect(),
            client: question.client.map(|address| address.to_canonical()),
            peer: question.peer.map(|address| address.to_canonical()),
            key: question.key.as_deref(),
        }
    }

    fn claim(&'a self, config: &RouteConfig) -> Result<Claim<'a>, Problem> {
        if let Some(key) = self.key {
            return given_key(key, config);
        }
        // The draw is not looked at: what is left to chance is told as such.
        let claim = Claim::read(&config.sticky, self, 0);
        match claim {
            Claim::Key(KeyBytes::Address(_), _) if self.client.is_none() => Err(Problem::body(
                "the client's address decides, and it is not given",
                "give \"client\", or a header or cookie that comes before the address",
            )),
            claim => Ok(claim),
        }
    }
}

impl Facts for Asked<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter();
        headers
            .find(|(given, _)| given == name)
            .map(|(_, value)| *value)
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        cookie_in(self.header("cookie")?, name.as_bytes())
    }

    fn client(&self) -> IpAddr {
        self.client
            .or(self.peer)
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    fn peer(&self) -> IpAddr {
        self.peer.unwrap_or_else(|| self.client())
    }
}

/// A key that is given as such is the value of the first source, except that an
/// address is an address where the route can be split by it.
fn given_key<'a>(key: &'a str, config: &RouteConfig) -> Result<Claim<'a>, Problem> {
    let sources = &config.sticky.key;
    if key.is_empty() {
        let hint = "a request without a key is asked about by leaving \"key\" out";
        return Err(Problem::body("\"key\" is empty", hint));
    }
    let by_address = sources
        .iter()
        .position(|source| matches!(source, KeySource::ClientIp));
    match (by_address, key.parse::<IpAddr>()) {
        (Some(index), Ok(address)) => {
            let address = KeyBytes::Address(address.to_canonical());
            Ok(Claim::Key(address, index))
        }
        (Some(0), Err(_)) => Err(Problem::body(
            "this route is split by the client's address, and the key is none",
            "give an IP address",
        )),
        _ => Ok(Claim::Key(KeyBytes::Text(key.as_bytes()), 0)),
    }
}

/// One sentence, without the key: it may be personal.
fn why(config: &RouteConfig, claim: &Claim<'_>, key: Option<SplitKey>, setting: Setting) -> String {
    let weight = setting.weight;
    if config.canary.is_none() {
        return "the route has no canary".to_owned();
    }
    let told = match claim {
        Claim::Forced(role) => {
            let header = config
                .sticky
                .force
                .as_ref()
                .map_or("", |force| &force.header);
            format!("the header {header} of a trusted peer asks for {role}")
        }
        Claim::Issued(_) => "without a key it is given one by chance and keeps it".to_owned(),
        Claim::Random(_) => "without a key each request is split by chance".to_owned(),
        Claim::Unkeyed => "without a key it goes to stable".to_owned(),
        Claim::Key(_, index) => match config.sticky.key.get(*index) {
            Some(KeySource::ClientIp) => "split by the client's address".to_owned(),
            Some(KeySource::Cookie(name)) => format!("split by the cookie {name}"),
            Some(KeySource::Header(name)) => format!("split by the header {name}"),
            None => format!("split by the cookie {ISSUED_COOKIE}"),
        },
    };
    let Some(key) = key else {
        return match claim {
            Claim::Forced(_) if setting.reach == CanaryReach::Forced => told,
            _ if weight.is_zero() => format!("{told}, but the canary's weight is 0%"),
            Claim::Issued(_) | Claim::Random(_) => {
                format!("{told}: {weight} of them go to the canary")
            }
            Claim::Forced(_) | Claim::Unkeyed | Claim::Key(..) => told,
        };
    };
    let from = key.first_canary_weight();
    let on = if from <= weight { "is" } else { "would be" };
    format!("{told}: it {on} on the canary from a weight of {from} on, and the weight is {weight}")
}
