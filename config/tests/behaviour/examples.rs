//! The files that are shipped load, without a warning, and mean what they say.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use haldane_config::{
    AdminAddress, Config, KeySource, Loaded, LogFormat, OnMissing, Overrides, PathMatch,
    SaltSource, Shield, Source, Tap, known_keys, load,
};
use haldane_decide::gate::spec::{
    Exposure, GateRule, LatencyBound, LatencyMetric, Promise, RateBound, RateMargin, RunLimit,
    default_gates,
};
use haldane_decide::role::Role;
use haldane_decide::weight::Weight;

use super::tls::Files;

fn shipped(name: &str) -> Source {
    Source::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn loaded(name: &str) -> Config {
    match load(Some(&shipped(name)), &Overrides::default()) {
        Ok(Loaded { config, warnings }) => {
            assert!(warnings.is_empty(), "{}", warnings.render(false));
            config
        }
        Err(diagnostics) => panic!("{}", diagnostics.render(false)),
    }
}

#[test]
fn minimal_has_useful_defaults() {
    let config = loaded("examples/minimal.toml");
    assert_eq!(config.listen[0].address, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(config.listen[0].tls, None);
    assert_eq!(config.workers, None);
    let admin = AdminAddress::Tcp("127.0.0.1:7411".parse().unwrap());
    assert_eq!(config.admin.listen, admin);
    assert_eq!(config.admin.token, None);
    assert_eq!(config.ops, None);
    assert_eq!(
        (config.drain.linger, config.drain.timeout),
        (Duration::from_secs(5), Duration::from_secs(25))
    );
    assert_eq!(config.limits.connections, 10_000);
    assert_eq!(config.limits.header_timeout, Duration::from_secs(10));
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(60));
    assert_eq!(
        (config.limits.header_bytes, config.limits.headers),
        (65_536, 100)
    );
    assert_eq!(config.log.format, LogFormat::Auto);

    let [route] = &config.routes[..] else {
        panic!("{:?}", config.routes)
    };
    assert_eq!(&*route.name, "default");
    assert_eq!(
        (&route.matches.host, &route.matches.path),
        (&None, &PathMatch::Any)
    );
    assert_eq!(route.weight.parts_per_million(), 50_000);
    assert_eq!(&*route.version(Role::Stable).unwrap().name, "stable");
    let canary = route.version(Role::Canary).unwrap();
    assert_eq!(
        (&*canary.name, &*canary.upstream[0].to_string()),
        ("canary", "127.0.0.1:3001")
    );
    assert_eq!(route.timeouts.connect, Duration::from_secs(1));
    assert_eq!(route.timeouts.response, Duration::from_secs(30));
    assert_eq!(route.timeouts.idle_body, Duration::from_secs(60));
    assert_eq!(route.sticky.key, [KeySource::ClientIp]);
    assert_eq!(
        (route.sticky.on_missing, &route.sticky.salt),
        (OnMissing::Random, &SaltSource::Auto)
    );
    assert_eq!(route.sticky.force, None);
    assert_eq!(route.gates, default_gates());
    assert_eq!(route.promise, Promise::default());
    assert_eq!(route.shield, Shield::Idempotent);
    assert_eq!(config.limits.replay_bytes, 65_536);
    assert_eq!(config.limits.target_bytes, 16 * 1024);
    assert_eq!(config.limits.connection_requests, 100_000);
    assert_eq!(config.limits.upstream_requests, 10_000);
    assert!(!route.expose_version);
    assert_eq!(route.tap, Tap::Failures);
}

#[test]
fn canary_has_versions_and_limits_of_its_own() {
    let config = loaded("examples/canary.toml");
    let route = &config.routes[0];
    assert_eq!(
        (&*route.stable.name, route.stable.upstream.len()),
        ("v1.41.0", 2)
    );
    assert_eq!(route.timeouts.connect, Duration::from_millis(500));
    assert!(route.expose_version);
    assert_eq!(route.sticky.on_missing, OnMissing::Cookie);
    let expected = [
        KeySource::Header("x-user-id".to_owned()),
        KeySource::Cookie("session".to_owned()),
    ];
    assert_eq!(route.sticky.key, expected);
    let budget = Exposure {
        failed_requests: None,
        affected_users: Some(10),
    };
    assert_eq!(route.promise.exposure, budget);
}

#[test]
fn rings_open_as_their_table_says() {
    let text = shipped("examples/rings.toml").text;
    let route = &loaded("examples/rings.toml").routes[0];
    let rows = text.lines().filter_map(|line| line.strip_prefix("# | "));
    let mut seen = 0;
    for row in rows.filter(|row| row.contains('%')) {
        let cells = row.trim_end_matches([' ', '|']).split('|');
        let shares: Vec<Weight> = cells.map(|cell| cell.trim().parse().unwrap()).collect();
        let [weight, internal, early, others] = shares[..] else {
            panic!("{row}")
        };
        let rings = [internal, early];
        for (target, share) in route.rules.iter().zip(rings) {
            assert_eq!(
                target.rule.share_at(weight),
                share,
                "{row}: {}",
                target.name
            );
        }
        assert_eq!(others, weight, "{row}");
        seen += 1;
    }
    assert_eq!((seen, route.rules.len()), (6, 2));
}

#[test]
fn canary_shows_each_form_of_a_limit() {
    let gates = loaded("examples/canary.toml").routes[0].gates.clone();
    let GateRule::ErrorRate { rollback, advance } = &gates[0].rule else {
        panic!("{gates:?}")
    };
    assert_eq!(
        (rollback[0].bound, rollback[0].hard),
        (RateBound::AboveStable(0.005), false)
    );
    assert_eq!(
        (rollback[1].bound, rollback[1].hard),
        (RateBound::Absolute(0.05), true)
    );
    assert_eq!(*advance, Some(RateMargin::AboveStable(0.002)));
    let GateRule::Latency {
        rollback, advance, ..
    } = &gates[1].rule
    else {
        panic!("{gates:?}")
    };
    let read: Vec<_> = rollback
        .iter()
        .map(|limit| (limit.quantile.to_string(), limit.bound))
        .collect();
    let expected = [
        ("p50", LatencyBound::TimesStable(1.5)),
        ("p99", LatencyBound::TimesStable(2.0)),
        ("p99", LatencyBound::Absolute(Duration::from_millis(800))),
        ("p99.9", LatencyBound::Absolute(Duration::from_secs(2))),
    ];
    assert_eq!(
        read,
        expected.map(|(quantile, bound)| (quantile.to_owned(), bound))
    );
    let read: Vec<_> = advance
        .iter()
        .map(|margin| (margin.quantile.as_ratio(), margin.times))
        .collect();
    assert_eq!(read, [(0.5, 1.1), (0.99, 1.25)]);
    let rest: Vec<_> = gates[2..].iter().map(|gate| gate.rule.clone()).collect();
    let expected = [
        GateRule::LatencySpike {
            metric: LatencyMetric::Duration,
        },
        GateRule::ConsecutiveFailures {
            limit: RunLimit::Calibrated,
        },
        GateRule::Signal {
            signal: "order_completed".into(),
            rollback: Some(0.05),
            advance: Some(0.01),
        },
    ];
    assert_eq!(rest, expected);
}

#[test]
fn edge_has_several_routes() {
    let config = loaded("examples/edge.toml");
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.workers.map(std::num::NonZeroUsize::get), Some(4));
    assert!(
        config
            .trusted_proxies
            .contains("::ffff:10.1.2.3".parse().unwrap())
    );
    assert!(!config.trusted_proxies.contains("11.1.2.3".parse().unwrap()));
    assert_eq!(config.drain.timeout, Duration::from_secs(90));
    let names: Vec<_> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["shop", "api", "rest"]);
    assert_eq!(
        config.routes[0].sticky.salt,
        SaltSource::Fixed("shop-november".to_owned())
    );
    assert_eq!(
        config.routes[0].sticky.force.as_ref().unwrap().header,
        "x-shop-version"
    );
    assert_eq!(
        config.routes[1].matches.host.as_deref(),
        Some("*.api.example.com")
    );
    assert_eq!(
        config.routes[1].matches.path,
        PathMatch::Prefix("/v1".to_owned())
    );
    assert_eq!(config.routes[2].stable.upstream[0].to_string(), "www:80");
}

/// The reference shows the defaults, so what it says and what is left out agree.
#[test]
fn reference_shows_the_defaults() {
    let (reference, minimal) = (loaded("haldane.toml"), loaded("examples/minimal.toml"));
    assert_eq!(reference.drain, minimal.drain);
    assert_eq!(reference.limits, minimal.limits);
    assert_eq!(reference.log.format, minimal.log.format);
    assert_eq!(minimal.log.access, None);
    assert_eq!(reference.admin.listen, minimal.admin.listen);
    assert_eq!(reference.routes[0].timeouts, minimal.routes[0].timeouts);
    assert_eq!(reference.dns_refresh, minimal.dns_refresh);
    assert_eq!(reference.routes[0].ejection, minimal.routes[0].ejection);
    assert_eq!(reference.routes[0].gates, minimal.routes[0].gates);
    // How long the plan takes is part of the promise.
    let promise = Promise {
        exposure: minimal.routes[0].promise.exposure,
        horizon: minimal.routes[0].promise.horizon,
        steps: minimal.routes[0].promise.steps,
        ..reference.routes[0].promise
    };
    assert_eq!(promise, minimal.routes[0].promise);
    assert_eq!(
        reference.routes[0].sticky.on_missing,
        minimal.routes[0].sticky.on_missing
    );
    assert_eq!(reference.routes[0].expires, minimal.routes[0].expires);
    assert_eq!(
        reference.routes[0].expose_version,
        minimal.routes[0].expose_version
    );
    assert_eq!(reference.routes[0].baggage, minimal.routes[0].baggage);
    assert_eq!(minimal.routes[0].flag, None);
    let route = "[[route]]\nstable = \"http://a\"\nflag = { header = \"x-feature-new-checkout\" }\n\
        sticky.force = { header = \"x-haldane-version\", from = \"10.0.0.0/8\" }\n";
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: format!("listen = \":1\"\n{route}"),
    };
    let short = load(Some(&source), &Overrides::default())
        .expect("loads")
        .config;
    assert_eq!(reference.routes[0].flag, short.routes[0].flag);
    assert_eq!(
        reference.routes[0].sticky.force,
        short.routes[0].sticky.force
    );
    assert_eq!(reference.routes[0].tap, minimal.routes[0].tap);
    assert_eq!(reference.routes[0].shield, minimal.routes[0].shield);
    assert_eq!(reference.routes[0].plan.terms, minimal.routes[0].plan.terms);
    assert_eq!(reference.routes[0].plan.count(), 5);
}

/// What needs files that are not there stands in comments, and so do gates that are no
/// default, and what would stand beside another way to say it.
fn is_commented_out(line: &str) -> bool {
    COMMENTED.iter().any(|start| line.starts_with(start))
}

const COMMENTED: [&str; 26] = [
    "[[route.rollout.pre]]",
    "timeout = ",
    "hand_over =",
    "state_dir =",
    "token_file =",
    "[tls.name]",
    "cert =",
    "key = \"/",
    "client_ca =",
    "ca =",
    "[[route.gate]]",
    "name = ",
    "metric = ",
    "rollback = ",
    "advance = ",
    "of = ",
    "objective = ",
    "[[notify]]",
    "url",
    "format = ",
    "events = ",
    "environment = ",
    "query = ",
    "interval = ",
    "plan = ",
    "weight = ",
];

/// Commented keys that cannot stand beside what is not.
const OTHERWISE: [&str; 2] = ["plan = ", "weight = "];

/// The paths of all keys in a text, commented ones (`# key = …`) included.
fn named_keys(text: &str) -> BTreeSet<String> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        // A listener as a table stands in one line.
        let listener = line
            .split_once("# With TLS: {")
            .or_else(|| line.split_once("# {"));
        if let Some((_, listener)) = listener {
            let entries = listener.split('}').next().unwrap_or_default().split(',');
            let named = entries.filter_map(|entry| entry.split_once(" = "));
            keys.extend(named.map(|(key, _)| format!("listen.{}", key.trim())));
        }
        let line = line
            .strip_prefix("# ")
            .filter(|rest| is_commented_out(rest))
            .unwrap_or(line);
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_matches(['[', ']']).to_owned();
            let key = if table == "tls.name" { "tls" } else { &table };
            keys.insert(key.to_owned());
        } else if let Some((key, _)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            keys.insert(if table.is_empty() {
                key.to_owned()
            } else {
                format!("{table}.{key}")
            });
        }
    }
    keys
}

#[test]
fn reference_names_every_key_and_no_other() {
    let known: BTreeSet<String> = known_keys().collect();
    assert_eq!(named_keys(&shipped("haldane.toml").text), known);
}

/// What stands in comments is right as well, once its files are there.
#[test]
fn reference_loads_with_everything_in_it() {
    let files = Files::new("reference");
    let mut text = String::new();
    for line in shipped("haldane.toml").text.lines() {
        let line = match line.strip_prefix("# ") {
            Some(rest) if OTHERWISE.iter().any(|start| rest.starts_with(start)) => line,
            Some(rest) if is_commented_out(rest) => rest,
            _ => line,
        };
        let line = match line.split_once(" = \"/") {
            Some((key, path)) if !line.starts_with('#') && !line.starts_with("path") => {
                let name = path.trim_end_matches('"').replace('/', "-");
                let file = files.add(&name);
                if key == "url_file" {
                    std::fs::write(&file, "https://hooks.example.com/").unwrap();
                }
                format!("{key} = \"{file}\"")
            }
            _ if line.starts_with("listen = [") => {
                "listen = { address = \":8443\", tls = \"name\" }".to_owned()
            }
            _ => line.replace("\"http://", "\"https://"),
        };
        text.push_str(&line);
        text.push('\n');
    }
    let source = Source {
        name: "haldane.toml".to_owned(),
        text,
    };
    let loaded = load(Some(&source), &Overrides::default())
        .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(false)));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.routes[0].gates.len(), default_gates().len() + 7);
    let tls = config.listen[0].tls.as_ref().unwrap();
    assert!(tls.client_ca.is_some() && config.admin.token.is_some());
    assert_eq!(config.notify.len(), 2);
    for role in Role::ALL {
        let tls = &config.routes[0].version(role).unwrap().tls;
        assert!(tls.ca.is_some() && tls.pair.is_some(), "{role:?}");
    }
}

#[test]
fn every_key_of_the_reference_has_a_comment() {
    let text = shipped("haldane.toml").text;
    let lines: Vec<&str> = text.lines().collect();
    let mut explained = BTreeSet::new();
    for (index, line) in lines.iter().enumerate() {
        let key = line.split(" = ").next().unwrap_or_default();
        if line.contains(" = ") && !line.starts_with('#') && explained.insert(key.to_owned()) {
            assert!(
                index > 0 && lines[index - 1].starts_with('#'),
                "line {}: {line}",
                index + 1
            );
        }
    }
    assert!(explained.len() > 25, "{explained:?}");
}
