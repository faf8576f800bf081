//! What is listened on, and what is spoken there.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{File, metric, put};
use crate::support::client::Client;
use crate::support::eventually::{PATIENCE, eventually};
use crate::support::proxy::Setup;
use crate::support::tls::{Authority, Hello};
use crate::support::upstream::Upstream;

/// An address that nobody has, though somebody may take it.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("has an address")
}

fn listening(setup: &Setup, listen: &str) -> String {
    setup.text().replace(
        "listen = \"127.0.0.1:0\"\nadmin",
        &format!("listen = {listen}\nadmin"),
    )
}

fn refuses(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_err()
}

#[test]
fn listeners_come_and_go_under_load_and_connections_live_on() {
    let stable = Upstream::named("stable");
    let setup = Setup::stable(&stable).top("workers = 2");
    let file = File::new("listeners", &setup);
    let proxy = file.start();
    let second = free();
    let both = listening(&setup, &format!("[\"127.0.0.1:0\", \"{second}\"]"));
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|number| {
            let (stop, address) = (Arc::clone(&stop), proxy.address);
            std::thread::spawn(move || {
                let (mut kept, mut asked) = (Client::connect(address), 0);
                while !stop.load(Ordering::Relaxed) {
                    let mut fresh = Client::connect(address);
                    let client = if number % 2 == 0 {
                        &mut kept
                    } else {
                        &mut fresh
                    };
                    assert_eq!(client.get("/", &[]).text(), "stable");
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    let mut living: Vec<Client> = Vec::new();
    for round in 0..10 {
        assert!(refuses(second), "{round}");
        let changes = put(&proxy, &file, &both);
        assert_eq!(changes, json!(["listen changed"]));
        for _ in 0..4 {
            let mut client = Client::connect(second);
            assert_eq!(client.get("/", &[]).text(), "stable");
            living.push(client);
        }
        put(&proxy, &file, &setup.text());
        eventually("it is closed", || refuses(second));
        for client in &mut living {
            assert_eq!(client.get("/", &[]).text(), "stable", "{round}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        assert!(thread.join().expect("no request failed") > 10);
    }
}

/// Workers close an address in their own time; until then it is nobody else's.
#[test]
fn an_address_that_was_just_left_is_taken_back() {
    let stable = Upstream::named("stable");
    let setup = Setup::stable(&stable).top("workers = 2");
    let file = File::new("back", &setup);
    let proxy = file.start();
    // Of a host at which no connection of another test begins.
    let bound = TcpListener::bind("127.0.0.3:0").expect("binds");
    let second = bound.local_addr().expect("has an address");
    drop(bound);
    let one = listening(&setup, "\"127.0.0.1:0\"");
    let both = listening(&setup, &format!("[\"127.0.0.1:0\", \"{second}\"]"));
    for _ in 0..50 {
        put(&proxy, &file, &both);
        put(&proxy, &file, &one);
    }
    put(&proxy, &file, &both);
    eventually("it is served", || {
        Client::connect(second).get("/", &[]).text() == "stable"
    });
}

#[test]
fn an_address_that_is_taken_leaves_everything_as_it_is_until_it_is_free() {
    let (stable, other) = (Upstream::named("stable"), Upstream::named("other"));
    let file = File::new("taken", &Setup::stable(&stable));
    let proxy = file.start();
    let blocker = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, second) = (blocker.local_addr().unwrap(), free());
    let setup = Setup::stable(&other).table("[limits]\nheaders = 3");
    for text in [
        listening(
            &setup,
            &format!("[\"127.0.0.1:0\", \"{second}\", \"{taken}\"]"),
        ),
        listening(&setup, &format!("[\"{taken}\"]")),
        setup.text().replace(
            "admin = { listen = \"127.0.0.1:0\" }",
            &format!("admin = {{ listen = \"{taken}\" }}"),
        ),
        format!(
            "ops = {{ listen = \"{taken}\" }}\n{}",
            listening(&setup, &format!("[\"127.0.0.1:0\", \"{second}\"]"))
        ),
    ] {
        file.write(&text);
        let (status, answer) = proxy.reload();
        assert_eq!(status, 422, "{text}: {answer}");
        assert!(
            answer["detail"]
                .as_str()
                .unwrap()
                .contains(&taken.to_string()),
            "{answer}"
        );
        assert_eq!(
            proxy.get("/", &[("a", "1"), ("b", "2"), ("c", "3")]).text(),
            "stable"
        );
        assert!(refuses(second), "not even for a while");
    }
    drop(blocker);
    eventually("it is tried again", || {
        proxy.get("/", &[]).text() == "other"
    });
    assert_eq!(Client::connect(second).get("/", &[]).text(), "other");
    eventually("and said", || {
        metric(&proxy, "haldane_config_last_reload_successful").as_deref() == Some("1")
    });
}

#[test]
fn an_address_may_grow_and_shrink() {
    let stable = Upstream::named("stable");
    let setup = Setup::stable(&stable);
    let file = File::new("grow", &setup);
    let proxy = file.start();
    let port = proxy.address.port();
    let mut living = proxy.client();
    living.get("/", &[]);
    // Named as it is: the same sockets go on.
    let changes = put(
        &proxy,
        &file,
        &listening(&setup, &format!("\"127.0.0.1:{port}\"")),
    );
    assert_eq!(changes, json!(["listen changed"]));
    for listen in [
        format!("\"0.0.0.0:{port}\""),
        format!("\"127.0.0.1:{port}\""),
    ] {
        put(&proxy, &file, &listening(&setup, &listen));
        for _ in 0..20 {
            assert_eq!(proxy.get("/", &[]).text(), "stable", "{listen}");
        }
        assert_eq!(living.get("/", &[]).text(), "stable");
    }
}

#[test]
fn certificates_come_to_an_address_that_stays_and_go_again() {
    let stable = Upstream::named("stable");
    let setup = Setup::stable(&stable);
    let file = File::new("tls", &setup);
    let authority = Authority::new();
    file.directory
        .write_pair("a", &authority.issue("localhost"));
    file.directory
        .write_pair("b", &authority.issue("localhost"));
    let proxy = file.start();
    let with_tls = |pair: &str| {
        let table = format!(
            "[tls.edge]\ncert = \"{}\"\nkey = \"{}\"",
            file.directory.path(&format!("{pair}.crt")),
            file.directory.path(&format!("{pair}.key"))
        );
        let setup = Setup::stable(&stable).table(&table);
        listening(&setup, "{ address = \"127.0.0.1:0\", tls = \"edge\" }")
    };
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let connect = || Hello::new(&authority, "localhost").connect(proxy.address);
    let mut plain = proxy.client();
    plain.get("/", &[]);
    put(&proxy, &file, &with_tls("a"));
    let mut first = connect().expect("shakes hands");
    assert_eq!(first.ask(GET).expect("an answer").1, b"stable");
    assert_eq!(
        plain.get("/", &[]).text(),
        "stable",
        "it was plain when it came"
    );
    put(&proxy, &file, &with_tls("b"));
    let mut second = connect().expect("shakes hands");
    assert_ne!(first.certificate(), second.certificate());
    put(&proxy, &file, &setup.text());
    assert!(connect().is_err());
    assert_eq!(proxy.get("/", &[]).text(), "stable");
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask(GET).expect("an answer").1, b"stable");
    }
}

#[test]
fn the_admin_and_ops_listeners_move() {
    let stable = Upstream::named("stable");
    let setup = Setup::stable(&stable);
    let file = File::new("admin", &setup);
    let mut proxy = file.start();
    let ready = |address: SocketAddr| {
        let mut client = Client::connect(address);
        client.get("/readyz", &[]).status
    };
    let (first, second, ops) = (proxy.admin_address, free(), free());
    let text = setup.text().replace(
        "admin = { listen = \"127.0.0.1:0\" }",
        &format!("admin = {{ listen = \"{second}\" }}\nops = {{ listen = \"{ops}\" }}"),
    );
    // The answer still comes where it was asked for.
    file.write(&text);
    assert_eq!(proxy.reload().0, 200);
    eventually("it is closed", || refuses(first));
    assert_eq!((ready(second), ready(ops)), (200, 200));
    proxy.admin_address = second;
    // The host that is demanded is the new one.
    assert_eq!(proxy.status()["phase"], "idle");
    file.write(&setup.text());
    assert_eq!(proxy.reload().0, 200);
    eventually("both are closed", || refuses(second) && refuses(ops));
}
