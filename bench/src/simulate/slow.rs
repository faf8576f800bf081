//! Delays until a slower canary is found.

use serde_json::{Value, json};

use super::{
    Effort,
    delay::{self, ALPHA, Delays, Fault, Setting, short},
    information::{concurrent, concurrent_densities, requests},
    judge::Limits,
    latency::{Change, Family, Latency},
    polled::{Poll, Polled, Query},
    reference,
    service::percent,
};
use crate::report::Table;

const fn fault(name: &'static str, family: Family, change: Change) -> Fault {
    Fault {
        name,
        failing: [0.001; 2],
        slower: Some((family, change)),
    }
}

const fn tail(share: f64, times: f64) -> Change {
    Change::Tail { share, times }
}

/// The faults of the reference's table T7.
const FAULTS: [Fault; 9] = [
    fault("LN x1.2 all", Family::LogNormal, Change::All(1.2)),
    fault("LN x2 all", Family::LogNormal, Change::All(2.0)),
    fault(
        "LN tail x2 (slowest 3 %)",
        Family::LogNormal,
        tail(0.03, 2.0),
    ),
    fault(
        "LN tail x4 (slowest 2 %)",
        Family::LogNormal,
        tail(0.02, 4.0),
    ),
    fault("BI x1.2 all", Family::Bimodal, Change::All(1.2)),
    fault("BI x2 all", Family::Bimodal, Change::All(2.0)),
    fault("BI tail x2 (slowest 3 %)", Family::Bimodal, tail(0.03, 2.0)),
    fault("BI tail x4 (slowest 2 %)", Family::Bimodal, tail(0.02, 4.0)),
    fault(
        "BI slow mode 2->5 %",
        Family::Bimodal,
        Change::SlowMode(0.05),
    ),
];

const POLLS: [Poll; 3] = [
    Poll::Argo { limit: 1 },
    Poll::Flagger { failures: 5 },
    Poll::Kayenta { minutes: 5 },
];

/// Where the ladder of the reference looks: stable's share beyond, and the factor that the
/// canary may be slower by. Two rungs lie at multiples of the p99.
const RUNGS: [(f64, f64); 4] = [(0.5, 1.05), (0.1, 1.1), (0.05, 1.1), (0.01, 1.2)];

/// Slowness that is there from the first canary request on: until the evidence is enough.
pub(crate) fn evidence(effort: &Effort) -> (Table, Vec<Value>) {
    // Most of the time goes to the lowest rate.
    let rates = if effort.shortening > 1 {
        &RATES[..2]
    } else {
        &RATES[..]
    };
    let mut rows: Vec<Vec<String>> = FAULTS.iter().zip(reference::SLOW).map(head).collect();
    let mut results = Vec::new();
    for (at, &rate) in rates.iter().enumerate() {
        let setting = Setting {
            // Few requests take long to tell anything.
            seconds_max: if rate < 100.0 { 40_000 } else { 14_400 },
            ..setting(rate, Limits::Evidence)
        };
        let found = delay::find("latency", &FAULTS, &setting, &fewer(effort));
        results.extend(json_of("latency-evidence", &setting, &found));
        for ((row, delays), fault) in rows.iter_mut().zip(&found).zip(&FAULTS) {
            row.push(cell(&delays[0], bounds(fault).0));
        }
        for (row, known) in rows.iter_mut().zip(reference::SLOW) {
            row.push(known[1 + at].to_owned());
        }
    }
    let title = "slowness from the first canary request on, weight 5 %, promise 0.1 %, until the \
                 evidence is enough: mean canary requests (seconds) [ratio to the best rung's bound]; a quarter of the rollouts";
    let rates = rates.iter().map(|rate| format!("haldane @{rate}"));
    (table(title, rates, rows), results)
}

/// The same until the rollback, which takes a canary that is slower than the limits, too.
pub(crate) fn rollback(effort: &Effort) -> (Table, Vec<Value>) {
    let setting = Setting {
        polled: POLLS.map(|poll| Polled::new(poll, Query::Latency)).to_vec(),
        ..setting(1000.0, Limits::Default)
    };
    let found = delay::find("latency", &FAULTS, &setting, &fewer(effort));
    let mut rows: Vec<Vec<String>> = FAULTS.iter().zip(reference::SLOW).map(head).collect();
    for ((row, delays), (fault, known)) in rows
        .iter_mut()
        .zip(&found)
        .zip(FAULTS.iter().zip(reference::SLOW))
    {
        row.push(cell(&delays[0], bounds(fault).0));
        row.push("-".to_owned());
        for (delays, known) in delays.iter().skip(1).zip(known.iter().skip(4)) {
            row.push(cell(delays, bounds(fault).0));
            row.push((*known).to_owned());
        }
    }
    let title = "the same until the rollback, for which the canary has to be slower than the \
                 default limits (p50 1.25x, p95 1.2x, p99 2x) as well, at 1000 requests/s";
    let methods = std::iter::once("haldane".to_owned()).chain(POLLS.map(Poll::name));
    let results = json_of("latency", &setting, &found);
    (table(title, methods, rows), results)
}

/// A quarter of the rollouts: these are long, and their means are known well enough.
fn fewer(effort: &Effort) -> Effort {
    Effort {
        rollouts: effort.rollouts.div_ceil(4),
        ..*effort
    }
}

fn setting(rate: f64, limits: Limits) -> Setting {
    Setting {
        rate,
        weight: percent(5),
        healthy: 0,
        seconds_max: 3600,
        limits,
        polled: Vec::new(),
    }
}

fn head((fault, known): (&Fault, [&str; 7])) -> Vec<String> {
    let (rung, all) = bounds(fault);
    let bound = format!("{rung:.1} / {all:.1}");
    vec![fault.name.to_owned(), bound, known[0].to_owned()]
}

fn cell(delays: &Delays, bound: f64) -> String {
    delays.mean().map_or_else(
        || "never".to_owned(),
        |mean| {
            let (ratio, missed) = (mean / bound, delays.detected());
            let requests = short(mean);
            match delays.mean_seconds() {
                // Of those who poll, only requests are counted.
                0.0 => format!("{requests}{missed}"),
                seconds => format!("{requests} ({seconds:.0} s) [{ratio:.2}]{missed}"),
            }
        },
    )
}

fn table(title: &str, methods: impl Iterator<Item = String>, rows: Vec<Vec<String>>) -> Table {
    let mut columns = ["fault", "bound: rung / all", "gates.md"]
        .map(str::to_owned)
        .to_vec();
    columns.extend(methods.flat_map(|method| [method, "gates.md".to_owned()]));
    Table {
        title: title.to_owned(),
        columns,
        rows,
    }
}

/// The fewest canary requests: for who looks at the best rung only, and for who looks at the
/// whole distribution.
fn bounds(fault: &Fault) -> (f64, f64) {
    let Some((family, change)) = fault.slower else {
        return (f64::INFINITY, f64::INFINITY);
    };
    let (stable, canary) = (
        Latency::new(family, Change::None),
        Latency::new(family, change),
    );
    let (p95, p99) = (stable.quantile(0.05), stable.quantile(0.01));
    let mut rungs: Vec<(f64, f64)> = RUNGS
        .iter()
        .map(|&(share, times)| (stable.quantile(share), times))
        .collect();
    rungs.push(((p95 * p99).sqrt(), 1.15));
    rungs.extend([2.0, 4.0].map(|multiple| (multiple / 1.2 * p99, 1.2)));
    let weight = percent(5).as_ratio();
    let of = |&(at, times): &(f64, f64)| {
        let (own, other) = (canary.survival(times * at), stable.survival(at));
        if own > other {
            requests(concurrent(own, other, weight), ALPHA)
        } else {
            f64::INFINITY
        }
    };
    let rung = rungs.iter().map(of).fold(f64::INFINITY, f64::min);
    let nats = concurrent_densities(&canary.cells(), &stable.cells(), weight);
    (rung, requests(nats, ALPHA))
}

fn json_of(table: &str, setting: &Setting, found: &[Vec<Delays>]) -> Vec<Value> {
    let polls = setting.polled.iter().map(|polled| polled.poll().name());
    let names: Vec<String> = std::iter::once("haldane".to_owned()).chain(polls).collect();
    let of_fault = |(fault, delays): (&Fault, &Vec<Delays>)| {
        let (rung, all) = bounds(fault);
        let methods = names.iter().zip(delays).map(|(name, delays)| {
            json!({
                "table": table,
                "requests_per_second": setting.rate,
                "fault": fault.name,
                "method": name,
                "bound_of_best_rung": rung,
                "bound": all,
                "delay": delays.json(),
            })
        });
        methods.collect::<Vec<_>>()
    };
    FAULTS.iter().zip(found).flat_map(of_fault).collect()
}

const RATES: [f64; 3] = [1000.0, 100.0, 10.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_the_best_rung_are_those_of_the_reference() {
        let known = [825.0, 40.5, 570.2, 241.5, 217.1, 12.1, 525.7, 197.1, 459.2];
        for (fault, known) in FAULTS.iter().zip(known) {
            let (rung, all) = bounds(fault);
            assert!((rung / known - 1.0).abs() < 0.03, "{}: {rung}", fault.name);
            assert!(all <= rung, "{}", fault.name);
        }
    }
}
