//! The dashboard in `deploy/grafana` against the metrics that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::read;
use crate::support::client::Client;
use crate::support::eventually::{eventually, some};
use crate::support::prometheus::prometheus;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::tools::{run, tool};
use crate::support::upstream::{Behaviour, Upstream};

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/haldane.json")).expect("is JSON")
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels.filter(|panel| panel["type"] != "row")
}

/// Every query of the dashboard, with what it is for; with variables as Grafana would set
/// them in a test.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let of_panels = panels(dashboard).flat_map(|panel| {
        let targets = panel["targets"].as_array().expect("targets").iter();
        targets.map(|target| (&panel["title"], &target["expr"]))
    });
    let annotations = dashboard["annotations"]["list"].as_array();
    let annotations = annotations.expect("annotations").iter();
    let own = annotations.filter(|annotation| annotation["builtIn"] != 1);
    let own = own.map(|annotation| (&annotation["name"], &annotation["expr"]));
    let all = own.chain(of_panels);
    all.map(|(title, expr)| {
        let expr = expr.as_str().expect("a query");
        let expr = [
            // So that a slow machine still sees what happened before.
            ("[1m]", "[10m]"),
            ("$__rate_interval", "10s"),
            ("$__range", "1m"),
            ("$route", ".*"),
            ("$signal", "orders"),
        ]
        .iter()
        .fold(expr.to_owned(), |expr, (name, value)| {
            expr.replace(name, value)
        });
        assert!(!expr.contains('$'), "{expr}");
        (title.as_str().expect("a title").to_owned(), expr)
    })
    .collect()
}

/// A haldane that has something to tell in every family, and the upstreams behind it: its
/// canary was rolled back once, and then had all traffic.
fn eventful(directory: &Directory, canary: &Upstream) -> (Proxy, Upstream) {
    let stable = Upstream::named("stable");
    let proxy = Setup::stable(&stable)
        .top(&format!("state_dir = \"{}\"", directory.path("state")))
        .table(&format!("[[notify]]\nurl = \"{}\"", stable.url()))
        .route(&format!(
            "canary = {{ version = \"v2\", upstream = \"{}\", commit_time = \"2026-01-01T00:00:00Z\" }}",
            canary.url()
        ))
        .by_user()
        .section("[route.rollout]\nsteps = [\"50% for 1h\", \"100%\"]\nbake = \"0s\"")
        .meltdown(3)
        .section(
            "[[route.gate]]\nname = \"orders\"\nmetric = \"signal:orders\"\nrollback = \"stable - 5pp\"",
        )
        .start();
    eventually("it has begun", || proxy.status()["phase"] == "progressing");
    (proxy, stable)
}

fn requests(proxy: &Proxy) {
    let mut client = proxy.client();
    for user in 0..40 {
        client.get("/", &[("x-user", &user.to_string())]);
    }
}

/// Answers a query: how many series there are.
fn series(prometheus: SocketAddr, query: &str) -> Option<usize> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut client = Client::connect(prometheus);
    let answer = client.get(&format!("/api/v1/query?query={encoded}"), &[]);
    if answer.status == 503 {
        // It has only just started.
        return None;
    }
    let answer: Value = serde_json::from_slice(&answer.body.bytes).expect("is JSON");
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    let count = answer["data"]["result"].as_array().expect("series").len();
    (count > 0).then_some(count)
}

/// The families that haldane exports, with the labels that they have.
fn exported(proxy: &Proxy) -> BTreeMap<String, BTreeSet<String>> {
    let mut client = Client::connect(proxy.admin_address);
    client.send(format!(
        "GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n",
        proxy.admin_address
    ));
    let text = client.answer_to("GET").text();
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).expect("a sample"));
        let labels = rest.split("=\"").filter_map(|part| {
            let label = part.rsplit(['{', ',', '"']).next()?;
            (!label.contains(' ')).then(|| label.to_owned())
        });
        families.entry(name.to_owned()).or_default().extend(labels);
    }
    families
}

#[test]
fn every_panel_can_be_read() {
    let dashboard = dashboard();
    let all = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = all
        .iter()
        .map(|panel| panel["id"].as_u64().expect("an id"))
        .collect();
    assert_eq!(ids.len(), all.len(), "ids are unique");
    assert!(panels(&dashboard).count() > 30);
    for panel in panels(&dashboard) {
        for field in ["title", "description"] {
            assert!(
                panel[field].as_str().is_some_and(|text| text.len() > 2),
                "{field}: {panel}"
            );
        }
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(unit.is_some(), "{panel}");
        let targets = panel["targets"].as_array().expect("targets").iter();
        for place in targets.chain([panel]) {
            assert_eq!(place["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
    let mut taken = BTreeSet::new();
    for panel in all {
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(at("x") + at("w") <= 24, "{panel}");
        for (x, y) in (0..at("w")).flat_map(|x| (0..at("h")).map(move |y| (x, y))) {
            assert!(
                taken.insert((at("x") + x, at("y") + y)),
                "another is at the place of {panel}"
            );
        }
    }
}

#[test]
fn every_query_is_one_of_prometheus() {
    let directory = Directory::new("grafana-rules");
    let rules: String = queries(&dashboard())
        .iter()
        .enumerate()
        .map(|(index, (_, query))| {
            format!(
                "  - record: query:{index}\n    expr: {}\n",
                Value::from(query.as_str())
            )
        })
        .collect();
    let path = directory.path("rules.yml");
    fs::write(
        &path,
        format!("groups:\n- name: dashboard\n  rules:\n{rules}"),
    )
    .expect("writes");
    let ran = run(tool("promtool", "prometheus").args(["check", "rules", &path]));
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

#[test]
fn every_panel_shows_what_a_running_haldane_exports() {
    let directory = Directory::new("grafana");
    let canary = Upstream::named("canary");
    let (proxy, _stable) = eventful(&directory, &canary);
    let (_server, prometheus) = prometheus(&directory, proxy.admin_address);
    eventually("Prometheus listens", || {
        TcpStream::connect(prometheus).is_ok()
    });
    some("it is scraped", || {
        requests(&proxy);
        series(prometheus, "increase(haldane_requests_total[10m]) > 0")
    });
    canary.behave(Behaviour::Status(503));
    eventually("it is rolled back", || {
        requests(&proxy);
        proxy.status()["phase"] == "rolled_back"
    });
    some("the rollback is scraped", || {
        series(prometheus, "increase(haldane_rollbacks_total[10m]) > 0")
    });
    canary.behave(Behaviour::Good);
    proxy.retry();
    eventually("it begins again", || {
        proxy.status()["phase"] == "progressing"
    });
    let (status, answer) = proxy.admin(
        "POST",
        "/v1/routes/default/promote",
        &serde_json::json!({ "full": true }),
    );
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = proxy.admin(
        "POST",
        "/v1/routes/default/signals/orders",
        &serde_json::json!({ "role": "canary", "good": 60 }),
    );
    assert_eq!(status, 200, "{answer}");
    eventually("it is complete", || proxy.status()["phase"] == "complete");
    for (title, query) in queries(&dashboard()) {
        let what = format!("{title} has series: {query}");
        some(&what, || {
            requests(&proxy);
            series(prometheus, &query)
        });
    }
    names_are_exported(&exported(&proxy));
}

/// Metrics and labels in the queries are among these.
fn names_are_exported(families: &BTreeMap<String, BTreeSet<String>>) {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut asked = BTreeSet::new();
    for (title, query) in queries(&dashboard()) {
        let metrics: Vec<&str> = query
            .split(|character| !is_word(character))
            .filter(|word| word.starts_with("haldane_"))
            .collect();
        let known: BTreeSet<&String> = metrics
            .iter()
            .flat_map(|metric| match families.get(*metric) {
                Some(labels) => labels,
                None => panic!("{title}: there is no {metric}"),
            })
            .collect();
        let grouped = query
            .split("by (")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        let matched = query
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .flat_map(|rest| rest.split(", ").filter_map(|one| one.split('=').next()));
        let labels = grouped.flat_map(|labels| labels.split(", ")).chain(matched);
        for label in labels.filter(|label| *label != "instance") {
            assert!(
                known.iter().any(|known| *known == label),
                "{title}: {metrics:?} have no {label}"
            );
        }
        asked.extend(metrics.into_iter().map(str::to_owned));
    }
    // A family that nobody sees is forgotten when something is wrong.
    let shown = |name: &str| {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        asked
            .iter()
            .any(|one| one == name || base.is_some_and(|base| one.starts_with(base)))
    };
    let hidden: Vec<_> = families.keys().filter(|name| !shown(name)).collect();
    assert!(hidden.is_empty(), "no panel shows {hidden:?}");
}
