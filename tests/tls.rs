//! TLS towards clients and upstreams, and certificates that are replaced while it serves.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::support::eventually::{eventually, some};
use crate::support::process::Process;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::{Authority, Directory, Hello, TlsUpstream, swap_link};
use crate::support::upstream::{Behaviour, Upstream};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// haldane with a TLS listener that has these certificates.
fn serving(upstream: &Upstream, directory: &Directory, names: &[&str], more: &str) -> Proxy {
    Proxy::start(&encrypted(upstream, directory, names, more))
}

/// The configuration of that.
fn encrypted(upstream: &Upstream, directory: &Directory, names: &[&str], more: &str) -> String {
    let list = |ending: &str| {
        let paths = names
            .iter()
            .map(|name| format!("\"{}\"", directory.path(&format!("{name}.{ending}"))));
        paths.collect::<Vec<_>>().join(", ")
    };
    let text = Setup::stable(upstream).table(&format!(
        "[tls.edge]\ncert = [{}]\nkey = [{}]\n{more}",
        list("crt"),
        list("key")
    ));
    text.text().replace(
        "listen = \"127.0.0.1:0\"\nadmin",
        "listen = [{ address = \"127.0.0.1:0\", tls = \"edge\" }]\nadmin",
    )
}

#[test]
fn clients_are_served_over_both_versions() {
    let (authority, directory) = (Authority::new(), Directory::new("both"));
    directory.write_pair("a", &authority.issue("localhost"));
    let upstream = Upstream::named("stable");
    let proxy = serving(&upstream, &directory, &["a"], "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let hello = Hello {
            version,
            ..Hello::new(&authority, "localhost")
        };
        let mut client = hello.connect(proxy.address).expect("shakes hands");
        for _ in 0..3 {
            let (head, body) = client.ask(GET).expect("an answer");
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(body, b"stable");
        }
    }
    let arrivals = upstream.log.arrivals();
    assert_eq!(arrivals.len(), 6);
    assert_eq!(
        arrivals[0].head.one("x-forwarded-proto").as_deref(),
        Some("https")
    );
}

#[test]
fn the_name_that_is_asked_for_picks_the_certificate() {
    let (authority, directory) = (Authority::new(), Directory::new("sni"));
    for name in ["one.example", "*.two.example"] {
        directory.write_pair(name.trim_start_matches("*."), &authority.issue(name));
    }
    let upstream = Upstream::named("stable");
    let proxy = serving(&upstream, &directory, &["one.example", "two.example"], "");
    let shown = |name: &str| {
        let client = Hello::new(&authority, name)
            .connect(proxy.address)
            .expect("shakes hands");
        client.certificate()
    };
    assert_eq!(shown("a.two.example"), shown("b.two.example"));
    assert_ne!(shown("one.example"), shown("a.two.example"));
    // Nothing fits: the first is shown, and the client refuses it.
    assert!(
        Hello::new(&authority, "three.example")
            .connect(proxy.address)
            .is_err()
    );
}

#[test]
fn clients_without_a_certificate_are_refused_where_one_is_demanded() {
    let (authority, clients, directory) =
        (Authority::new(), Authority::new(), Directory::new("mtls"));
    directory.write_pair("a", &authority.issue("localhost"));
    fs::write(directory.0.join("clients.crt"), clients.pem()).unwrap();
    let upstream = Upstream::named("stable");
    let more = format!("client_ca = \"{}\"", directory.path("clients.crt"));
    let proxy = serving(&upstream, &directory, &["a"], &more);
    let ask = |pair| {
        let hello = Hello {
            pair,
            ..Hello::new(&authority, "localhost")
        };
        hello
            .connect(proxy.address)
            .and_then(|mut client| client.ask(GET))
    };
    assert!(ask(None).is_err());
    assert!(ask(Some(Authority::new().issue("client"))).is_err());
    assert_eq!(
        ask(Some(clients.issue("client"))).expect("an answer").1,
        b"stable"
    );
    assert_eq!(upstream.log.len(), 1);
}

#[test]
fn what_is_no_handshake_reaches_nothing() {
    let (authority, directory) = (Authority::new(), Directory::new("plain"));
    directory.write_pair("a", &authority.issue("localhost"));
    let upstream = Upstream::named("stable");
    let proxy = serving(
        &upstream,
        &directory,
        &["a"],
        "[limits]\nheader_timeout = \"200ms\"",
    );
    let mut plain = TcpStream::connect(proxy.address).unwrap();
    plain.write_all(GET).unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // Silence is not waited for longer than a head is.
    let mut silent = TcpStream::connect(proxy.address).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert_eq!(silent.read(&mut [0]).ok(), Some(0));
    assert_eq!(upstream.log.len(), 0);
}

/// Long enough before it is too late.
#[test]
fn certificates_that_expire_soon_are_in_the_metrics_and_in_the_log() {
    let (authority, directory) = (Authority::new(), Directory::new("expiry"));
    let days = |count: u64| {
        let at = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        at.as_secs() + count * 24 * 3600
    };
    let half = 12 * 3600;
    let soon = authority.issue_until("localhost", days(10) + half);
    directory.write_pair("a", &soon);
    let upstream = Upstream::named("stable");
    let text = encrypted(&upstream, &directory, &["a"], "");
    let haldane = Process::start("expiry", &text);
    let line = haldane.says("certificates expire soon");
    assert_eq!(
        (&line["level"], &line["what"], &line["days"]),
        (&"WARN".into(), &"tls.edge".into(), &10.into())
    );
    let proxy = serving(&upstream, &directory, &["a"], "");
    let told =
        || proxy.gauge("haldane_certificate_expiry_timestamp_seconds{certificate=\"tls.edge\"}");
    let at = |count: u64| f64::from(u32::try_from(days(count)).unwrap());
    assert!((at(10)..at(11)).contains(&told()));
    directory.write_pair("a", &authority.issue_until("localhost", days(100)));
    eventually("the new one is told", || told() > at(99));
}

/// At whatever byte.
#[test]
fn handshakes_that_are_cut_anywhere_leave_nothing_behind() {
    let (authority, directory) = (Authority::new(), Directory::new("cut"));
    directory.write_pair("a", &authority.issue("localhost"));
    let upstream = Upstream::named("stable");
    let proxy = serving(&upstream, &directory, &["a"], "");
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(authority.http2_client(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    for cut in (0..=hello.len()).step_by(37) {
        let mut socket = TcpStream::connect(proxy.address).unwrap();
        socket.write_all(&hello[..cut]).unwrap();
        // What is wrong after a good beginning ends it too.
        socket.write_all(&[0xff; 8][..cut % 9]).unwrap();
    }
    eventually("nothing is left", || {
        proxy.gauge("haldane_connections_open") < 0.5
    });
    let mut client = Hello::new(&authority, "localhost")
        .connect(proxy.address)
        .expect("shakes hands");
    assert!(client.ask(GET).is_ok());
    assert_eq!(upstream.log.len(), 1);
}

#[test]
fn certificates_are_replaced_when_their_content_changes() {
    let (authority, directory) = (Authority::new(), Directory::new("reload"));
    let versions = ["v1", "v2", "v3"].map(|version| directory.0.join(version));
    for version in &versions {
        fs::create_dir(version).unwrap();
        let (certificate, key) = authority.issue("localhost");
        fs::write(version.join("a.crt"), certificate).unwrap();
        fs::write(version.join("a.key"), key).unwrap();
    }
    // The third has a key that is not its certificate's.
    fs::write(versions[2].join("a.key"), authority.issue("localhost").1).unwrap();
    let link = directory.0.join("..data");
    swap_link(&link, &versions[0]);
    for file in ["a.crt", "a.key"] {
        std::os::unix::fs::symlink(link.join(file), directory.0.join(file)).unwrap();
    }
    let upstream = Upstream::named("stable");
    let proxy = serving(&upstream, &directory, &["a"], "");
    let shown = || {
        let client = Hello::new(&authority, "localhost")
            .connect(proxy.address)
            .expect("shakes hands");
        client.certificate()
    };
    let first = shown();
    let mut open = Hello::new(&authority, "localhost")
        .connect(proxy.address)
        .expect("shakes hands");
    assert!(open.ask(GET).is_ok());

    swap_link(&link, &versions[1]);
    let second = some("the second certificate", || {
        Some(shown()).filter(|shown| *shown != first)
    });
    swap_link(&link, &versions[2]);
    swap_link(&link, &versions[1]);
    assert_eq!(shown(), second);
    swap_link(&link, &versions[2]);
    let before = proxy.live.clock.micros();
    eventually("the files were looked at", || {
        proxy.live.clock.micros() > before + 1_500_000
    });
    assert_eq!(shown(), second, "a bad pair changes nothing");
    assert!(open.ask(GET).is_ok(), "an open connection lives on");
    swap_link(&link, &versions[0]);
    eventually("the first again", || shown() == first);
}

#[test]
fn upstreams_are_verified() {
    let (authority, stranger, directory) =
        (Authority::new(), Authority::new(), Directory::new("up"));
    fs::write(directory.0.join("ca.crt"), authority.pem()).unwrap();
    for (signer, status) in [(&authority, 200), (&stranger, 502)] {
        let upstream = TlsUpstream::start(signer, None, None);
        let proxy = to_tls(&upstream, &format!("ca = \"{}\"", directory.path("ca.crt")));
        let mut client = proxy.client();
        for _ in 0..3 {
            client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
            let response = client.answer_to("POST");
            assert_eq!(response.status, status);
            if status == 200 {
                assert_eq!(response.text(), "hello");
            } else {
                assert_eq!(response.error(), "upstream_connect");
                client = proxy.client();
            }
        }
        assert_eq!(
            upstream.heads.lock().unwrap().len(),
            if status == 200 { 3 } else { 0 }
        );
    }
}

/// haldane in front of an upstream that speaks TLS.
fn to_tls(upstream: &TlsUpstream, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\ndrain = {{ linger = \"0s\", timeout = \"200ms\" }}\n\
         [[route]]\nstable = {{ version = \"v1\", upstream = \"{}\", {more} }}\n",
        upstream.url()
    ))
}

#[test]
fn haldane_shows_its_certificate_to_upstreams_that_ask() {
    let (authority, clients, directory) =
        (Authority::new(), Authority::new(), Directory::new("show"));
    fs::write(directory.0.join("ca.crt"), authority.pem()).unwrap();
    directory.write_pair("own", &clients.issue("haldane"));
    let upstream = TlsUpstream::start(&authority, Some(&clients), None);
    let ca = format!("ca = \"{}\"", directory.path("ca.crt"));
    let pair = format!(
        "cert = \"{}\", key = \"{}\"",
        directory.path("own.crt"),
        directory.path("own.key")
    );
    assert_eq!(
        to_tls(&upstream, &format!("{ca}, {pair}"))
            .get("/", &[])
            .status,
        200
    );
    assert_eq!(
        to_tls(&upstream, &ca)
            .raw("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .status,
        502
    );
}

#[test]
fn a_large_body_survives_tls_on_both_sides() {
    let (authority, directory) = (Authority::new(), Directory::new("large"));
    fs::write(directory.0.join("ca.crt"), authority.pem()).unwrap();
    let upstream = TlsUpstream::start(&authority, None, None);
    let proxy = to_tls(&upstream, &format!("ca = \"{}\"", directory.path("ca.crt")));
    let body: String = (0..3_000_000_u32)
        .map(|index| char::from(b'a' + (index % 23) as u8))
        .collect();
    let response = proxy.client().request("POST", "/", &[], &body);
    assert!(response.text() == body, "the body came back changed");
}

#[test]
fn a_cut_is_not_an_end_under_tls() {
    let (authority, directory) = (Authority::new(), Directory::new("cut"));
    fs::write(directory.0.join("ca.crt"), authority.pem()).unwrap();
    let upstream = TlsUpstream::start(&authority, None, Some(b"HTTP/1.1 200 OK\r\n\r\nhalf of it"));
    let proxy = to_tls(&upstream, &format!("ca = \"{}\"", directory.path("ca.crt")));
    let response = proxy.raw("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(response.end.is_err(), "{:?}", response.body);
    eventually("it counts", || {
        proxy.status()["versions"]["stable"]["failures"] == 1
    });
}

#[test]
fn curl_and_openssl_are_served() {
    let (authority, directory) = (Authority::new(), Directory::new("peers"));
    directory.write_pair("a", &authority.issue("localhost"));
    fs::write(directory.0.join("ca.crt"), authority.pem()).unwrap();
    let upstream = Upstream::named("stable");
    upstream.behave(Behaviour::Good);
    let proxy = serving(&upstream, &directory, &["a"], "");
    let url = format!("https://localhost:{}/", proxy.address.port());
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "10", "--resolve"])
        .arg(format!("localhost:{}:127.0.0.1", proxy.address.port()))
        .args(["--cacert", &directory.path("ca.crt"), &url])
        .output()
        .expect("curl is installed");
    assert_eq!(
        output.stdout,
        b"stable",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for version in ["-tls1_2", "-tls1_3", "-tls1_1"] {
        let output = Command::new("openssl")
            .args([
                "s_client",
                "-brief",
                version,
                "-CAfile",
                &directory.path("ca.crt"),
                "-connect",
            ])
            .arg(proxy.address.to_string())
            .output()
            .expect("openssl is installed");
        assert_eq!(output.status.success(), version != "-tls1_1", "{version}");
    }
}
