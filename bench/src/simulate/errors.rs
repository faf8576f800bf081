//! Delays until failures are found: from the start, late, and by weight.

use serde_json::{Value, json};

use super::{
    Effort,
    delay::{self, ALPHA, Delays, Fault, Setting},
    information::{frozen, requests},
    judge::Limits,
    polled::{Poll, Polled, Query},
    reference,
    service::percent,
};
use crate::report::Table;

/// The faults of the reference's tables T2 and T3.
const FAULTS: [Fault; 4] = [
    fault("0.1->1 %", 0.001, 0.01),
    fault("0.1->5 %", 0.001, 0.05),
    fault("0.1->50 %", 0.001, 0.5),
    fault("0->100 %", 0.0, 1.0),
];

/// The last is of a service that hardly ever fails: little has been seen of its failures.
const LATE_FAULTS: [Fault; 5] = [
    FAULTS[0],
    FAULTS[1],
    FAULTS[2],
    FAULTS[3],
    fault("0.0001->5 %", 0.000_001, 0.05),
];

/// The faults of T5.
const FAULTS_BY_WEIGHT: [Fault; 4] = [
    fault("->1 %", 0.001, 0.01),
    fault("->5 %", 0.001, 0.05),
    fault("->50 %", 0.001, 0.5),
    fault("->100 %", 0.001, 1.0),
];

const fn fault(name: &'static str, stable: f64, canary: f64) -> Fault {
    Fault {
        name,
        failing: [stable, canary],
        slower: None,
    }
}

const POLLS: [Poll; 5] = [
    Poll::Argo { limit: 0 },
    Poll::Argo { limit: 1 },
    Poll::Flagger { failures: 5 },
    Poll::Kayenta { minutes: 5 },
    Poll::Kayenta { minutes: 30 },
];

/// Faults that are there from the first canary request on.
pub(crate) fn from_start(effort: &Effort) -> (Table, Vec<Value>) {
    let (mut rows, mut results) = (vec![bounds(&FAULTS)], Vec::new());
    for rate in [1000.0, 100.0, 10.0] {
        let found = delay::find("errors", &FAULTS, &setting(rate, 0), effort);
        rows.extend(method_rows(&FAULTS, &found, (rate, true)));
        results.extend(json_of("errors", rate, &FAULTS, &found));
    }
    let title = "failures from the first canary request on, weight 5 %, promise 0.1 %: \
                 mean canary requests / failed ones / ratio to the bound";
    (table(title, &FAULTS, rows), results)
}

/// Faults that begin after 100 000 healthy canary requests.
pub(crate) fn late(effort: &Effort) -> (Table, Vec<Value>) {
    let healthy = 100_000 / u64::from(effort.shortening);
    let found = delay::find("late", &LATE_FAULTS, &setting(1000.0, healthy), effort);
    let mut rows = vec![bounds(&LATE_FAULTS)];
    rows.extend(method_rows(&LATE_FAULTS, &found, (1000.0, false)));
    let title = format!("the same after {healthy} healthy canary requests");
    let results = json_of("late", 1000.0, &LATE_FAULTS, &found);
    (table(&title, &LATE_FAULTS, rows), results)
}

/// What the weight does to delays.
pub(crate) fn by_weight(effort: &Effort) -> (Table, Vec<Value>) {
    let (mut rows, mut results) = (Vec::new(), Vec::new());
    for (weight, known) in reference::BY_WEIGHT {
        let setting = Setting {
            weight: percent(weight),
            polled: Vec::new(),
            ..setting(1000.0, 0)
        };
        let found = delay::find("weights", &FAULTS_BY_WEIGHT, &setting, effort);
        let mut row = vec![format!("{weight} %")];
        for ((fault, delays), known) in FAULTS_BY_WEIGHT.iter().zip(&found).zip(known) {
            row.push(delays[0].cell(fault.bound(setting.weight)));
            row.push(known.to_owned());
            results.push(json!({
                "table": "weights",
                "weight": f64::from(weight) / 100.0,
                "fault": fault.name,
                "delay": delays[0].json(),
            }));
        }
        rows.push(row);
    }
    let title = "failures by weight, base 0.1 %, 1000 requests/s: \
                 mean canary requests / failed ones / ratio to the bound";
    let mut table = table(title, &FAULTS_BY_WEIGHT, rows);
    table.columns[0] = "weight".to_owned();
    (table, results)
}

fn setting(rate: f64, healthy: u64) -> Setting {
    Setting {
        rate,
        weight: percent(5),
        healthy,
        seconds_max: SECONDS_MAX,
        limits: Limits::Default,
        polled: POLLS.map(|poll| Polled::new(poll, Query::Errors)).to_vec(),
    }
}

fn bounds(faults: &[Fault]) -> Vec<String> {
    let mut row = vec!["bound: concurrent / frozen stable".to_owned()];
    let known = reference::BOUNDS.into_iter().chain(std::iter::repeat("-"));
    for (fault, known) in faults.iter().zip(known) {
        // Stable's rate has to be known as something to be frozen.
        let known_rate = fault.failing[0].max(1e-6);
        let fixed = requests(frozen(fault.failing[1], known_rate), ALPHA);
        row.push(format!("{:.1} / {fixed:.1}", fault.bound(percent(5))));
        row.push(known.to_owned());
    }
    row
}

fn method_rows(
    faults: &[Fault],
    found: &[Vec<Delays>],
    (rate, from_start): (f64, bool),
) -> Vec<Vec<String>> {
    let names = std::iter::once("haldane".to_owned()).chain(POLLS.map(Poll::name));
    let row = |(method, name): (usize, String)| {
        let known = reference::delays(method, rate, from_start).into_iter();
        let known = known.chain(std::iter::repeat("-"));
        let mut row = vec![format!("{name} @{rate}")];
        for ((fault, delays), known) in faults.iter().zip(found).zip(known) {
            row.push(delays[method].cell(fault.bound(percent(5))));
            row.push(known.to_owned());
        }
        row
    };
    names.enumerate().map(row).collect()
}

fn table(title: &str, faults: &[Fault], rows: Vec<Vec<String>>) -> Table {
    let faults = faults.iter().flat_map(|fault| [fault.name, "gates.md"]);
    Table {
        title: title.to_owned(),
        columns: std::iter::once("method @requests/s")
            .chain(faults)
            .map(str::to_owned)
            .collect(),
        rows,
    }
}

fn json_of(table: &str, rate: f64, faults: &[Fault], found: &[Vec<Delays>]) -> Vec<Value> {
    let names: Vec<String> = std::iter::once("haldane".to_owned())
        .chain(POLLS.map(Poll::name))
        .collect();
    let of_fault = |(fault, delays): (&Fault, &Vec<Delays>)| {
        let methods = names.iter().zip(delays).map(|(name, delays)| {
            json!({
                "table": table,
                "requests_per_second": rate,
                "fault": fault.name,
                "method": name,
                "bound": fault.bound(percent(5)),
                "delay": delays.json(),
            })
        });
        methods.collect::<Vec<_>>()
    };
    faults.iter().zip(found).flat_map(of_fault).collect()
}

/// How long a rollout is watched: longer than any method needs that finds the fault at all.
const SECONDS_MAX: u32 = 14_400;
