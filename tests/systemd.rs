//! What systemd is told (`Type=notify`), and the sockets it gives (socket activation).

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::client::Client;
use crate::support::eventually::PATIENCE;
use crate::support::service::Process;
use crate::support::tls::Directory;
use crate::support::upstream::Upstream;

/// Hears what the service manager is told.
struct Manager(UnixDatagram);

impl Manager {
    fn at(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).expect("binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("sets it");
        Self(socket)
    }

    /// The next message that has this in it, whatever comes before.
    fn hears(&self, wanted: &str) -> String {
        let mut buffer = [0; 1024];
        loop {
            let length = self.0.recv(&mut buffer).expect(wanted);
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    }
}

fn config(directory: &Directory, listen: &str, upstream: &Upstream) -> PathBuf {
    let path = directory.0.join("haldane.toml");
    let text = format!(
        "listen = {listen}\nworkers = 2\ndrain = {{ linger = \"300ms\", timeout = \"5s\" }}\n\
         admin = {{ listen = \"127.0.0.1:0\" }}\n[[route]]\nstable = \"{}\"\n",
        upstream.url()
    );
    fs::write(&path, text).expect("writes");
    path
}

#[test]
fn it_is_told_of_the_start_the_drain_and_that_haldane_lives() {
    let directory = Directory::new("notify");
    let upstream = Upstream::named("stable");
    let path = directory.path("notify.sock");
    let hidden = format!("haldane-tests-{}", std::process::id());
    let abstract_name = SocketAddr::from_abstract_name(&hidden).expect("is short");
    for (address, name) in [
        (SocketAddr::from_pathname(&path).expect("is short"), path),
        (abstract_name, format!("@{hidden}")),
    ] {
        let manager = Manager::at(&address);
        let mut command = Process::command();
        command.env("NOTIFY_SOCKET", &name);
        command.env("WATCHDOG_USEC", "200000");
        let config = config(&directory, "\"127.0.0.1:0\"", &upstream);
        let mut process = Process::start(command, &config);
        let ready = manager.hears("READY=1");
        assert!(
            ready.contains(&format!("MAINPID={}", process.id())),
            "{ready}"
        );
        // Whoever is told so can connect.
        let (address, _) = process.addresses();
        assert_eq!(Client::connect(address).get("/", &[]).status, 200);
        for _ in 0..3 {
            manager.hears("WATCHDOG=1");
        }
        process.signal("TERM");
        manager.hears("STOPPING=1");
        // It drains as if it was not watched, and goes on saying that it lives.
        manager.hears("WATCHDOG=1");
        assert_eq!(process.code(), Some(0));
    }
}

/// A launcher that gives sockets as systemd does: from descriptor 3 on, for the process
/// with the id in `LISTEN_PID`. Its arguments: addresses, their names, the command.
const LAUNCHER: &str = r#"
import os, socket, sys
addresses, names, command = sys.argv[1].split(","), sys.argv[2], sys.argv[3:]
made = []
for address in addresses:
    if address.startswith("/"):
        made.append(socket.socket(socket.AF_UNIX))
        made[-1].bind(address)
    else:
        host, port = address.rsplit(":", 1)
        made.append(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
        made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made[-1].bind((host, int(port)))
    made[-1].listen(128)
kept = [os.dup(one.fileno()) for one in made]
import fcntl
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in kept]
for index, fd in enumerate(high):
    os.dup2(fd, 3 + index, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(made)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"#;

fn launched(addresses: &str, names: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-c", LAUNCHER, addresses, names])
        .arg(env!("CARGO_BIN_EXE_haldane"))
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("binds");
    free.local_addr().expect("is bound").port()
}

#[test]
fn sockets_are_found_by_their_address_or_else_by_their_name() {
    let directory = Directory::new("activation");
    let upstream = Upstream::named("stable");
    let (port, other, admin) = (free_port(), free_port(), directory.path("admin.sock"));
    // The first is found by its address; the second is for the listener that has none.
    let listen = format!("[\"127.0.0.1:{port}\", \"127.0.0.1:1\"]");
    let config = config(&directory, &listen, &upstream);
    let command = launched(
        &format!("127.0.0.1:{port},127.0.0.1:{other},{admin}"),
        "some.socket:http:admin",
    );
    let process = Process::start(command, &config);
    let line = process.said("listening");
    assert_eq!(line["data"], format!("127.0.0.1:{port}, 127.0.0.1:{other}"));
    assert_eq!(line["admin"], format!("unix:{admin}"));
    for port in [port, other] {
        // More than one worker accepts from the one queue.
        for _ in 0..20 {
            let mut client = Client::connect(([127, 0, 0, 1], port).into());
            assert_eq!(client.get("/", &[]).status, 200);
        }
    }
    let status = Process::command()
        .args(["status", "--admin", &format!("unix:{admin}")])
        .output();
    assert!(status.expect("runs").status.success());
}

#[test]
fn who_connects_before_it_runs_is_served() {
    let directory = Directory::new("early");
    let upstream = Upstream::named("stable");
    let port = free_port();
    let config = config(&directory, &format!("\":{port}\""), &upstream);
    // It starts the command with the first connection, and binds every address.
    let mut command = Command::new("systemd-socket-activate");
    command.arg(format!("--listen={port}"));
    command.arg(env!("CARGO_BIN_EXE_haldane"));
    let process = Process::start(command, &config);
    let address = ([127, 0, 0, 1], port).into();
    crate::support::eventually::eventually("the launcher listens", || {
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    });
    for _ in 0..10 {
        assert_eq!(Client::connect(address).get("/", &[]).status, 200);
    }
    assert_eq!(process.said("listening")["data"], format!("[::]:{port}"));
    let told = upstream.log.arrivals();
    let told = told.last().expect("a request").head.one("x-forwarded-for");
    assert_eq!(told.as_deref(), Some("127.0.0.1"));
}
