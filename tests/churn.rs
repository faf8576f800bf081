//! Everything changes while everything is used: reloads, certificates, weights, new
//! binaries, a drain; HTTP/1.1, HTTP/2, gRPC and WebSockets. No request that was
//! accepted fails.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::support::client::Client;
use super::support::eventually::eventually;
use super::support::tls::{Authority, Directory};

mod clients;
mod load;
mod servers;

use clients::{Kind, Secure};
use load::{Load, Mode};
use servers::{Calls, Web};

/// Reloads, valid and invalid ones.
const RELOADS: usize = 300;

/// How often another process takes over.
const HAND_OVERS: usize = 3;

/// Where a haldane listens that is replaced while it is used.
pub(crate) struct Place {
    plain: SocketAddr,
    encrypted: SocketAddr,
    admin: SocketAddr,
    /// For a listener that comes and goes.
    extra: SocketAddr,
    directory: Directory,
    stable: (Web, Calls),
    canary: (Web, Calls),
}

/// A haldane in a process of its own. Killed when this is dropped.
struct Process(Child);

impl Place {
    fn new() -> Self {
        let [plain, encrypted, admin, extra] = free_addresses();
        Self {
            plain,
            encrypted,
            admin,
            extra,
            directory: Directory::new("churn"),
            stable: (Web::start(), Calls::start()),
            canary: (Web::start(), Calls::start()),
        }
    }

    /// A configuration that differs from round to round in what may change.
    fn text(&self, round: usize) -> String {
        let extra = if round.is_multiple_of(4) {
            format!(", \"{}\"", self.extra)
        } else {
            String::new()
        };
        let timeout = 20 + round % 7;
        let failures = 20 + round % 5;
        let gate = format!(
            "[[route.gate]]\nname = \"meltdown\"\nmetric = \"consecutive_failures\"\nrollback = {failures}\n"
        );
        let (stable, canary) = (&self.stable, &self.canary);
        format!(
            "listen = [\"{}\", {{ address = \"{}\", tls = \"edge\" }}{extra}]\n\
             workers = 2\n\
             hand_over = \"{}\"\n\
             drain = {{ linger = \"500ms\", timeout = \"10s\" }}\n\
             [admin]\nlisten = \"{}\"\n\
             [limits]\nheader_timeout = \"{timeout}s\"\n\
             [tls.edge]\ncert = \"{}\"\nkey = \"{}\"\n\
             [[route]]\nname = \"web\"\nweight = \"20%\"\n\
             stable = \"{}\"\ncanary = \"{}\"\n\
             timeouts = {{ response = \"{timeout}s\", session_grace = \"1s\" }}\n{gate}\
             [[route]]\nname = \"calls\"\nweight = \"20%\"\nmatch = {{ path = \"/calls/*\" }}\n\
             upstream_protocol = \"h2\"\nstable = \"{}\"\ncanary = \"{}\"\n{gate}",
            self.plain,
            self.encrypted,
            self.directory.path("hand-over.sock"),
            self.admin,
            self.directory.path("edge.crt"),
            self.directory.path("edge.key"),
            stable.0.url(),
            canary.0.url(),
            stable.1.url(),
            canary.1.url(),
        )
    }

    /// What cannot be a configuration, or cannot be applied.
    fn broken_text(&self, round: usize) -> String {
        let text = self.text(round);
        match round % 4 {
            0 => text.replace("[[route]]", "[[route"),
            1 => text.replace("weight = \"20%\"", "weight = 20"),
            2 => text.replace("edge.crt", "nowhere.crt"),
            // Somebody else has that port.
            _ => text.replace(
                &format!("[\"{}\"", self.plain),
                &format!("[\"{}\", \"{}\"", self.plain, self.stable.0.address()),
            ),
        }
    }

    fn write(&self, text: &str) {
        fs::write(self.directory.path("haldane.toml"), text).unwrap();
    }

    fn start(&self) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_haldane"))
            .args(["run", "-c", &self.directory.path("haldane.toml")])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stderr.take().expect("is piped"))
            .lines()
            .map_while(Result::ok);
        let listens = lines.by_ref().find(|line| line.contains("\"listening\""));
        assert!(listens.is_some(), "the process listens");
        // What it says later must not fill the pipe up.
        std::thread::spawn(move || lines.for_each(drop));
        Process(child)
    }

    fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut client = Client::connect(self.admin);
        let body = body.to_string();
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.admin,
            body.len()
        ));
        let response = client.answer_to(method);
        let value = serde_json::from_slice(&response.body.bytes).unwrap_or(Value::Null);
        (response.status, value)
    }
}

impl Process {
    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.0.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    fn code(&mut self) -> Option<i32> {
        self.0.wait().expect("can be waited for").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What clients do.
const KINDS: [&str; 6] = [
    "keep-alive",
    "close",
    "websocket",
    "stream",
    "call",
    "conversation",
];

/// Addresses that nobody listens on. They are asked for all at once, so that they differ;
/// and they are of a host that no connection begins at, so that none takes their ports.
fn free_addresses() -> [SocketAddr; 4] {
    let bound: [_; 4] = std::array::from_fn(|_| {
        TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("binds")
    });
    bound.map(|listener| listener.local_addr().expect("has an address"))
}

#[test]
fn nothing_fails_while_everything_changes() {
    let place = Place::new();
    let authority = Authority::new();
    place
        .directory
        .write_pair("edge", &authority.issue("localhost"));
    place.write(&place.text(0));
    let mut process = place.start();
    let load = Load::new();
    let plain = place.plain;
    let secure = Secure {
        address: place.encrypted,
        config: authority.http2_client(),
    };
    for _ in 0..2 {
        load.run(move |load| clients::keep_alive(load, plain));
        load.run(move |load| clients::websocket(load, plain));
    }
    load.run(move |load| clients::close(load, plain));
    for kind in [Kind::Get, Kind::Call, Kind::Conversation] {
        let secure = secure.clone();
        load.run(move |load| clients::streams(load, &secure, kind));
    }

    for round in 0..RELOADS {
        reload(&place, round);
        if round % 3 == 0 {
            let weight = format!("{}%", round * 7 % 60);
            for route in ["web", "calls"] {
                let path = format!("/v1/routes/{route}/weight");
                let (status, answer) = place.admin("PUT", &path, &json!({ "weight": weight }));
                assert_eq!(status, 200, "{answer}");
            }
        }
        if round % 20 == 0 {
            place
                .directory
                .write_pair("edge", &authority.issue("localhost"));
        }
        let failures = load.outcome().failures;
        assert!(failures.is_empty(), "round {round}: {failures:#?}");
    }
    for number in 0..HAND_OVERS {
        place.write(&place.text(number));
        let next = place.start();
        let mut before = std::mem::replace(&mut process, next);
        assert_eq!(before.code(), Some(0), "the process before has ended well");
        let failures = load.outcome().failures;
        assert!(failures.is_empty(), "{failures:#?}");
    }
    // How long that takes depends on what else the machine does.
    eventually("every kind has been there often", || {
        let successes = load.outcome().successes;
        let count = |kind| successes.get(kind).copied().unwrap_or(0);
        KINDS.into_iter().all(|kind| count(kind) > 100)
    });
    load.set(Mode::Leaving);
    process.signal("TERM");
    assert_eq!(process.code(), Some(0));
    load.set(Mode::Stopping);
    load.join();

    let outcome = load.outcome();
    assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
    for kind in KINDS {
        let count = outcome.successes.get(kind).copied().unwrap_or(0);
        assert!(count > 100, "{kind}: {:?}", outcome.successes);
    }
}

/// Reloads what can be loaded in two of three rounds, and what cannot in the third.
fn reload(place: &Place, round: usize) {
    let is_valid = round % 3 != 2;
    place.write(&if is_valid {
        place.text(round)
    } else {
        place.broken_text(round)
    });
    let (status, answer) = place.admin("POST", "/v1/config/reload", &json!({}));
    // The file is also looked at by itself, and then there is nothing new in it.
    let expected = if is_valid { 200 } else { 422 };
    assert_eq!(status, expected, "round {round}: {answer}");
}
