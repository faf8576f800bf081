//! What may be used at a time, and what becomes of one more.

use crate::support::client::{Client, request};
use crate::support::eventually::eventually;
use crate::support::http2::{self, H2Client};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

const LITTLE: &str =
    "[limits]\nupstream_requests = 2\nconnection_requests = 3\ntarget_bytes = \"64B\"";

/// Clients whose requests are under way at what is silent.
fn waiting(proxy: &Proxy, silent: &Upstream, count: usize) -> Vec<Client> {
    silent.behave(Behaviour::Silent);
    let before = silent.log.len();
    let clients = (0..count).map(|_| {
        let mut client = proxy.client();
        client.send(request("GET", "/", &[("x-user", "a")], ""));
        client
    });
    let clients = clients.collect();
    eventually("they arrive", || silent.log.len() == before + count);
    clients
}

#[test]
fn more_than_a_version_may_have_is_answered_at_once() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream)
        .top("workers = 1")
        .table(LITTLE)
        .start();
    for _ in 0..2 {
        let clients = waiting(&proxy, &upstream, 2);
        let mut other = proxy.client();
        for _ in 0..2 {
            let answer = other.get("/", &[]);
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (503, "haldane_overloaded")
            );
        }
        let over_http2 = H2Client::connect(proxy.address).get("/", &[]);
        assert_eq!(over_http2.status, 503);
        for client in clients {
            client.wire.reset();
        }
        eventually("they are gone", || {
            proxy.status()["versions"]["stable"]["in_flight"] == 0
        });
        upstream.behave(Behaviour::Good);
        assert_eq!(proxy.get("/", &[]).status, 200);
    }
    assert_eq!(proxy.metric("haldane_request_failures_total", &[]), 0);
}

/// And is no failure of the canary: nothing was sent to it.
#[test]
fn more_than_a_canary_may_have_goes_to_stable_whatever_it_is() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(1000)
        .shielded()
        .top("workers = 1")
        .table(LITTLE)
        .start();
    let clients = waiting(&proxy, &canary, 2);
    for method in ["GET", "POST"] {
        let user = [("x-user", "a")];
        let answer = proxy.client().request(method, "/", &user, "");
        assert_eq!((answer.status, answer.text().as_str()), (200, "stable"));
    }
    for client in clients {
        client.wire.reset();
    }
    assert_eq!(proxy.settled("canary", 4)["failures"], 0);
}

#[test]
fn a_connection_takes_so_many_requests() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).table(LITTLE).start();
    let mut client = proxy.client();
    for last in [false, false, true] {
        let answer = client.get("/", &[]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.head.one("connection").is_some(), last);
    }
    assert!(client.is_closed());
    let client = H2Client::connect(proxy.address);
    for _ in 0..3 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    eventually("it is told to go", || !client.takes_streams());
    eventually("the connection ends", || client.ended() == Some(Ok(())));
    assert_eq!(upstream.log.len(), 6);
}

#[test]
fn a_target_may_be_so_long() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).table(LITTLE).start();
    let (most, more) = (
        format!("/{}", "a".repeat(63)),
        format!("/{}", "a".repeat(64)),
    );
    assert_eq!(proxy.get(&most, &[]).status, 200);
    let answer = proxy.get(&more, &[]);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (414, "client_target_too_long")
    );
    let client = H2Client::connect(proxy.address);
    assert_eq!(client.get(&most, &[]).status, 200);
    let answer = client.ask(http2::request("GET", &more, &[]), b"");
    assert_eq!(answer.status, 414);
    assert_eq!(upstream.log.len(), 2);
}

/// While many requests are under way, what comes next on a connection lets others go first.
#[test]
fn many_that_wait_for_their_answers_keep_nobody_else_waiting() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).top("workers = 1").start();
    let mut others: Vec<_> = (0..100).map(|_| proxy.client()).collect();
    for other in &mut others {
        assert_eq!(other.get("/", &[]).status, 200);
    }
    let clients = waiting(&proxy, &upstream, 80);
    upstream.behave(Behaviour::Good);
    for _ in 0..3 {
        for other in &mut others {
            other.send(request("GET", "/", &[], ""));
        }
        for other in &mut others {
            assert_eq!(other.answer_to("GET").status, 200);
        }
    }
    for other in &mut others {
        other.send("GET / HT");
        other.send("TP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert_eq!(other.answer_to("GET").status, 200);
        assert!(other.is_closed());
    }
    for client in clients {
        client.wire.reset();
    }
    eventually("they are gone", || {
        proxy.status()["versions"]["stable"]["in_flight"] == 0
    });
}
