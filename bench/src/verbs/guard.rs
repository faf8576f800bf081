//! `guard`: instructions and allocations per request, compared with those that were accepted.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path, time::Duration};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Answer, Bench, difference};
use crate::{
    args::Guard,
    case::{Case, Kind},
    check::Ledger,
    failure::Failure,
    profile::{self, Counts},
    proxies::{Proxy, on_path},
    report::{Report, Table},
};

/// Of one request: instructions, and calls that allocate.
type Cost = (f64, f64);

/// Counts, and compares or accepts.
pub(super) fn run(arguments: &Guard) -> Result<Answer, Failure> {
    let mut bench = Bench::new(&arguments.common, &[Proxy::Haldane])?;
    let valgrind = on_path("valgrind")
        .ok_or_else(|| Failure::Missing("valgrind: not on PATH, install it".to_owned()))?;
    let kinds = match &arguments.cases[..] {
        [] => Kind::value_variants(),
        cases => cases,
    };
    let kept = arguments.keep.clone();
    let place = kept.unwrap_or_else(|| bench.setup.directory.path().to_owned());
    let mut found = BTreeMap::new();
    for &kind in kinds {
        let mut count = |requests| {
            let profiles = place.join(format!("{}-{requests}", kind.name()));
            count(kind, requests, (&valgrind, &profiles), &mut bench)
        };
        let (before, after) = (count(REQUESTS_FEW)?, count(REQUESTS_MANY)?);
        let cost = after.per_request(before, REQUESTS_MANY - REQUESTS_FEW);
        eprintln!("haldane-bench: {} done", kind.name());
        found.insert(kind.name(), cost);
    }
    if arguments.accept {
        write(&arguments.file, &found)?;
    }
    let accepted = read(&arguments.file)?;
    let worse: Vec<String> = found
        .iter()
        .filter_map(|(name, cost)| complaint(name, *cost, accepted.get(*name).copied()))
        .collect();
    let report = report(bench.notes, &found, &accepted);
    let failure = (!worse.is_empty()).then(|| {
        Failure::violation(format!(
            "{}\nwhat is meant to cost more is accepted by bench/guard --accept, in the same commit",
            worse.join("\n")
        ))
    });
    Ok(Answer::of(&report, arguments.common.json, failure))
}

/// Starts haldane below valgrind, which leaves its profiles in a directory, and has it answer one
/// request after the other.
fn count(
    kind: Kind,
    requests: u64,
    (valgrind, profiles): (&Path, &Path),
    bench: &mut Bench,
) -> Result<Counts, Failure> {
    fs::create_dir_all(profiles).map_err(Failure::io(format!("create {}", profiles.display())))?;
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(profiles.join("profile"));
    bench.setup.wrapper = vec![
        valgrind.as_os_str().to_owned(),
        "--tool=callgrind".into(),
        "--separate-threads=yes".into(),
        out,
    ];
    let running = Proxy::Haldane.start(&bench.setup, &mut bench.engine)?;
    let (case, mut ledger) = (Case::new(kind), Ledger::new(Proxy::Haldane.expectation()));
    let served = bench.engine.upstreams.served();
    let target = running.target(kind, &bench.setup);
    let mut clients = bench.engine.clients(&[target], 1, &case, &mut ledger)?;
    bench
        .engine
        .run_count(&mut clients, requests)
        .map_err(|failure| running.explain(failure.within(kind.name())))?;
    drop(clients);
    bench.engine.settle(REST)?;
    ledger.settle([0, 0], difference(bench.engine.upstreams.served(), served))?;
    running.finish(END_MAX)?;
    busiest(profiles)
}

/// The counts of the worker: besides the first thread, which is that of decisions and the API and
/// works by the clock, it is the one that has most to do.
fn busiest(profiles: &Path) -> Result<Counts, Failure> {
    let entries = fs::read_dir(profiles).map_err(Failure::io("list the profiles"))?;
    let mut busiest: Option<Counts> = None;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let thread = name.to_str().and_then(|name| name.strip_prefix("profile-"));
        if thread.is_none_or(|thread| thread == "01") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).map_err(Failure::io("read a profile"))?;
        let counts = profile::read(&text)
            .map_err(|what| Failure::violation(format!("{name:?} is no profile: {what}")))?;
        if busiest.is_none_or(|other| other.instructions < counts.instructions) {
            busiest = Some(counts);
        }
    }
    busiest.ok_or_else(|| Failure::violation("valgrind has left no profile"))
}

/// `None` when a cost is no more than the accepted one and its tolerance.
fn complaint(
    name: &str,
    (instructions, allocations): Cost,
    accepted: Option<Cost>,
) -> Option<String> {
    let Some((instructions_before, allocations_before)) = accepted else {
        return Some(format!("{name}: nothing is accepted yet"));
    };
    let more = instructions / instructions_before;
    if more > TOLERANCE {
        return Some(format!(
            "{name}: {instructions:.0} instructions a request, {:.1} % more than {instructions_before:.0}",
            (more - 1.0) * 100.0
        ));
    }
    (allocations > allocations_before * TOLERANCE + ALLOCATIONS_SPARE).then(|| {
        format!("{name}: {allocations:.2} allocations a request instead of {allocations_before:.2}")
    })
}

fn read(file: &Path) -> Result<BTreeMap<String, Cost>, Failure> {
    let text = fs::read_to_string(file).map_err(Failure::io(format!(
        "read {} (--accept makes it)",
        file.display()
    )))?;
    let bad = || Failure::violation(format!("{} is not what --accept wrote", file.display()));
    let value: Value = serde_json::from_str(&text).map_err(|_| bad())?;
    let cases = value["cases"].as_object().ok_or_else(bad)?;
    let cost = |(name, cost): (&String, &Value)| {
        let instructions = cost["instructions"].as_f64()?;
        Some((name.clone(), (instructions, cost["allocations"].as_f64()?)))
    };
    cases
        .iter()
        .map(|case| cost(case).ok_or_else(bad))
        .collect()
}

/// Cases that were not counted now keep what was accepted for them.
fn write(file: &Path, found: &BTreeMap<&'static str, Cost>) -> Result<(), Failure> {
    let mut accepted = if file.exists() {
        read(file)?
    } else {
        BTreeMap::new()
    };
    accepted.extend(found.iter().map(|(name, cost)| ((*name).to_owned(), *cost)));
    let cases: BTreeMap<&String, Value> = accepted
        .iter()
        .map(|(name, (instructions, allocations))| {
            let allocations = (allocations * 100.0).round() / 100.0;
            let cost = json!({ "instructions": instructions.round(), "allocations": allocations });
            (name, cost)
        })
        .collect();
    let value = json!({ "schema": "haldane.bench.guard/1", "cases": cases });
    fs::write(file, format!("{value:#}\n"))
        .map_err(Failure::io(format!("write {}", file.display())))
}

fn report(
    notes: Vec<String>,
    found: &BTreeMap<&'static str, Cost>,
    accepted: &BTreeMap<String, Cost>,
) -> Report {
    let (mut rows, mut results) = (Vec::new(), Vec::new());
    for (name, (instructions, allocations)) in found {
        let before = accepted.get(*name).map(|(instructions, _)| *instructions);
        let change = before.map_or_else(
            || "-".to_owned(),
            |before| format!("{:+.2} %", (instructions / before - 1.0) * 100.0),
        );
        rows.push(vec![
            (*name).to_owned(),
            format!("{instructions:.0}"),
            before.map_or_else(|| "-".to_owned(), |before| format!("{before:.0}")),
            change,
            format!("{allocations:.2}"),
        ]);
        results.push(json!({
            "case": name, "instructions": instructions, "allocations": allocations,
            "accepted_instructions": before,
        }));
    }
    let columns = ["case", "instructions", "accepted", "change", "allocations"];
    Report {
        verb: "guard",
        notes,
        tables: vec![Table {
            title: "the worker in user space, a request".to_owned(),
            columns: columns.map(str::to_owned).to_vec(),
            rows,
        }],
        results,
    }
}

/// What the start costs, and filling tables and pools, falls out of the difference.
const REQUESTS_FEW: u64 = 100;

/// Enough that a tick of a timer more or less is nothing.
const REQUESTS_MANY: u64 = 1_100;

/// Counts of one build differ by less than a hundredth between runs.
const TOLERANCE: f64 = 1.05;

/// An allocation in every tenth request is none.
const ALLOCATIONS_SPARE: f64 = 0.1;

/// For closed connections to be noticed, below valgrind.
const REST: Duration = Duration::from_millis(300);

/// How long valgrind may take to write its profiles.
const END_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_per_cent_more_are_borne() {
        let accepted = Some((20_000.0, 2.0));
        assert_eq!(complaint("get", (20_900.0, 2.1), accepted), None);
        assert_eq!(complaint("get", (15_000.0, 0.0), accepted), None);
        assert!(complaint("get", (21_100.0, 2.0), accepted).is_some());
        assert!(complaint("get", (20_000.0, 3.0), accepted).is_some());
        assert!(complaint("get", (20_000.0, 2.0), None).is_some());
        assert!(complaint("get", (20_000.0, 1.0), Some((20_000.0, 0.0))).is_some());
    }

    #[test]
    fn what_is_accepted_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("guard.json");
        assert!(read(&file).is_err());
        write(
            &file,
            &BTreeMap::from([("get", (20_000.4, 0.0)), ("tls", (30_000.0, 2.0))]),
        )
        .unwrap();
        write(&file, &BTreeMap::from([("get", (19_000.0, 0.001))])).unwrap();
        let expected = [("get", (19_000.0, 0.0)), ("tls", (30_000.0, 2.0))];
        let expected = expected.map(|(name, cost)| (name.to_owned(), cost));
        assert_eq!(read(&file).unwrap(), BTreeMap::from(expected));
        fs::write(&file, "{}").unwrap();
        assert!(read(&file).is_err());
    }
}
