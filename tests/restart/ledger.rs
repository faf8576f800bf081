//! How many were on the canary outlives the process, at most a second late.

use serde_json::{Value, json};

use super::process::{Process, directory};
use crate::support::client::Client;
use crate::support::eventually::{eventually, some};
use crate::support::upstream::Upstream;

fn exposure(process: &Process) -> Value {
    let (status, answer) = process.ask("GET", "/v1/routes/default/exposure", &Value::Null);
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn who_was_counted_stays_counted_after_kill_9_and_a_new_generation_begins_with_none() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let directory = directory("ledger");
    let route = super::route(&stable, &canary, "v2", "99.9999%");
    let process = Process::start(&directory, &route);
    let mut client = Client::connect(process.data);
    for user in 0..20 {
        client.get("/", &[("x-user", &user.to_string())]);
    }
    let state = directory.join("state/state.json");
    eventually("it is kept", || {
        let text = std::fs::read_to_string(&state).unwrap_or_default();
        text.contains("\"exposed\":{\"users\":20,")
    });
    process.kill();
    let process = Process::start(&directory, &route);
    let after = exposure(&process);
    assert_eq!(after["users"], json!({ "count": 20, "exact": false }));
    assert_eq!(after["saw_error"], json!({ "count": 0, "exact": true }));
    // What was kept by the process before is no step of a release.
    process.set_weight("99.9998%");
    Client::connect(process.data).get("/", &[("x-user", "another")]);
    let count = some("the next is counted", || {
        let count = exposure(&process)["users"]["count"].as_u64();
        count.filter(|count| *count > 20)
    });
    assert_eq!(count, 21);
    process.tell("POST", "rollback", &json!({}));
    process.tell("POST", "retry", &json!({}));
    assert_eq!(
        exposure(&process)["users"],
        json!({ "count": 0, "exact": true })
    );
    process.stop();
    let process = Process::start(&directory, &route);
    assert_eq!(
        exposure(&process)["users"],
        json!({ "count": 0, "exact": true })
    );
}
