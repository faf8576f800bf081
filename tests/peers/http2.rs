//! HTTP/2 as curl, the tools of nghttp2, OpenSSL and Node speak it.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;

use super::{Between, Certificate, assert_counted, metric};
use crate::support::eventually::eventually;
use crate::support::tls::Directory;
use crate::support::tools::{Server, report, run, script, succeed, tool};
use crate::support::upstream::Upstream;

/// Bytes of what is sent up and down.
const LARGE: usize = 100 << 20;

/// `nghttpd` without TLS, which serves the file `index.html`.
struct Nghttpd {
    address: SocketAddr,
    _server: Server,
    _directory: Directory,
}

impl Nghttpd {
    fn start(test: &str, flags: &[&str]) -> Self {
        let directory = Directory::new(test);
        std::fs::write(directory.path("index.html"), "from nghttpd").expect("is writable");
        // It cannot choose a port itself.
        let free = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = free.local_addr().expect("is bound");
        drop(free);
        let server = Server::spawn(
            tool("nghttpd", "nghttp2-server")
                .args(["--no-tls", "--address=127.0.0.1", "--htdocs"])
                .arg(directory.path(""))
                .args(flags)
                .arg(address.port().to_string()),
        );
        eventually("nghttpd listens", || TcpStream::connect(address).is_ok());
        Self {
            address,
            _server: server,
            _directory: directory,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn nghttp(url: &str) -> Command {
    let mut command = tool("nghttp", "nghttp2-client");
    command.args(["--verbose", "--timeout=20", url]);
    command
}

/// A load of this many requests over four connections, with 50 streams on each. All of
/// them must be answered with 2xx.
#[track_caller]
fn load(url: &str, requests: usize) {
    let out = succeed(
        tool("h2load", "nghttp2-client")
            .args(["--clients=4", "--max-concurrent-streams=50"])
            .arg(format!("--requests={requests}"))
            .arg(url),
    );
    let all = format!(
        "requests: {requests} total, {requests} started, {requests} done, {requests} succeeded, \
         0 failed, 0 errored, 0 timeout"
    );
    assert!(out.contains(&all), "{out}");
    assert!(
        out.contains(&format!(
            "status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx"
        )),
        "{out}"
    );
}

#[test]
fn the_peers_understand_each_other() {
    let server = Nghttpd::start("h2-direct", &["--trailer=x-sum: 7"]);
    load(&server.url(), 1000);
    let out = succeed(&mut nghttp(&server.url()));
    assert!(
        out.contains("from nghttpd") && out.contains("x-sum: 7"),
        "{out}"
    );
    let node = report(tool("node", "nodejs").arg(node_client()).arg(server.url()));
    assert_eq!(node["statuses"]["200"], 200, "{node}");
    assert_eq!(node["trailers"]["x-sum"], "7", "{node}");
}

#[test]
fn a_load_of_streams_is_answered_and_counted() {
    const REQUESTS: usize = 5000;
    let upstream = Upstream::named("stable");
    let proxy = Between::stable(&upstream.url()).start();
    load(&format!("http://{}", proxy.address), REQUESTS);
    assert_counted(
        &proxy,
        "haldane_requests_total",
        &[("code", "200")],
        REQUESTS,
    );
    assert_counted(&proxy, "haldane_requests_total", &[], REQUESTS);
    assert_eq!(upstream.log.len(), REQUESTS);
}

#[test]
fn a_load_of_streams_passes_to_streams_also_encrypted() {
    const REQUESTS: usize = 5000;
    let server = Nghttpd::start("h2-load", &[]);
    let certificate = Certificate::new("h2-load-certificate");
    let plain = Between::stable(&server.url()).route("upstream_protocol = \"h2\"");
    let proxy = plain.start();
    load(&format!("http://{}", proxy.address), REQUESTS);
    assert_counted(
        &proxy,
        "haldane_requests_total",
        &[("code", "200")],
        REQUESTS,
    );
    assert_counted(&proxy, "haldane_requests_total", &[], REQUESTS);
    let proxy = plain.tls(&certificate).start();
    load(
        &format!("https://localhost:{}", proxy.address.port()),
        REQUESTS,
    );
    assert_counted(
        &proxy,
        "haldane_requests_total",
        &[("code", "200")],
        REQUESTS,
    );
    assert_counted(&proxy, "haldane_requests_total", &[], REQUESTS);
}

#[test]
fn a_load_on_both_versions_is_split_as_the_weight_says() {
    const REQUESTS: usize = 4000;
    let stable = Nghttpd::start("h2-stable", &[]);
    let canary = Nghttpd::start("h2-canary", &[]);
    // Not the gates that are there by default: how long answers take is the machine's doing.
    let proxy = Between::stable(&stable.url())
        .canary(&canary.url(), "25%")
        .route("gate = [{ name = \"m\", metric = \"consecutive_failures\", rollback = 1 }]")
        .route("upstream_protocol = \"h2\"")
        .start();
    load(&format!("http://{}", proxy.address), REQUESTS);
    assert_counted(
        &proxy,
        "haldane_requests_total",
        &[("code", "200")],
        REQUESTS,
    );
    let canary = metric(&proxy, "haldane_requests_total", &[("role", "canary")]);
    // No request has a key, so each is split by chance. Seven standard deviations.
    let expected = REQUESTS as f64 * 0.25;
    let deviation = (expected * 0.75).sqrt();
    assert!((canary - expected).abs() < 7.0 * deviation, "{canary}");
    assert_eq!(proxy.status()["phase"], "idle");
}

#[test]
fn trailers_of_an_answer_arrive() {
    let server = Nghttpd::start("h2-trailers", &["--trailer=x-sum: 7"]);
    let proxy = Between::stable(&server.url())
        .route("upstream_protocol = \"h2\"")
        .start();
    let url = format!("http://{}", proxy.address);
    let out = succeed(&mut nghttp(&url));
    assert!(out.contains("from nghttpd"), "{out}");
    let (_, after_data) = out.split_once("from nghttpd").expect("a body");
    assert!(after_data.contains("x-sum: 7"), "{out}");
}

#[test]
fn node_has_its_answers_on_one_connection() {
    let server = Nghttpd::start("h2-node", &["--trailer=x-sum: 7"]);
    let proxy = Between::stable(&server.url())
        .route("upstream_protocol = \"h2\"")
        .start();
    let url = format!("http://{}", proxy.address);
    let node = report(tool("node", "nodejs").arg(node_client()).arg(url));
    assert_eq!(node["statuses"]["200"], 200, "{node}");
    assert_eq!(node["trailers"]["x-sum"], "7", "{node}");
    assert_counted(&proxy, "haldane_requests_total", &[("code", "200")], 200);
}

/// Sends a large body up and another down with curl, and compares what arrives.
#[track_caller]
fn transfer(between: &Between, server: &Server, certificate: &Certificate, http: &str) {
    let proxy = between.start();
    let directory = Directory::new(&format!("curl-{}", server.port));
    let sent = directory.path("sent");
    write_large(&sent);
    let curl = || {
        let mut command = tool("curl", "curl");
        command.args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "60",
            http,
        ]);
        command.args([
            "--cacert",
            &certificate.ca(),
            "--write-out",
            "%{stderr}%{http_version}",
        ]);
        command
    };
    let scheme = if between.tables.is_empty() {
        "http"
    } else {
        "https"
    };
    let url = |path: &str| format!("{scheme}://localhost:{}{path}", proxy.address.port());
    let version = if http == "--http1.1" { "1.1" } else { "2" };

    let received = directory.path("received");
    let ran = run(curl().args(["--output", &received, &url(&format!("/bytes/{LARGE}"))]));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), version), "{ran:?}");
    let expected = sum(&sent);
    assert_eq!(sum(&received), expected);

    let ran = run(curl().args(["--upload-file", &sent, "--request", "POST", &url("/digest")]));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), version), "{ran:?}");
    let found: Value = serde_json::from_str(&ran.out).expect("is JSON");
    assert_eq!(found["length"], LARGE, "{found}");
    assert_eq!(found["sha256"], expected, "{found}");
    assert_counted(&proxy, "haldane_requests_total", &[("code", "200")], 2);
    assert_counted(&proxy, "haldane_request_failures_total", &[], 0);
}

#[test]
fn large_bodies_arrive_whole_from_http2_to_http1() {
    let (server, certificate) = (web_server(), Certificate::new("curl-21"));
    let between = Between::stable(&server.url()).tls(&certificate);
    transfer(&between, &server, &certificate, "--http2");
}

#[test]
fn large_bodies_arrive_whole_from_http2_to_http2() {
    let (server, certificate) = (web_server(), Certificate::new("curl-22"));
    let between = Between::stable(&server.url()).route("upstream_protocol = \"h2\"");
    transfer(&between, &server, &certificate, "--http2-prior-knowledge");
}

#[test]
fn large_bodies_arrive_whole_from_http1_to_http2() {
    let (server, certificate) = (web_server(), Certificate::new("curl-12"));
    let between = Between::stable(&server.url()).route("upstream_protocol = \"h2\"");
    transfer(&between, &server, &certificate, "--http1.1");
}

#[test]
fn openssl_is_offered_what_is_spoken() {
    let (upstream, certificate) = (Upstream::named("stable"), Certificate::new("openssl"));
    let proxy = Between::stable(&upstream.url()).tls(&certificate).start();
    let hello = |flags: &[&str]| {
        run(tool("openssl", "openssl")
            .args(["s_client", "-connect", &proxy.address.to_string()])
            .args(["-servername", "localhost", "-verify_return_error"])
            .args(["-CAfile", &certificate.ca()])
            .args(flags))
    };
    for (flags, expected) in [
        (&["-alpn", "h2"][..], "ALPN protocol: h2"),
        (&["-alpn", "h2,http/1.1"], "ALPN protocol: h2"),
        (&["-alpn", "http/1.1"], "ALPN protocol: http/1.1"),
        (&["-alpn", "h2", "-tls1_2"], "ALPN protocol: h2"),
        (&[], "No ALPN negotiated"),
    ] {
        let ran = hello(flags);
        assert_eq!(ran.code, Some(0), "{flags:?}: {ran:?}");
        assert!(ran.out.contains(expected), "{flags:?}: {ran:?}");
        assert!(ran.out.contains("Verify return code: 0 (ok)"), "{ran:?}");
    }
    // Nothing in common, or nothing that is still safe.
    for flags in [
        &["-alpn", "spdy/3"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
    ] {
        let ran = hello(flags);
        assert_ne!(ran.code, Some(0), "{flags:?}: {ran:?}");
    }
}

fn web_server() -> Server {
    Server::start(&mut script("web_server.py"))
}

fn node_client() -> String {
    format!(
        "{}/tests/peers/scripts/h2_client.mjs",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// The bytes from 0 to 255, again and again, as the server of the download has them.
fn write_large(path: &str) {
    let block: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut file = File::create(path).expect("is writable");
    for _ in 0..LARGE / block.len() {
        file.write_all(&block).expect("has room");
    }
}

fn sum(path: &str) -> String {
    let out = succeed(tool("sha256sum", "coreutils").arg(path));
    out.split(' ').next().unwrap_or_default().to_owned()
}
