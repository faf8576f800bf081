//! Another configuration while the old one is in use: all or nothing, and nobody notices.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::upstream::{Behaviour, Upstream};

/// What files may do: change, break, vanish, be swapped.
mod files;
/// What is listened on, and what is spoken there.
mod listeners;
/// Many reloads under load.
mod load;
/// What holds for every connection.
mod settings;

/// A configuration file of a test, in a directory of its own.
pub(crate) struct File {
    pub(crate) directory: Directory,
    pub(crate) path: PathBuf,
}

impl File {
    pub(crate) fn new(name: &str, setup: &Setup) -> Self {
        let directory = Directory::new(&format!("reload-{name}"));
        let path = directory.0.join("haldane.toml");
        let file = Self { directory, path };
        file.write(&setup.text());
        file
    }

    pub(crate) fn write(&self, text: &str) {
        // As a whole, so that nobody reads a half.
        let fresh = self.directory.0.join("fresh");
        fs::write(&fresh, text).expect("writes");
        fs::rename(&fresh, &self.path).expect("renames");
    }

    pub(crate) fn start(&self) -> Proxy {
        Proxy::start_file(&self.path)
    }
}

/// Puts another configuration in force. What of it is different.
#[track_caller]
pub(crate) fn reload(proxy: &Proxy, file: &File, setup: &Setup) -> Value {
    put(proxy, file, &setup.text())
}

/// [`reload`] with any text.
#[track_caller]
pub(crate) fn put(proxy: &Proxy, file: &File, text: &str) -> Value {
    let seen = proxy
        .events(0)
        .last()
        .map_or(0, |event| event["seq"].as_u64().unwrap());
    file.write(text);
    let (status, answer) = proxy.reload();
    assert_eq!(status, 200, "{answer}");
    // haldane may have looked at the file before it was told to.
    let mut events = proxy.events(seen).into_iter();
    match events.find(|event| event["kind"] == "reloaded") {
        Some(event) => event["changes"].clone(),
        None => panic!("nothing changed: {answer}"),
    }
}

/// One line of the metrics.
#[track_caller]
pub(crate) fn metric(proxy: &Proxy, name: &str) -> Option<String> {
    let mut client = Client::connect(proxy.admin_address);
    client.send(format!(
        "GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n",
        proxy.admin_address
    ));
    let text = client.answer_to("GET").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map(|value| value.trim().to_owned())
}

/// Generation, phase and weight.
#[track_caller]
fn stands(proxy: &Proxy) -> (u64, String, String) {
    let status = proxy.status();
    let text = |key: &str| status[key].as_str().expect("a text").to_owned();
    let generation = status["generation"].as_u64().expect("a number");
    (generation, text("phase"), text("weight"))
}

#[track_caller]
fn assert_stands(proxy: &Proxy, generation: u64, phase: &str, weight: &str) {
    let expected = (generation, phase.to_owned(), weight.to_owned());
    assert_eq!(stands(proxy), expected);
}

/// A route with a canary of this name, at this configured weight.
pub(crate) fn with_canary(stable: &Upstream, name: &str, canary: &Upstream, weight: &str) -> Setup {
    Setup::stable(stable)
        .route(&format!(
            "canary = {{ version = \"{name}\", upstream = \"{}\" }}\nweight = \"{weight}\"",
            canary.url()
        ))
        .by_user()
        .meltdown(3)
}

/// Who answers each of so many users.
fn answers(proxy: &Proxy, users: usize) -> Vec<String> {
    let mut client = proxy.client();
    let ask = |user: usize| client.get("/", &[("x-user", &user.to_string())]).text();
    (0..users).map(ask).collect()
}

#[test]
fn a_weight_that_was_set_is_not_moved_by_a_reload() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let file = File::new("weight", &with_canary(&stable, "v2", &canary, "10%"));
    let proxy = file.start();
    proxy.set_weight("5%");
    let before = answers(&proxy, 200);
    for (configured, more) in [
        ("50%", ""),
        ("0%", "timeouts = { connect = \"2s\" }"),
        ("100%", ""),
    ] {
        let setup = with_canary(&stable, "v2", &canary, configured).route(more);
        let changes = reload(&proxy, &file, &setup);
        assert_stands(&proxy, 1, "idle", "5%");
        assert_eq!(proxy.status()["configured_weight"], configured, "{changes}");
        assert_eq!(answers(&proxy, 200), before, "the same users as before");
    }
    // The events say it without saying that the weight changed.
    let kinds: Vec<_> = proxy
        .events(1)
        .into_iter()
        .map(|event| event["kind"].clone())
        .collect();
    assert_eq!(kinds[..2], [json!("reconfigured"), json!("reloaded")]);
    assert!(!kinds.contains(&json!("reweighed")), "{kinds:?}");
    proxy.roll_back();
    proxy.retry();
    assert_stands(&proxy, 2, "idle", "100%");
}

#[test]
fn another_canary_starts_a_new_generation_with_the_configured_weight() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let other = Upstream::named("other");
    let file = File::new("canary", &with_canary(&stable, "v2", &canary, "100%"));
    let proxy = file.start();
    assert_eq!(answers(&proxy, 3), ["canary"; 3]);
    // Another name at the same address.
    let changes = reload(&proxy, &file, &with_canary(&stable, "v3", &canary, "20%"));
    assert_eq!(
        changes,
        json!(["route default: another canary, configured weight changed"])
    );
    assert_stands(&proxy, 2, "idle", "20%");
    let started = &proxy.events(0)[0];
    assert_eq!(started["kind"], "started");
    assert_eq!(started["by"]["kind"], "configuration");
    assert_eq!(started["canary_requests"], 3, "those of the one before");
    assert_eq!(proxy.status()["versions"]["canary"]["requests"], 0);
    // The same name at another address.
    reload(&proxy, &file, &with_canary(&stable, "v3", &other, "100%"));
    assert_stands(&proxy, 3, "idle", "100%");
    assert_eq!(answers(&proxy, 3), ["other"; 3]);
    // The first one failed? A new attempt it is all the same.
    other.behave(Behaviour::Status(500));
    assert_eq!(answers(&proxy, 4)[3], "stable");
    assert_stands(&proxy, 3, "rolled_back", "0%");
    reload(&proxy, &file, &with_canary(&stable, "v4", &canary, "100%"));
    assert_stands(&proxy, 4, "idle", "100%");
    assert_eq!(answers(&proxy, 3), ["canary"; 3]);
    // Everybody's counts are still there, under their names.
    let requests = |version: &str, code: u16| {
        let labels =
            format!("{{route=\"default\",role=\"canary\",version=\"{version}\",code=\"{code}\"}}");
        metric(&proxy, &format!("haldane_requests_total{labels}"))
    };
    assert_eq!(requests("v2", 200).as_deref(), Some("3"));
    assert_eq!(requests("v3", 200).as_deref(), Some("3"));
    assert_eq!(requests("v3", 500).as_deref(), Some("3"));
    assert_eq!(requests("v4", 200).as_deref(), Some("3"));
}

#[test]
fn a_canary_that_was_rolled_back_stays_so_whatever_is_reloaded() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let other = Upstream::named("stable");
    let base = with_canary(&stable, "v2", &canary, "100%");
    let file = File::new("latch", &base);
    let proxy = file.start();
    canary.behave(Behaviour::Status(500));
    assert_eq!(answers(&proxy, 4)[3], "stable");
    canary.behave(Behaviour::Good);
    let arrived = canary.log.len();
    let renamed = Setup::stable(&stable).route("name = \"other\"");
    for (what, setup) in [
        ("weight", with_canary(&stable, "v2", &canary, "50%")),
        ("stable", with_canary(&other, "v2", &canary, "50%")),
        (
            "gates",
            Setup::canary(&stable, &canary, "50%")
                .by_user()
                .meltdown(30),
        ),
        (
            "default gates",
            Setup::canary(&stable, &canary, "50%").by_user(),
        ),
        ("split", Setup::canary(&stable, &canary, "50%")),
        ("no canary", Setup::stable(&stable)),
        ("the canary again", base.clone()),
        ("no such route", renamed),
        ("the route again", base),
    ] {
        reload(&proxy, &file, &setup);
        if what != "no such route" {
            assert_stands(&proxy, 1, "rolled_back", "0%");
        }
        assert_eq!(answers(&proxy, 50), ["stable"; 50], "{what}");
        assert_eq!(canary.log.len(), arrived, "{what}");
    }
    proxy.retry();
    assert_stands(&proxy, 2, "idle", "100%");
    assert_eq!(answers(&proxy, 1), ["canary"]);
}

#[test]
fn a_canary_that_is_taken_out_of_the_file_gets_nothing_and_begins_anew() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let base = with_canary(&stable, "v2", &canary, "100%");
    let file = File::new("removed", &base);
    let proxy = file.start();
    assert_eq!(answers(&proxy, 1), ["canary"]);
    reload(&proxy, &file, &Setup::stable(&stable));
    assert_stands(&proxy, 1, "idle", "0%");
    assert_eq!(answers(&proxy, 50), ["stable"; 50]);
    let (status, _) = proxy.admin(
        "PUT",
        "/v1/routes/default/weight",
        &json!({ "weight": "5%" }),
    );
    assert_eq!(status, 409);
    reload(&proxy, &file, &base);
    assert_stands(&proxy, 2, "idle", "100%");
    assert_eq!(answers(&proxy, 1), ["canary"]);
}

#[test]
fn failures_before_another_stable_or_other_gates_are_no_evidence_afterwards() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let other = Upstream::named("stable");
    let setup = |stable: &Upstream, limit: u32| {
        Setup::canary(stable, &canary, "100%")
            .by_user()
            .meltdown(limit)
    };
    let file = File::new("evidence", &setup(&stable, 3));
    let proxy = file.start();
    canary.behave(Behaviour::Status(500));
    for (what, next) in [
        ("stable", setup(&other, 3)),
        ("gates", setup(&other, 4)),
        (
            "timeouts",
            setup(&other, 4).route("timeouts = { connect = \"2s\" }"),
        ),
    ] {
        answers(&proxy, 2);
        assert_stands(&proxy, 1, "idle", "100%");
        reload(&proxy, &file, &next);
        assert_stands(&proxy, 1, "idle", "100%");
        let gate = &proxy.status()["gates"][0];
        let run = if what == "timeouts" { 2.0 } else { 0.0 };
        assert_eq!(gate["value"], run, "{what}: {gate}");
    }
    assert_eq!(answers(&proxy, 3), ["canary", "canary", "stable"]);
}

#[test]
fn what_is_on_its_way_ends_as_it_began() {
    let (answer, told_to_answer) = std::sync::mpsc::channel::<()>();
    let told_to_answer = std::sync::Mutex::new(told_to_answer);
    let old = Upstream::scripted(move |mut connection| {
        while connection.request().is_some() {
            connection
                .wire
                .write("HTTP/1.1 200 X\r\ncontent-length: 6\r\n\r\nol");
            told_to_answer.lock().unwrap().recv().ok();
            connection.wire.write("dest");
        }
    });
    let new = Upstream::named("newest");
    let file = File::new("on-its-way", &Setup::stable(&old));
    let proxy = file.start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    crate::support::eventually::eventually("it arrives", || old.log.len() == 1);
    reload(&proxy, &file, &Setup::stable(&new));
    assert_eq!(proxy.get("/", &[]).text(), "newest");
    answer.send(()).unwrap();
    assert_eq!(client.answer_to("GET").text(), "oldest");
    assert_eq!(
        client.get("/", &[]).text(),
        "newest",
        "the next on the same connection"
    );
}

#[test]
fn routes_come_and_go_and_connections_to_versions_that_stay_are_kept() {
    let (stable, other) = (Upstream::named("stable"), Upstream::named("other"));
    let file = File::new("routes", &Setup::stable(&stable).top("workers = 1"));
    let proxy = file.start();
    let mut client = proxy.client();
    assert_eq!(client.get("/other", &[]).text(), "stable");
    let second = format!(
        "[[route]]\nname = \"second\"\nmatch = {{ path = \"/other\" }}\nstable = \"{}\"\n",
        other.url()
    );
    let changes = reload(
        &proxy,
        &file,
        &Setup::stable(&stable).top("workers = 1").section(&second),
    );
    assert_eq!(changes, json!(["route second: added"]));
    assert_eq!(client.get("/other", &[]).text(), "other");
    assert_eq!(client.get("/", &[]).text(), "stable");
    reload(&proxy, &file, &Setup::stable(&stable).top("workers = 1"));
    assert_eq!(client.get("/other", &[]).text(), "stable");
    let (status, _) = proxy.admin("GET", "/v1/routes/second", &Value::Null);
    assert_eq!(status, 404);
    assert_eq!(stable.log.connections(), 1, "used again after both reloads");
}

#[test]
fn a_name_that_is_new_has_its_addresses_before_anybody_is_sent_there() {
    let (stable, other) = (Upstream::named("stable"), Upstream::named("other"));
    let file = File::new("name", &Setup::stable(&stable));
    let proxy = file.start();
    let named = Setup::stable(&other).text().replace(
        &other.url(),
        &format!("http://localhost:{}", other.address.port()),
    );
    let mut client = proxy.client();
    assert_eq!(client.get("/", &[]).text(), "stable");
    put(&proxy, &file, &named);
    assert_eq!(client.get("/", &[]).text(), "other");
    assert_eq!(proxy.get("/", &[]).text(), "other");
}
