//! IPv6 on every side, and IPv4 where both are listened on.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::support::client::Client;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

/// haldane with this instead of its listener on 127.0.0.1.
fn listening(setup: &Setup, listen: &str) -> Proxy {
    let text = setup.text();
    let replaced = text.replace(
        "listen = \"127.0.0.1:0\"\nadmin",
        &format!("listen = {listen}\nadmin"),
    );
    assert_ne!(text, replaced);
    Proxy::start(&replaced)
}

/// Connects from one of the addresses of this machine.
fn connect(from: &str, to: SocketAddr) -> Client {
    let from: SocketAddr = from.parse().expect("address");
    let domain = socket2::Domain::for_address(from);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("opens");
    socket.bind(&from.into()).expect("binds");
    socket.connect(&to.into()).expect("connects");
    Client {
        wire: crate::support::wire::Wire::new(socket.into()),
    }
}

fn forwarded_for(upstream: &Upstream) -> Option<String> {
    let arrivals = upstream.log.arrivals();
    arrivals
        .last()
        .expect("a request")
        .head
        .one("x-forwarded-for")
}

#[test]
fn clients_upstreams_and_the_admin_can_all_be_ipv6() {
    let upstream = Upstream::named_v6("stable");
    let setup = Setup::stable(&upstream);
    let text = setup.text().replace("127.0.0.1:0", "[::1]:0");
    let proxy = Proxy::start(&text);
    assert!(proxy.address.is_ipv6() && proxy.admin_address.is_ipv6());
    let answer = proxy.get("/", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "stable"));
    assert_eq!(forwarded_for(&upstream).as_deref(), Some("::1"));
    assert_eq!(proxy.status()["route"], "default");
}

#[test]
fn a_host_may_be_an_ipv6_literal() {
    let upstream = Upstream::named_v6("stable");
    let setup = Setup::stable(&upstream).route("match = { host = \"[2001:db8::1]\" }");
    let proxy = listening(&setup, "\"[::1]:0\"");
    for (host, status) in [
        ("[2001:db8::1]", 200),
        ("[2001:db8::1]:8080", 200),
        ("[2001:DB8::1]", 200),
        ("[2001:db8::2]", 404),
    ] {
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        assert_eq!(client.answer_to("GET").status, status, "{host}");
    }
    let head = &upstream.log.arrivals()[1].head;
    assert_eq!(head.one("host").as_deref(), Some("[2001:db8::1]:8080"));
}

#[test]
fn trusted_networks_of_ipv6_say_who_the_client_is() {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let setup = Setup::canary(&upstreams[0], &upstreams[1], "50%");
    let proxy = listening(&setup.top("trusted_proxies = \"::1\""), "\"[::1]:0\"");
    let role = |client: &str| {
        let answer = proxy.get("/", &[("x-forwarded-for", client)]);
        answer.text()
    };
    // The split key is the whole address: two of one network may differ, and each
    // spelling of one is the same.
    let roles: Vec<String> = (0..64).map(|n| role(&format!("2001:db8::{n:x}"))).collect();
    assert!(roles.contains(&"stable".to_owned()) && roles.contains(&"canary".to_owned()));
    let spelled: Vec<String> = (0..64)
        .map(|n| role(&format!("2001:0DB8:0:0:0:0:0:{n:x}")))
        .collect();
    assert_eq!(roles, spelled);
    let kept = upstreams.iter().find(|upstream| upstream.log.len() > 0);
    let told = forwarded_for(kept.expect("one was asked")).expect("is told");
    assert!(
        told.starts_with("2001:") && told.ends_with(", ::1"),
        "{told}"
    );
}

#[test]
fn every_address_is_both_families_and_each_client_has_its_own_form() {
    let upstream = Upstream::named("stable");
    let proxy = listening(&Setup::stable(&upstream), "\"[::]:0\"");
    let port = proxy.address.port();
    for (from, to, told) in [
        (
            "127.0.0.9:0",
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            "127.0.0.9",
        ),
        (
            "[::1]:0",
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            "::1",
        ),
    ] {
        assert_eq!(connect(from, to).get("/", &[]).status, 200, "{from}");
        assert_eq!(forwarded_for(&upstream).as_deref(), Some(told));
    }
}

#[test]
fn every_address_of_ipv6_leaves_ipv4_to_who_asks_for_it() {
    let upstream = Upstream::named("stable");
    // A port that is free for both: the system gave it for every address.
    let free = listening(&Setup::stable(&upstream), "\"[::]:0\"");
    let port = free.address.port();
    drop(free);
    for listen in [
        format!("[\"0.0.0.0:{port}\", \"[::]:{port}\"]"),
        format!("[\"[::]:{port}\", \"0.0.0.0:{port}\"]"),
    ] {
        let proxy = listening(&Setup::stable(&upstream), &listen);
        for to in [
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ] {
            assert_eq!(
                Client::connect(to).get("/", &[]).status,
                200,
                "{listen} {to}"
            );
        }
        drop(proxy);
    }
}
