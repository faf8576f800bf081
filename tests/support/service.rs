//! haldane as a process of its own, for what one process cannot show.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::eventually::some;

/// `haldane run`. Killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Process {
    /// Starts it with a configuration, by a command that ends with `haldane`.
    pub(crate) fn start(mut command: Command, config: &Path) -> Self {
        let mut child = command
            .args(["run", "-c"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let stderr = child.stderr.take().expect("is piped");
        let log = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, log }
    }

    /// The binary, away from the environment of whoever runs the tests.
    pub(crate) fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_haldane"));
        command.env_clear().current_dir(env!("CARGO_TARGET_TMPDIR"));
        command
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where clients connect and where the admin API answers, once it listens.
    #[track_caller]
    pub(crate) fn addresses(&self) -> (SocketAddr, String) {
        let line = self.said("listening");
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let data = text("data");
        let data = data.split(", ").next().unwrap_or_default().parse();
        (data.expect("an address"), text("admin"))
    }

    /// The first line of the log with this message, once it is there.
    #[track_caller]
    pub(crate) fn said(&self, message: &str) -> Value {
        some(message, || {
            let log = self.log.lock().unwrap();
            log.iter().find(|line| line["message"] == message).cloned()
        })
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// What it ends with.
    #[track_caller]
    pub(crate) fn code(&mut self) -> Option<i32> {
        let status = some("the process ends", || {
            self.child.try_wait().expect("can be waited for")
        });
        status.code()
    }

    /// Everything that it has said.
    pub(crate) fn log(&self) -> String {
        let log = self.log.lock().unwrap();
        log.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- process {}:\n{}", self.id(), self.log());
        }
    }
}
