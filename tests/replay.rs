//! Recorded requests through the gates: every format, both ways, in constant memory.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::cli::{Ran, file, haldane, ran, run};

/// One request of a trace.
#[derive(Clone, Debug)]
struct Row {
    timestamp_ms: u64,
    role: &'static str,
    status: u16,
    latency_us: u64,
    key: String,
    weight: f64,
}

/// Where the rollout of a trace begins, in rows.
const PRELUDE: u64 = 5_000;

/// Requests every millisecond of a service that fails 0.1 % of them, with a canary at 10 %
/// of the users that fails as often as it is said.
fn trace(rows: u64, canary_fails: f64) -> impl Iterator<Item = Row> {
    let mut random = fastrand::Rng::with_seed(11);
    (0..rows).map(move |index| {
        let user = random.u32(..);
        let weight = if index < PRELUDE { 0.0 } else { 0.1 };
        let is_canary = f64::from(user) / f64::from(u32::MAX) < weight;
        let fails = if is_canary { canary_fails } else { 0.001 };
        Row {
            timestamp_ms: 1_700_000_000_000 + index,
            role: if is_canary { "canary" } else { "stable" },
            status: if random.f64() < fails { 500 } else { 200 },
            latency_us: 20_000 + u64::from(random.u32(..40_000)),
            key: format!("user-{user}"),
            weight,
        }
    })
}

const HEADER: &str = "timestamp_ms,role,status,latency_us,key,weight\n";

fn csv_row(row: &Row) -> String {
    format!(
        "{},{},{},{},{},{}\n",
        row.timestamp_ms, row.role, row.status, row.latency_us, row.key, row.weight
    )
}

fn csv(rows: impl Iterator<Item = Row>) -> String {
    rows.fold(HEADER.to_owned(), |text, row| text + &csv_row(&row))
}

fn json_lines(rows: impl Iterator<Item = Row>) -> String {
    let mut text = String::new();
    for row in rows {
        let line = json!({
            "timestamp_ms": row.timestamp_ms,
            "role": row.role,
            "status": row.status,
            "latency_us": row.latency_us,
            "key": row.key,
            "weight": row.weight,
        });
        writeln!(text, "{line}").expect("writes");
    }
    text
}

/// As haldane's access log has it.
fn log_lines(rows: impl Iterator<Item = Row>) -> String {
    let mut text = String::new();
    for row in rows {
        let reason = (row.status >= 500).then_some("status");
        let line = json!({
            "time": "2023-11-14T22:13:20.000Z",
            "timestamp_ms": row.timestamp_ms,
            "route": "default",
            "role": row.role,
            "version": "v1",
            "generation": 1,
            "weight": row.weight,
            "key": row.key,
            "rule": null,
            "method": "GET",
            "status": row.status,
            "reason": reason,
            "error": null,
            "complete": true,
            "ttfb_us": row.latency_us,
            "duration_us": row.latency_us,
            "latency_us": row.latency_us,
            "client": "127.0.0.1",
        });
        writeln!(text, "{line}").expect("writes");
        // Sent by a rule, which is no evidence however it ends.
        if row.timestamp_ms % 1000 == 998 {
            let line = json!({"timestamp_ms": row.timestamp_ms, "route": "default", "role": "canary", "rule": "internal", "key": "00ff", "weight": row.weight, "status": 500, "reason": "status", "duration_us": 5, "latency_us": 5});
            writeln!(text, "{line}").expect("writes");
        }
        // Sent nowhere: not a row of any version.
        if row.timestamp_ms % 1000 == 999 {
            let line = json!({"timestamp_ms": row.timestamp_ms, "route": null, "role": null, "status": 404, "duration_us": 5, "latency_us": 5});
            writeln!(text, "{line}").expect("writes");
        }
    }
    text
}

/// The arguments with the path of a file that has this text in front.
fn replay(name: &str, text: &str, args: &[&str]) -> Ran {
    let path = file(&format!("replay-{name}"), text);
    let path = path.to_str().expect("is text");
    run(&[&["replay", path], args].concat())
}

fn object(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
}

/// The binary with a text on stdin.
fn piped(args: &[&str], text: &str) -> Ran {
    let mut child = start(args);
    let mut input = child.stdin.take().expect("is piped");
    // Whoever has decided reads no further.
    drop(input.write_all(text.as_bytes()));
    drop(input);
    ran(child.wait_with_output().expect("ends"))
}

fn start(args: &[&str]) -> Child {
    let mut command = haldane(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("starts")
}

#[test]
fn a_canary_that_fails_is_rolled_back_and_the_reason_is_said() {
    let rows: Vec<Row> = trace(60_000, 0.2).collect();
    let ran = replay("faulty.csv", &csv(rows.iter().cloned()), &["-o", "json"]);
    assert_eq!(ran.code, 10, "{ran:?}");
    let found = object(&ran);
    assert_eq!(found["schema"], "haldane.replay/1");
    assert_eq!(found["verdict"], "rolled_back");
    assert_eq!(found["gate"], "errors");
    let at = found["row"].as_u64().expect("a row");
    let row = &rows[usize::try_from(at).expect("fits") - 1];
    assert_eq!(found["timestamp_ms"], row.timestamp_ms);
    assert!(at < PRELUDE + 2_000, "{found}");
    let canaries = |rows: &[Row]| rows.iter().filter(|row| row.role == "canary").count() as u64;
    let until = &rows[..usize::try_from(at).expect("fits")];
    let requests = found["canary_requests"].as_u64().expect("a count");
    // Requests that started before the rollout and ended in it are nobody's.
    assert!(canaries(until) - requests < 20, "{found}");
    let failures = found["canary_failures"].as_u64().expect("a count");
    assert!((3..30).contains(&failures), "{found}");
    let sentence = found["sentence"].as_str().expect("a sentence");
    assert!(sentence.starts_with("errors: "), "{sentence}");

    let ran = replay("faulty.csv", &csv(rows.into_iter()), &[]);
    assert_eq!(ran.code, 10, "{ran:?}");
    for part in ["rolled back at row", sentence, "after the start"] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
}

#[test]
fn a_healthy_canary_is_not() {
    let text = csv(trace(60_000, 0.001));
    let ran = replay("healthy.csv", &text, &["-o", "json"]);
    let found = object(&ran);
    let verdict = found["verdict"].as_str().expect("a verdict");
    assert_eq!((verdict, ran.code), ("inconclusive", 11), "{found}");
    for key in ["gate", "row", "timestamp_ms"] {
        assert!(found[key].is_null(), "{found}");
    }
    assert!(found["canary_requests"].as_u64().expect("a count") > 5_000);
    assert!(
        found["sentence"]
            .as_str()
            .is_some_and(|text| text.contains("latency"))
    );
    let ran = replay("healthy.csv", &text, &[]);
    for part in [
        "inconclusive after 60000 rows",
        "errors",
        "latency",
        "meltdown",
    ] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
}

#[test]
fn a_gate_with_nothing_to_show_lets_a_healthy_canary_pass() {
    let path = file(
        "replay-run.toml",
        "listen = \":0\"\n[[route]]\nstable = \"http://127.0.0.1:1\"\n\
         [[route.gate]]\nname = \"meltdown\"\nmetric = \"consecutive_failures\"\nrollback = 10\n",
    );
    let config = path.to_str().expect("is text");
    let ran = replay(
        "passes.csv",
        &csv(trace(20_000, 0.001)),
        &["-c", config, "-o", "json"],
    );
    assert_eq!(
        (ran.code, &object(&ran)["verdict"]),
        (0, &json!("passed")),
        "{ran:?}"
    );
    let ran = replay(
        "melts.csv",
        &csv(trace(20_000, 1.0)),
        &["-c", config, "-o", "json"],
    );
    assert_eq!(ran.code, 10, "{ran:?}");
    assert_eq!(object(&ran)["gate"], "meltdown");
}

#[test]
fn every_format_gives_the_same_result() {
    let rows: Vec<Row> = trace(20_000, 0.05).collect();
    let rows = || rows.iter().cloned();
    let expected = object(&replay("one.csv", &csv(rows()), &["-o", "json"]));
    assert_eq!(expected["verdict"], "rolled_back");
    let lines = object(&replay("one.jsonl", &json_lines(rows()), &["-o", "json"]));
    assert_eq!(lines, expected);
    let log = object(&replay("one.log", &log_lines(rows()), &["-o", "json"]));
    let mut without_row = expected.clone();
    // The log has lines that are no requests of a version.
    without_row["row"] = log["row"].clone();
    assert_eq!(log, without_row);
    let skipped = 2 * (expected["row"].as_u64().expect("a row") / 1000);
    assert_eq!(
        log["row"].as_u64(),
        Some(expected["row"].as_u64().unwrap() + skipped)
    );

    // Without the weight, and with columns of no meaning in any order.
    let shuffled = rows().skip(usize::try_from(PRELUDE).unwrap()).fold(
        "extra,key,latency_us,status,role,timestamp_ms\n".to_owned(),
        |text, row| {
            let status = row.status;
            text + &format!(
                "x,{},{},{status},{},{}.0\n",
                row.key, row.latency_us, row.role, row.timestamp_ms
            )
        },
    );
    let given = object(&replay(
        "two.csv",
        &shuffled,
        &["--weight", "10%", "-o", "json"],
    ));
    let cut = csv(rows().skip(usize::try_from(PRELUDE).unwrap()));
    let own = object(&replay("three.csv", &cut, &["-o", "json"]));
    assert_eq!(given["verdict"], own["verdict"]);
    assert_eq!(given["gate"], own["gate"]);
}

#[test]
fn stdin_is_read_once_and_gives_the_same_decision() {
    let text = csv(trace(20_000, 0.3));
    let from_file = object(&replay("stdin.csv", &text, &["-o", "json"]));
    let ran = piped(&["replay", "-", "-o", "json"], &text);
    assert_eq!(ran.code, 10, "{ran:?}");
    let found = object(&ran);
    for key in ["verdict", "gate"] {
        assert_eq!(found[key], from_file[key]);
    }
    let apart = found["row"].as_i64().unwrap() - from_file["row"].as_i64().unwrap();
    assert!(apart.abs() < 500, "{found} {from_file}");
    let ran = piped(&["replay", "-"], "");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.contains("stdin:1: there is nothing to read"),
        "{ran:?}"
    );
}

#[test]
fn what_cannot_be_used_is_said_with_its_line_and_nothing_is_decided() {
    let rows: Vec<Row> = trace(8_000, 1.0).collect();
    // Decided long before the last row, which is bad.
    let text = csv(rows.into_iter()) + "1700000009000,canary,9999,1,,0.1\n";
    let ran = replay("bad.csv", &text, &["-o", "json"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    for part in [
        "replay-bad.csv:8002: status is 9999",
        "allowed is an HTTP status",
    ] {
        assert!(ran.err.contains(part), "{part}: {ran:?}");
    }
    for (name, text, args, code, part) in [
        (
            "a.csv",
            "a,b\n1,2\n",
            &[][..],
            1,
            ":1: the header has no timestamp_ms",
        ),
        (
            "b.csv",
            "timestamp_ms,role,status,latency_us,key\n",
            &[],
            1,
            "--weight",
        ),
        ("c.csv", HEADER, &["--weight", "5"], 2, "percent sign"),
        ("d.csv", HEADER, &["--rollouts", "5"], 2, "--aa"),
        (
            "e.csv",
            HEADER,
            &["-c", "cli-no-such.toml"],
            78,
            "cli-no-such.toml",
        ),
        (
            "f.jsonl",
            "{\"timestamp_ms\":1}\n",
            &[],
            1,
            "role is missing",
        ),
    ] {
        let ran = replay(name, text, args);
        assert_eq!(ran.code, code, "{name}: {ran:?}");
        assert!(ran.err.contains(part), "{name}: {ran:?}");
    }
    let ran = run(&["replay", "cli-no-such.csv"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let ran = replay("empty.csv", HEADER, &["-o", "json"]);
    assert_eq!(ran.code, 11, "{ran:?}");
    assert!(ran.out.contains("there was no rollout to judge"), "{ran:?}");
}

#[test]
fn a_route_is_named_where_there_is_more_than_one() {
    let path = file(
        "replay-two.toml",
        "listen = \":0\"\n[[route]]\nname = \"a\"\nstable = \"http://127.0.0.1:1\"\nmatch = { path = \"/a\" }\n\
         [[route]]\nname = \"b\"\nstable = \"http://127.0.0.1:1\"\n",
    );
    let config = path.to_str().expect("is text");
    let ran = replay("two.csv", &csv(trace(9_000, 1.0)), &["-c", config]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.err.contains("which route?") && ran.err.contains("a, b"),
        "{ran:?}"
    );
    let ran = replay(
        "two.csv",
        &csv(trace(9_000, 1.0)),
        &["-c", config, "--route", "b"],
    );
    assert_eq!(ran.code, 10, "{ran:?}");
    let ran = replay("two.csv", HEADER, &["-c", config, "--route", "c"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[test]
fn many_rollouts_of_a_canary_that_is_no_other_keep_the_promise() {
    // Bad for everybody: given at random, it is nobody's fault.
    let text = csv(trace(20_000, 0.3));
    let args = ["--aa", "--rollouts", "40", "-o", "json"];
    let ran = replay("aa.csv", &text, &args);
    assert_eq!(ran.code, 0, "{ran:?}");
    let found = object(&ran);
    assert_eq!(found["schema"], "haldane.replay.aa/1");
    assert_eq!(found["rollouts"], 40);
    assert_eq!(found["rows"], 20_000);
    assert_eq!(found["rolled_back"], 0, "{found}");
    assert_eq!(found["bound"], 0.001);
    assert_eq!(found["rate_low"], 0.0);
    let high = found["rate_high"].as_f64().expect("a rate");
    assert!((0.08..0.09).contains(&high), "{found}");
    assert_eq!(found["by_gate"], json!({}));
    let ran = piped(&["replay", "-", "--aa", "--rollouts", "3"], &text);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("0 of 3 rollouts"), "{ran:?}");
}

#[test]
fn more_false_rollbacks_than_promised_end_with_1() {
    // A run of two comes by chance, and nothing is promised about it.
    let path = file(
        "replay-short.toml",
        "listen = \":0\"\n[[route]]\nstable = \"http://127.0.0.1:1\"\n\
         [[route.gate]]\nname = \"errors\"\nmetric = \"error_rate\"\nrollback = \"stable + 1pp\"\n\
         [[route.gate]]\nname = \"nervous\"\nmetric = \"consecutive_failures\"\nrollback = 1\n",
    );
    let config = path.to_str().expect("is text");
    let args = ["--aa", "--rollouts", "10", "-c", config, "-o", "json"];
    let ran = replay("nervous.csv", &csv(trace(20_000, 0.3)), &args);
    assert_eq!(ran.code, 1, "{ran:?}");
    let found = object(&ran);
    assert_eq!(found["verdict"], "above");
    assert_eq!(found["by_gate"]["nervous"], found["rolled_back"]);
}

/// What a process has used at most, in KiB.
fn peak_kib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.expect("is readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

#[test]
fn a_million_rows_take_no_more_memory_than_some() {
    let mut child = start(&["replay", "-", "-o", "json"]);
    let mut input = child.stdin.take().expect("is piped");
    input.write_all(HEADER.as_bytes()).expect("writes");
    let mut early = 0;
    for (index, row) in trace(1_000_000, 0.001).enumerate() {
        input.write_all(csv_row(&row).as_bytes()).expect("writes");
        if index == 200_000 {
            early = peak_kib(&child);
        }
    }
    let late = peak_kib(&child);
    drop(input);
    let ran = ran(child.wait_with_output().expect("ends"));
    assert_eq!(
        object(&ran)["canary_requests"]
            .as_u64()
            .map(|count| count / 10_000),
        Some(9)
    );
    assert!(late < early + 8 * 1024, "from {early} to {late} KiB");
}
