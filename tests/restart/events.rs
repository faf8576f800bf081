//! What happened is still told by the next process, and its numbers go on.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::ROUTE;
use super::process::{Process, directory};
use crate::support::eventually::eventually;

fn events(process: &Process, since: u64) -> Vec<Value> {
    let path = format!("/v1/events?since={since}");
    let (status, answer) = process.ask("GET", &path, &Value::Null);
    assert_eq!(status, 200, "{answer}");
    let events = answer["events"].as_array().expect("a list");
    let last = events.last().map_or(&answer["last"], |event| &event["seq"]);
    assert_eq!(&answer["last"], last);
    events.clone()
}

fn reweigh(process: &Process, weight: &str, reason: &str) {
    let body = json!({ "weight": weight, "reason": reason });
    let reply = process.tell("PUT", "weight", &body);
    assert_eq!(reply["persisted"], true, "{reply}");
}

fn file(directory: &Path) -> std::path::PathBuf {
    directory.join("state/events.jsonl")
}

#[test]
fn what_happened_is_told_after_kill_9() {
    let directory = directory("events");
    let mut process = Process::start(&directory, ROUTE);
    let mut before = Vec::new();
    for round in 1..=3 {
        reweigh(&process, &format!("{round}%"), &format!("round {round}"));
        let now = events(&process, 0);
        assert_eq!(now.len(), before.len() + 1);
        assert_eq!(now[..before.len()], before);
        let last = now.last().expect("is there");
        assert_eq!(
            (&last["seq"], &last["by"]["reason"]),
            (&json!(round), &json!(format!("round {round}")))
        );
        before = now;
        process.kill();
        process = Process::start(&directory, ROUTE);
        assert_eq!(events(&process, 0), before);
        assert_eq!(events(&process, 2), before[before.len().min(2)..]);
        eventually("they are said to be safe", || {
            process.status()["persisted"] == true
        });
        let (_, answer) = process.ask("GET", "/v1/events", &Value::Null);
        assert_eq!(answer["persisted"], json!(round));
    }
    assert!(!process.has_said("what happened before is incomplete"));
}

#[test]
fn a_line_that_was_cut_is_dropped_with_a_warning() {
    let directory = directory("events-cut");
    let process = Process::start(&directory, ROUTE);
    reweigh(&process, "1%", "one");
    let before = events(&process, 0);
    process.kill();
    let mut cut = std::fs::OpenOptions::new()
        .append(true)
        .open(file(&directory))
        .expect("is there");
    cut.write_all(b"{\"seq\":2,\"route\":\"defa")
        .expect("writes");
    drop(cut);
    let process = Process::start(&directory, ROUTE);
    assert!(process.has_said("what happened before is incomplete"));
    assert_eq!(events(&process, 0), before);
    reweigh(&process, "2%", "two");
    let before = events(&process, 0);
    assert_eq!(before.len(), 2);
    process.stop();
    let process = Process::start(&directory, ROUTE);
    assert!(!process.has_said("what happened before is incomplete"));
    assert_eq!(events(&process, 0), before);
}

#[test]
fn without_the_file_numbers_begin_anew_and_without_a_place_for_it_nothing_breaks() {
    let directory = directory("events-gone");
    let process = Process::start(&directory, ROUTE);
    reweigh(&process, "1%", "one");
    process.stop();
    let file = file(&directory);
    std::fs::remove_file(&file).expect("is there");
    // Also for root: nothing can be written where a directory is.
    std::fs::create_dir(&file).expect("makes a directory");
    let process = Process::start(&directory, ROUTE);
    assert_eq!(events(&process, 0), Vec::<Value>::new());
    // The state is judged on its own.
    reweigh(&process, "2%", "two");
    assert!(process.has_said("what happens is not kept: a restart would forget it"));
    std::fs::remove_dir(&file).expect("is empty");
    reweigh(&process, "3%", "three");
    let before = events(&process, 0);
    assert_eq!(before.len(), 2);
    process.kill();
    let process = Process::start(&directory, ROUTE);
    assert_eq!(events(&process, 0), before);
}
