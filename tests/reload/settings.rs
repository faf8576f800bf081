//! What holds for every connection.

use std::time::Duration;

use super::{File, reload};
use crate::support::client::Client;
use crate::support::eventually::{eventually, now};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

#[test]
fn connections_that_are_open_obey_new_limits_with_their_next_request() {
    let stable = Upstream::named("stable");
    let file = File::new("limits", &Setup::stable(&stable));
    let proxy = file.start();
    let (mut small, mut large) = (proxy.client(), proxy.client());
    let long = "x".repeat(4000);
    for client in [&mut small, &mut large] {
        assert_eq!(client.get("/", &[("x-long", &long)]).status, 200);
    }
    reload(
        &proxy,
        &file,
        &Setup::stable(&stable).table("[limits]\nheader_bytes = \"1KiB\""),
    );
    assert_eq!(small.get("/", &[]).status, 200);
    assert_eq!(large.get("/", &[("x-long", &long)]).status, 431);
    reload(
        &proxy,
        &file,
        &Setup::stable(&stable).table("[limits]\nheaders = 3"),
    );
    assert_eq!(small.get("/", &[("x-long", &long)]).status, 200);
    assert_eq!(
        small.get("/", &[("a", "1"), ("b", "2"), ("c", "3")]).status,
        431
    );
}

#[test]
fn connections_that_are_open_time_out_by_the_new_configuration() {
    let stable = Upstream::named("stable");
    let file = File::new("idle", &Setup::stable(&stable));
    let proxy = file.start();
    let mut client = proxy.client();
    client.get("/", &[]);
    reload(
        &proxy,
        &file,
        &Setup::stable(&stable).table("[limits]\nidle_timeout = \"100ms\""),
    );
    client.get("/", &[]);
    let since = now();
    assert!(client.is_closed());
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_limit_of_connections_is_that_of_the_new_configuration() {
    let stable = Upstream::named("stable");
    let file = File::new("connections", &Setup::stable(&stable));
    let proxy = file.start();
    let mut open: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut open {
        client.get("/", &[]);
    }
    reload(
        &proxy,
        &file,
        &Setup::stable(&stable).table("[limits]\nconnections = 3"),
    );
    assert!(proxy.client().is_closed(), "one more than there may be");
    for client in &mut open {
        assert_eq!(client.get("/", &[]).status, 200, "who was there stays");
    }
    reload(
        &proxy,
        &file,
        &Setup::stable(&stable).table("[limits]\nconnections = 4"),
    );
    assert_eq!(proxy.get("/", &[]).status, 200);
}

#[test]
fn who_is_believed_changes_with_the_next_request() {
    let stable = Upstream::named("stable");
    let file = File::new("trusted", &Setup::stable(&stable));
    let proxy = file.start();
    let mut client = proxy.client();
    let mut told = |times: usize| {
        client.get("/", &[("x-forwarded-for", "192.0.2.1")]);
        let arrivals = stable.log.arrivals();
        assert_eq!(arrivals.len(), times);
        arrivals[times - 1].head.one("x-forwarded-for")
    };
    assert_eq!(told(1).as_deref(), Some("127.0.0.1"));
    reload(
        &proxy,
        &file,
        &Setup::stable(&stable).top("trusted_proxies = \"127.0.0.0/8\""),
    );
    assert_eq!(told(2).as_deref(), Some("192.0.2.1, 127.0.0.1"));
    reload(&proxy, &file, &Setup::stable(&stable));
    assert_eq!(told(3).as_deref(), Some("127.0.0.1"));
}

#[test]
fn a_drain_is_that_of_the_new_configuration() {
    let stable = Upstream::named("stable");
    let drain = |timeout: &str| {
        Setup::stable(&stable).top(&format!(
            "drain = {{ linger = \"0s\", timeout = \"{timeout}\" }}"
        ))
    };
    let file = File::new("drain", &drain("1h"));
    let mut proxy = file.start();
    reload(&proxy, &file, &drain("100ms"));
    let mut hanging = proxy.client();
    hanging.send("GET / HTTP/1.1\r\n");
    eventually("it is let in", || {
        super::metric(&proxy, "haldane_connections_open").as_deref() == Some("1")
    });
    let since = now();
    proxy.begin_drain();
    proxy.join();
    assert!(since.elapsed() < Duration::from_secs(8));
}
