//! What was seen of a canary is not forgotten with the process that has seen it.

use std::path::Path;

use serde_json::Value;

use super::process::{Process, directory};
use crate::support::client::Client;
use crate::support::eventually::eventually;
use crate::support::upstream::{Behaviour, Upstream};

/// One gate, which takes more than a few failures.
fn route(stable: &Upstream, canary: &Upstream) -> String {
    format!(
        "[[route]]\nstable = {:?}\nweight = \"50%\"\n\
         canary = {{ version = \"v2\", upstream = {:?} }}\n\
         [route.sticky]\nkey = \"header:x-user\"\n\
         [route.rollout]\nshield = \"off\"\n\
         [[route.gate]]\nname = \"errors\"\nmetric = \"error_rate\"\n\
         rollback = \"stable + 1pp\"\n",
        stable.url(),
        canary.url()
    )
}

/// Users who ask one after another, each once but for the last one whom stable has answered.
#[derive(Default)]
struct Users {
    asked: u64,
    of_stable: String,
}

impl Users {
    /// Asks until so many of them had an answer of the canary.
    fn ask(&mut self, process: &Process, of_canary: usize) {
        let mut client = Client::connect(process.data);
        let mut found = 0;
        while found < of_canary {
            self.asked += 1;
            let user = format!("user-{}", self.asked);
            let answer = client.get("/", &[("x-user", &user)]);
            if answer.text() == "canary" {
                found += 1;
            } else {
                self.of_stable = user;
            }
        }
    }

    /// Asks until the canary has failed another user and stable was heard since. Whether it
    /// has traffic still.
    fn fail(&mut self, process: &Process) -> bool {
        self.ask(process, 1);
        let mut client = Client::connect(process.data);
        let mut status = Value::Null;
        eventually("stable is heard", || {
            client.get("/", &[("x-user", &self.of_stable)]);
            status = process.status();
            status["gates"][0]["reason"] != "stable"
        });
        status["phase"] != "rolled_back"
    }

    fn fail_until_rollback(&mut self, process: &Process) -> u64 {
        let mut failures = 1;
        while self.fail(process) {
            failures += 1;
            assert!(failures < 200, "{}", process.status());
        }
        failures
    }
}

/// Waits until all that was counted until now is on disk: a writing that had begun before may
/// be without the last of it, the next one is not.
fn is_kept(process: &Process, file: &Path, user: &str) {
    let mut client = Client::connect(process.data);
    let mut last = std::fs::read(file).ok();
    let mut changes = 0;
    eventually("evidence is written", || {
        client.get("/", &[("x-user", user)]);
        let now = std::fs::read(file).ok();
        changes += u32::from(now != last);
        last = now;
        changes >= 2
    });
}

fn gate(process: &Process) -> (f64, u64) {
    let status = process.status();
    let gate = &status["gates"][0];
    (
        gate["evidence"].as_f64().expect("a number"),
        gate["samples"].as_u64().expect("a number"),
    )
}

#[test]
fn a_sick_canary_is_rolled_back_as_if_nobody_had_been_killed() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let text = route(&stable, &canary);
    let begin = |name: &str| {
        canary.behave(Behaviour::Good);
        let directory = directory(name);
        let process = Process::start(&directory, &text);
        let mut users = Users::default();
        users.ask(&process, 30);
        canary.behave(Behaviour::Status(500));
        (directory, process, users)
    };
    let (_, process, mut users) = begin("evidence-whole");
    let whole = users.fail_until_rollback(&process);
    assert!(whole > 6, "{whole}");

    let (directory, mut process, mut users) = begin("evidence-killed");
    let file = directory.join("state/evidence.json");
    let mut failures = 0;
    for kill in 0..2 {
        for _ in 0..whole / 3 {
            assert!(users.fail(&process), "{failures} of {whole}");
            failures += 1;
        }
        is_kept(&process, &file, &users.of_stable);
        let before = gate(&process);
        process.kill();
        process = Process::start(&directory, &text);
        let after = gate(&process);
        assert!(
            (after.0 / before.0 - 1.0).abs() < 1e-9 && after.0 > 0.0,
            "kill {kill}: {before:?}, then {after:?}"
        );
        assert!(before.1 - after.1 < 10, "{before:?}, then {after:?}");
        assert!(!process.has_said("evidence begins anew"));
    }
    failures += users.fail_until_rollback(&process);
    assert!(
        (whole - 1..=whole + 1).contains(&failures),
        "{failures}, and {whole} without"
    );
}

#[test]
fn damaged_evidence_begins_anew_and_the_rollout_goes_on() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let text = route(&stable, &canary);
    let directory = directory("evidence-damaged");
    let file = directory.join("state/evidence.json");
    let mut users = Users::default();
    let process = Process::start(&directory, &text);
    process.set_weight("40%");
    canary.behave(Behaviour::Good);
    users.ask(&process, 10);
    canary.behave(Behaviour::Status(500));
    for _ in 0..2 {
        assert!(users.fail(&process));
    }
    let before = gate(&process);
    process.stop();
    // What ends as it should loses nothing.
    let process = Process::start(&directory, &text);
    assert_eq!(gate(&process), before);
    assert!(!process.has_said("evidence begins anew"));
    process.stop();
    let whole = std::fs::read(&file).expect("is there");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let contents = [&b""[..], &whole[..whole.len() / 2], b"\xff\x00", &flipped];
    for content in contents.into_iter().map(Some).chain([None]) {
        match content {
            Some(content) => std::fs::write(&file, content).expect("writes"),
            None => std::fs::remove_file(&file).expect("removes"),
        }
        let process = Process::start(&directory, &text);
        let status = process.status();
        assert_eq!(
            (&status["phase"], &status["weight"]),
            (&"idle".into(), &"40%".into())
        );
        assert_eq!(gate(&process), (0.0, 0));
        assert!(process.has_said("evidence begins anew"));
        assert!(users.fail(&process));
        process.stop();
        // A whole one has taken its place.
        let process = Process::start(&directory, &text);
        assert!(gate(&process).0 > 0.0);
        assert!(!process.has_said("evidence begins anew"));
        process.stop();
    }
    // Of other gates it is no evidence.
    let other = text.replace("1pp", "2pp");
    let process = Process::start(&directory, &other);
    assert_eq!(gate(&process), (0.0, 0));
    assert!(process.has_said("evidence begins anew"));
    assert_eq!(process.status()["weight"], "40%");
}
