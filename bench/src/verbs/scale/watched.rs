//! A scrape every 100 ms and ten streams of events, next to the same rate without them.

use std::time::Duration;

use serde_json::json;

use super::Part;
use crate::{
    args::Scale,
    case::{Case, Kind},
    drive::CONCURRENCY,
    failure::Failure,
    process,
    proxies::Proxy,
    report::Table,
    stats::{Spread, percentile},
    verbs::{Bench, difference, slice::Contender},
};

/// One turn: microseconds of CPU for a request, p50 and p99.
type Turn = [f64; 3];

pub(super) fn run(arguments: &Scale, bench: &mut Bench) -> Result<Part, Failure> {
    let mut contender = Contender::start(Proxy::Haldane, bench)?;
    let admin = contender.running.admin();
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    let rounds = arguments.rounds.saturating_mul(ROUNDS);
    for _ in 0..rounds {
        alone.push(turn(arguments, &mut contender, bench)?);
        bench.engine.watch(admin, STREAMS)?;
        let turn = turn(arguments, &mut contender, bench);
        let scraped = bench.engine.unwatch();
        watched.push(turn?);
        if (scraped as f64) < arguments.seconds.as_secs_f64() * SCRAPES_LEAST {
            return Err(Failure::violation(format!(
                "only {scraped} scrapes were answered"
            )));
        }
        bench.engine.settle(REST)?;
    }
    let title = format!(
        "watched: {RATE} requests/s with a scrape every 100 ms and {STREAMS} streams of events, {rounds} rounds of {:?}",
        arguments.seconds
    );
    let columns = ["watched", "CPU us/request", "p50 us", "p99 us"];
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (name, turns) in [("no", &alone), ("yes", &watched)] {
        let median = |at: usize| {
            let values: Vec<f64> = turns.iter().map(|turn| turn[at]).collect();
            Spread::of(&values).map_or(f64::NAN, |spread| spread.median)
        };
        let [cpu_us, p50_us, p99_us] = [0, 1, 2].map(median);
        rows.push(vec![
            name.to_owned(),
            format!("{cpu_us:.2}"),
            format!("{p50_us:.1}"),
            format!("{p99_us:.1}"),
        ]);
        values.push(json!({
            "dimension": "watchers", "at": name, "cpu_us_per_request": cpu_us,
            "p50_us": p50_us, "p99_us": p99_us,
        }));
    }
    let columns = columns.map(str::to_owned).to_vec();
    Ok((
        Table {
            title,
            columns,
            rows,
        },
        values,
    ))
}

fn turn(arguments: &Scale, contender: &mut Contender, bench: &mut Bench) -> Result<Turn, Failure> {
    let (case, engine) = (Case::new(Kind::Get), &mut bench.engine);
    let target = contender.running.target(case.kind, &bench.setup);
    let tree = contender.running.tree()?;
    let (served, answers) = (engine.upstreams.served(), contender.ledger.answers());
    let mut clients = engine.clients(&[target], CONCURRENCY, &case, &mut contender.ledger)?;
    engine.touch_each(&mut clients)?;
    let cpu_before = process::cpu_ns(&tree)?;
    let interval = Duration::from_secs(1) / RATE;
    let mut latencies_ns = engine.run_open(&mut clients, interval, arguments.seconds)?;
    let cpu_ns = process::cpu_ns(&tree)?.saturating_sub(cpu_before);
    drop(clients);
    engine.settle(REST)?;
    let served = difference(engine.upstreams.served(), served);
    contender.ledger.settle(answers, served)?;
    latencies_ns.sort_unstable();
    let us = |share: f64| -> Result<f64, Failure> {
        let ns = percentile(&latencies_ns, share)
            .ok_or_else(|| Failure::violation("nothing was due: run longer"))?;
        Ok(ns as f64 / 1000.0)
    };
    Ok([
        cpu_ns as f64 / 1000.0 / latencies_ns.len().max(1) as f64,
        us(0.5)?,
        us(0.99)?,
    ])
}

/// Requests per second: far from saturation, so that what watchers cost can be told.
const RATE: u32 = 2_000;

const STREAMS: usize = 10;

/// What is compared is rare, so there are more turns than elsewhere.
const ROUNDS: u16 = 4;

/// In a second, when all goes well ten are.
const SCRAPES_LEAST: f64 = 5.0;

/// For closed connections to be noticed.
const REST: Duration = Duration::from_millis(20);
