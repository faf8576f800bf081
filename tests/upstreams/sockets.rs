//! Upstreams at Unix sockets.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{address, stable};
use crate::support::eventually::eventually;
use crate::support::tls::Directory;
use crate::support::upstream::Upstream;

/// What came in: the requests, and on how many connections.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

/// Answers every request at a Unix socket with its body.
fn echo(path: &Path) -> Arc<Seen> {
    let listener = UnixListener::bind(path).expect("binds");
    let seen = Arc::<Seen>::default();
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            kept.connections.fetch_add(1, Ordering::Relaxed);
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || serve(stream, &kept));
        }
    });
    seen
}

fn serve(mut stream: UnixStream, seen: &Seen) {
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        input.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&input).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        seen.requests.lock().unwrap().push(text.clone());
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        input.clear();
    }
}

#[test]
fn a_socket_is_an_upstream_like_any_other() {
    let directory = Directory::new("socket-like");
    let path = directory.0.join("app.sock");
    let seen = echo(&path);
    let url = format!("unix:{}", path.display());
    let proxy = stable(std::slice::from_ref(&url), "");
    let mut client = proxy.client();
    let large = "x".repeat(200_000);
    for body in ["", "hello", &large, "again"] {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let answer = client.request(method, "/a?b", &[], body);
        assert_eq!((answer.status, answer.text().as_str()), (200, body));
    }
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1, "it is kept");
    let requests = seen.requests.lock().unwrap();
    assert_eq!(requests.len(), 4);
    assert!(requests[0].starts_with("GET /a?b HTTP/1.1\r\n"));
    // Which host is meant is for the client to say.
    assert!(
        requests[0]
            .to_ascii_lowercase()
            .contains("\r\nhost: test\r\n")
    );
    assert_eq!(address(&proxy, "stable", &url)["healthy"], true);
}

#[test]
fn a_socket_that_is_not_there_yet_is_one_that_refuses() {
    let directory = Directory::new("socket-late");
    let path = directory.0.join("late.sock");
    let url = format!("unix:{}", path.display());
    let proxy = stable(std::slice::from_ref(&url), "");
    let answer = proxy.get("/", &[]);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (502, "upstream_connect")
    );
    eventually("it is given up", || proxy.get("/", &[]).status == 503);
    let _seen = echo(&path);
    eventually("it is back", || proxy.get("/", &[]).status == 200);
}

#[test]
fn sockets_and_ports_share_the_requests_of_a_version() {
    let directory = Directory::new("socket-mixed");
    let path = directory.0.join("app.sock");
    let seen = echo(&path);
    let port = Upstream::named("port");
    let proxy = stable(&[format!("unix:{}", path.display()), port.url()], "");
    let mut client = proxy.client();
    for _ in 0..60 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    let at_socket = seen.requests.lock().unwrap().len();
    assert_eq!(at_socket + port.log.len(), 60);
    assert!(at_socket > 5 && port.log.len() > 5, "{at_socket}");
}
