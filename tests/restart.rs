//! What was acknowledged is there after a crash, and a rolled-back canary stays so.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::eventually::{PATIENCE, eventually};
use crate::support::proxy::Setup;
use crate::support::upstream::{Behaviour, Upstream};

mod events;
mod evidence;
mod ledger;
mod process;
mod rollout;

use process::{Process, command, configure, directory, kill, meanwhile, metrics, spawn};

/// Where a release stands, as far as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Standing {
    generation: u64,
    weight: String,
    phase: String,
}

impl Standing {
    fn of(status: &Value) -> Self {
        Self {
            generation: status["generation"].as_u64().expect("a number"),
            weight: status["weight"].as_str().expect("a text").to_owned(),
            phase: status["phase"].as_str().expect("a text").to_owned(),
        }
    }
}

/// What a client may ask for.
#[derive(Clone, Debug)]
enum Ask {
    Retry,
    Rollback,
    RollbackAll,
    Weight(String),
}

impl Ask {
    fn random(random: &mut fastrand::Rng) -> Self {
        match random.u8(0..8) {
            0 => Self::Rollback,
            1 => Self::RollbackAll,
            2 | 3 => Self::Retry,
            _ => Self::Weight(format!("{}%", random.u8(0..=100))),
        }
    }

    fn give(&self, client: &mut Client, admin: SocketAddr) -> Option<(u16, Value)> {
        let (method, path, body) = match self {
            Self::Retry => ("POST", "/v1/routes/default/retry", json!({})),
            Self::Rollback => ("POST", "/v1/routes/default/rollback", json!({})),
            Self::RollbackAll => ("POST", "/v1/rollback", json!({})),
            Self::Weight(weight) => (
                "PUT",
                "/v1/routes/default/weight",
                json!({ "weight": weight }),
            ),
        };
        let answer = command(client, admin, (method, path), &body).ok()?;
        answer.end.ok()?;
        let value: Value = serde_json::from_slice(&answer.body.bytes).ok()?;
        let of_route = value["routes"].get(0).cloned();
        Some((answer.status, of_route.unwrap_or(value)))
    }

    /// Where a release that stands at `from` stands afterwards.
    fn after(&self, from: &Standing) -> Standing {
        let mut standing = from.clone();
        match (self, from.phase.as_str()) {
            (Self::Weight(weight), "idle") => standing.weight.clone_from(weight),
            (Self::Rollback | Self::RollbackAll, "idle") => {
                standing.weight = "0%".to_owned();
                standing.phase = "rolled_back".to_owned();
            }
            (Self::Retry, "rolled_back") => {
                standing.generation += 1;
                standing.weight = "5%".to_owned();
                standing.phase = "idle".to_owned();
            }
            _ => {}
        }
        standing
    }
}

/// One canary at 5 %, neither version of which is asked anything.
const ROUTE: &str = "[[route]]\nstable = \"http://127.0.0.1:1\"\n\
    canary = { version = \"v2\", upstream = \"http://127.0.0.1:2\" }\nweight = \"5%\"\n";

/// The last thing that was asked for, and where the release may stand on disk.
struct Course {
    /// What was last said to be there, and behind it what was not yet: a disk that is
    /// slow for a moment is no failure, as long as it is told.
    possible: Vec<Standing>,
    pending: Option<Ask>,
    answers: usize,
    persisted: usize,
}

/// Gives commands one after another, as fast as they are answered, until nobody answers.
fn drive(mut client: Client, admin: SocketAddr, (from, seed): (Standing, u64)) -> Course {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut course = Course {
        possible: vec![from],
        pending: None,
        answers: 0,
        persisted: 0,
    };
    loop {
        let ask = Ask::random(&mut random);
        course.pending = Some(ask.clone());
        let Some((status, reply)) = ask.give(&mut client, admin) else {
            return course;
        };
        course.answers += 1;
        course.pending = None;
        match status {
            200 => {
                if reply["persisted"] == true {
                    course.possible.clear();
                    course.persisted += 1;
                }
                course.possible.push(Standing::of(&reply));
            }
            // A weight for what is rolled back: nothing has changed.
            409 => {}
            other => panic!("{other}: {reply}"),
        }
    }
}

#[test]
fn kill_9_at_any_instant_loses_nothing_that_was_acknowledged() {
    const KILLS: u64 = 220;
    let seed = std::env::var("HALDANE_SEED").map_or(7, |seed| seed.parse().expect("a number"));
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = directory("kills");
    let config = configure(&directory, ROUTE);
    let mut expected = Standing {
        generation: 1,
        weight: "5%".to_owned(),
        phase: "idle".to_owned(),
    };
    let (mut answers, mut persisted, mut ahead) = (0, 0, 0);
    // How many commands fit in depends on what else the machine does.
    for round in 0..5 * KILLS {
        if round >= KILLS && answers > 100 && persisted > 50 && ahead > 0 {
            break;
        }
        if random.u8(0..4) == 0 {
            // Within its start, wherever that is.
            let child = spawn(&config);
            meanwhile(Duration::from_micros(random.u64(0..20_000)));
            kill(child);
            continue;
        }
        let process = Process::start(&directory, ROUTE);
        let status = process.status();
        assert_eq!(
            status["state"]["damaged"],
            Value::Null,
            "round {round}: {status}"
        );
        let now = Standing::of(&status);
        assert_eq!(now, expected, "round {round} of seed {seed}");
        let (admin, own) = (process.admin, random.u64(..));
        let client = Client::connect(admin);
        let (done, course) = mpsc::channel();
        let own = (expected, own);
        let driver = std::thread::spawn(move || done.send(drive(client, admin, own)).ok());
        meanwhile(Duration::from_micros(random.u64(0..60_000)));
        process.kill();
        let course = course.recv_timeout(PATIENCE);
        let mut course = course.expect("ends with the process");
        driver.join().expect("ends");
        answers += course.answers;
        persisted += course.persisted;
        // What was not answered may have been carried out, or not.
        let last = course.possible.last().cloned().expect("is somewhere");
        course
            .possible
            .extend(course.pending.map(|pending| pending.after(&last)));
        let process = Process::start(&directory, ROUTE);
        let now = Standing::of(&process.status());
        process.kill();
        let possible = course.possible;
        assert!(
            possible.contains(&now),
            "round {round} of seed {seed}: {now:?}, but it was one of {possible:?}"
        );
        ahead += usize::from(now != last);
        expected = now;
    }
    assert!(answers > 100, "only {answers} commands were given");
    assert!(persisted > 50, "only {persisted} of {answers} were safe");
    assert!(
        ahead > 0,
        "no command was ever caught between disk and answer"
    );
}

fn route(stable: &Upstream, canary: &Upstream, version: &str, weight: &str) -> String {
    format!(
        "[[route]]\nstable = {:?}\nweight = {weight:?}\n\
         canary = {{ version = {version:?}, upstream = {:?} }}\n\
         [route.sticky]\nkey = \"header:x-user\"\n\
         [[route.gate]]\nname = \"meltdown\"\nmetric = \"consecutive_failures\"\nrollback = 3\n",
        stable.url(),
        canary.url()
    )
}

/// Which of 60 users the canary has.
fn users(process: &Process) -> Vec<bool> {
    let mut client = Client::connect(process.data);
    (0..60)
        .map(|user| {
            let user = format!("user-{user}");
            client.get("/", &[("x-user", &user)]).text() == "canary"
        })
        .collect()
}

#[test]
fn users_stay_on_their_version_and_a_weight_stays_where_it_was_put() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let directory = directory("users");
    let process = Process::start(&directory, &route(&stable, &canary, "v2", "5%"));
    process.set_weight("50%");
    let before = users(&process);
    assert!(before.contains(&true) && before.contains(&false));
    process.kill();
    // The file is a plan: its weight is for the next generation.
    let process = Process::start(&directory, &route(&stable, &canary, "v2", "90%"));
    let status = process.status();
    assert_eq!(
        (&status["weight"], &status["generation"]),
        (&json!("50%"), &json!(1))
    );
    assert_eq!(status["configured_weight"], "90%");
    assert_eq!(users(&process), before);
    process.stop();
    let process = Process::start(&directory, &route(&stable, &canary, "v2", "5%"));
    assert_eq!(users(&process), before);
}

#[test]
fn a_rollback_by_a_gate_outlives_the_process_with_its_cause() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let directory = directory("latch");
    let text = route(&stable, &canary, "v2", "100%");
    let process = Process::start(&directory, &text);
    let mut client = Client::connect(process.data);
    for _ in 0..3 {
        client.get("/", &[("x-user", "a")]);
    }
    eventually("the rollback is on disk", || {
        let status = process.status();
        status["phase"] == "rolled_back" && status["persisted"] == true
    });
    let before = process.status();
    process.kill();
    let process = Process::start(&directory, &text);
    let after = process.status();
    for key in [
        "phase",
        "generation",
        "weight",
        "rolled_back_at",
        "by",
        "cause",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(after["verdict"], "fail");
    assert!(!users(&process).contains(&true));
    let (status, _) = process.ask(
        "PUT",
        "/v1/routes/default/weight",
        &json!({ "weight": "5%" }),
    );
    assert_eq!(status, 409);
    process.kill();
    // Another canary is another attempt, and the one before does not come back with it.
    let process = Process::start(&directory, &route(&stable, &canary, "v3", "7%"));
    let status = process.status();
    assert_eq!(
        (&status["phase"], &status["generation"]),
        (&json!("idle"), &json!(2))
    );
    assert_eq!(status["weight"], "7%");
}

#[test]
fn a_route_that_comes_back_stands_where_it_stood() {
    let directory = directory("absent");
    let other = "[[route]]\nname = \"other\"\nstable = \"http://127.0.0.1:1\"\n";
    let process = Process::start(&directory, ROUTE);
    process.tell("POST", "rollback", &json!({ "reason": "bad" }));
    process.kill();
    let process = Process::start(&directory, other);
    eventually("its state is written", || {
        let (_, routes) = process.ask("GET", "/v1/routes", &Value::Null);
        routes["routes"][0]["persisted"] == true
    });
    process.stop();
    let process = Process::start(&directory, ROUTE);
    assert_eq!(process.status()["cause"], "command: bad");
}

/// The names in the state directory that begin like this.
fn named(state: &Path, prefix: &str) -> usize {
    let entries = std::fs::read_dir(state).expect("is readable");
    entries
        .filter(|entry| {
            let name = entry.as_ref().expect("is readable").file_name();
            name.to_string_lossy().starts_with(prefix)
        })
        .count()
}

#[test]
fn damaged_state_takes_the_traffic_of_every_canary_and_says_so() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let directory = directory("damaged");
    let text = route(&stable, &canary, "v2", "100%");
    let process = Process::start(&directory, &text);
    process.set_weight("90%");
    process.stop();
    let file = directory.join("state/state.json");
    let whole = std::fs::read(&file).expect("is there");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let another = whole
        .strip_prefix(b"{\"schema\":\"haldane.state/1")
        .expect("its schema");
    let another = [&b"{\"schema\":\"haldane.state/9"[..], another].concat();
    let contents = [
        &b""[..],
        &whole[..whole.len() - 1],
        &whole[..whole.len() / 3],
        b"null",
        b"\xff\x00",
        &flipped,
        &another,
    ];
    for content in contents {
        std::fs::write(&file, content).expect("writes");
        let process = Process::start(&directory, &text);
        let status = process.status();
        assert_eq!(status["phase"], "rolled_back", "{status}");
        assert_eq!(
            (&status["weight"], &status["by"]["kind"]),
            (&json!("0%"), &json!("state_damaged"))
        );
        assert!(
            status["state"]["damaged"]
                .as_str()
                .expect("says it")
                .contains("state.json")
        );
        assert!(!users(&process).contains(&true));
        assert!(metrics(process.admin).contains("haldane_state_ok 0"));
        let (_, events) = process.ask("GET", "/v1/events", &Value::Null);
        let last = events["events"].as_array().and_then(|events| events.last());
        assert_eq!(last.expect("is there")["kind"], "state_damaged", "{events}");
        eventually("a whole state takes its place", || {
            process.status()["persisted"] == true
        });
        process.kill();
        // Reading it once does not make it good.
        let process = Process::start(&directory, &text);
        assert_eq!(process.status()["by"]["kind"], "state_damaged");
        process.tell("POST", "retry", &json!({}));
        assert_eq!(process.status()["weight"], "100%");
        assert!(metrics(process.admin).contains("haldane_state_ok 1"));
        process.stop();
    }
    let kept = named(&directory.join("state"), "state.json.damaged-");
    assert!((1..=5).contains(&kept), "{kept} damaged files");
}

#[test]
fn what_cannot_be_written_harms_nobody_and_is_written_when_it_can() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let directory = directory("unwritable");
    // Also for root: nothing can be written where a directory is in the way.
    let in_the_way = directory.join("state/state.json.new/x");
    std::fs::create_dir_all(&in_the_way).expect("makes a directory");
    let state = directory.join("state");
    let proxy = Setup::canary(&stable, &canary, "100%")
        .top(&format!("state_dir = {state:?}"))
        .start();
    assert_eq!(proxy.get("/", &[]).text(), "canary");
    let reply = proxy.set_weight("0%");
    assert_eq!(
        (&reply["persisted"], &reply["changed"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(proxy.get("/", &[]).text(), "stable");
    let status = proxy.status();
    assert!(
        status["state"]["error"]
            .as_str()
            .expect("says it")
            .contains("cannot keep state")
    );
    let metrics = metrics(proxy.admin_address);
    assert!(metrics.contains("haldane_state_ok 0"), "{metrics}");
    assert!(!metrics.contains("haldane_state_write_failures_total 0"));
    std::fs::remove_dir_all(directory.join("state/state.json.new")).expect("is removed");
    eventually("it is written", || proxy.status()["persisted"] == true);
    assert_eq!(proxy.status()["state"]["error"], Value::Null);
    assert_eq!(proxy.set_weight("1%")["persisted"], true);
}

#[test]
fn without_a_directory_nothing_is_kept_and_nobody_waits() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "5%").start();
    let reply = proxy.set_weight("1%");
    assert_eq!(
        (&reply["persisted"], &reply["state"]["kept"]),
        (&json!(false), &json!(false))
    );
    let metrics = metrics(proxy.admin_address);
    assert!(!metrics.contains("haldane_state_ok"));
}

#[test]
fn of_two_processes_one_writes_and_the_other_follows_when_it_may() {
    let directory = directory("two");
    let first = Process::start(&directory, ROUTE);
    first.set_weight("40%");
    let second = Process::start(&directory, ROUTE);
    assert_eq!(second.status()["weight"], "40%", "everyone reads");
    eventually("the second says that it does not write", || {
        let status = second.status();
        let error = status["state"]["error"].as_str().unwrap_or_default();
        error.contains("another process") && status["persisted"] == false
    });
    first.tell("POST", "rollback", &json!({ "reason": "bad" }));
    assert_eq!(second.status()["phase"], "idle");
    first.stop();
    eventually("the second takes over, and rolls back as well", || {
        let status = second.status();
        status["cause"] == "command: bad" && status["persisted"] == true
    });
    assert_eq!(second.status()["weight"], "0%");
    second.kill();
    let third = Process::start(&directory, ROUTE);
    assert_eq!(third.status()["cause"], "command: bad");
}

#[test]
fn what_was_read_at_the_start_takes_back_nothing_that_was_done_since() {
    let directory = directory("since");
    let process = Process::start(&directory, ROUTE);
    assert_eq!(process.set_weight("10%")["persisted"], true);
    process.kill();
    let lock = std::fs::File::open(directory.join("state/lock")).expect("is there");
    lock.try_lock().expect("is free");
    let process = Process::start(&directory, ROUTE);
    assert_eq!(process.set_weight("40%")["persisted"], false);
    drop(lock);
    eventually("it may write", || process.status()["persisted"] == true);
    assert_eq!(process.status()["weight"], "40%");
    process.kill();
    let process = Process::start(&directory, ROUTE);
    assert_eq!(process.status()["weight"], "40%");
}

#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory("mode");
    let process = Process::start(&directory, ROUTE);
    process.set_weight("1%");
    for (name, mode) in [
        ("state", 0o700),
        ("state/state.json", 0o600),
        ("state/lock", 0o600),
    ] {
        let metadata = std::fs::metadata(directory.join(name)).expect("is there");
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
    }
}
