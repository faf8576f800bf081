//! The next process takes over from a running one: nothing is refused, nothing is lost,
//! and what was rolled back stays so.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::support::client::{Client, request};
use crate::support::eventually::{PATIENCE, eventually, some};
use crate::support::service::Process;
use crate::support::tls::Directory;
use crate::support::upstream::{Behaviour, Upstream};
use crate::support::wire::Wire;

/// Processes that come one after another, on the same addresses.
struct Line {
    directory: Directory,
    upstreams: [Upstream; 2],
    linger: &'static str,
    /// More of the configuration.
    more: String,
    keeps_state: bool,
}

impl Line {
    fn new(name: &str) -> Self {
        Self {
            directory: Directory::new(&format!("handover-{name}")),
            upstreams: [Upstream::named("stable"), Upstream::named("canary")],
            linger: "3s",
            more: String::new(),
            keeps_state: false,
        }
    }

    fn config(&self, workers: usize, more: &str) -> PathBuf {
        let path = self.directory.0.join("haldane.toml");
        let [stable, canary] = self.upstreams.each_ref().map(Upstream::url);
        let state = if self.keeps_state {
            format!("state_dir = \"{}\"", self.directory.path("state"))
        } else {
            String::new()
        };
        let text = format!(
            "listen = \"127.0.0.1:0\"\nworkers = {workers}\nhand_over = \"{}\"\n\
             drain = {{ linger = \"{}\", timeout = \"8s\" }}\n\
             admin = {{ listen = \"unix:{}\" }}\n{state}\n{more}\n[[route]]\n\
             stable = \"{stable}\"\ncanary = {{ version = \"v2\", upstream = \"{canary}\" }}\n\
             weight = \"50%\"\nsticky = {{ key = \"header:x-user\" }}\n\
             [[route.gate]]\nname = \"meltdown\"\nmetric = \"consecutive_failures\"\n\
             rollback = 5\n",
            self.directory.path("next.sock"),
            self.linger,
            self.directory.path("admin.sock"),
        );
        fs::write(&path, text).expect("writes");
        path
    }

    fn start(&self, workers: usize) -> Process {
        Process::start(Process::command(), &self.config(workers, &self.more))
    }

    /// A process that takes over, once it has.
    fn take_over(&self, before: &Process, workers: usize) -> Process {
        let next = self.start(workers);
        let taken = next.said("taking over");
        assert_eq!(taken["process"], before.id());
        next.said("listening");
        before.said("the next process has taken over, draining");
        next
    }

    /// Asks whoever listens on the admin socket.
    fn ask(&self, args: &[&str]) -> Value {
        let admin = format!("unix:{}", self.directory.path("admin.sock"));
        let output = Process::command()
            .args(args)
            .args(["-o", "json", "--admin", &admin])
            .output()
            .expect("runs");
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("is JSON")
    }

    fn route(&self) -> Value {
        self.ask(&["status"])["routes"][0].clone()
    }
}

/// Requests without a pause: on connections that are kept, and on one for each.
struct Load {
    going: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let going = Arc::new(AtomicBool::new(true));
        let answered = Arc::<AtomicUsize>::default();
        let clients = (0..8)
            .map(|name| {
                let (going, answered) = (Arc::clone(&going), Arc::clone(&answered));
                std::thread::spawn(move || work(address, name, &going, &answered))
            })
            .collect();
        Self {
            going,
            answered,
            clients,
        }
    }

    /// Waits until this many more were answered.
    fn more(&self, requests: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("the load goes on", || {
            self.answered.load(Ordering::Relaxed) > before + requests
        });
    }

    /// Ends the load, of which nothing may have failed.
    fn finish(self) -> usize {
        self.going.store(false, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("nothing was refused or lost");
        }
        self.answered.load(Ordering::Relaxed)
    }
}

fn work(address: SocketAddr, name: usize, going: &AtomicBool, answered: &AtomicUsize) {
    let keeps = name.is_multiple_of(2);
    let mut count = 0;
    while going.load(Ordering::Relaxed) {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("nobody is refused");
        let mut client = Client {
            wire: Wire::new(stream),
        };
        loop {
            count += 1;
            let user = format!("{name}-{count}");
            client.send(request("GET", "/", &[("x-user", &user)], ""));
            let answer = client
                .try_answer_to("GET")
                .expect("every request is answered");
            assert_eq!((answer.status, &answer.end), (200, &Ok(())));
            answered.fetch_add(1, Ordering::Relaxed);
            let closes = answer.head.one("connection").as_deref() == Some("close");
            if !keeps || closes || !going.load(Ordering::Relaxed) {
                break;
            }
        }
    }
}

#[test]
fn several_in_a_row_under_load_lose_nothing() {
    let line = Line::new("load");
    let mut running = line.start(2);
    let (address, _) = running.addresses();
    let load = Load::start(address);
    load.more(500);
    // More workers than sockets, and fewer.
    for workers in [4, 1, 3, 2] {
        let next = line.take_over(&running, workers);
        assert_eq!(next.addresses().0, address, "{workers} workers");
        load.more(500);
        assert_eq!(running.code(), Some(0), "{}", running.log());
        load.more(500);
        running = next;
    }
    assert!(load.finish() > 4_500);
    assert_eq!(line.route()["route"], "default");
    running.signal("TERM");
    assert_eq!(running.code(), Some(0));
    assert!(!line.directory.0.join("admin.sock").exists());
    assert!(!line.directory.0.join("next.sock").exists());
}

#[test]
fn one_that_cannot_start_changes_nothing() {
    let line = Line::new("fails");
    let mut running = line.start(2);
    let (address, _) = running.addresses();
    let load = Load::start(address);
    load.more(100);
    let taken = &line.upstreams[0].address;
    for more in [
        // Cannot be bound, cannot be read.
        format!("[ops]\nlisten = \"{taken}\""),
        "banana = 1".to_owned(),
    ] {
        let mut next = Process::start(Process::command(), &line.config(2, &more));
        assert!(matches!(next.code(), Some(1 | 78)), "{}", next.log());
        load.more(200);
        assert_eq!(line.route()["weight"], "50%");
    }
    // One that asks, gets everything and dies.
    let path = line.directory.path("next.sock");
    drop(std::os::unix::net::UnixStream::connect(path).expect("is listened at"));
    running.said("the next process did not get ready: going on");
    load.more(200);
    // And then one that can.
    let next = line.take_over(&running, 2);
    assert_eq!(running.code(), Some(0));
    load.more(200);
    load.finish();
    drop(next);
}

#[test]
fn releases_go_on_where_they_stood() {
    let line = Line::new("state");
    let running = line.start(2);
    let (address, _) = running.addresses();
    line.ask(&["weight", "30%"]);
    let versions = || -> Vec<String> {
        let ask = |user: usize| {
            let mut client = Client::connect(address);
            client.get("/", &[("x-user", &user.to_string())]).text()
        };
        (0..100).map(ask).collect()
    };
    let before = versions();
    assert!(before.contains(&"canary".to_owned()) && before.contains(&"stable".to_owned()));
    let next = line.take_over(&running, 2);
    assert_eq!(line.route()["weight"], "30%");
    assert_eq!(versions(), before, "everybody stays on their version");

    line.ask(&["rollback"]);
    let third = line.take_over(&next, 2);
    let route = line.route();
    assert_eq!(
        (&route["phase"], &route["weight"]),
        (&"rolled_back".into(), &"0%".into())
    );
    assert!(versions().iter().all(|version| version == "stable"));
    line.ask(&["retry"]);
    drop(line.take_over(&third, 2));
}

#[test]
fn what_was_seen_of_a_canary_goes_on() {
    let line = Line::new("seen");
    let running = line.start(1);
    let (address, _) = running.addresses();
    line.ask(&["weight", "100%"]);
    line.upstreams[1].behave(Behaviour::Status(500));
    let fail = || Client::connect(address).get("/", &[("x-user", "a")]);
    for _ in 0..3 {
        fail();
    }
    let next = line.take_over(&running, 1);
    assert_eq!(line.route()["gates"][0]["value"], 3.0);
    for _ in 0..2 {
        assert_eq!(line.route()["phase"], "idle");
        fail();
    }
    // The fifth in a row, of which this process has seen two.
    assert_eq!(line.route()["phase"], "rolled_back");
    drop(next);
}

#[test]
fn events_of_both_processes_are_kept_in_order() {
    let mut line = Line::new("events");
    line.keeps_state = true;
    let running = line.start(1);
    running.addresses();
    line.ask(&["weight", "30%"]);
    let next = line.take_over(&running, 1);
    line.ask(&["weight", "40%"]);
    let file = line.directory.path("state/events.jsonl");
    // As soon as the process before has let go of the directory.
    some("both", || {
        let text = fs::read_to_string(&file).ok()?;
        let events = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("is JSON"));
        let events: Vec<Value> = events.collect();
        let told = |event: &Value| (event["seq"].clone(), event["to"].clone());
        let told: Vec<(Value, Value)> = events.iter().map(told).collect();
        (told == [(1.into(), "30%".into()), (2.into(), "40%".into())]).then_some(())
    });
    drop(next);
}

#[test]
fn a_rollback_reaches_the_process_that_drains() {
    let mut line = Line::new("both");
    // The old process is there for as long as the test needs it, on any machine.
    line.linger = "60s";
    let told = Upstream::named("told");
    line.more = format!(
        "[[notify]]\nurl = \"{}\"\nevents = [\"rolled_back\", \"started\"]",
        told.url()
    );
    let running = line.start(1);
    let (address, _) = running.addresses();
    line.ask(&["weight", "100%"]);
    // A connection of the old process, which is told to leave with its next answer only.
    let mut kept = Client::connect(address);
    assert_eq!(kept.get("/", &[("x-user", "a")]).text(), "canary");
    let next = line.take_over(&running, 1);
    line.upstreams[1].behave(Behaviour::Status(500));
    // The gate of the new process acts on what it sees.
    some("a rollback", || {
        Client::connect(address).get("/", &[("x-user", "b")]);
        (line.route()["phase"] == "rolled_back").then_some(())
    });
    running.said("rolled back");
    let answer = kept.get("/", &[("x-user", "a")]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "stable"));
    // Both processes know, and one tells.
    line.ask(&["retry"]);
    eventually("both events are told", || told.log.len() >= 2);
    let events = told.log.arrivals().into_iter().map(|arrival| {
        let told: Value = serde_json::from_slice(&arrival.body.bytes).expect("is JSON");
        told["event"].as_str().expect("a word").to_owned()
    });
    assert_eq!(events.collect::<Vec<_>>(), ["rolled_back", "started"]);
    drop(next);
}

#[test]
fn rollouts_that_are_not_frozen_any_more_stay_so_whatever_the_process_that_drains_says() {
    let mut line = Line::new("thaw");
    line.linger = "60s";
    let running = line.start(1);
    let (address, _) = running.addresses();
    line.ask(&["weight", "100%"]);
    line.ask(&["freeze"]);
    // Connections of the old process, each for one more request.
    let mut kept: Vec<Client> = (0..5)
        .map(|_| {
            let mut client = Client::connect(address);
            assert_eq!(client.get("/", &[("x-user", "a")]).text(), "canary");
            client
        })
        .collect();
    let next = line.take_over(&running, 1);
    assert!(line.ask(&["status"])["frozen"].is_object());
    assert_eq!(line.ask(&["unfreeze"])["frozen"], Value::Null);
    // A gate of the old process acts, and it tells where everything stands.
    line.upstreams[1].behave(Behaviour::Status(500));
    for client in &mut kept {
        client.get("/", &[("x-user", "a")]);
    }
    some("a rollback", || {
        (line.route()["phase"] == "rolled_back").then_some(())
    });
    // What was told has arrived: the rollback came with it.
    assert_eq!(line.ask(&["status"])["frozen"], Value::Null);
    drop(next);
}

#[test]
fn nobody_else_may_ask_for_the_sockets() {
    use std::os::unix::fs::PermissionsExt as _;
    let line = Line::new("mode");
    let running = line.start(1);
    running.addresses();
    let metadata = fs::metadata(line.directory.path("next.sock")).expect("is there");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    let nonsense = Command::new("socat")
        .args([
            "-T2",
            "-",
            &format!("UNIX-CONNECT:{}", line.directory.path("next.sock")),
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn();
    let mut nonsense = nonsense.expect("socat is installed");
    let mut input = nonsense.stdin.take().expect("is piped");
    std::io::Write::write_all(&mut input, &[0xff; 64]).expect("writes");
    drop(input);
    running.said("the next process did not get ready: going on");
    nonsense.wait().expect("ends");
    assert_eq!(line.route()["weight"], "50%");
}
