//! The metrics: their form, and that their numbers are those of what was sent.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::client::Client;
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

const OPEN_METRICS: &str = "application/openmetrics-text";

/// What was scraped: by name and labels, as they are written.
struct Scrape {
    content_type: String,
    text: String,
    samples: BTreeMap<String, f64>,
    /// Kind by the name of the family.
    kinds: BTreeMap<String, String>,
}

impl Scrape {
    #[track_caller]
    fn of(proxy: &Proxy, accept: &str) -> Self {
        let mut client = Client::connect(proxy.admin_address);
        client.send(format!(
            "GET /metrics HTTP/1.1\r\nhost: {}\r\naccept: {accept}\r\n\r\n",
            proxy.admin_address
        ));
        let response = client.answer_to("GET");
        assert_eq!(response.status, 200);
        let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        for line in response.text().lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').expect("name and kind");
                let before = kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} comes twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("series and value");
                let before = samples.insert(series.to_owned(), value.parse().expect("a number"));
                assert_eq!(before, None, "{series} comes twice");
            }
        }
        Self {
            content_type: response.head.one("content-type").unwrap_or_default(),
            text: response.text(),
            samples,
            kinds,
        }
    }

    /// The value of a series; fails if there is none.
    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        match self.samples.get(series) {
            Some(value) => *value,
            None => panic!("no {series} in\n{}", self.text),
        }
    }

    /// The series of one name.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.samples.iter().filter_map(move |(series, value)| {
            let rest = series.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with('{')).then_some((rest, *value))
        })
    }
}

#[track_caller]
fn assert_value(scrape: &Scrape, series: &str, expected: usize) {
    let value = scrape.value(series);
    assert!(
        (value - expected as f64).abs() < 1e-9,
        "{series} is {value}, not {expected}"
    );
}

#[test]
fn the_numbers_are_those_of_what_was_sent() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .meltdown(4)
        .start();
    for user in 0..60 {
        proxy.get("/", &[("x-user", &user.to_string())]);
    }
    let (to_stable, to_canary) = (stable.log.len(), canary.log.len());
    assert_eq!(to_stable + to_canary, 60);
    stable.behave(Behaviour::Status(404));
    canary.behave(Behaviour::Reset);
    for user in 0..60 {
        proxy.get("/", &[("x-user", &user.to_string())]);
    }
    let not_found = stable.log.len() - to_stable;
    let failed = 4;
    assert_eq!(not_found, 60 - failed);

    let stable = "route=\"default\",role=\"stable\",version=\"v1\"";
    let canary = "route=\"default\",role=\"canary\",version=\"v2\"";
    let scrape = Scrape::of(&proxy, OPEN_METRICS);
    for (labels, code, count) in [
        (stable, 200, to_stable),
        (stable, 404, not_found),
        (canary, 200, to_canary),
        (canary, 502, failed),
    ] {
        let series = format!("haldane_requests_total{{{labels},code=\"{code}\"}}");
        assert_value(&scrape, &series, count);
    }
    assert_eq!(scrape.all("haldane_requests_total").count(), 4);
    for reason in ["connect", "reset", "status", "timeout", "truncated"] {
        let of_canary = if reason == "reset" { failed } else { 0 };
        for (labels, count) in [(stable, 0), (canary, of_canary)] {
            let series = format!("haldane_request_failures_total{{{labels},reason=\"{reason}\"}}");
            assert_value(&scrape, &series, count);
        }
    }
    for (name, labels, count) in [
        (
            "haldane_request_ttfb_seconds_count",
            stable,
            to_stable + not_found,
        ),
        (
            "haldane_request_duration_seconds_count",
            stable,
            to_stable + not_found,
        ),
        ("haldane_request_ttfb_seconds_count", canary, to_canary),
        ("haldane_request_duration_seconds_count", canary, to_canary),
        ("haldane_requests_in_flight", stable, 0),
        ("haldane_requests_in_flight", canary, 0),
    ] {
        assert_value(&scrape, &format!("{name}{{{labels}}}"), count);
    }
}

#[test]
fn a_rollback_is_counted_and_the_release_is_where_it_stands() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .meltdown(4)
        .start();
    canary.behave(Behaviour::Status(500));
    for user in 0..60 {
        proxy.get("/", &[("x-user", &user.to_string())]);
    }
    let failed = canary.log.len();
    let scrape = Scrape::of(&proxy, OPEN_METRICS);
    for (series, value) in [
        ("haldane_canary_weight_ratio{route=\"default\"}", 0),
        ("haldane_rollout_phase{route=\"default\"}", 4),
        ("haldane_rollout_generation{route=\"default\"}", 1),
        (
            "haldane_rollbacks_total{route=\"default\",gate=\"meltdown\"}",
            1,
        ),
        ("haldane_rollback_seconds_count{route=\"default\"}", 1),
        (
            "haldane_rollouts_total{route=\"default\",result=\"rolled_back\"}",
            1,
        ),
        (
            "haldane_rollouts_total{route=\"default\",result=\"completed\"}",
            0,
        ),
        (
            "haldane_rollout_duration_seconds_count{route=\"default\",result=\"rolled_back\"}",
            1,
        ),
        (
            "haldane_gate_value{route=\"default\",gate=\"meltdown\"}",
            failed,
        ),
        ("haldane_gate_limit{route=\"default\",gate=\"meltdown\"}", 4),
        (
            "haldane_gate_verdict{route=\"default\",gate=\"meltdown\"}",
            1,
        ),
    ] {
        assert_value(&scrape, series, value);
    }
    proxy.retry();
    let scrape = Scrape::of(&proxy, OPEN_METRICS);
    assert!((scrape.value("haldane_canary_weight_ratio{route=\"default\"}") - 0.5).abs() < 1e-9);
    assert_value(&scrape, "haldane_rollout_phase{route=\"default\"}", 0);
    assert_value(&scrape, "haldane_rollout_generation{route=\"default\"}", 2);
}

#[test]
fn both_formats_say_the_same_each_in_its_way() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%").by_user().start();
    for user in 0..20 {
        proxy.get("/", &[("x-user", &user.to_string())]);
    }
    eventually("all connections are closed", || {
        Scrape::of(&proxy, "").value("haldane_connections_open") < 0.5
    });
    let (open, plain) = (
        Scrape::of(&proxy, OPEN_METRICS),
        Scrape::of(&proxy, "text/plain"),
    );
    assert_eq!(
        open.content_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_eq!(
        plain.content_type,
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(open.text.ends_with("\n# EOF\n") && !plain.text.contains("# EOF"));
    assert!(open.samples.keys().eq(plain.samples.keys()));
    for (name, kind) in &open.kinds {
        let whole = if kind == "counter" {
            format!("{name}_total")
        } else {
            name.clone()
        };
        assert_eq!(plain.kinds.get(&whole), Some(kind), "{whole}");
    }
    // In the older format every sample is in a family of its own name.
    let suffixes = ["", "_bucket", "_count", "_sum"];
    for series in plain.samples.keys() {
        let name = series.split('{').next().unwrap_or_default();
        let known = suffixes.iter().any(|suffix| {
            name.strip_suffix(suffix).is_some_and(|family| {
                let kind = plain.kinds.get(family).map(String::as_str);
                kind.is_some_and(|kind| (kind == "histogram") != suffix.is_empty())
            })
        });
        assert!(known, "{name} has no family");
    }
}

#[test]
fn buckets_add_up() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%").by_user().start();
    for user in 0..30 {
        proxy.get("/", &[("x-user", &user.to_string())]);
    }
    let scrape = Scrape::of(&proxy, OPEN_METRICS);
    for name in [
        "haldane_request_ttfb_seconds",
        "haldane_request_duration_seconds",
    ] {
        let (bucket, count, sum) = (
            format!("{name}_bucket"),
            format!("{name}_count"),
            format!("{name}_sum"),
        );
        for role in ["stable", "canary"] {
            let role = format!("role=\"{role}\"");
            let mut buckets: Vec<(f64, f64)> = scrape
                .all(&bucket)
                .filter(|(labels, _)| labels.contains(&role))
                .map(|(labels, count)| {
                    let bound = labels
                        .split("le=\"")
                        .nth(1)
                        .unwrap()
                        .split('"')
                        .next()
                        .unwrap();
                    (bound.parse().unwrap(), count)
                })
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert_eq!((buckets.len(), buckets[0].0), (17, 0.0005));
            assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
            let of_role = |name: &str| {
                let mut all = scrape
                    .all(name)
                    .filter(|(labels, _)| labels.contains(&role));
                all.next().unwrap().1
            };
            let (total, seconds) = (of_role(&count), of_role(&sum));
            assert_eq!(buckets[16], (f64::INFINITY, total));
            assert!(total > 0.0 && seconds > 0.0 && seconds < 60.0 * total);
        }
    }
}

#[test]
fn what_runs_is_in_flight() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Silent);
    let proxy = Setup::canary(&stable, &canary, "100%").by_user().start();
    let clients: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nhost: test\r\nx-user: a\r\n\r\n");
            client
        })
        .collect();
    let canary = "haldane_requests_in_flight{route=\"default\",role=\"canary\",version=\"v2\"}";
    let reads =
        |series: &str, expected: f64| (Scrape::of(&proxy, "").value(series) - expected).abs() < 0.5;
    eventually("three are in flight", || reads(canary, 3.0));
    eventually("three are connected", || {
        reads("haldane_connections_open", 3.0)
    });
    drop(clients);
    eventually("none is in flight", || reads(canary, 0.0));
    eventually("none is connected", || {
        reads("haldane_connections_open", 0.0)
    });
}

#[test]
fn no_label_has_what_a_client_sent() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%").by_user().start();
    let before: BTreeSet<String> = Scrape::of(&proxy, "").samples.into_keys().collect();
    for n in 0..20 {
        let mark = format!("mark-{n}");
        let fields = [
            ("x-user", &*mark),
            ("user-agent", &*mark),
            ("cookie", &*mark),
        ];
        proxy.get(&format!("/{mark}?{mark}"), &fields);
        let odd = format!("M{n}ARK /{mark} HTTP/1.1\r\nhost: {mark}.example\r\nx-user: a\r\n\r\n");
        proxy.raw(odd);
    }
    let scrape = Scrape::of(&proxy, "");
    assert!(
        !scrape.text.to_lowercase().contains("mark"),
        "{}",
        scrape.text
    );
    let after: BTreeSet<String> = scrape.samples.into_keys().collect();
    let new: Vec<_> = after.difference(&before).collect();
    assert!(
        new.len() <= 2 && new.iter().all(|series| series.contains("code=\"200\"")),
        "{new:?}"
    );
}
