//! WebSocket as Chromium speaks it: as an upgrade of HTTP/1.1, and as a stream of the
//! HTTP/2 connection that it has anyway (RFC 8441).

use std::process::Command;

use serde_json::Value;

use super::{Between, Certificate, assert_counted};
use crate::support::proxy::Proxy;
use crate::support::tools::{Server, installed, script};

/// Sessions that the page opens before it waits: one, one for each close code, and some
/// at the same time.
const SESSIONS: usize = 1 + 4 + 20;

/// Chromium with this page.
fn browser(url: &str) -> Server {
    let chromium = installed("chromium", "chromium");
    Server::spawn(
        script("browser.py")
            .arg("--chromium")
            .arg(chromium)
            .arg(url),
    )
}

/// A server of the page and of what it asks for.
fn server() -> Command {
    script("web_server.py")
}

/// What the page found out, which must be good.
#[track_caller]
fn report(server: &Server) -> Value {
    let told = server.event("report");
    let report = &told["report"];
    assert_eq!(report["ok"], true, "{told}");
    for code in ["1000", "1011", "1012", "4999"] {
        assert_eq!(report["codes"][code]["code"].to_string(), code, "{report}");
        assert_eq!(report["codes"][code]["clean"], true, "{report}");
    }
    assert_eq!(report["together"], 20, "{report}");
    report.clone()
}

/// Opens the page through haldane.
#[track_caller]
fn seen_through(proxy: &Proxy, scheme: &str, server: &Server) -> Value {
    let port = proxy.address.port();
    let _browser = browser(&format!("{scheme}://localhost:{port}/"));
    report(server)
}

#[test]
fn the_peers_understand_each_other() {
    let certificate = Certificate::new("browser-direct");
    let pair = ["--cert", &certificate.cert(), "--key", &certificate.key()];
    let server = Server::start(server().args(pair));
    let _browser = browser(&format!("https://localhost:{}/", server.port));
    assert_eq!(server.event("opened")["version"], "2");
    assert_eq!(report(&server)["protocol"], "h2");
}

#[test]
fn sessions_are_upgrades_without_tls() {
    let server = Server::start(&mut server());
    let proxy = Between::stable(&server.url()).start();
    let report = seen_through(&proxy, "http", &server);
    assert_eq!(report["protocol"], "http/1.1");
    let switched = [("code", "101")];
    assert_counted(&proxy, "haldane_requests_total", &switched, SESSIONS);
    assert_counted(&proxy, "haldane_request_failures_total", &[], 0);
}

#[test]
fn sessions_are_streams_of_http2_to_an_upstream_of_http1() {
    let (server, certificate) = (Server::start(&mut server()), Certificate::new("browser"));
    let proxy = Between::stable(&server.url()).tls(&certificate).start();
    let report = seen_through(&proxy, "https", &server);
    assert_eq!(report["protocol"], "h2");
    // Of all upgrades at the upstream, none came as one from the browser: it has only
    // one connection to haldane.
    assert_counted(
        &proxy,
        "haldane_requests_total",
        &[("code", "101")],
        SESSIONS,
    );
    assert_counted(&proxy, "haldane_request_failures_total", &[], 0);
}

#[test]
fn sessions_are_streams_on_both_sides() {
    let (server, certificate) = (Server::start(&mut server()), Certificate::new("browser-h2"));
    let proxy = Between::stable(&server.url())
        .route("upstream_protocol = \"h2\"")
        .tls(&certificate)
        .start();
    let port = proxy.address.port();
    let _browser = browser(&format!("https://localhost:{port}/"));
    assert_eq!(server.event("opened")["version"], "2");
    assert_eq!(report(&server)["protocol"], "h2");
    assert_counted(&proxy, "haldane_request_failures_total", &[], 0);
}

#[track_caller]
fn rolled_back(listens: impl Fn(Between) -> Between, scheme: &str) {
    let (stable, canary) = (Server::start(&mut server()), Server::start(&mut server()));
    let between = Between::stable(&stable.url())
        .canary(&canary.url(), "100%")
        .route("timeouts = { session_grace = \"100ms\" }");
    let proxy = listens(between).start();
    let port = proxy.address.port();
    let _browser = browser(&format!("{scheme}://localhost:{port}/?wait=1"));
    assert_eq!(canary.event("report")["report"]["open"], true);
    proxy.roll_back();
    // This request is the first that goes to the stable version.
    let end = report(&stable)["end"].clone();
    assert_eq!(end["code"], 1012, "{end}");
    assert_eq!(end["clean"], true, "{end}");
}

#[test]
fn a_browser_is_told_1012_on_an_upgrade_when_its_canary_is_rolled_back() {
    rolled_back(|between| between, "http");
}

#[test]
fn a_browser_is_told_1012_on_a_stream_when_its_canary_is_rolled_back() {
    let certificate = Certificate::new("browser-rollback");
    rolled_back(|between| between.tls(&certificate), "https");
}
