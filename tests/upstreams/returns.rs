//! Addresses that are well again: they get more and more of the load, not all at once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::checks::{CHECKS, checked};
use super::{is_healthy, stable};
use crate::support::client::Client;
use crate::support::eventually::{eventually, now, some};
use crate::support::upstream::{Behaviour, Upstream};

/// For so long an address that is back has no more than a tenth of its share.
const BEGINNING: Duration = Duration::from_secs(1);

/// How many of these requests this address answers.
fn answered_by(name: &str, client: &mut Client, requests: usize) -> usize {
    (0..requests)
        .filter(|_| client.get("/", &[]).text() == name)
        .count()
}

/// Of two addresses this one is back, and was not before this moment.
fn assert_few(name: &str, client: &mut Client, back: Instant) {
    let (mut of, mut few) = (0, 0);
    while of < 300 && back.elapsed() < BEGINNING {
        few += answered_by(name, client, 1);
        of += 1;
    }
    // It is one in eleven. A busy machine gets less done: there chance has more room.
    assert!(few <= 10 + of / 5, "{few} of {of}");
}

#[test]
fn after_its_ejection_an_address_gets_few_requests_at_first_and_its_share_later() {
    let (good, bad) = (Upstream::named("good"), Upstream::named("bad"));
    bad.behave(Behaviour::Reset);
    let lines = "ejection = { failures = 1, time = \"100ms\", max = \"100ms\" }";
    let proxy = stable(&[good.url(), bad.url()], lines);
    let mut client = proxy.client();
    eventually("it is ejected", || client.get("/", &[]).status == 502);
    bad.behave(Behaviour::Good);
    let back = some("it is back", || {
        let asked = now();
        (client.get("/", &[]).text() == "bad").then_some(asked)
    });
    assert!(is_healthy(&proxy, "stable", &bad));
    assert_few("bad", &mut client, back);
    // It comes to one in two, and chance makes no such number of one in eleven.
    eventually("it has its share", || {
        answered_by("bad", &mut client, 40) >= 15
    });
}

#[test]
fn what_checks_find_well_again_gets_few_requests_at_first() {
    let ((one, one_is), (other, _)) = (checked("one"), checked("other"));
    let proxy = stable(&[one.url(), other.url()], CHECKS);
    let mut client = proxy.client();
    one_is.store(500, Ordering::Relaxed);
    eventually("it is left alone", || !is_healthy(&proxy, "stable", &one));
    one_is.store(200, Ordering::Relaxed);
    let back = some("it is well again", || {
        let asked = now();
        is_healthy(&proxy, "stable", &one).then_some(asked)
    });
    assert_few("one", &mut client, back);
}

/// What nobody else can take is not held back.
#[test]
fn alone_an_address_that_is_back_gets_everything_at_once() {
    let mut two = [Upstream::refusing(), Upstream::refusing()];
    let urls: Vec<String> = two.iter().map(Upstream::url).collect();
    let proxy = stable(&urls, "ejection = { time = \"1h\", max = \"1h\" }");
    let mut client = proxy.client();
    eventually("both are given up", || {
        client.get("/", &[]).error() == "upstream_unhealthy"
    });
    two[0].revive("only");
    eventually("it is back", || client.get("/", &[]).text() == "only");
    assert_eq!(answered_by("only", &mut client, 100), 100);
}
