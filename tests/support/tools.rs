//! Programs that are not ours: found or installed, bounded in time, ended with their handle.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use super::eventually::now;

/// No program runs for longer than this, whatever happens to the test. In seconds.
const LIMIT_S: &str = "120";

/// How long a program may take to say something: a browser starts slowly where others build.
const PATIENT: Duration = Duration::from_secs(60);

/// Where Debian has programs that a user's `PATH` need not name.
const MORE_PLACES: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

/// What a program printed, and what it ended with.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A program that serves. It is ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    /// Where it listens, if it has said so.
    pub(crate) port: u16,
}

/// A program of this name, which this package of Debian has.
#[track_caller]
pub(crate) fn tool(name: &str, package: &str) -> Command {
    bounded(installed(name, package))
}

/// Where the program of this name is, which this package of Debian has.
///
/// # Panics
///
/// If it is not installed: a behaviour that was not tried is not known to hold.
#[track_caller]
pub(crate) fn installed(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(MORE_PLACES.map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    match found {
        Some(file) => file,
        None => panic!("{name} is not installed: apt-get install {package}, or run .ci/run"),
    }
}

/// One of the scripts in `tests/peers/scripts`, with the libraries that it needs.
///
/// # Panics
///
/// If these cannot be installed.
#[track_caller]
pub(crate) fn script(name: &str) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/scripts");
    let requirements = scripts.join("requirements.txt");
    let mut venv = bounded(scripts.with_file_name("venv"));
    let made = run(venv.arg("venv").arg(requirements));
    assert_eq!(
        made.code,
        Some(0),
        "no Python environment (apt-get install python3-venv, or run .ci/run):\n{}",
        made.err
    );
    let mut command = bounded(Path::new(made.out.trim()).join("bin/python"));
    command.arg(scripts.join(name));
    command
}

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Ran {
        code: status.code(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs a program that must end with 0, and returns what it printed.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let ran = run(command);
    assert_eq!(
        ran.code,
        Some(0),
        "{command:?}\n{}{}",
        shortened(&ran.out),
        shortened(&ran.err)
    );
    ran.out
}

/// Runs a script that must end with 0, and returns the JSON that it printed last.
#[track_caller]
pub(crate) fn report(command: &mut Command) -> Value {
    let out = succeed(command);
    let last = out.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{command:?} printed {out}"))
}

impl Server {
    /// Starts a program that says where it listens: `{"port": N}` in a line of its own.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut server = Self::spawn(command);
        let told = server.told("port");
        server.port = told["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or_else(|| panic!("{told}"));
        server
    }

    /// Starts a program whose lines are of interest. The end of its standard input
    /// tells it to end.
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = BufReader::new(child.stdout.take().expect("is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let all = out.lines().map_while(Result::ok);
            // Nobody listens any more once the test is over.
            all.for_each(|line| drop(sender.send(line)));
        });
        Self {
            child,
            lines,
            port: 0,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The next line of JSON that has this key. What comes before it is lost.
    #[track_caller]
    pub(crate) fn told(&self, key: &str) -> Value {
        self.find(key, PATIENT)
            .unwrap_or_else(|| panic!("never said: {key}"))
    }

    /// Whether it has said, or says within this time, a line of JSON with this key.
    pub(crate) fn tells(&self, key: &str, within: Duration) -> bool {
        self.find(key, within).is_some()
    }

    /// The next line of JSON with this event.
    #[track_caller]
    pub(crate) fn event(&self, name: &str) -> Value {
        loop {
            let told = self.told("event");
            if told["event"] == name {
                return told;
            }
        }
    }

    /// Says a line of JSON to it, and returns the one that it answers.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &Value) -> Value {
        let mut input = self.child.stdin.as_ref().expect("is piped");
        writeln!(input, "{line}").expect("it listens");
        let answer = self.lines.recv_timeout(PATIENT);
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {line}"));
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{line}: {answer}"))
    }

    /// Tells it to end, and returns the JSON that it prints last.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Value {
        drop(self.child.stdin.take());
        self.end()
    }

    /// The JSON that it prints last, once it has ended by itself, which must be with 0.
    #[track_caller]
    pub(crate) fn end(mut self) -> Value {
        let mut last = Value::Null;
        loop {
            match self.lines.recv_timeout(PATIENT) {
                Ok(line) => last = serde_json::from_str(&line).unwrap_or(last),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("did not end; said last: {last}"),
            }
        }
        let status = self.child.wait().expect("can be waited for");
        assert!(status.success(), "{status}, said last: {last}");
        last
    }

    fn find(&self, key: &str, within: Duration) -> Option<Value> {
        let deadline = now() + within;
        loop {
            let left = deadline.saturating_duration_since(now());
            let line = self.lines.recv_timeout(left).ok()?;
            let told = serde_json::from_str::<Value>(&line).unwrap_or_default();
            if told.get(key).is_some() {
                return Some(told);
            }
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        // The whole group, which `timeout` leads.
        signal("KILL", &format!("-{}", self.child.id()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `timeout` passes it on to the program and what that has started.
        signal("TERM", &self.child.id().to_string());
        // It may have ended before.
        self.child.wait().ok();
    }
}

/// The program under `timeout`: it ends even if the test is killed.
fn bounded(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIMIT_S]).arg(program);
    command
}

fn signal(name: &str, to: &str) {
    // It may have ended before.
    Command::new("kill")
        .args([&format!("-{name}"), "--", to])
        .stderr(Stdio::null())
        .status()
        .ok();
}

fn shortened(text: &str) -> &str {
    const SHOWN_MAX: usize = 4000;
    let start = text.len().saturating_sub(SHOWN_MAX);
    text.get(text.ceil_char_boundary(start)..)
        .unwrap_or_default()
}
