//! Behind a balancer that says who its clients are in a PROXY header: it is believed from
//! trusted proxies, who must send one, and from nobody else.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::client::{Client, Response, request};
use crate::support::eventually::{eventually, now};
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::{Authority, Directory, Hello};
use crate::support::upstream::Upstream;
use crate::support::wire::Broken;

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]";
const NOBODY: &str = "trusted_proxies = \"10.0.0.0/8\"";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn start(upstream: &Upstream, trusted: &str) -> Proxy {
    expecting(&Setup::stable(upstream).top(trusted))
}

fn expecting(setup: &Setup) -> Proxy {
    let text = setup.text().replace(
        "listen = \"127.0.0.1:0\"\nadmin",
        "listen = { address = \"127.0.0.1:0\", proxy_protocol = true }\nadmin",
    );
    assert!(text.contains("proxy_protocol"));
    Proxy::start(&text)
}

/// A header of version 2 for a client at this address.
fn binary(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[10, 9, 9, 9], &[0xd2, 0x04, 0, 80]].concat();
    [SIGNATURE, &[0x21, 0x11, 0, 12], &addresses].concat()
}

/// What is answered to a request behind this header.
fn ask(proxy: &Proxy, header: &[u8], fields: &[(&str, &str)]) -> Response {
    proxy.raw([header, request("GET", "/", fields, "").as_bytes()].concat())
}

fn forwarded_for(upstream: &Upstream) -> Vec<String> {
    let arrivals = upstream.log.arrivals();
    arrivals
        .last()
        .expect("a request")
        .head
        .all("x-forwarded-for")
}

#[test]
fn a_trusted_proxy_says_who_the_client_is() {
    let upstream = Upstream::named("stable");
    let proxy = start(&upstream, TRUSTED);
    let v1 = b"PROXY TCP4 192.0.2.7 10.9.9.9 1234 80\r\n".as_slice();
    let v6 = b"PROXY TCP6 2001:db8::7 ::1 1234 80\r\n".as_slice();
    for (header, client) in [
        (v1, "192.0.2.7"),
        (v6, "2001:db8::7"),
        (&binary([192, 0, 2, 8]), "192.0.2.8"),
        // Nobody is named: it is the proxy that asks.
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (&[SIGNATURE, &[0x20, 0, 0, 0]].concat(), "127.0.0.1"),
    ] {
        assert_eq!(ask(&proxy, header, &[]).status, 200, "{header:?}");
        assert_eq!(forwarded_for(&upstream), [client], "{header:?}");
    }
}

#[test]
fn what_the_client_itself_claims_counts_only_if_it_is_a_proxy_too() {
    let upstream = Upstream::named("stable");
    let proxy = start(&upstream, TRUSTED);
    let claim = [("x-forwarded-for", "198.51.100.1")];
    ask(&proxy, b"PROXY TCP4 192.0.2.7 10.9.9.9 1234 80\r\n", &claim);
    assert_eq!(forwarded_for(&upstream), ["192.0.2.7"]);
    ask(&proxy, b"PROXY TCP4 10.1.1.1 10.9.9.9 1234 80\r\n", &claim);
    assert_eq!(forwarded_for(&upstream), ["198.51.100.1, 10.1.1.1"]);
}

#[test]
fn the_client_that_is_named_is_the_split_key() {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let proxy = expecting(&Setup::canary(&upstreams[0], &upstreams[1], "50%").top(TRUSTED));
    let role = |client: u8| ask(&proxy, &binary([192, 0, 2, client]), &[]).text();
    let roles: Vec<String> = (0..64).map(role).collect();
    assert!(roles.contains(&"stable".to_owned()) && roles.contains(&"canary".to_owned()));
    let again: Vec<String> = (0..64).map(role).collect();
    assert_eq!(roles, again);
}

#[test]
fn nobody_else_is_believed() {
    let upstream = Upstream::named("stable");
    let proxy = start(&upstream, NOBODY);
    for header in [
        b"PROXY TCP4 192.0.2.7 10.9.9.9 1234 80\r\n".to_vec(),
        binary([192, 0, 2, 8]),
    ] {
        let status = ask(&proxy, &header, &[]).status;
        assert!(matches!(status, 400 | 505), "{header:?}: {status}");
    }
    assert_eq!(upstream.log.len(), 0);
    // Without one they are served as everywhere.
    assert_eq!(ask(&proxy, b"", &[]).status, 200);
    assert_eq!(forwarded_for(&upstream), ["127.0.0.1"]);
}

#[test]
fn a_trusted_proxy_without_a_good_header_is_closed_and_nothing_is_forwarded() {
    let upstream = Upstream::named("stable");
    let proxy = start(&upstream, TRUSTED);
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    for header in [
        b"".as_slice(),
        b"PROXY TCP4 192.0.2.7 10.9.9.9 1234\r\n",
        b"PROXY TCP4 192.0.2.7 10.9.9.9 1234 80\n",
        too_long.as_bytes(),
        &[SIGNATURE, &[0x21, 0x12, 0, 0]].concat(),
        &[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
    ] {
        let mut client = proxy.client();
        client.send([header, request("GET", "/", &[], "").as_bytes()].concat());
        assert!(client.is_closed(), "{header:?}");
    }
    assert_eq!(upstream.log.len(), 0);
    assert_eq!(
        ask(&proxy, b"PROXY UNKNOWN\r\n", &[]).status,
        200,
        "others do not notice"
    );
}

#[test]
fn a_header_that_does_not_come_is_given_up() {
    let upstream = Upstream::named("stable");
    let limits = "[limits]\nheader_timeout = \"200ms\"";
    let proxy = expecting(&Setup::stable(&upstream).top(TRUSTED).table(limits));
    for start in [
        &b""[..],
        b"PROXY TCP4 192.0.2.7 10",
        &binary([1, 2, 3, 4])[..20],
    ] {
        let since = now();
        let mut client = proxy.client();
        client.send(start);
        assert_eq!(client.wire.end(), Broken::Closed, "{start:?}");
        assert!(since.elapsed() >= Duration::from_millis(200), "{start:?}");
    }
    assert_eq!(upstream.log.len(), 0);
}

/// haproxy with a configuration of its own. Killed when this is dropped.
struct Haproxy {
    child: Child,
    address: SocketAddr,
    file: PathBuf,
}

impl Haproxy {
    fn start(name: &str, server: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = free.local_addr().expect("is bound");
        drop(free);
        let name = format!("haldane-haproxy-{}-{name}.cfg", std::process::id());
        let file = std::env::temp_dir().join(name);
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
             listen front\n bind {address}\n server haldane {server}\n"
        );
        let mut out = std::fs::File::create(&file).expect("is made");
        out.write_all(text.as_bytes()).expect("writes");
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is installed");
        let started = Self {
            child,
            address,
            file,
        };
        eventually("haproxy listens", || {
            std::net::TcpStream::connect(address).is_ok()
        });
        started
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_file(&self.file).ok();
    }
}

#[test]
fn haproxy_names_its_clients_in_both_versions() {
    let upstream = Upstream::named("stable");
    let proxy = start(&upstream, TRUSTED);
    for version in ["send-proxy", "send-proxy-v2"] {
        let haproxy = Haproxy::start(version, &format!("{} {version}", proxy.address));
        // Another loopback address than haproxy's own connections come from.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("opens");
        let own: SocketAddr = "127.0.0.9:0".parse().expect("address");
        socket.bind(&own.into()).expect("binds");
        socket.connect(&haproxy.address.into()).expect("connects");
        let mut client = Client {
            wire: crate::support::wire::Wire::new(socket.into()),
        };
        for _ in 0..2 {
            assert_eq!(client.get("/", &[]).text(), "stable", "{version}");
            assert_eq!(forwarded_for(&upstream), ["127.0.0.9"], "{version}");
        }
    }
}

#[test]
fn the_header_comes_before_the_handshake() {
    let (authority, directory) = (Authority::new(), Directory::new("proxy-protocol"));
    directory.write_pair("a", &authority.issue("localhost"));
    let upstream = Upstream::named("stable");
    let text = Setup::stable(&upstream).top(TRUSTED).table(&format!(
        "[tls.edge]\ncert = \"{}\"\nkey = \"{}\"",
        directory.path("a.crt"),
        directory.path("a.key")
    ));
    let text = text.text().replace(
        "listen = \"127.0.0.1:0\"\nadmin",
        "listen = { address = \"127.0.0.1:0\", tls = \"edge\", proxy_protocol = true }\nadmin",
    );
    let proxy = Proxy::start(&text);
    let haproxy = Haproxy::start("tls", &format!("{} send-proxy-v2", proxy.address));
    let mut client = Hello::new(&authority, "localhost")
        .connect(haproxy.address)
        .expect("shakes hands");
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let (head, body) = client.ask(request).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, b"stable");
    let head = upstream.log.only().head;
    assert_eq!(head.one("x-forwarded-proto").as_deref(), Some("https"));
    // Without the header there is no handshake.
    assert!(
        Hello::new(&authority, "localhost")
            .connect(proxy.address)
            .is_err()
    );
}
