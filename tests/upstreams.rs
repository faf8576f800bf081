//! The addresses of a version: which of them get requests, and when they are left alone.

use std::time::Duration;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::eventually::{eventually, now, some};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

/// Active checks.
mod checks;
/// What becomes of releases while a version cannot be reached.
mod releases;
/// How an address gets its share again that was left alone.
mod returns;
/// Unix sockets.
mod sockets;
/// HTTP/2.
mod streams;

/// haldane with one worker and these upstreams as its stable, and these lines in the route.
fn stable(upstreams: &[String], lines: &str) -> Proxy {
    let upstreams: Vec<String> = upstreams.iter().map(|url| format!("\"{url}\"")).collect();
    Proxy::start(&format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
         drain = {{ linger = \"0s\", timeout = \"200ms\" }}\n[[route]]\n\
         stable = {{ version = \"v1\", upstream = [{}] }}\n{lines}\n",
        upstreams.join(", ")
    ))
}

/// What the status says about an address of a role.
fn address(proxy: &Proxy, role: &str, address: &str) -> Value {
    let status = proxy.status();
    let addresses = status["versions"][role]["addresses"]
        .as_array()
        .expect("a list");
    let found = addresses.iter().find(|one| one["address"] == address);
    found.unwrap_or_else(|| panic!("{status}")).clone()
}

fn is_healthy(proxy: &Proxy, role: &str, upstream: &Upstream) -> bool {
    address(proxy, role, &upstream.address.to_string())["healthy"] == true
}

/// Readiness: status and what it says.
fn readiness(proxy: &Proxy) -> (u16, String) {
    let mut client = Client::connect(proxy.admin_address);
    let answer = client.get("/readyz", &[]);
    (answer.status, answer.text())
}

/// The value of `haldane_upstream_healthy` for an address.
fn metric(proxy: &Proxy, upstream: &Upstream) -> Option<String> {
    let mut client = Client::connect(proxy.admin_address);
    let host = proxy.admin_address.to_string();
    client.send(format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    let text = client.answer_to("GET").text();
    let address = format!("address=\"{}\"", upstream.address);
    let line = text
        .lines()
        .find(|line| line.starts_with("haldane_upstream_healthy{") && line.contains(&address))?;
    Some(line.rsplit(' ').next()?.to_owned())
}

fn failures(proxy: &Proxy, role: &str) -> Value {
    proxy.status()["versions"][role]["failures"].clone()
}

#[test]
fn requests_spread_over_what_is_healthy_and_nobody_notices_what_is_not() {
    let good: Vec<Upstream> = ["a", "b", "c"].map(Upstream::named).into();
    let dead = Upstream::refusing();
    let mut urls: Vec<String> = good.iter().map(Upstream::url).collect();
    urls.insert(1, dead.url());
    let proxy = stable(&urls, "");
    let mut client = proxy.client();
    for _ in 0..200 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    for upstream in &good {
        assert!(upstream.log.len() > 20, "{} of 200", upstream.log.len());
        assert!(is_healthy(&proxy, "stable", upstream));
        assert_eq!(metric(&proxy, upstream).as_deref(), Some("1.0"));
    }
    let shown = address(&proxy, "stable", &dead.address.to_string());
    assert_eq!(shown["healthy"], false, "{shown}");
    assert_eq!(shown["last_failure"]["reason"], "connect");
    assert!(shown["ejected_until"].as_u64() > shown["last_failure"]["at"].as_u64());
    assert_eq!(metric(&proxy, &dead).as_deref(), Some("0.0"));
    // What was tried elsewhere is no failure of the version.
    assert_eq!(failures(&proxy, "stable"), 0);
    assert_eq!(readiness(&proxy), (200, "ok\n".to_owned()));
}

#[test]
fn a_post_that_is_refused_is_executed_once_elsewhere() {
    let (good, dead) = (Upstream::named("good"), Upstream::refusing());
    // Without ejection half of all requests meet the dead one first.
    let proxy = stable(&[dead.url(), good.url()], "ejection = \"off\"");
    let mut client = proxy.client();
    for index in 0..60 {
        let answer = client.request("POST", &format!("/{index}"), &[], "body");
        assert_eq!(answer.text(), "good");
    }
    let arrivals = good.log.arrivals();
    assert_eq!(arrivals.len(), 60);
    assert!(arrivals.iter().all(|one| one.body.bytes == b"body"));
    let shown = address(&proxy, "stable", &dead.address.to_string());
    assert_eq!(shown["last_failure"]["reason"], "connect", "{shown}");
    assert_eq!(shown["healthy"], true, "nobody is ejected");
}

#[test]
fn an_address_that_lets_nobody_in_leaves_the_others_their_time() {
    let (good, closed) = (Upstream::named("good"), Upstream::unreachable());
    let lines = "timeouts = { connect = \"400ms\" }\nejection = { failures = 2 }";
    let proxy = stable(&[closed.url(), good.url()], lines);
    let mut client = proxy.client();
    for _ in 0..30 {
        let begun = now();
        assert_eq!(client.get("/", &[]).status, 200);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    assert!(!is_healthy(&proxy, "stable", &closed));
}

#[test]
fn an_address_that_breaks_connections_is_left_alone_and_let_in_again() {
    let (good, bad) = (Upstream::named("good"), Upstream::named("bad"));
    bad.behave(Behaviour::Reset);
    let lines = "ejection = { failures = 3, time = \"300ms\", max = \"300ms\" }";
    let proxy = stable(&[good.url(), bad.url()], lines);
    let mut client = proxy.client();
    let mut broken = 0;
    eventually("it is ejected", || {
        broken += usize::from(client.get("/", &[]).status == 502);
        !is_healthy(&proxy, "stable", &bad)
    });
    assert_eq!((broken, bad.log.len()), (3, 3));
    // Each time it is due, one request tries it and no more, until it is well.
    eventually("a request tries it", || {
        broken += usize::from(client.get("/", &[]).status == 502);
        bad.log.len() > 3
    });
    assert_eq!(broken, bad.log.len());
    bad.behave(Behaviour::Good);
    eventually("it is back", || client.get("/", &[]).text() == "bad");
    assert!(is_healthy(&proxy, "stable", &bad));
}

#[test]
fn suspicion_alone_makes_no_outage() {
    let only = Upstream::named("only");
    only.behave(Behaviour::Reset);
    let proxy = stable(
        &[only.url()],
        "ejection = { failures = 1, time = \"1h\", max = \"1h\" }",
    );
    for _ in 0..10 {
        let answer = proxy.get("/", &[]);
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (502, "upstream_reset")
        );
    }
    assert!(!is_healthy(&proxy, "stable", &only));
    assert_eq!(readiness(&proxy).0, 200);
    only.behave(Behaviour::Good);
    assert_eq!(proxy.get("/", &[]).text(), "only");
    assert!(is_healthy(&proxy, "stable", &only), "a success ends it");
}

#[test]
fn a_status_is_no_reason_to_leave_an_address_alone() {
    let only = Upstream::named("only");
    only.behave(Behaviour::Status(503));
    let proxy = stable(&[only.url()], "ejection = { failures = 1 }");
    for _ in 0..10 {
        let answer = proxy.get("/", &[]);
        assert_eq!((answer.status, answer.error().as_str()), (503, ""));
    }
    assert!(is_healthy(&proxy, "stable", &only));
}

#[test]
fn without_any_address_the_answer_comes_at_once_and_recovery_too() {
    let mut only = Upstream::refusing();
    // The ejection itself lasts longer than the test.
    let proxy = stable(&[only.url()], "ejection = { time = \"1h\", max = \"1h\" }");
    assert_eq!(readiness(&proxy).0, 200, "nothing is known yet");
    let errors: Vec<(u16, String)> = (0..6)
        .map(|_| {
            let answer = proxy.get("/", &[]);
            (answer.status, answer.error())
        })
        .collect();
    let refused = (502, "upstream_connect".to_owned());
    assert_eq!(errors[..5], vec![refused; 5][..]);
    assert_eq!(errors[5], (503, "upstream_unhealthy".to_owned()));
    let says = "stable has no healthy address: default\n";
    assert_eq!(readiness(&proxy), (503, says.to_owned()));
    only.revive("only");
    let back = now();
    eventually("it is back", || proxy.get("/", &[]).text() == "only");
    assert!(back.elapsed() < Duration::from_secs(5));
    assert_eq!(readiness(&proxy).0, 200);
}

/// Where readiness keeps all traffic away, no request finds out.
#[test]
fn an_address_is_back_also_without_a_request() {
    let mut only = Upstream::named("only");
    let proxy = stable(&[only.url()], "ejection = { time = \"1h\", max = \"1h\" }");
    assert_eq!(proxy.get("/", &[]).status, 200);
    only.die();
    // The connection that is open is used for as long as it lives; others are refused.
    let mut clients: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    eventually("it is given up", || {
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| client.get("/", &[]));
            }
        });
        readiness(&proxy).0 == 503
    });
    only.revive("again");
    eventually("it is back", || readiness(&proxy).0 == 200);
    assert!(is_healthy(&proxy, "stable", &only));
}

#[test]
fn a_name_has_all_its_addresses() {
    let only = Upstream::named("only");
    let url = format!("http://localhost:{}", only.address.port());
    // Where the name has ::1 as well, nobody answers there.
    let proxy = stable(&[url], "");
    let mut client = proxy.client();
    for _ in 0..40 {
        assert_eq!(client.request("POST", "/", &[], "x").text(), "only");
    }
    assert_eq!(failures(&proxy, "stable"), 0);
    let shown = address(&proxy, "stable", &only.address.to_string());
    assert_eq!(shown["healthy"], true);
    assert_eq!(readiness(&proxy).0, 200);
}

#[test]
fn a_name_that_nobody_knows_is_no_reason_not_to_start() {
    let good = Upstream::named("good");
    let unknown = "http://haldane-test.invalid:1".to_owned();
    let proxy = stable(std::slice::from_ref(&unknown), "");
    let begun = now();
    let answer = proxy.get("/", &[]);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (503, "upstream_unhealthy")
    );
    assert!(begun.elapsed() < Duration::from_secs(1), "at once");
    assert_eq!(readiness(&proxy).0, 503);
    drop(proxy);
    // Beside one that is known it does no harm.
    let proxy = stable(&[unknown, good.url()], "");
    for _ in 0..20 {
        assert_eq!(proxy.get("/", &[]).text(), "good");
    }
    assert_eq!(readiness(&proxy).0, 200);
}

/// Workers share what they know: what one finds out, all of them do.
#[test]
fn what_one_worker_finds_out_all_of_them_know() {
    let dead = Upstream::refusing();
    let proxy = Setup::stable(&dead).top("workers = 4").start();
    let refused = (0..40)
        .filter(|_| proxy.get("/", &[]).error() == "upstream_connect")
        .count();
    // Five by which it is found out, and one each time it is tried again.
    assert!((5..12).contains(&refused), "{refused} of 40 tried it");
    let last = some("it is known", || {
        let answer = proxy.get("/", &[]);
        (answer.error() == "upstream_unhealthy").then_some(answer.status)
    });
    assert_eq!(last, 503);
}
