//! haldane as a process that can be killed at any instant, and started again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Client, Response, admin_request};
use crate::support::eventually::PATIENCE;
use crate::support::wire::Broken;

/// A directory of one test, with nothing in it.
pub(super) fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("restart-{name}"));
    // What an earlier run has left.
    std::fs::remove_dir_all(&path).ok();
    std::fs::create_dir_all(&path).expect("makes a directory");
    path
}

/// A running haldane. Killed when this is dropped.
pub(super) struct Process {
    child: Child,
    pub(super) data: SocketAddr,
    pub(super) admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

/// A haldane that may not listen yet.
pub(super) fn spawn(config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_haldane"))
        .args(["run", "-c"])
        .arg(config)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts")
}

/// Ends a process as `kill -9` does.
pub(super) fn kill(mut child: Child) {
    child.kill().expect("is killed");
    child.wait().expect("is waited for");
}

impl Process {
    /// Writes this configuration beside the state, and starts haldane with it.
    pub(super) fn start(directory: &Path, routes: &str) -> Self {
        let config = configure(directory, routes);
        Self::of(spawn(&config))
    }

    /// Waits until it says where it listens.
    pub(super) fn of(mut child: Child) -> Self {
        let stderr = child.stderr.take().expect("is piped");
        let (said, listening) = mpsc::channel();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&log);
        // Reads to the end, so that the pipe does not fill up.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
                let message = line["message"].as_str().unwrap_or_default().to_owned();
                written.lock().expect("is whole").push(message);
                if line["message"] == "listening" {
                    // Whoever asked may have given up.
                    said.send(line).ok();
                }
            }
        });
        let Ok(listening) = listening.recv_timeout(PATIENCE) else {
            kill(child);
            panic!("haldane does not listen");
        };
        let address = |key: &str| -> SocketAddr {
            let text = listening[key].as_str().unwrap_or_default();
            text.parse().unwrap_or_else(|_| panic!("{listening}"))
        };
        Self {
            data: address("data"),
            admin: address("admin"),
            log,
            child,
        }
    }

    /// Whether this was logged.
    pub(super) fn has_said(&self, message: &str) -> bool {
        let log = self.log.lock().expect("is whole");
        log.iter().any(|line| line == message)
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(mut self) {
        self.child.kill().expect("is killed");
        self.child.wait().expect("is waited for");
    }

    /// Tells it to end, and waits for that.
    pub(super) fn stop(mut self) {
        let status = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(status.expect("kill runs").success());
        assert_eq!(self.child.wait().expect("ends").code(), Some(0));
    }

    pub(super) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut client = Client::connect(self.admin);
        let answer = command(&mut client, self.admin, (method, path), body).expect("answers");
        let value = serde_json::from_slice(&answer.body.bytes).unwrap_or(Value::Null);
        (answer.status, value)
    }

    pub(super) fn status(&self) -> Value {
        self.ask("GET", "/v1/routes/default", &Value::Null).1
    }

    /// Gives a command to the route, which must be legal. Its reply.
    pub(super) fn tell(&self, method: &str, verb: &str, body: &Value) -> Value {
        let path = format!("/v1/routes/default/{verb}");
        let (status, reply) = self.ask(method, &path, body);
        assert_eq!(status, 200, "{verb}: {reply}");
        reply
    }

    pub(super) fn set_weight(&self, weight: &str) -> Value {
        self.tell("PUT", "weight", &json!({ "weight": weight }))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, which is what most tests are about.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A configuration that keeps state in this directory.
pub(super) fn configure(directory: &Path, routes: &str) -> PathBuf {
    let path = directory.join("haldane.toml");
    let state = directory.join("state");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\nstate_dir = {state:?}\n\
         drain = {{ linger = \"0s\", timeout = \"1s\" }}\n\
         admin = {{ listen = \"127.0.0.1:0\" }}\n{routes}"
    );
    std::fs::write(&path, text).expect("writes");
    path
}

/// Sends a request to the admin API and reads the answer, if one comes.
pub(super) fn command(
    client: &mut Client,
    admin: SocketAddr,
    (method, path): (&str, &str),
    body: &Value,
) -> Result<Response, Broken> {
    client.wire.write(admin_request(admin, method, path, body));
    client.try_answer_to(method)
}

/// What a scraper gets.
pub(super) fn metrics(admin: SocketAddr) -> String {
    let mut client = Client::connect(admin);
    let answer = command(&mut client, admin, ("GET", "/metrics"), &Value::Null);
    answer.expect("answers").text()
}

/// Lets this much time go by, for something that happens beside.
pub(super) fn meanwhile(during: Duration) {
    let (_open, nothing) = mpsc::channel::<()>();
    nothing.recv_timeout(during).ok();
}
