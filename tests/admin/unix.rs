//! The admin and ops listeners as Unix sockets: whoever may open the file is let in.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use haldane::live::events::Happening;
use serde_json::Value;

use crate::support::eventually::{PATIENCE, eventually};
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::upstream::Upstream;

/// A haldane with a canary whose admin listener is at `path`, and its upstreams.
fn at(path: &Path) -> (Proxy, [Upstream; 2]) {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let text = Setup::canary(&upstreams[0], &upstreams[1], "50%").text();
    let text = text.replace(
        "admin = { listen = \"127.0.0.1:0\" }",
        &format!("admin = {{ listen = \"unix:{}\" }}", path.display()),
    );
    (Proxy::start(&text), upstreams)
}

/// What answers to exactly these bytes.
fn exchange(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("sets it");
    stream.write_all(request.as_bytes()).expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("reads");
    answer
}

fn status(path: &Path, fields: &str) -> String {
    let request = format!("GET /v1/routes HTTP/1.1\r\nconnection: close\r\n{fields}\r\n");
    let answer = exchange(path, &request);
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn only_its_owner_may_open_it_and_it_is_removed_at_the_end() {
    let directory = Directory::new("admin-mode");
    let path = directory.0.join("admin.sock");
    // What a dead process left behind is in nobody's way.
    drop(UnixListener::bind(&path).expect("binds"));
    let (proxy, _upstreams) = at(&path);
    let mode = std::fs::metadata(&path).expect("is there").permissions();
    assert_eq!(mode.mode() & 0o7777, 0o600);
    assert_eq!(status(&path, "host: localhost\r\n"), "200");
    drop(proxy);
    assert!(!path.exists());
}

#[test]
fn any_host_is_good_and_no_page_of_another_site() {
    let directory = Directory::new("admin-host");
    let path = directory.0.join("admin.sock");
    let (_proxy, _upstreams) = at(&path);
    for (fields, expected) in [
        ("host: localhost\r\n", "200"),
        ("host: whatever.example\r\n", "200"),
        ("", "400"),
        ("host: localhost\r\norigin: http://evil.example\r\n", "403"),
        (
            "host: evil.example\r\norigin: http://evil.example\r\n",
            "403",
        ),
        (
            "host: localhost:7411\r\norigin: http://localhost:7411\r\n",
            "200",
        ),
    ] {
        assert_eq!(status(&path, fields), expected, "{fields:?}");
    }
}

#[test]
fn curl_and_every_verb_reach_it() {
    let directory = Directory::new("admin-verbs");
    let path = directory.0.join("admin.sock");
    let (proxy, _upstreams) = at(&path);
    let curl = Command::new("curl")
        .args(["--silent", "--fail", "--max-time", "10", "--unix-socket"])
        .arg(&path)
        .args(["--json", "{\"reason\": \"from curl\"}"])
        .arg("http://localhost/v1/routes/default/rollback")
        .output()
        .expect("curl runs");
    assert!(curl.status.success(), "{curl:?}");
    let answer: Value = serde_json::from_slice(&curl.stdout).expect("is JSON");
    assert_eq!(answer["changed"], true);

    let url = format!("unix:{}", path.display());
    for args in [
        &["retry"][..],
        &["weight", "10%"],
        &["status"],
        &["explain", "192.0.2.1"],
        &["rollback", "--all"],
    ] {
        for by_flag in [true, false] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_haldane"));
            command.args(args).env_clear();
            if by_flag {
                command.args(["--admin", &url]);
            } else {
                command.env("HALDANE_ADMIN", &url);
            }
            let output = command.output().expect("runs");
            assert!(output.status.success(), "{args:?}: {output:?}");
        }
    }
    let releases = || {
        let events = proxy.live.events.since(0).into_iter();
        let releases = events.filter(|event| matches!(event.what, Happening::Release(_)));
        releases.count()
    };
    eventually("the events are there", || releases() == 4);
    let gone = format!("unix:{}", directory.0.join("other.sock").display());
    let output = Command::new(env!("CARGO_BIN_EXE_haldane"))
        .args(["status", "--admin", &gone])
        .output();
    assert_eq!(output.expect("runs").status.code(), Some(15));
}

#[test]
fn ops_can_be_a_socket_too_and_still_changes_nothing() {
    let directory = Directory::new("admin-ops");
    let path = directory.0.join("ops.sock");
    let stable = Upstream::named("stable");
    let ops = format!("[ops]\nlisten = \"unix:{}\"", path.display());
    let _proxy = Setup::stable(&stable).table(&ops).start();
    let get = |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        exchange(&path, &request)
    };
    assert!(get("/readyz").starts_with("HTTP/1.1 200 "));
    assert!(get("/v1/routes").starts_with("HTTP/1.1 404 "));
}
