//! `haldane run` as a process: signals, drains, and how it ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::super::support::client::Client;
use super::super::support::eventually::eventually;
use super::super::support::upstream::Upstream;
use super::{ask, file, haldane, run};

/// `haldane run` as a process. Killed when this is dropped.
struct Process {
    child: Child,
    data: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    fn start(flags: &[&str]) -> Self {
        let mut command = haldane(&["run", "--listen", "127.0.0.1:0"]);
        let child = command
            .args(["--admin-listen", "127.0.0.1:0", "--workers", "1"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("starts");
        let stderr = child.stderr.take().expect("is piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let listening = lines
            .by_ref()
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .find(|line| line["message"] == "listening")
            .expect("says where it listens, as JSON without a terminal");
        // What it says later must not fill the pipe up.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |key: &str| -> SocketAddr {
            let text = listening[key].as_str().unwrap_or_default();
            text.parse().unwrap_or_else(|_| panic!("{listening}"))
        };
        Self {
            data: address("data"),
            admin: address("admin"),
            child,
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("can be waited for").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; that is what most tests are about.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn run_serves_until_it_is_told_to_stop_and_a_second_time_ends_it_at_once() {
    let stable = Upstream::named("stable");
    let url = stable.url();
    let mut process = Process::start(&["--stable", &url]);
    assert_eq!(Client::connect(process.data).get("/", &[]).status, 200);
    assert_eq!(ask(process.admin, &["status"]).code, 0);
    process.signal("TERM");
    // New connections are served while load balancers learn of it.
    eventually("readiness says no", || {
        Client::connect(process.admin).get("/readyz", &[]).status == 503
    });
    assert_eq!(Client::connect(process.data).get("/", &[]).status, 200);
    process.signal("TERM");
    assert_eq!(process.code(), Some(1));
}

#[test]
fn run_ends_with_0_after_a_drain() {
    let stable = Upstream::named("stable");
    let path = file(
        "drain.toml",
        &format!(
            "drain = {{ linger = \"0s\", timeout = \"5s\" }}\n[[route]]\nstable = \"{}\"\n",
            stable.url()
        ),
    );
    for signal in ["TERM", "INT"] {
        let mut process = Process::start(&["-c", path.to_str().expect("is text")]);
        process.signal(signal);
        assert_eq!(process.code(), Some(0), "{signal}");
    }
}

#[test]
fn the_kill_switch_rolls_every_route_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let (stable, canary) = (stable.url(), canary.url());
    let flags = ["--stable", &stable, "--canary", &canary, "--weight", "5%"];
    let process = Process::start(&flags);
    process.signal("USR1");
    let ran = ask(
        process.admin,
        &["status", "--wait", "rolled_back", "--timeout", "10s"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("SIGUSR1"), "{ran:?}");
}

#[test]
fn an_address_that_is_taken_is_an_error_of_the_run() {
    let stable = Upstream::named("stable");
    let taken = stable.address.to_string();
    let url = stable.url();
    let ran = run(&[
        "run",
        "--listen",
        &taken,
        "--stable",
        &url,
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains(&taken), "{ran:?}");
}

#[test]
fn a_hangup_reloads_the_file_and_flags_stay_over_it() {
    let (stable, other) = (Upstream::named("stable"), Upstream::named("other"));
    let text = |name: &str, url: &str| {
        format!("listen = \"127.0.0.1:1\"\n[[route]]\nname = \"{name}\"\nstable = \"{url}\"\n")
    };
    let path = file("hangup.toml", &text("one", "http://127.0.0.1:1"));
    let url = stable.url();
    let config = path.to_str().expect("is text");
    let mut process = Process::start(&["-c", config, "--stable", &url]);
    assert_eq!(Client::connect(process.data).get("/", &[]).text(), "stable");
    let names = |name: &str| ask(process.admin, &["status", name]).code == 0;
    for name in ["two", "three"] {
        // --listen, --workers and --stable win over what the file says, again.
        std::fs::write(&path, text(name, &other.url())).expect("writes");
        process.signal("HUP");
        eventually("the route has the new name", || names(name));
        assert_eq!(Client::connect(process.data).get("/", &[]).text(), "stable");
    }
    std::fs::write(&path, "nonsense").expect("writes");
    process.signal("HUP");
    assert_eq!(Client::connect(process.data).get("/", &[]).text(), "stable");
    process.signal("TERM");
    // Two that are pending at the same time are one.
    eventually("readiness says no", || {
        Client::connect(process.admin).get("/readyz", &[]).status == 503
    });
    process.signal("TERM");
    assert_eq!(process.code(), Some(1));
}

#[test]
fn a_hangup_without_a_file_changes_nothing() {
    let stable = Upstream::named("stable");
    let url = stable.url();
    let process = Process::start(&["--stable", &url]);
    for _ in 0..3 {
        process.signal("HUP");
        assert_eq!(Client::connect(process.data).get("/", &[]).text(), "stable");
    }
}
