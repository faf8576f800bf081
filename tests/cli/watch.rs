//! What `haldane watch` shows while something happens, on a terminal and in a pipe.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::super::support::eventually::{eventually, some};
use super::super::support::proxy::{Proxy, Setup};
use super::super::support::tls::Directory;
use super::super::support::tools::installed;
use super::super::support::upstream::Upstream;
use super::{ask, haldane, half};

/// `haldane watch` with its output in a pipe. Killed when this is dropped.
struct Watching {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watching {
    fn start(proxy: &Proxy, args: &[&str]) -> Self {
        let mut child = haldane(&[&["watch"], args].concat())
            .env("HALDANE_ADMIN", format!("http://{}", proxy.admin_address))
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let out = BufReader::new(child.stdout.take().expect("is piped"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                kept.lock().expect("is sound").push(line);
            }
        });
        Self { child, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("is sound").clone()
    }

    #[track_caller]
    fn says(&self, part: &str) {
        eventually(part, || self.lines().iter().any(|line| line.contains(part)));
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("can be waited for").code()
    }

    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn signal(name: &str, process: u32) {
    let mut kill = Command::new("kill");
    let status = kill
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

#[test]
fn a_pipe_gets_a_line_for_each_event_and_for_each_change() {
    let (proxy, _upstreams) = half();
    let mut watching = Watching::start(&proxy, &[]);
    watching.says("status     default: idle, v2 has 50%");
    proxy.set_weight("20%");
    watching.says("info       default: v2 goes from 50% to 20% (somebody)");
    watching.says("status     default: idle, v2 has 20%");
    proxy.admin(
        "POST",
        "/v1/routes/default/rollback",
        &serde_json::json!({"actor": "ann", "reason": "odd \u{202e} faces"}),
    );
    watching
        .says("warning    default: v2 was rolled back from 20% to v1 (ann: odd \u{fffd} faces)");
    watching.says("status     default: rolled back, v2 gets nothing");
    watching.says("default: rollback verified");
    let lines = watching.lines();
    for line in &lines {
        let date = line.split(' ').next().unwrap_or_default();
        assert!(date.len() == 24 && date.ends_with('Z'), "{line}");
        assert!(!line.contains('\u{202e}'), "{line:?}");
    }
    watching.signal("INT");
    assert_eq!(watching.code(), Some(0));
}

#[test]
fn programs_get_the_objects_of_the_api() {
    let (proxy, _upstreams) = half();
    let mut watching = Watching::start(&proxy, &["default", "-o", "json"]);
    watching.says("\"routes\"");
    proxy.roll_back();
    watching.says("\"kind\":\"rolled_back\"");
    watching.signal("TERM");
    assert_eq!(watching.code(), Some(0));
    for line in watching.lines() {
        let object: Value = serde_json::from_str(&line).expect("is JSON");
        let is_status = object["schema"] == "haldane.status/1";
        assert!(is_status || object["seq"].is_u64(), "{line}");
    }
}

#[test]
fn it_ends_by_itself_with_what_was_waited_for() {
    let (proxy, _upstreams) = half();
    let watch = |args: &[&str]| ask(proxy.admin_address, &[&["watch"], args].concat()).code;
    assert_eq!(watch(&["--until", "idle"]), 0);
    assert_eq!(watch(&["nope"]), 2);
    assert_eq!(watch(&["nope", "--until", "complete"]), 2);
    let mut watching = Watching::start(&proxy, &["--until", "complete"]);
    watching.says("status");
    proxy.roll_back();
    assert_eq!(watching.code(), Some(10));
    assert_eq!(watch(&["--until", "rolled_back"]), 0);
    let nobody = Upstream::refusing();
    assert_eq!(ask(nobody.address, &["watch"]).code, 15);
}

#[test]
fn it_comes_back_to_a_haldane_that_was_restarted() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let setup = Setup::canary(&stable, &canary, "50%");
    let proxy = setup.start();
    let admin = proxy.admin_address.to_string();
    proxy.set_weight("20%");
    proxy.set_weight("30%");
    let mut watching = Watching::start(&proxy, &[]);
    watching.says("v2 has 30%");
    drop(proxy);
    watching.says("connection lost, and tried again every second: ");
    let again = setup.with(
        "admin = { listen = \"127.0.0.1:0\" }",
        &format!("admin = {{ listen = \"{admin}\" }}"),
    );
    let proxy = again.start();
    watching.says("connection it is there again");
    watching.says("v2 has 50%");
    // Without a directory for state it counts events from one, and has said more before.
    proxy.set_weight("7%");
    watching.says("v2 goes from 50% to 7%");
    watching.signal("TERM");
    assert_eq!(watching.code(), Some(0));
}

#[test]
fn it_ends_quietly_when_nobody_reads_any_more() {
    let (proxy, _upstreams) = half();
    let (reader, writer) = std::io::pipe().expect("opens a pipe");
    let mut command = haldane(&["watch"]);
    let child = command
        .env("HALDANE_ADMIN", format!("http://{}", proxy.admin_address))
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).expect("says how things are");
    drop(reader);
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A terminal of tmux. It is ended when this is dropped.
struct Terminal {
    socket: Directory,
}

impl Terminal {
    /// Runs `haldane watch` in a terminal, between two words of a shell.
    fn watch(name: &str, proxy: &Proxy, environment: &str) -> Self {
        let terminal = Self {
            socket: Directory::new(&format!("watch-{name}")),
        };
        let script = format!(
            "echo before; {environment} HALDANE_ADMIN=http://{} {} watch; \
             echo \"ended with $?\"; stty -a | grep -o -E -- '-?icanon'; exec cat",
            proxy.admin_address,
            env!("CARGO_BIN_EXE_haldane"),
        );
        let size = ["-x", "100", "-y", "30"];
        terminal.tmux(&[&["new-session", "-d"], &size[..], &["sh", "-c", &script]].concat());
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new(installed("tmux", "tmux"))
            .args(["-u", "-f", "/dev/null", "-S", &self.socket.path("tmux")])
            .args(args)
            .env_remove("TMUX")
            .env_remove("NO_COLOR")
            .output()
            .expect("tmux runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    fn shows(&self, part: &str) {
        let mut seen = String::new();
        some(part, || {
            seen = self.screen();
            seen.contains(part).then_some(())
        });
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// The terminal is as it was, and the view has ended with this.
    #[track_caller]
    fn is_given_back(&self, code: i32) {
        self.shows(&format!("ended with {code}\nicanon\n"));
        let screen = self.screen();
        assert!(screen.starts_with("before\n"), "{screen}");
        assert!(!screen.contains("legal now"), "{screen}");
        assert_eq!(self.tmux(&["display", "-p", "#{alternate_on}"]).trim(), "0");
        assert_eq!(self.tmux(&["display", "-p", "#{cursor_flag}"]).trim(), "1");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn a_screen_shows_the_rollback_that_happens_and_gives_the_terminal_back() {
    let (proxy, _upstreams) = half();
    let terminal = Terminal::watch("rollback", &proxy, "");
    terminal.shows("default: idle, v2 has 50%");
    terminal.shows("q quit");
    proxy.roll_back();
    terminal.shows("default: rolled back, v2 gets nothing");
    terminal.shows("v2 was rolled back from 50% to v1");
    terminal.press("q");
    terminal.is_given_back(0);
}

#[test]
fn keys_roll_back_only_after_another_one() {
    let (proxy, _upstreams) = half();
    let terminal = Terminal::watch("keys", &proxy, "");
    terminal.shows("r roll back");
    terminal.press("r");
    terminal.shows("roll back default? y: yes, any other key: no");
    terminal.press("n");
    terminal.shows("q quit");
    assert_eq!(proxy.status()["phase"], "idle");
    terminal.press("r");
    terminal.shows("roll back default?");
    terminal.press("y");
    terminal.shows("rollback default: done");
    assert_eq!(proxy.status()["phase"], "rolled_back");
    terminal.press("C-c");
    terminal.is_given_back(0);
}

#[test]
fn a_screen_may_become_small_and_lose_its_haldane_and_is_given_back_on_a_signal() {
    let (proxy, _upstreams) = half();
    let terminal = Terminal::watch("small", &proxy, "NO_COLOR=1");
    terminal.shows("default: idle, v2 has 50%");
    for (width, height, part) in [("20", "5", "default: idle, v2"), ("100", "30", "q quit")] {
        terminal.tmux(&["resize-window", "-x", width, "-y", height]);
        terminal.shows(part);
    }
    let escapes = terminal.tmux(&["capture-pane", "-p", "-e"]);
    for color in ["31m", "32m", "33m"] {
        assert!(!escapes.contains(color), "{escapes:?}");
    }
    drop(proxy);
    terminal.shows("no connection for ");
    let shell = terminal.tmux(&["display", "-p", "#{pane_pid}"]);
    let shell = shell.trim();
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
    let child = children.expect("the shell lives");
    signal("TERM", child.trim().parse().expect("one child"));
    terminal.is_given_back(0);
}
