//! Addresses that are asked whether they are well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use super::{address, is_healthy, readiness, stable};
use crate::support::eventually::{PATIENCE, eventually, now};
use crate::support::proxy::Proxy;
use crate::support::tls::{Authority, Directory, TlsUpstream};
use crate::support::upstream::{Arrival, Upstream};

pub(super) const CHECKS: &str = "ejection = \"off\"\nhealth = { path = \"/well?now=1\", interval = \"100ms\", timeout = \"200ms\", unhealthy_after = 2, healthy_after = 2 }";

/// Answers checks with this status, or never with 0; everything else with its name.
pub(super) fn checked(name: &'static str) -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    let upstream = Upstream::scripted(move |mut connection| {
        while let Some(head) = connection.request() {
            let answer = if head.word(1).starts_with("/well") {
                match told.load(Ordering::Relaxed) {
                    0 => {
                        connection.wire.patience(PATIENCE);
                        connection.end();
                        return;
                    }
                    status => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
                }
            } else {
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
                    name.len()
                )
            };
            if !connection.wire.write(answer) {
                return;
            }
        }
    });
    (upstream, status)
}

fn checks_of(upstream: &Upstream) -> Vec<Arrival> {
    let mut arrivals = upstream.log.arrivals();
    arrivals.retain(|one| one.head.word(1).starts_with("/well"));
    arrivals
}

#[test]
fn what_says_it_is_not_well_gets_no_requests_until_it_is() {
    let ((one, one_is), (other, _)) = (checked("one"), checked("other"));
    let proxy = stable(&[one.url(), other.url()], CHECKS);
    let mut client = proxy.client();
    eventually("both serve", || {
        client.get("/", &[]);
        let served = |upstream: &Upstream| upstream.log.len() > checks_of(upstream).len();
        served(&one) && served(&other)
    });
    // A bad status, and no answer at all.
    for bad in [500, 404, 0] {
        one_is.store(bad, Ordering::Relaxed);
        eventually("it is left alone", || !is_healthy(&proxy, "stable", &one));
        for _ in 0..50 {
            assert_eq!(client.get("/", &[]).text(), "other", "{bad}");
        }
        one_is.store(302, Ordering::Relaxed);
        eventually("it is well again", || is_healthy(&proxy, "stable", &one));
        eventually("it serves again", || client.get("/", &[]).text() == "one");
    }
}

#[test]
fn a_check_is_a_plain_request_on_a_connection_of_its_own() {
    let (only, _) = checked("only");
    let _proxy = stable(&[only.url()], CHECKS);
    eventually("it is asked again", || checks_of(&only).len() > 1);
    let checks = checks_of(&only);
    let head = &checks[0].head;
    assert_eq!(head.start, "GET /well?now=1 HTTP/1.1");
    assert_eq!(
        head.one("host").as_deref(),
        Some(&*only.address.to_string())
    );
    assert_eq!(head.one("user-agent").as_deref(), Some("haldane-health"));
    assert_ne!(checks[0].connection, checks[1].connection);
    let between = checks[1].at - checks[0].at;
    assert!(between >= Duration::from_millis(80), "{between:?}");
}

#[test]
fn when_all_say_so_the_answer_is_503_at_once() {
    let (only, only_is) = checked("only");
    let proxy = stable(&[only.url()], CHECKS);
    assert_eq!(
        proxy.get("/", &[]).text(),
        "only",
        "well until it was asked"
    );
    only_is.store(503, Ordering::Relaxed);
    eventually("it is known", || proxy.get("/", &[]).status == 503);
    let begun = now();
    assert_eq!(proxy.get("/", &[]).error(), "upstream_unhealthy");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(readiness(&proxy).0, 503);
    only_is.store(204, Ordering::Relaxed);
    eventually("it is back", || proxy.get("/", &[]).text() == "only");
    assert_eq!(readiness(&proxy).0, 200);
}

#[test]
fn nobody_is_asked_when_haldane_has_ended() {
    let (only, _) = checked("only");
    let proxy = stable(&[only.url()], CHECKS);
    eventually("it is asked", || !checks_of(&only).is_empty());
    drop(proxy);
    let asked = checks_of(&only).len();
    let quiet = AtomicBool::new(true);
    let until = now() + Duration::from_millis(400);
    eventually("some time passes", || {
        if checks_of(&only).len() > asked {
            quiet.store(false, Ordering::Relaxed);
        }
        now() > until
    });
    assert!(quiet.load(Ordering::Relaxed));
}

#[test]
fn checks_are_encrypted_where_requests_are() {
    let (authority, directory) = (Authority::new(), Directory::new("checks"));
    std::fs::write(directory.0.join("ca.crt"), authority.pem()).expect("writes");
    let known = TlsUpstream::start(&authority, None, None);
    let stranger = TlsUpstream::start(&Authority::new(), None, None);
    let proxy = Proxy::start(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\ndrain = {{ linger = \"0s\", timeout = \"200ms\" }}\n\
         [[route]]\nstable = {{ upstream = [\"{}\", \"{}\"], ca = \"{}\" }}\n{CHECKS}\n",
        known.url(),
        stranger.url(),
        directory.path("ca.crt")
    ));
    let shown = |upstream: &TlsUpstream| address(&proxy, "stable", &upstream.address.to_string());
    eventually("who cannot prove it is not asked", || {
        shown(&stranger)["healthy"] == false
    });
    eventually("it is asked", || known.heads.lock().unwrap().len() > 1);
    assert_eq!(shown(&known)["healthy"], true);
    let head = known.heads.lock().unwrap()[0].clone();
    assert!(head.starts_with("get /well?now=1 "), "{head}");
    let host = format!("host: localhost:{}", known.address.port());
    assert!(head.lines().any(|line| line == host), "{head}");
    assert_eq!(stranger.heads.lock().unwrap().len(), 0);
}
