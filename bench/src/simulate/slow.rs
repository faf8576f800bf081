//! Delays until a slower canary is found.

use serde_json::{Value, json};

use super::{
    Effort,
    delay::{self, ALPHA, Delays, Fault, Setting, short},
    information::{concurrent, concurrent_densities, requests},
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

/// Slowness that is there from the first canary request on.
pub(crate) fn from_start(effort: &Effort) -> (Table, Vec<Value>) {
    let mut found: Vec<Vec<Vec<Delays>>> = Vec::new();
    let mut results = Vec::new();
    for rate in RATES {
        let setting = Setting {
            rate,
            weight: percent(5),
            healthy: 0,
            // Few requests take long to tell anything.
            seconds_max: if rate < 100.0 { 40_000 } else { 14_400 },
            polled: POLLS.map(|poll| Polled::new(poll, Query::Latency)).to_vec(),
        };
        let delays = delay::find("latency", &FAULTS, &setting, effort);
        results.extend(json_of(rate, &delays));
        found.push(delays);
    }
    let rows = FAULTS
        .iter()
        .enumerate()
        .map(|(at, fault)| row(at, fault, &found));
    let title = "slowness from the first canary request on, weight 5 %, promise 0.1 %: \
                 mean canary requests (seconds) [ratio to the best rung's bound]";
    let mut columns = vec![
        "fault".to_owned(),
        "bound: rung / all".to_owned(),
        "gates.md".to_owned(),
    ];
    for rate in RATES {
        columns.extend([format!("haldane @{rate}"), "gates.md".to_owned()]);
    }
    for poll in POLLS {
        columns.extend([format!("{} @1000", poll.name()), "gates.md".to_owned()]);
    }
    let table = Table {
        title: title.to_owned(),
        columns,
        rows: rows.collect(),
    };
    (table, results)
}

fn row(at: usize, fault: &Fault, found: &[Vec<Vec<Delays>>]) -> Vec<String> {
    let (rung, all) = bounds(fault);
    let known = reference::SLOW[at];
    let mut cells = vec![format!("{rung:.1} / {all:.1}")];
    for by_rate in found {
        let delays = &by_rate[at][0];
        cells.push(delays.mean().map_or_else(
            || "never".to_owned(),
            |mean| {
                let (seconds, missed) = (delays.mean_seconds(), delays.detected());
                format!(
                    "{} ({seconds:.0} s) [{:.2}]{missed}",
                    short(mean),
                    mean / rung
                )
            },
        ));
    }
    for method in 0..POLLS.len() {
        let delays = &found[0][at][1 + method];
        cells.push(delays.mean().map_or_else(
            || "never".to_owned(),
            |mean| format!("{}{}", short(mean), delays.detected()),
        ));
    }
    let pairs = cells
        .into_iter()
        .zip(known)
        .flat_map(|(cell, known)| [cell, known.to_owned()]);
    std::iter::once(fault.name.to_owned())
        .chain(pairs)
        .collect()
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

fn json_of(rate: f64, found: &[Vec<Delays>]) -> Vec<Value> {
    let names: Vec<String> = std::iter::once("haldane".to_owned())
        .chain(POLLS.map(Poll::name))
        .collect();
    let of_fault = |(fault, delays): (&Fault, &Vec<Delays>)| {
        let (rung, all) = bounds(fault);
        let methods = names.iter().zip(delays).map(|(name, delays)| {
            json!({
                "table": "latency",
                "requests_per_second": rate,
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
