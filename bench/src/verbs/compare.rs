//! `compare`: CPU time per request in interleaved rounds, as a ratio to haproxy within each round.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{
    Bench,
    slice::{Contender, Load, Slice, ratios},
    turns,
};
use crate::{
    args::Compare,
    case::{Case, Kind},
    drive::CONCURRENCY,
    failure::Failure,
    proxies::Proxy,
    report::{Report, Table},
    stats::Spread,
};

/// Runs all cases.
pub(super) fn run(arguments: &Compare) -> Result<Report, Failure> {
    let default = [Proxy::Haldane, Proxy::Haproxy, Proxy::Nginx, Proxy::L4];
    let mut bench = Bench::new(&arguments.common, &default)?;
    let mut contenders = Vec::new();
    for proxy in bench.proxies.clone() {
        contenders.push(Contender::start(proxy, &mut bench)?);
    }
    let (mut tables, mut results) = (Vec::new(), Vec::new());
    let kinds = match &arguments.cases[..] {
        [] => Kind::value_variants(),
        cases => cases,
    };
    for &kind in kinds {
        let case = Case::new(kind);
        let mut able: Vec<&mut Contender> = contenders
            .iter_mut()
            .filter(|contender| contender.running.proxy.serves(kind))
            .collect();
        for contender in &mut able {
            contender.slices.clear();
        }
        for round in 0..arguments.rounds {
            for at in turns(able.len(), round) {
                let load = Load::usual(&case, arguments.seconds);
                able[at].turn(&load, &mut bench)?;
            }
        }
        eprintln!("haldane-bench: {} done", kind.name());
        let findings = findings(&able);
        bench.notes.extend(
            findings
                .iter()
                .filter_map(|finding| finding.doubt(kind, usize::from(arguments.common.workers))),
        );
        tables.push(table(kind, arguments, &findings));
        results.extend(findings.iter().map(|finding| finding.json(kind)));
    }
    for contender in &contenders {
        let (name, users) = (
            contender.running.proxy.name(),
            contender.ledger.canary_users(),
        );
        let answers: u64 = contender.ledger.answers().iter().sum();
        bench.notes.push(format!(
            "{name}: {answers} answers checked, {users} users on the canary"
        ));
    }
    Ok(Report {
        verb: "compare",
        notes: bench.notes,
        tables,
        results,
    })
}

/// One proxy in one case.
struct Finding {
    proxy: Proxy,
    cpu_us: Spread,
    /// To haproxy in the same round; `None` when it does not take part.
    ratio: Option<Spread>,
    /// The same to the relay of bytes.
    to_l4: Option<Spread>,
    rate: Spread,
    busy: Spread,
}

impl Finding {
    /// A proxy that had little to do waited for the driver, or shared its CPU with strangers.
    fn doubt(&self, kind: Kind, workers: usize) -> Option<String> {
        let share = self.busy.median / workers as f64;
        (share < BUSY_MIN).then(|| {
            format!(
                "{} in {} was only {:.0} % busy: client-bound or disturbed",
                self.proxy.name(),
                kind.name(),
                share * 100.0
            )
        })
    }

    fn json(&self, kind: Kind) -> Value {
        let spread = |s: Spread| json!({ "lower": s.lower, "median": s.median, "upper": s.upper });
        json!({
            "case": kind.name(),
            "proxy": self.proxy.name(),
            "cpu_us_per_request": spread(self.cpu_us),
            "ratio_to_haproxy": self.ratio.map(spread),
            "ratio_to_l4": self.to_l4.map(spread),
            "requests_per_second": spread(self.rate),
            "cpus_busy": spread(self.busy),
        })
    }
}

fn findings(contenders: &[&mut Contender]) -> Vec<Finding> {
    let ratio = |contender: &Contender, to: Proxy| {
        let is_base = |other: &&&mut Contender| other.running.proxy == to;
        let base = contenders.iter().find(is_base)?;
        Spread::of(&ratios(&contender.slices, &base.slices, Slice::cpu_us))
    };
    let finding = |contender: &&mut Contender| {
        let of = |what: fn(Slice) -> f64| {
            Spread::of(
                &contender
                    .slices
                    .iter()
                    .copied()
                    .map(what)
                    .collect::<Vec<_>>(),
            )
        };
        Some(Finding {
            proxy: contender.running.proxy,
            cpu_us: of(Slice::cpu_us)?,
            ratio: ratio(contender, Proxy::Haproxy),
            to_l4: ratio(contender, Proxy::L4),
            rate: of(Slice::rate)?,
            busy: of(Slice::busy)?,
        })
    };
    contenders.iter().filter_map(finding).collect()
}

fn table(kind: Kind, arguments: &Compare, findings: &[Finding]) -> Table {
    let row = |finding: &Finding| {
        let ratio = finding.ratio.map_or_else(
            || ["-".to_owned(), "-".to_owned()],
            |r| {
                [
                    format!("{:.3}", r.median),
                    format!("{:.3}-{:.3}", r.lower, r.upper),
                ]
            },
        );
        let [median, quartiles] = ratio;
        vec![
            finding.proxy.name().to_owned(),
            format!("{:.2}", finding.cpu_us.median),
            median,
            quartiles,
            finding
                .to_l4
                .map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}", ratio.median)),
            format!("{:.0}", finding.rate.median),
            format!("{:.0} %", finding.busy.median * 100.0),
        ]
    };
    Table {
        title: format!(
            "{}: {}; {CONCURRENCY} at a time, {} rounds of {:?}, {} worker(s)",
            kind.name(),
            kind.title(),
            arguments.rounds,
            arguments.seconds,
            arguments.common.workers
        ),
        columns: [
            "proxy",
            "CPU us/request",
            "to haproxy",
            "quartiles",
            "to l4",
            "requests/s",
            "CPU busy",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: findings.iter().map(row).collect(),
    }
}

/// Below this, requests come in smaller batches than the others', and cost more each.
const BUSY_MIN: f64 = 0.8;
