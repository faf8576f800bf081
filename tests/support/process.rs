//! `haldane run` as a process of its own, to be measured and killed.

use std::fs::DirEntry;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::eventually::some;
use super::tls::Directory;

/// The state of a socket that listens, in the kernel's table of them.
const LISTENS: &str = "0A";

/// A haldane in a process of its own. Killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    /// Where clients connect.
    pub(crate) data: SocketAddr,
    /// Where the admin API answers.
    pub(crate) admin: SocketAddr,
    /// What it has logged since it listens.
    said: Arc<Mutex<Vec<Value>>>,
    directory: Directory,
}

impl Process {
    /// Starts haldane with this configuration. `name` is the test's.
    #[track_caller]
    pub(crate) fn start(name: &str, configuration: &str) -> Self {
        let haldane = Command::new(env!("CARGO_BIN_EXE_haldane"));
        Self::started(haldane, name, configuration)
    }

    /// The same with this many descriptors at first, and no more than that many.
    #[track_caller]
    pub(crate) fn start_within(
        (soft, hard): (usize, usize),
        name: &str,
        configuration: &str,
    ) -> Self {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={soft}:{hard}"));
        limited.arg(env!("CARGO_BIN_EXE_haldane"));
        Self::started(limited, name, configuration)
    }

    #[track_caller]
    fn started(mut haldane: Command, name: &str, configuration: &str) -> Self {
        let directory = Directory::new(name);
        let path = directory.path("haldane.toml");
        std::fs::write(&path, configuration).expect("can be written");
        let mut child = haldane
            .args(["run", "-c", &path])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let stderr = child.stderr.take().expect("is piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let listening = lines
            .by_ref()
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .find(|line| line["message"] == "listening")
            .expect("says where it listens");
        // What it says later must not fill the pipe up.
        let said = Arc::<Mutex<Vec<Value>>>::default();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines {
                if let Ok(line) = serde_json::from_str(&line) {
                    heard.lock().unwrap().push(line);
                }
            }
        });
        let address = |name: &str| {
            let address = listening[name].as_str().unwrap_or_default();
            address.parse().unwrap_or_else(|_| panic!("{listening}"))
        };
        Self {
            data: address("data"),
            admin: address("admin"),
            child,
            said,
            directory,
        }
    }

    /// Writes another configuration, which it reads by itself.
    #[track_caller]
    pub(crate) fn reconfigure(&self, configuration: &str) {
        let path = self.directory.path("haldane.toml");
        std::fs::write(path, configuration).expect("can be written");
    }

    /// Waits until it has logged this message, and gives the line.
    #[track_caller]
    pub(crate) fn says(&self, message: &str) -> Value {
        some(message, || {
            let said = self.said.lock().unwrap();
            said.iter().find(|line| line["message"] == message).cloned()
        })
    }

    /// Whether it has logged a message that begins like this.
    pub(crate) fn has_said(&self, begin: &str) -> Option<Value> {
        let said = self.said.lock().unwrap();
        let begins = |line: &&Value| {
            let message = line["message"].as_str();
            message.is_some_and(|message| message.starts_with(begin))
        };
        said.iter().find(begins).cloned()
    }

    /// The limits of descriptors that it has now: soft and hard.
    pub(crate) fn descriptor_limits(&self) -> (usize, usize) {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id()));
        let limits = limits.expect("the process lives");
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let mut numbers = line
            .into_iter()
            .flat_map(|line| line.split_whitespace().skip(3));
        let mut number = || numbers.next().and_then(|number| number.parse().ok());
        (number().expect("a limit"), number().expect("a limit"))
    }

    /// The memory that is resident, and the most that ever was, in KiB.
    pub(crate) fn resident(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process lives");
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number.and_then(|number| number.parse().ok()).expect(name)
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Sends it this signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Lets it open nothing more, whatever it has closed in between.
    pub(crate) fn leave_no_descriptor(&self) {
        let open: Vec<usize> = self
            .open()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        let lowest = (0..).find(|number| !open.contains(number));
        self.limit_descriptors(lowest.expect("there is one"));
    }

    /// Lets it have no more descriptors than this.
    pub(crate) fn limit_descriptors(&self, most: usize) {
        let limited = Command::new("prlimit")
            .arg(format!("--pid={}", self.child.id()))
            .arg(format!("--nofile={most}:"))
            .status();
        assert!(limited.expect("prlimit runs").success());
    }

    /// The processor time that it has used, in hundredths of a second.
    pub(crate) fn used(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("the process lives");
        // After the name, which may contain anything.
        let (_, rest) = stat.rsplit_once(") ").expect("has a name");
        let times = rest.split(' ').skip(11).take(2);
        times.map(|time| time.parse::<u64>().expect("a time")).sum()
    }

    /// How many clients it has let in at one of its addresses, and not let go.
    pub(crate) fn clients(&self, of: SocketAddr) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("is there");
        let port = format!(":{:04X}", of.port());
        // Its own address is the second column, the inode of its socket the tenth.
        let sockets: Vec<String> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|line| line.len() > 9 && line[1].ends_with(&port) && line[3] != LISTENS)
            .map(|line| format!("socket:[{}]", line[9]))
            .collect();
        self.open()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .filter(|link| sockets.iter().any(|socket| link.as_os_str() == &**socket))
            .count()
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        self.open().count()
    }

    /// Its descriptors, by their numbers.
    fn open(&self) -> impl Iterator<Item = DirEntry> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        entries.expect("the process lives").flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
