//! Requests that stand for counts in the metrics.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{TRACE, tolerant};
use crate::support::client::Client;
use crate::support::eventually::{eventually, some};
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::tools::{Server, run, tool};
use crate::support::upstream::{Behaviour, Upstream};

const OPEN_METRICS: &str = "application/openmetrics-text";

#[track_caller]
fn scrape(proxy: &Proxy, accept: &str) -> String {
    let mut client = Client::connect(proxy.admin_address);
    client.send(format!(
        "GET /metrics HTTP/1.1\r\nhost: {}\r\naccept: {accept}\r\n\r\n",
        proxy.admin_address
    ));
    client.answer_to("GET").text()
}

/// The lines with an exemplar, with what stands before it.
fn marked(proxy: &Proxy) -> Vec<(String, String)> {
    let text = scrape(proxy, OPEN_METRICS);
    let lines = text.lines().filter_map(|line| {
        let (sample, exemplar) = line.split_once(" # ")?;
        let series = sample.rsplit_once(' ')?.0;
        (!line.starts_with('#')).then(|| (series.to_owned(), exemplar.to_owned()))
    });
    lines.collect()
}

fn traceparent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-00f067aa0ba902b7-{flags}")
}

#[test]
fn a_failure_is_told_by_its_trace_if_that_can_be_looked_up() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = tolerant(&stable, &canary).start();
    let ask = |trace: &str| proxy.get("/", &[("x-user", "a"), ("traceparent", trace)]);
    ask(&traceparent(TRACE, "01"));
    assert!(marked(&proxy).is_empty(), "it went well");
    canary.behave(Behaviour::Status(500));
    for field in [
        &*traceparent(TRACE, "00"),
        &traceparent("00000000000000000000000000000000", "01"),
        &traceparent("4BF92F3577B34DA6A3CE929D0E0E4736", "01"),
        "\"} 1 # {trace_id=\"x",
    ] {
        ask(field);
    }
    assert!(marked(&proxy).is_empty(), "not sampled, or none");
    ask(&traceparent(TRACE, "01"));
    let found = marked(&proxy);
    assert_eq!(found.len(), 1, "{found:?}");
    let (series, exemplar) = &found[0];
    assert_eq!(
        series,
        "haldane_request_failures_total{route=\"default\",role=\"canary\",version=\"v2\",reason=\"status\"}"
    );
    let start = format!("{{trace_id=\"{TRACE}\"}} 1.0 ");
    assert!(exemplar.starts_with(&start), "{exemplar}");
    let plain = scrape(&proxy, "text/plain");
    assert!(!plain.contains("trace_id"), "{plain}");

    let directory = Directory::new("promtool");
    let path = directory.path("metrics");
    std::fs::write(&path, &plain).expect("writes");
    let metrics = std::fs::File::open(&path).expect("opens");
    let mut promtool = tool("promtool", "prometheus");
    let checked = promtool.args(["check", "metrics"]).stdin(metrics).output();
    let checked = checked.expect("runs");
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn a_slow_request_stands_for_its_buckets() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .section(
            "[[route.gate]]\nname = \"slow\"\nmetric = \"ttfb\"\nrollback = { p99 = \"3x stable\" }",
        )
        .start();
    let users = proxy.users_of_canary();
    proxy.wait_for_limits();
    assert!(marked(&proxy).is_empty(), "nobody was slow");
    canary.behave(Behaviour::Slow(Duration::from_millis(300)));
    let trace = traceparent(TRACE, "01");
    proxy.get("/", &[("x-user", &users[0]), ("traceparent", &trace)]);
    let found = some("both times have one", || {
        let found = marked(&proxy);
        (found.len() == 2).then_some(found)
    });
    for (name, (series, exemplar)) in ["ttfb", "duration"].iter().zip(&found) {
        let family = format!("haldane_request_{name}_seconds_bucket{{");
        assert!(
            series.starts_with(&family) && series.contains("role=\"canary\""),
            "{series}"
        );
        let bound = series.split("{le=\"").nth(1).expect("a bound");
        let bound: f64 = bound
            .split('"')
            .next()
            .and_then(|bound| bound.parse().ok())
            .expect("a number");
        let mut parts = exemplar.split(' ');
        assert_eq!(parts.next(), Some(&*format!("{{trace_id=\"{TRACE}\"}}")));
        let value: f64 = parts.next().expect("a value").parse().expect("a number");
        assert!(value >= 0.3 && value <= bound, "{exemplar} in {series}");
    }
}

/// Debian's Prometheus keeps them.
#[test]
fn prometheus_finds_the_trace_of_a_failure() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let proxy = tolerant(&stable, &canary).start();
    let directory = Directory::new("exemplars");
    let path = directory.path("prometheus.yml");
    let config = format!(
        "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\nscrape_configs:\n\
         - job_name: haldane\n  static_configs:\n  - targets: ['{}']\n",
        proxy.admin_address
    );
    std::fs::write(&path, config).expect("writes");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let address = free.local_addr().expect("is bound");
    drop(free);
    let _server = Server::spawn(
        tool("prometheus", "prometheus")
            .arg("--enable-feature=exemplar-storage")
            .arg(format!("--config.file={path}"))
            .arg(format!("--storage.tsdb.path={}", directory.path("data")))
            .arg(format!("--web.listen-address={address}"))
            .stderr(Stdio::null()),
    );
    let trace = traceparent(TRACE, "01");
    proxy.get("/", &[("x-user", "a"), ("traceparent", &trace)]);
    let mut curl = || {
        let mut curl: Command = tool("curl", "curl");
        let url = format!(
            "http://{address}/api/v1/query_exemplars?query=haldane_request_failures_total&start=0&end=4102444800"
        );
        let found: Value = serde_json::from_str(&run(curl.args(["-s", &url])).out).ok()?;
        let series = found["data"].as_array()?.first()?.clone();
        Some(series)
    };
    let series = some("it is found", &mut curl);
    assert_eq!(series["seriesLabels"]["role"], "canary", "{series}");
    assert_eq!(series["seriesLabels"]["reason"], "status", "{series}");
    assert_eq!(
        series["exemplars"][0]["labels"]["trace_id"], TRACE,
        "{series}"
    );
    eventually("it is scraped without an error", || {
        let mut curl: Command = tool("curl", "curl");
        let url = format!("http://{address}/api/v1/targets");
        let out = run(curl.args(["-s", &url])).out;
        out.contains("\"health\":\"up\"") && out.contains("\"lastError\":\"\"")
    });
}
