//! `latency`: what a proxy adds at a fixed rate, from the moment a request was due.
//!
//! The host, or the kernel, takes a processor away for milliseconds about once a second, and then
//! whole groups of requests wait. Rounds are short, so that most of them see none of that, and
//! their median says what the proxy does. What is rarer than that is told of all rounds together.

use std::time::Duration;

use serde_json::json;

use super::{Bench, difference, turns};
use crate::{
    args::Latency,
    case::{Case, Kind},
    check::{Expectation, Ledger},
    drive::{CONCURRENCY, Engine},
    failure::Failure,
    proxies::{Proxy, Running},
    report::{Report, Table},
    spin,
    stats::{Spread, percentile},
    wire::Target,
};

/// A proxy, or the way without one.
struct Path {
    name: &'static str,
    target: Target,
    ledger: Ledger,
    /// Keeps the proxy alive; nothing on the direct way.
    running: Option<Running>,
    /// For each round: the percentiles of [`SHARES`], in microseconds.
    rounds: Vec<[f64; SHARES.len()]>,
    /// Of all rounds together, in nanoseconds.
    latencies_ns: Vec<u64>,
}

/// Runs all rounds.
pub(super) fn run(arguments: &Latency) -> Result<Report, Failure> {
    let default = [Proxy::Haldane, Proxy::Haproxy, Proxy::Nginx, Proxy::L4];
    let mut bench = Bench::new(&arguments.common, &default)?;
    let (_spinner, how) = spin::start(&bench.setup.cpus, bench.setup.directory.path())?;
    bench
        .notes
        .push(format!("the proxies' CPU is kept from halting by a {how}"));
    let mut ledger = Ledger::new(Expectation::StableOnly);
    bench.introduce(&bench.direct(), &mut ledger)?;
    let mut paths = vec![Path {
        name: "direct",
        target: bench.direct(),
        ledger,
        running: None,
        rounds: Vec::new(),
        latencies_ns: Vec::new(),
    }];
    for proxy in bench.proxies.clone() {
        let (running, ledger) = bench.start(proxy)?;
        paths.push(Path {
            name: proxy.name(),
            target: running.target(Kind::Get, &bench.setup),
            ledger,
            running: Some(running),
            rounds: Vec::new(),
            latencies_ns: Vec::new(),
        });
    }
    let case = Case::new(Kind::Get);
    for round in 0..arguments.rounds {
        for at in turns(paths.len(), round) {
            paths[at].turn(&case, arguments, &mut bench.engine)?;
        }
    }
    bench.notes.extend(paths.first().and_then(doubt));
    let (table, results) = findings(&paths, arguments);
    Ok(Report {
        verb: "latency",
        notes: bench.notes,
        tables: vec![table],
        results,
    })
}

impl Path {
    fn turn(
        &mut self,
        case: &Case,
        arguments: &Latency,
        engine: &mut Engine,
    ) -> Result<(), Failure> {
        let percentiles =
            self.slice(case, arguments, engine)
                .map_err(|failure| match &self.running {
                    Some(running) => running.explain(failure),
                    None => failure.within(self.name),
                })?;
        if let Some(running) = &mut self.running {
            running.check_running()?;
        }
        self.rounds.push(percentiles);
        Ok(())
    }

    fn slice(
        &mut self,
        case: &Case,
        arguments: &Latency,
        engine: &mut Engine,
    ) -> Result<[f64; SHARES.len()], Failure> {
        let (served, answers) = (engine.upstreams.served(), self.ledger.answers());
        let mut clients = engine.clients(
            std::slice::from_ref(&self.target),
            CONCURRENCY,
            case,
            &mut self.ledger,
        )?;
        engine.touch_each(&mut clients)?;
        let interval = Duration::from_secs(1) / arguments.rate;
        let mut latencies_ns = engine.run_open(&mut clients, interval, arguments.seconds)?;
        drop(clients);
        engine.settle(REST)?;
        self.ledger
            .settle(answers, difference(engine.upstreams.served(), served))?;
        self.ledger.check_share()?;
        latencies_ns.sort_unstable();
        let mut percentiles_us = [0.0; SHARES.len()];
        for (us, share) in percentiles_us.iter_mut().zip(SHARES) {
            *us = percentile_us(&latencies_ns, share)
                .ok_or_else(|| Failure::violation("nothing was due: run longer"))?;
        }
        self.latencies_ns.append(&mut latencies_ns);
        Ok(percentiles_us)
    }

    /// The percentile of [`TAIL`] of all rounds, in microseconds.
    fn tail_us(&self) -> Option<f64> {
        let mut latencies_ns = self.latencies_ns.clone();
        latencies_ns.sort_unstable();
        percentile_us(&latencies_ns, TAIL)
    }
}

fn percentile_us(sorted_ns: &[u64], share: f64) -> Option<f64> {
    Some(percentile(sorted_ns, share)? as f64 / 1000.0)
}

/// Without a proxy only strangers can delay an answer, and they delay the driver.
fn doubt(direct: &Path) -> Option<String> {
    let p99_us: Vec<f64> = direct.rounds.iter().map(|round| round[1]).collect();
    let p99_us = Spread::of(&p99_us)?.median;
    (p99_us > DIRECT_P99_MAX_US).then(|| {
        format!("p99 of direct is {p99_us:.0} us: other work runs here, only p50 means anything")
    })
}

fn findings(paths: &[Path], arguments: &Latency) -> (Table, Vec<serde_json::Value>) {
    let (mut rows, mut results) = (Vec::new(), Vec::new());
    let direct = paths.first();
    let (direct_rounds, direct_tail_us) =
        direct.map_or((&[][..], None), |path| (&path.rounds, path.tail_us()));
    for path in paths {
        // Direct is shown as it is, the proxies by what they add to it in the same round.
        let is_added = path.running.is_some();
        let added = |us: f64, direct_us: f64| if is_added { us - direct_us } else { us };
        let (mut row, mut values) = (vec![path.name.to_owned()], Vec::new());
        for at in 0..SHARES.len() {
            let values_us: Vec<f64> = path
                .rounds
                .iter()
                .zip(direct_rounds)
                .map(|(round, direct)| added(round[at], direct[at]))
                .collect();
            let Some(spread) = Spread::of(&values_us) else {
                continue;
            };
            row.push(format!("{:.1}", spread.median));
            row.push(format!("{:.1}-{:.1}", spread.lower, spread.upper));
            values.push(json!({
                "percentile": SHARES[at] * 100.0, "us": spread.median,
                "lower_us": spread.lower, "upper_us": spread.upper,
            }));
        }
        if let Some((us, direct_us)) = path.tail_us().zip(direct_tail_us) {
            let us = added(us, direct_us);
            row.push(format!("{us:.1}"));
            values.push(json!({ "percentile": TAIL * 100.0, "us": us }));
        }
        rows.push(row);
        results.push(json!({
            "proxy": path.name, "kind": if is_added { "added" } else { "absolute" },
            "rate": arguments.rate, "percentiles": values,
        }));
    }
    let title = format!(
        "us added to direct (first row: direct itself) at {} requests/s, {} rounds of {:?}",
        arguments.rate, arguments.rounds, arguments.seconds
    );
    let columns = [
        "proxy",
        "p50",
        "quartiles",
        "p99",
        "quartiles",
        "p99.9 of all",
    ];
    (
        Table {
            title,
            columns: columns.map(str::to_owned).to_vec(),
            rows,
        },
        results,
    )
}

/// The percentiles of a round.
const SHARES: [f64; 2] = [0.5, 0.99];

/// The percentile of all rounds together.
const TAIL: f64 = 0.999;

/// An undisturbed driver answers itself in tens of microseconds.
const DIRECT_P99_MAX_US: f64 = 200.0;

/// For closed connections to be noticed.
const REST: Duration = Duration::from_millis(5);
