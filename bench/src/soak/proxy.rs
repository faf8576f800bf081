//! The haldane under load: starts, ends, and what its admin API says.

use std::{
    ffi::OsString,
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{net::TcpStream, time::sleep};

use super::exchange::Connection;
use crate::{
    child::{Child, Plan},
    clock,
    failure::Failure,
    process,
};

/// What is started, and where.
pub(crate) struct Site {
    pub(crate) program: PathBuf,
    pub(crate) directory: PathBuf,
    /// Preloaded, if there is one: tells the process what time it is.
    pub(crate) faketime: Option<PathBuf>,
    /// In clear text, under TLS, and the admin API.
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Of stable and canary.
    pub(crate) upstreams: [SocketAddr; 2],
}

/// A process.
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: u32,
}

/// Where the release stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) generation: u64,
    pub(crate) phase: String,
    pub(crate) weight: String,
}

impl Site {
    /// With ports that are free now.
    pub(crate) fn new(
        program: PathBuf,
        directory: &Path,
        upstreams: [SocketAddr; 2],
    ) -> Result<Self, Failure> {
        let free = || {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            listener.local_addr()
        };
        let free = || free().map_err(Failure::io("find a free port"));
        let faketime = FAKETIME
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists());
        Ok(Self {
            program,
            directory: directory.to_owned(),
            faketime,
            plain: free()?,
            tls: free()?,
            admin: free()?,
            upstreams,
        })
    }

    /// Writes the configuration; `idle_s` is something that may change.
    pub(crate) fn configure(&self, idle_s: u64, more: &str) -> Result<(), Failure> {
        let Self {
            directory,
            plain,
            tls,
            admin,
            upstreams: [stable, canary],
            ..
        } = self;
        let directory = directory.display();
        let text = format!(
            r#"listen = ["{plain}", {{ address = "{tls}", tls = "edge" }}]
workers = 2
state_dir = "{directory}/state"
hand_over = "{directory}/hand-over.sock"
drain = {{ linger = "100ms", timeout = "10s" }}
limits = {{ idle_timeout = "{idle_s}s" }}
[tls.edge]
cert = "{directory}/tls.crt"
key = "{directory}/tls.key"
[admin]
listen = "{admin}"
[[route]]
name = "soak"
stable = {{ version = "stable", upstream = "http://{stable}" }}
canary = {{ version = "canary", upstream = "http://{canary}" }}
weight = "30%"
expose_version = true
[route.sticky]
key = ["header:x-user"]
{more}
"#
        );
        // In one go: a half of it is another configuration.
        let next = self.directory.join("haldane.toml.next");
        fs::write(&next, text)
            .and_then(|()| fs::rename(next, self.config()))
            .map_err(Failure::io("write the configuration"))
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join("haldane.toml")
    }

    /// Sets the clock of processes that run and of those that are started, ahead or back.
    pub(crate) fn set_clock(&self, seconds: i64) -> Result<(), Failure> {
        fs::write(self.directory.join("clock"), format!("{seconds:+}\n"))
            .map_err(Failure::io("set the clock"))
    }

    /// Starts a process. It is not ready yet.
    pub(crate) fn start(&self, name: &'static str) -> Result<Process, Failure> {
        let mut command: Vec<OsString> = Vec::new();
        if let Some(library) = &self.faketime {
            command.push("/usr/bin/env".into());
            for (name, value) in [
                ("LD_PRELOAD", library.as_os_str()),
                (
                    "FAKETIME_TIMESTAMP_FILE",
                    self.directory.join("clock").as_os_str(),
                ),
                ("FAKETIME_NO_CACHE", "1".as_ref()),
                // Only the wall clock is what others set.
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
            ] {
                let mut pair = OsString::from(name);
                pair.push("=");
                pair.push(value);
                command.push(pair);
            }
        }
        command.push(self.program.clone().into());
        command.extend(["run".into(), "-c".into(), self.config().into()]);
        let child = Child::start(&Plan {
            name,
            command,
            cpus: &[],
            directory: &self.directory,
        })?;
        let pid = child.id();
        Ok(Process { child, pid })
    }

    /// Waits until a process is ready and its admin API is the one that answers.
    pub(crate) async fn ready(&self, process: &mut Process) -> Result<(), Failure> {
        let end = clock::now_ns() + clock::ns(START_TIME);
        loop {
            process.child.check_running()?;
            if let Ok((200, _)) = self.ask("GET", "/readyz", None).await {
                return Ok(());
            }
            if clock::now_ns() > end {
                return Err(process.child.failure("is not ready in time"));
            }
            sleep(LOOK).await;
        }
    }

    /// Asks the admin API; the status, and the body if it is JSON.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), Failure> {
        let admin = self.admin;
        let text = body.map_or_else(String::new, |body| body.to_string());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let asked = async {
            let mut stream = TcpStream::connect(admin).await?;
            tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await?;
            let mut connection = Connection::new(stream);
            let head = connection.read_head().await?;
            let fields = crate::message::fields(head.as_bytes()).map_err(std::io::Error::other)?;
            let length = fields.content_length.unwrap_or_default();
            let body = connection.read_body(length).await?;
            Ok((head, body))
        };
        let (head, body) = tokio::time::timeout(ANSWER_TIME, asked)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(Failure::io(format!("ask {method} {path}")))?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok((status.unwrap_or_default(), body))
    }

    /// Where the release stands.
    pub(crate) async fn standing(&self) -> Result<Standing, Failure> {
        let (status, route) = self.ask("GET", "/v1/routes/soak", None).await?;
        Standing::of(&route)
            .ok_or_else(|| Failure::violation(format!("the route is told as {status}: {route}")))
    }

    /// Gives a command that has to be carried out; what is said of it.
    pub(crate) async fn command(&self, command: &str) -> Result<Value, Failure> {
        let path = format!("/v1/routes/soak/{command}");
        let body = json!({ "actor": "soak", "reason": "to see what happens" });
        let (status, said) = self.ask("POST", &path, Some(body)).await?;
        if status == 200 {
            Ok(said)
        } else {
            Err(Failure::violation(format!("{command}: {status}: {said}")))
        }
    }
}

impl Process {
    /// Its memory, in KiB.
    pub(crate) fn pss_kib(&self) -> Result<u64, Failure> {
        process::pss_kib(&self.child.tree()?)
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> Result<usize, Failure> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid));
        let open = open.map_err(Failure::io("count descriptors"))?;
        Ok(open.count())
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.check_running().is_err()
    }

    /// What it has said last, and all that it has said of panics.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.child.log();
        let bad = log.lines().filter(|line| line.contains("panic"));
        bad.map(str::to_owned).collect()
    }

    /// For a failure that is told.
    pub(crate) fn explain(&self, failure: &Failure) {
        let mut errors = std::io::stderr();
        let tail = self.child.log_tail();
        // Nothing is left to be done where this cannot be written.
        drop(writeln!(errors, "haldane-bench: {failure}\n{tail}"));
    }
}

impl Standing {
    fn of(route: &Value) -> Option<Self> {
        Some(Self {
            generation: route["generation"].as_u64()?,
            phase: route["phase"].as_str()?.to_owned(),
            weight: route["weight"].as_str()?.to_owned(),
        })
    }

    pub(crate) fn is_rolled_back(&self) -> bool {
        self.phase == "rolled_back"
    }
}

/// Where Debian has it.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// How long a start may take, on a machine that is busy with other things.
const START_TIME: Duration = Duration::from_secs(20);

/// How long an answer of the admin API may take.
const ANSWER_TIME: Duration = Duration::from_secs(10);

const LOOK: Duration = Duration::from_millis(20);
