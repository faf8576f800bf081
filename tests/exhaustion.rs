//! What the process runs out of, and that it goes on.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::eventually::{eventually, now};
use crate::support::process::Process;
use crate::support::upstream::Upstream;
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
             [[route]]\nstable = \"{}\"\n",
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
        assert!(matches!(client.answer_to("GET").status, 200 | 502));
    }
    let served = || Client::connect(haldane.data).get("/", &[]).status == 200;
    // What the last ones had is given back by and by.
    eventually("there is room again", served);
    assert!((0..MANY).all(|_| served()));
}
