//! `simulate`: false rollbacks and detection delays of haldane's gates beside those of polling.

use serde_json::Value;

use crate::{
    args::Simulate,
    failure::Failure,
    report::{Report, Table},
    simulate::{self, Effort, Part},
};

/// Simulates what is asked for. The failure is a promise that was not kept.
pub(super) fn run(arguments: &Simulate) -> (Report, Option<Failure>) {
    let effort = Effort {
        rollouts: arguments
            .rollouts
            .unwrap_or(if arguments.quick { 100 } else { 2000 }),
        seed: arguments.seed,
        threads: usize::from(arguments.threads),
        shortening: if arguments.quick { 10 } else { 1 },
    };
    let is_wanted = |part: Part| arguments.only.is_empty() || arguments.only.contains(&part);
    let (mut tables, mut results) = (Vec::<Table>::new(), Vec::<Value>::new());
    let (blamed, broken) = simulate::blamed(&effort, is_wanted, progress);
    results.extend(blamed.1);
    tables.extend(blamed.0);
    for (table, values) in simulate::delays(&effort, is_wanted, progress) {
        tables.push(table);
        results.extend(values);
    }
    let mut notes = vec![format!(
        "{} rollouts each, seed {}{}",
        effort.rollouts,
        effort.seed,
        if arguments.quick {
            ", shortened tenfold"
        } else {
            ""
        },
    )];
    notes.extend(
        broken
            .iter()
            .map(|sentence| format!("BROKEN PROMISE: {sentence}")),
    );
    let report = Report {
        verb: "simulate",
        notes,
        tables,
        results,
    };
    let failure = broken.into_iter().next().map(Failure::violation);
    (report, failure)
}

fn progress(what: &str) {
    eprintln!("haldane-bench: {what} done");
}
