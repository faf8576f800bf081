//! What the process runs out of, and that it goes on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Client, Response, admin_request, request};
use crate::support::eventually::{eventually, now, some};
use crate::support::http2_upstream::H2Upstream;
use crate::support::process::Process;
use crate::support::upstream::{Behaviour, Upstream};
use crate::support::wire::Wire;

/// Connections beyond what there are descriptors for.
const MANY: usize = 60;

/// How long an answer is waited for where none need come.
const BRIEFLY: Duration = Duration::from_millis(20);

/// A process that has room for this many descriptors more than it has.
fn short_of_descriptors(name: &str, upstream: &Upstream, room: usize) -> Process {
    let haldane = Process::start(
        name,
        &format!(
            "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
             [[route]]\nstable = \"{}\"\n\
             canary = \"http://127.0.0.1:9\"\n",
            upstream.url()
        ),
    );
    // Also what it opens after it has said that it listens.
    assert_eq!(Client::connect(haldane.data).get("/", &[]).status, 200);
    haldane.limit_descriptors(haldane.descriptors() + room);
    haldane
}

/// Clients that are let in are served, those who wait cost nothing, and are let in as soon
/// as there is room.
#[test]
fn without_descriptors_accepting_rests_and_goes_on_by_itself() {
    let upstream = Upstream::named("stable");
    let haldane = short_of_descriptors("descriptors", &upstream, 20);
    let mut known = Client::connect(haldane.data);
    assert_eq!(known.get("/", &[]).status, 200);
    let mut waiting: Vec<Wire> = (0..MANY).map(|_| Wire::connect(haldane.data)).collect();
    for wire in &mut waiting {
        assert!(wire.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    }
    // Some are in, the others have to wait.
    eventually("nobody more gets in", || {
        let answers = waiting.iter_mut().map(|wire| wire.has_more(BRIEFLY));
        (1..MANY).contains(&answers.filter(|answered| *answered).count())
    });
    let before = haldane.used();
    let since = now();
    while since.elapsed() < Duration::from_secs(1) {
        assert_eq!(known.get("/", &[]).status, 200);
        assert!(!known.wire.has_more(Duration::from_millis(50)));
    }
    let used = haldane.used() - before;
    assert!(used < 50, "{used} hundredths of a second for nothing");
    waiting.truncate(MANY / 2);
    waiting.drain(..MANY / 4);
    for wire in waiting {
        let mut client = Client { wire };
        // There may have been no descriptor for a connection to the upstream.
        let answer = client.answer_to("GET");
        let is_served = answer.status == 200;
        assert!(
            is_served || answer.error() == "haldane_exhausted",
            "{answer:?}"
        );
    }
    let served = || Client::connect(haldane.data).get("/", &[]).status == 200;
    // What the last ones had is given back by and by.
    eventually("there is room again", served);
    assert!((0..MANY).all(|_| served()));
}

/// Clients that have every descriptor, and wait for more, keep nobody from the kill switch.
#[test]
fn clients_that_have_all_descriptors_leave_some_for_who_steers() {
    let upstream = Upstream::named("stable");
    let haldane = short_of_descriptors("steered", &upstream, 20);
    let mut waiting: Vec<Wire> = (0..MANY).map(|_| Wire::connect(haldane.data)).collect();
    for wire in &mut waiting {
        assert!(wire.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    }
    some("there is no descriptor any more", || {
        haldane.has_said("cannot accept, trying again")
    });
    // One after the other, and several at once.
    let mut open = Vec::new();
    for round in 0..20 {
        assert!(stable(&haldane)["in_flight"].is_u64());
        if round % 10 == 9 {
            open.push(Client::connect(haldane.admin));
        }
    }
    let answer = ask(&haldane, "POST", "/v1/routes/default/rollback", &json!({}));
    assert_eq!(answer.status, 200, "{answer:?}");
}

const LACK: &str = "limits.connections is more than there are descriptors for";

/// A process that may have some descriptors has as many as it may, and says so if that is
/// less than it lets clients use.
#[test]
fn the_limit_of_descriptors_is_raised_and_compared() {
    let upstream = Upstream::named("stable");
    let configuration = |connections: usize| {
        format!(
            "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
             limits = {{ connections = {connections} }}\n[[route]]\nstable = \"{}\"\n",
            upstream.url()
        )
    };
    // 136 of two each, and 128 for everything else.
    let haldane = Process::start_within((100, 400), "enough", &configuration(136));
    assert_eq!(haldane.descriptor_limits(), (400, 400));
    haldane.says(
        "state is not kept: after a restart every route begins again with its configured weight",
    );
    assert_eq!(haldane.has_said(LACK), None);
    haldane.reconfigure(&configuration(500));
    let said = some("a warning", || haldane.has_said(LACK));
    assert_eq!(
        (&said["connections"], &said["needed"]),
        (&500.into(), &1128.into())
    );

    let haldane = Process::start_within((100, 399), "lack", &configuration(136));
    let said = some("a warning", || haldane.has_said(LACK));
    assert_eq!(said["level"], "WARN");
    let numbers = ["connections", "needed", "allowed"].map(|name| said[name].as_u64());
    assert_eq!(numbers, [Some(136), Some(400), Some(399)]);
    assert_eq!(Client::connect(haldane.data).get("/", &[]).status, 200);
}

/// Asks the admin API on a connection of its own.
#[track_caller]
fn ask(haldane: &Process, method: &str, path: &str, body: &Value) -> Response {
    let mut client = Client::connect(haldane.admin);
    client.send(admin_request(haldane.admin, method, path, body));
    client.answer_to(method)
}

/// What the admin API says of the version in service.
fn stable(haldane: &Process) -> Value {
    let answer = ask(haldane, "GET", "/v1/routes/default", &Value::Null);
    let status: Value = serde_json::from_slice(&answer.body.bytes).expect("is JSON");
    status["versions"]["stable"].clone()
}

/// Ten clients that are let in while there is a descriptor for each of them, and none for
/// connections to their upstream: they are told whose lack it is, and it counts for nothing.
#[track_caller]
fn lacks_descriptors_for_upstreams(name: &str, url: &str, more: &str) {
    let haldane = Process::start(
        name,
        &format!(
            "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
             [[route]]\nstable = \"{url}\"\n{more}"
        ),
    );
    // Also what it opens after it has said that it listens.
    stable(&haldane);
    eventually("it is closed", || haldane.clients(haldane.admin) == 0);
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(haldane.data)).collect();
    eventually("all are let in", || haldane.clients(haldane.data) == 10);
    haldane.leave_no_descriptor();
    for client in &mut clients {
        client.send(request("GET", "/", &[], ""));
    }
    let answers = clients.iter_mut().map(|client| client.answer_to("GET"));
    let told: Vec<_> = answers
        .map(|answer| (answer.status, answer.error()))
        .collect();
    let lack = (503, "haldane_exhausted".to_owned());
    let lacking = told.iter().filter(|told| **told == lack).count();
    // A check of the address may have given its descriptor back.
    assert!(lacking >= 5, "{told:?}");
    assert!(
        told.iter().all(|told| *told == lack || told.0 == 200),
        "{told:?}"
    );
    // Whoever rolls back needs no descriptor.
    haldane.signal("USR1");
    haldane.says("told to roll every route back");
    let since = now();
    while since.elapsed() < Duration::from_secs(1) {
        let answer = clients[0].get("/", &[]);
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    }
    haldane.limit_descriptors(haldane.descriptors() + 50);
    for client in &mut clients {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!(haldane.has_said("the address is unhealthy"), None);
    let version = stable(&haldane);
    assert_eq!(version["failures"], 0, "{version}");
    assert_eq!(version["in_flight"], 0, "{version}");
}

#[test]
fn without_a_descriptor_for_its_upstream_a_client_is_told_so() {
    let upstream = Upstream::named("stable");
    upstream.behave(Behaviour::Slow(Duration::from_millis(300)));
    let checked = "[route.health]\npath = \"/\"\ninterval = \"100ms\"\nunhealthy_after = 1\n";
    lacks_descriptors_for_upstreams("lack-h1", &upstream.url(), checked);
}

/// One connects for all, and all of them are told the same.
#[test]
fn without_a_descriptor_for_a_shared_connection_clients_are_told_so() {
    let upstream = H2Upstream::named("stable");
    let more = "upstream_protocol = \"h2\"\n";
    lacks_descriptors_for_upstreams("lack-h2", &upstream.url(), more);
}
