//! A rollout goes on where it was, whenever the process was killed.

use std::net::SocketAddr;
use std::sync::mpsc;

use haldane_config::{Overrides, Source, load};
use haldane_decide::release::{Release, ReleaseSpec};
use haldane_decide::rollout::{Command, Order, Promotion};
use haldane_decide::tally::Tally;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;
use serde_json::{Value, json};

use super::process::{Process, command, directory, meanwhile};
use crate::support::client::Client;
use crate::support::eventually::{PATIENCE, eventually, some};

/// A plan in which nothing goes on by itself but its beginning.
const ROUTE: &str = "[[route]]\nstable = \"http://127.0.0.1:1\"\n\
    canary = { version = \"v2\", upstream = \"http://127.0.0.1:2\" }\n\
    [route.rollout]\n\
    steps = [\"1% until promoted\", \"5% until promoted\", \"50% until promoted\", \"100%\"]\n";

/// Where a rollout stands: generation, phase, weight and step.
fn standing(status: &Value) -> (u64, String, String, u64) {
    let text = |key: &str| status[key].as_str().expect("a text").to_owned();
    let number = |value: &Value| value.as_u64().expect("a number");
    (
        number(&status["generation"]),
        text("phase"),
        text("weight"),
        number(&status["rollout"]["step"]),
    )
}

/// What the process should do, by the same decisions without the process.
#[derive(Clone)]
struct Model(Release);

impl Model {
    fn new() -> Self {
        let source = Source {
            name: "haldane.toml".to_owned(),
            text: format!("listen = \":1\"\n{ROUTE}"),
        };
        let loaded = load(Some(&source), &Overrides::default()).expect("is valid");
        let route = &loaded.config.routes[0];
        let spec = ReleaseSpec {
            plan: route.plan.clone(),
            gates: route.gates.clone(),
            promise: route.promise,
            ..ReleaseSpec::default()
        };
        Self(Release::new(spec, &Tally::default(), NOW))
    }

    fn standing(&self) -> (u64, String, String, u64) {
        standing(&serde_json::to_value(self.0.status(NOW)).expect("plain data"))
    }

    /// The plan begins by itself.
    fn begin(&mut self) {
        let _effects = self.0.absorb(&Tally::default(), &mut |_, _| {}, NOW);
    }

    fn obey(&mut self, ask: Command) {
        let order = Order {
            command: ask,
            actor: None,
            reason: None,
        };
        // What is not legal has no effect.
        self.0.command(order, &Tally::default(), NOW).ok();
    }

    /// Where it may stand: here, or already begun.
    fn possible(&self) -> Vec<(u64, String, String, u64)> {
        let mut begun = self.clone();
        begun.begin();
        vec![self.standing(), begun.standing()]
    }
}

const NOW: Timestamp = Timestamp::from_micros(1 << 50);

fn draw(random: &mut fastrand::Rng) -> Command {
    match random.u8(0..16) {
        0 => Command::Rollback,
        1 | 2 => Command::Retry,
        3 | 4 => Command::Pause,
        5..=7 => Command::Resume,
        8 => Command::Promote(Promotion::Full),
        9 => Command::SetWeight(Weight::from_parts_per_million(random.u32(0..1_000_000)).unwrap()),
        _ => Command::Promote(Promotion::Next { from: None }),
    }
}

fn give(client: &mut Client, process: SocketAddr, ask: Command) -> Option<(u16, Value)> {
    let verb = ask.name().as_str();
    let (method, body) = match ask {
        Command::SetWeight(weight) => ("PUT", json!({ "weight": weight.to_string() })),
        Command::Promote(Promotion::Full) => ("POST", json!({ "full": true })),
        _ => ("POST", json!({})),
    };
    let path = format!("/v1/routes/default/{verb}");
    let answer = command(client, process, (method, &path), &body).ok()?;
    answer.end.ok()?;
    Some((
        answer.status,
        serde_json::from_slice(&answer.body.bytes).ok()?,
    ))
}

/// Gives commands until nobody answers: where the rollout may stand on disk then.
fn drive(
    (mut client, admin): (Client, SocketAddr),
    mut model: Model,
    seed: u64,
) -> (Vec<Model>, usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut possible = vec![model.clone()];
    let mut persisted = 0;
    loop {
        let ask = draw(&mut random);
        let mut next = model.clone();
        next.obey(ask);
        let Some((status, reply)) = give(&mut client, admin, ask) else {
            // What was not answered may have been carried out, or not; and it may have
            // begun before that.
            let mut begun = model.clone();
            begun.begin();
            let mut begun_next = begun.clone();
            begun_next.obey(ask);
            possible.extend([next, begun, begun_next]);
            return (possible, persisted);
        };
        if status == 409 {
            continue;
        }
        assert_eq!(status, 200, "{ask:?}: {reply}");
        if next.standing() != standing(&reply) {
            // It had begun when the command came, or began before the answer was made.
            let mut begun = model.clone();
            begun.begin();
            begun.obey(ask);
            if begun.standing() == standing(&reply) {
                next = begun;
            } else {
                next.begin();
            }
        }
        assert_eq!(next.standing(), standing(&reply), "{ask:?}");
        model = next;
        if reply["persisted"] == true {
            possible.clear();
            persisted += 1;
        }
        possible.push(model.clone());
    }
}

#[test]
fn kill_9_at_any_instant_loses_no_step_that_was_acknowledged() {
    const KILLS: u64 = 120;
    let seed = std::env::var("HALDANE_SEED").map_or(11, |seed| seed.parse().expect("a number"));
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = directory("rollout-kills");
    let mut model = Model::new();
    let mut persisted = 0;
    // How many commands fit in depends on what else the machine does.
    for round in 0..5 * KILLS {
        if round >= KILLS && persisted > 200 {
            break;
        }
        let process = Process::start(&directory, ROUTE);
        let now = standing(&process.status());
        let mut begun = model.clone();
        begun.begin();
        if now == begun.standing() {
            model = begun;
        }
        assert_eq!(now, model.standing(), "round {round} of seed {seed}");
        let (admin, own, start) = (process.admin, random.u64(..), model.clone());
        let (done, course) = mpsc::channel();
        let client = (Client::connect(admin), admin);
        let driver = std::thread::spawn(move || done.send(drive(client, start, own)).ok());
        meanwhile(std::time::Duration::from_micros(random.u64(0..120_000)));
        process.kill();
        let (possible, safe) = course.recv_timeout(PATIENCE).expect("ends");
        driver.join().expect("ends");
        persisted += safe;
        let process = Process::start(&directory, ROUTE);
        let now = standing(&process.status());
        process.kill();
        let found = possible
            .iter()
            .find(|model| model.possible().contains(&now));
        let Some(found) = found else {
            let possible: Vec<_> = possible.iter().map(Model::standing).collect();
            panic!("round {round} of seed {seed}: {now:?}, but it was one of {possible:?}");
        };
        model = found.clone();
        if model.standing() != now {
            model.begin();
        }
    }
    assert!(persisted > 200, "only {persisted} commands were safe");
}

#[test]
fn the_hold_that_is_spent_is_not_spent_again() {
    let route = ROUTE.replace("1% until promoted", "1% for 1h");
    let directory = directory("rollout-hold");
    let process = Process::start(&directory, &route);
    let held = |process: &Process| {
        let status = process.status();
        assert_eq!(status["phase"], "progressing");
        status["rollout"]["held_seconds"]
            .as_f64()
            .expect("a number")
    };
    eventually("it begins", || process.status()["phase"] == "progressing");
    let before = some("the hold is kept", || {
        let held = held(&process);
        (held > 6.8).then_some(held)
    });
    process.kill();
    let process = Process::start(&directory, &route);
    let after = held(&process);
    assert!(
        after >= 5.0 && after <= before + 2.0,
        "{before} before, {after} after"
    );
    process.kill();
}

#[test]
fn a_freeze_outlives_the_process() {
    let directory = directory("rollout-freeze");
    let process = Process::start(&directory, ROUTE);
    let why = json!({ "actor": "bob", "reason": "incident 42" });
    let (status, answer) = process.ask("PUT", "/v1/freeze", &why);
    assert_eq!((status, &answer["persisted"]), (200, &json!(true)));
    process.kill();
    let process = Process::start(&directory, ROUTE);
    let status = process.status();
    assert_eq!(status["frozen"]["reason"], "incident 42", "{status}");
    let (status, _) = process.ask("POST", "/v1/routes/default/promote", &json!({}));
    assert_eq!(status, 409);
    let (_, answer) = process.ask("DELETE", "/v1/freeze", &json!({}));
    assert_eq!(answer["persisted"], true);
    process.kill();
    let process = Process::start(&directory, ROUTE);
    assert_eq!(process.status()["frozen"], Value::Null);
    process.kill();
}

#[test]
fn what_was_frozen_at_the_start_and_is_not_any_more_stays_so() {
    let directory = directory("rollout-thaw");
    let process = Process::start(&directory, ROUTE);
    let (_, answer) = process.ask("PUT", "/v1/freeze", &json!({}));
    assert_eq!(answer["persisted"], true);
    process.kill();
    // The process before may take a while to go.
    let lock = std::fs::File::open(directory.join("state/lock")).expect("is there");
    lock.try_lock().expect("is free");
    let process = Process::start(&directory, ROUTE);
    let (_, answer) = process.ask("DELETE", "/v1/freeze", &json!({}));
    assert_eq!(
        (&answer["changed"], &answer["persisted"]),
        (&json!(true), &json!(false))
    );
    drop(lock);
    eventually("it may write", || process.status()["persisted"] == true);
    assert_eq!(process.status()["frozen"], Value::Null);
    process.kill();
    let process = Process::start(&directory, ROUTE);
    assert_eq!(process.status()["frozen"], Value::Null);
    process.kill();
}
