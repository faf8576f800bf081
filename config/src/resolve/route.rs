//! Routes: which requests they take, and what becomes of them.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::gate::spec::{GateRule, GateSpec, RunLimit};
use haldane_decide::weight::Weight;

use super::names::{self, NAME};
use super::version::{Named, version};
use super::{duration_within, flag, gate, health, protocol, read, rollout, rule, shield, sticky};
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::types::{PathMatch, RouteConfig, RouteMatch, Tap, Timeouts};
use crate::unit::{self, Kind, Misfit, SHARE};

const ROUTES_MAX: usize = 1000;
const PATH_BYTES_MAX: usize = 1024;

const HOST: Kind = Kind {
    what: "a host",
    example: "\"shop.example.com\" or \"*.example.com\"",
    units: &[],
};
pub(super) const PATH: Kind = Kind {
    what: "a path",
    example: "\"/checkout\" or \"/checkout/*\"",
    units: &[],
};

/// `[[route]]`: at least one.
pub(super) fn routes(root: &Table<'_>, report: &mut Report) -> Option<Vec<RouteConfig>> {
    let Some(value) = root.get("route") else {
        let finding = Finding::new("there is no route");
        report.error_of_all(
            "route",
            finding.hint(
                "add `[[route]]` with `stable = \"http://127.0.0.1:3000\"`, or give `--stable`",
            ),
        );
        return None;
    };
    if !value.is_list() {
        let finding = Finding::new(format!("`route` is not a list: found {}", value.describe()));
        return value.reject(
            report,
            finding
                .allowed("expected a list of tables")
                .hint("write `[[route]]`, with two brackets"),
        );
    }
    let items = value.items(report, ROUTES_MAX)?;
    let mut seen = Seen::default();
    let read: Vec<_> = items
        .iter()
        .map(|item| route(item, &mut seen, report))
        .collect();
    read.into_iter().collect()
}

/// Names and matches of the routes before.
#[derive(Default)]
struct Seen {
    names: std::collections::HashSet<Arc<str>>,
    matches: std::collections::HashMap<RouteMatch, Arc<str>>,
}

fn route(value: &Value<'_>, seen: &mut Seen, report: &mut Report) -> Option<RouteConfig> {
    let table = value.table(report, &keys::ROUTE)?;
    let name = name(&table, seen, report);
    let matches = matches(&table, report);
    if let Some(matches) = &matches {
        check_taken(matches, name.as_ref(), &table, (seen, report));
    }
    let stable = table
        .require(report, "stable", "\"http://127.0.0.1:3000\"")
        .and_then(|value| version(&value, report, ("stable", &keys::STABLE)));
    let canary = table.read(report, "canary", None, |value, report| {
        version(value, report, ("canary", &keys::CANARY)).map(Some)
    });
    let upstream_protocol = protocol::upstream_protocol(&table, report);
    let grpc_failures = protocol::grpc_failures(&table, report);
    let timeouts = timeouts(&table, report);
    let ejection = health::ejection(&table, report);
    let health = health::checks(&table, report);
    let weight = weight(&table, report);
    let expose_version = switch("expose_version", &table, report);
    let baggage = switch("baggage", &table, report);
    let flag = flag::flag(&table, report);
    let tap = tap(&table, report);
    let sticky = sticky::sticky(&table, report);
    if let (Some(Some(flag)), Some(Some(force))) =
        (&flag, sticky.as_ref().map(|sticky| &sticky.force))
    {
        flag::compare(flag, force, &table, report);
    }
    let rules = rule::rules(&table, report);
    let rollout = rollout::rollout(&table, report);
    let shield = shield::shield(&table, report);
    let gates = gate::gates(&table, report);
    if let (Some(stable), Some(Some(canary))) = (&stable, &canary) {
        compare_versions(stable, canary, &table, report);
    }
    if let (Some(weight), Some(gates)) = (weight, &gates) {
        warn_without_stable(weight, &gates.specs, &table, report);
    }
    let (gates, rollout) = (gates?, rollout?);
    if let Some(rules) = &rules {
        rule::warn_unwatched(rules, (&gates.specs, &rollout.promise), &table, report);
    }
    Some(RouteConfig {
        name: name?,
        matches: matches?,
        stable: stable?.version,
        canary: canary?.map(|named| named.version),
        upstream_protocol: upstream_protocol?,
        grpc_failures: grpc_failures?,
        timeouts: timeouts?,
        ejection: ejection?,
        health: health?,
        weight: weight?,
        sticky: sticky?,
        rules: rules?,
        gates: gates.specs,
        outside: gates.outside,
        plan: rollout.plan,
        promise: rollout.promise,
        pre: rollout.pre,
        shield: shield?,
        ledger: rollout.ledger,
        expires: rollout.expires,
        expose_version: expose_version?,
        baggage: baggage?,
        flag: flag?,
        tap: tap?,
    })
}

/// Something that is off unless it is said to be on.
fn switch(key: &str, table: &Table<'_>, report: &mut Report) -> Option<bool> {
    table.read(report, key, false, |value, report| value.boolean(report))
}

/// No two routes take the same requests.
fn check_taken(
    matches: &RouteMatch,
    name: Option<&Arc<str>>,
    table: &Table<'_>,
    (seen, report): (&mut Seen, &mut Report),
) {
    let shown = name.map_or_else(|| Arc::from("?"), Arc::clone);
    let Some(other) = seen.matches.insert(matches.clone(), shown) else {
        return;
    };
    let place = table
        .get("match")
        .map_or_else(|| table.span.clone(), |value| value.span);
    let finding = Finding::new(format!(
        "this route takes the same requests as the route \"{other}\""
    ));
    report.error(
        place,
        &format!("{}.match", table.path),
        finding.hint("give it another host or path in `match`"),
    );
}

fn name(table: &Table<'_>, seen: &mut Seen, report: &mut Report) -> Option<Arc<str>> {
    let written = table.get("name");
    let name: Arc<str> = match &written {
        Some(value) => value.parse(report, &NAME, |text| names::name(text).map(Into::into))?,
        None => "default".into(),
    };
    if seen.names.insert(Arc::clone(&name)) {
        return Some(name);
    }
    let place = written.map_or_else(|| table.span.clone(), |value| value.span);
    let finding = Finding::new(format!("another route is named \"{name}\""));
    report.error(
        place,
        &format!("{}.name", table.path),
        finding.hint("names are unique; a route without one is \"default\""),
    );
    None
}

fn matches(table: &Table<'_>, report: &mut Report) -> Option<RouteMatch> {
    let Some(value) = table.get("match") else {
        return Some(RouteMatch::default());
    };
    let table = value.table(report, &keys::MATCH)?;
    let host = table.read(report, "host", None, |value, report| {
        value.parse(report, &HOST, host).map(Some)
    });
    let path = table.read(report, "path", PathMatch::Any, |value, report| {
        value.parse(report, &PATH, path)
    });
    Some(RouteMatch {
        host: host?,
        path: path?,
    })
}

fn host(text: &str) -> Result<String, Misfit> {
    let text = text.trim();
    if text.contains("://") {
        return Err(Misfit::new("it is a URL").hint("leave the scheme out"));
    }
    if let Some(name) = text.strip_prefix("*.") {
        return names::host(name).map(|name| format!("*.{name}"));
    }
    if text.contains('*') {
        return Err(
            Misfit::new("\"*\" stands for the first labels only").hint("write \"*.example.com\"")
        );
    }
    // In the brackets that it has in a request.
    if let Some(address) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| Misfit::new("there is no IPv6 address in the brackets"))?;
        return Ok(format!("[{address}]"));
    }
    if text.contains(':') {
        let misfit = Misfit::new("a host is compared without its port");
        return Err(misfit.hint("leave the port out, and put an IPv6 address into brackets"));
    }
    if text.contains('/') {
        return Err(Misfit::new("it has a path").hint("put the path into `path`"));
    }
    names::host(text)
}

pub(super) fn path(text: &str) -> Result<PathMatch, Misfit> {
    if !text.starts_with('/') {
        return Err(Misfit::new("it does not begin with \"/\""));
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(Misfit::new(format!(
            "it is longer than {PATH_BYTES_MAX} bytes"
        )));
    }
    if text.contains(['?', '#']) {
        return Err(Misfit::new("a path ends before \"?\" and \"#\""));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Misfit::new("it has spaces or letters outside ASCII")
            .hint("write them percent-encoded: \"%20\""));
    }
    if text
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err(Misfit::new("it has a \".\" or \"..\" segment"));
    }
    let (stem, prefix) = match text.strip_suffix("/*") {
        Some(stem) => (stem, true),
        None => (text, false),
    };
    if stem.contains('*') {
        return Err(Misfit::new("\"*\" stands for all below a path, at the end")
            .hint("write \"/checkout/*\""));
    }
    Ok(match (stem, prefix) {
        ("", true) => PathMatch::Any,
        (stem, true) => PathMatch::Prefix(stem.to_owned()),
        (stem, false) => PathMatch::Exact(stem.to_owned()),
    })
}

fn timeouts(table: &Table<'_>, report: &mut Report) -> Option<Timeouts> {
    let table = match table.get("timeouts") {
        Some(value) => Some(value.table(report, &keys::TIMEOUTS)?),
        None => None,
    };
    let range = (Duration::from_millis(1), Duration::from_secs(24 * 3600));
    let mut within = |key, seconds| {
        let default = (key, Duration::from_secs(seconds));
        read(table.as_ref(), report, default, duration_within(range))
    };
    let (connect, response) = (within("connect", 1), within("response", 30));
    let (idle_body, idle_session) = (within("idle_body", 60), within("idle_session", 3600));
    Some(Timeouts {
        connect: connect?,
        response: response?,
        idle_body: idle_body?,
        idle_session: idle_session?,
        session_grace: within("session_grace", 30)?,
    })
}

fn weight(table: &Table<'_>, report: &mut Report) -> Option<Weight> {
    table.read(report, "weight", Weight::ZERO, |value, report| {
        let weight = value.parse(report, &SHARE, unit::share)?;
        if !weight.is_zero() && table.get("canary").is_none() {
            let finding = Finding::new(format!("a weight of {weight}, but there is no canary"));
            return value.reject(
                report,
                finding.hint("add `canary = \"http://127.0.0.1:3001\"`, or write \"0%\""),
            );
        }
        Some(weight)
    })
}

fn tap(table: &Table<'_>, report: &mut Report) -> Option<Tap> {
    table.read(report, "tap", Tap::default(), |value, report| {
        value.choice(report, &[("failures", Tap::Failures), ("off", Tap::Off)])
    })
}

fn compare_versions(stable: &Named, canary: &Named, table: &Table<'_>, report: &mut Report) {
    let key = format!("{}.canary", table.path);
    if stable.version.name == canary.version.name {
        let message = format!(
            "stable and canary are both named \"{}\"",
            stable.version.name
        );
        let finding =
            Finding::new(message).hint("their metrics could not be told apart: name one otherwise");
        report.error(canary.place.clone(), &format!("{key}.version"), finding);
    }
    let shared = canary
        .version
        .upstream
        .iter()
        .find(|address| stable.version.upstream.contains(address));
    if let Some(shared) = shared {
        let message = format!("stable and canary both have the upstream {shared}");
        let finding = Finding::new(message)
            .hint("then they are compared with themselves, which is only good for a trial");
        report.warning(canary.place.clone(), &key, finding);
    }
}

/// At 100 % stable has no traffic, so what is compared with it can never be decided.
fn warn_without_stable(weight: Weight, gates: &[GateSpec], table: &Table<'_>, report: &mut Report) {
    let relative = gates.iter().find(|gate| match &gate.rule {
        GateRule::BurnRate { .. }
        | GateRule::ConsecutiveFailures {
            limit: RunLimit::Count(_),
        }
        | GateRule::ErrorTrend
        | GateRule::LatencySpike { .. }
        | GateRule::Outside { .. } => false,
        // Absolute limits too: a rollback takes evidence that it is not stable's doing.
        GateRule::ConsecutiveFailures {
            limit: RunLimit::Calibrated,
        }
        | GateRule::ErrorRate { .. }
        | GateRule::Latency { .. }
        | GateRule::NewErrors
        | GateRule::Signal { .. } => true,
    });
    if let (Weight::FULL, Some(gate), Some(value)) = (weight, relative, table.get("weight")) {
        let message = format!(
            "at 100% the gate \"{}\" has no stable to compare with",
            gate.name
        );
        let finding = Finding::new(message)
            .hint("leave stable a share, or make the canary the stable version");
        report.warning(value.span.clone(), &value.path, finding);
    }
}
