//! Which version a request gets, why, and from which weight on.
//!
//! The choice is made by the code that makes it for requests; only what it reads
//! comes from the question.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use haldane_config::{KeySource, LedgerDetail, RouteConfig, TargetingRule};
use haldane_decide::generation::Generation;
use haldane_decide::ledger::Exposure;
use haldane_decide::role::Role;
use haldane_decide::rollout::CanaryReach;
use haldane_decide::split::SplitKey;
use haldane_decide::weight::Weight;
use serde::{Deserialize, Serialize};

use super::Hub;
use super::body::parse;
use super::problem::Problem;
use super::reply::{Reply, json};
use crate::live::choice::{Choice, Claim, Facts, ISSUED_COOKIE, KeyBytes, cookie_in, rule_for};
use crate::live::weight::Setting;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// May be left out if there is only one.
    route: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Without the query; only rules look at it.
    path: Option<String>,
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
    /// Absent without a key, and if the rule never gives it to the canary.
    canary_from: Option<Weight>,
    /// The first rule that matches, if one does.
    rule: Option<RuleView>,
    weight: Weight,
    generation: u32,
    /// Whether it was on the canary in this generation, if hashes of keys are told.
    exposed: Option<ExposedView>,
}

/// What the ledger has of a key.
#[derive(Serialize)]
struct ExposedView {
    /// Absent if it is not known.
    on_canary: Option<bool>,
    saw_error: Option<bool>,
}

/// A rule as it is asked about.
#[derive(Serialize)]
struct RuleView {
    name: Arc<str>,
    /// The canary's share of those that it matches.
    weight: Weight,
    /// The weights of the route between which it holds.
    from_weight: Weight,
    until_weight: Option<Weight>,
    /// Whether it decides at the present weight.
    in_force: bool,
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
    let choice = facts.choice(config)?;
    let claim = choice.claim;
    let setting = route.setting();
    let salt = route.salt(setting.generation);
    let key = match claim {
        Claim::Key(..) => claim.split_key(salt),
        Claim::Forced(_) | Claim::Issued(_) | Claim::Random(_) | Claim::Unkeyed => None,
    };
    let by_chance = matches!(claim, Claim::Issued(_) | Claim::Random(_));
    let share = choice.share(setting.weight);
    let undecided = !share.is_zero() && share != Weight::FULL;
    let role = (!by_chance || !undecided).then(|| choice.pick(salt, setting).0);
    let version = role.and_then(|role| config.version(role));
    let exposure = key
        .filter(|_| config.ledger == LedgerDetail::Keys)
        .map(|key| {
            let generation = Generation(setting.generation);
            route.ledger().exposure(generation, key.to_bits())
        });
    let mut why = why(config, &choice, key, setting);
    why.push_str(exposure.map_or("", was));
    json(&Explanation {
        route: Arc::clone(&config.name),
        role,
        version: version.map(|version| Arc::clone(&version.name)),
        why,
        position_percent: key.map(|key| f64::from(key.position()) / 10_000.0),
        canary_from: key.and_then(|key| canary_from(choice.rule, key)),
        rule: choice.rule.map(|target| RuleView {
            name: Arc::clone(&target.name),
            weight: target.rule.share(),
            from_weight: target.rule.from(),
            until_weight: target.rule.until(),
            in_force: choice.rule_in_force(setting.weight).is_some(),
        }),
        weight: setting.weight,
        generation: setting.generation,
        exposed: exposure.map(ExposedView::of),
    })
}

impl ExposedView {
    const fn of(exposure: Exposure) -> Self {
        let (on_canary, saw_error) = match exposure {
            Exposure::Exposed { saw_error } => (Some(true), saw_error),
            Exposure::Unexposed => (Some(false), Some(false)),
            Exposure::Unknown => (None, None),
        };
        Self {
            on_canary,
            saw_error,
        }
    }
}

/// What the ledger has of a key, as the end of a sentence.
const fn was(exposure: Exposure) -> &'static str {
    match exposure {
        Exposure::Exposed { saw_error: None } => "; in this generation it was on the canary",
        Exposure::Exposed {
            saw_error: Some(true),
        } => "; in this generation it was on the canary and saw an error",
        Exposure::Exposed {
            saw_error: Some(false),
        } => "; in this generation it was on the canary and saw no error",
        Exposure::Unexposed => "; in this generation it was not on the canary",
        Exposure::Unknown => "; whether it was on the canary in this generation is not known",
    }
}

/// The request that is asked about.
#[derive(Clone)]
struct Asked<'a> {
    /// Names in lower case.
    headers: Vec<(String, &'a [u8])>,
    client: Option<IpAddr>,
    peer: Option<IpAddr>,
    path: &'a [u8],
    key: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn new(question: &'a Question) -> Self {
        let headers = question.headers.iter();
        let path = question.path.as_deref().unwrap_or_default().as_bytes();
        Self {
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().as_bytes()))
                .collect(),
            client: question.client.map(|address| address.to_canonical()),
            peer: question.peer.map(|address| address.to_canonical()),
            path: path.split(|byte| *byte == b'?').next().unwrap_or(path),
            key: question.key.as_deref(),
        }
    }

    fn choice(&'a self, config: &'a RouteConfig) -> Result<Choice<'a>, Problem> {
        // The draw is not looked at: what is left to chance is told as such.
        let choice = Choice::read(config, self, 0);
        if let Some(key) = self.key {
            let claim = given_key(key, config)?;
            let rule = match claim {
                // The key is the client, for the rules too.
                Claim::Key(KeyBytes::Address(address), _) => {
                    let client = Some(address);
                    rule_for(
                        &config.rules,
                        &Self {
                            client,
                            ..self.clone()
                        },
                    )
                }
                _ => choice.rule,
            };
            return Ok(Choice { claim, rule });
        }
        match choice.claim {
            Claim::Key(KeyBytes::Address(_), _) if self.client.is_none() => Err(Problem::body(
                "the client's address decides, and it is not given",
                "give \"client\", or a header or cookie that comes before the address",
            )),
            _ => Ok(choice),
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

    fn path(&self) -> &[u8] {
        self.path
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

/// From which weight of the route on the canary has a key, if it ever does.
fn canary_from(rule: Option<&TargetingRule>, key: SplitKey) -> Option<Weight> {
    match rule {
        None => Some(key.first_canary_weight()),
        Some(target) => target.rule.first_canary_weight(key),
    }
}

/// One sentence, without the key: it may be personal.
fn why(
    config: &RouteConfig,
    choice: &Choice<'_>,
    key: Option<SplitKey>,
    setting: Setting,
) -> String {
    let weight = setting.weight;
    if config.canary.is_none() {
        return "the route has no canary".to_owned();
    }
    let told = told(config, choice, weight);
    let Some(key) = key else {
        return match choice.claim {
            Claim::Forced(_) if setting.reach == CanaryReach::Forced => told,
            _ if weight.is_zero() => format!("{told}, but the canary's weight is 0%"),
            Claim::Issued(_) | Claim::Random(_) => {
                let share = choice.share(weight);
                format!("{told}: {share} of them go to the canary")
            }
            Claim::Forced(_) | Claim::Unkeyed | Claim::Key(..) => told,
        };
    };
    let Some(from) = canary_from(choice.rule, key) else {
        return format!("{told}: it is never on the canary, and the weight is {weight}");
    };
    let on = if from <= weight { "is" } else { "would be" };
    format!("{told}: it {on} on the canary from a weight of {from} on, and the weight is {weight}")
}

/// What a request is split by, and which rule is about it.
fn told(config: &RouteConfig, choice: &Choice<'_>, weight: Weight) -> String {
    let split = match &choice.claim {
        Claim::Forced(role) => {
            let header = config
                .sticky
                .force
                .as_ref()
                .map_or("", |force| &force.header);
            return format!("the header {header} of a trusted peer asks for {role}");
        }
        Claim::Issued(_) => "without a key it is given one by chance and keeps it".to_owned(),
        Claim::Random(_) => "without a key each request is split by chance".to_owned(),
        Claim::Unkeyed if choice.share(weight) == Weight::FULL => {
            "without a key it goes where all go".to_owned()
        }
        Claim::Unkeyed => "without a key it goes to stable".to_owned(),
        Claim::Key(_, index) => match config.sticky.key.get(*index) {
            Some(KeySource::ClientIp) => "split by the client's address".to_owned(),
            Some(KeySource::Cookie(name)) => format!("split by the cookie {name}"),
            Some(KeySource::Header(name)) => format!("split by the header {name}"),
            None => format!("split by the cookie {ISSUED_COOKIE}"),
        },
    };
    let Some(target) = choice.rule else {
        return split;
    };
    let (name, rule) = (&target.name, &target.rule);
    let holds = if rule.is_in_force(weight) {
        "gives"
    } else {
        "would give"
    };
    let until = match rule.until() {
        Some(until) => format!(" and below {until}"),
        None => String::new(),
    };
    let (share, from) = (rule.share(), rule.from());
    format!(
        "the rule {name} {holds} the canary {share} of such requests at a weight of {from} or \
         more{until}; {split}"
    )
}
