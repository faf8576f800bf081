//! `scale`: what haldane's cost depends on: routes, connections, workers, and who watches.

mod watched;
mod workers;

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Bench,
    slice::{Contender, Load, Slice, ratios},
    turns,
};
use crate::{
    args::{Dimension, Scale},
    case::{Case, Kind},
    drive::CONCURRENCY,
    failure::Failure,
    proxies::{Proxy, haldane::other_path},
    report::{Report, Table},
    stats::Spread,
};

/// What one dimension has shown.
type Part = (Table, Vec<Value>);

/// Measures each dimension that is asked for.
pub(super) fn run(arguments: &Scale) -> Result<Report, Failure> {
    let mut bench = Bench::new(&arguments.common, &[Proxy::Haldane])?;
    let all = [
        Dimension::Routes,
        Dimension::Connections,
        Dimension::Workers,
        Dimension::Watchers,
    ];
    let (mut tables, mut results) = (Vec::new(), Vec::new());
    for dimension in all {
        if !arguments.only.is_empty() && !arguments.only.contains(&dimension) {
            continue;
        }
        let parts = match dimension {
            Dimension::Connections => vec![connections(arguments, &mut bench)?],
            Dimension::Routes => vec![routes(arguments, &mut bench)?],
            Dimension::Watchers => vec![watched::run(arguments, &mut bench)?],
            Dimension::Workers => workers::run(arguments, &mut bench)?.into(),
        };
        for (table, values) in parts {
            tables.push(table);
            results.extend(values);
        }
    }
    Ok(Report {
        verb: "scale",
        notes: bench.notes,
        tables,
        results,
    })
}

/// The requests are for the last of many routes; with two they are for the one that has them.
fn routes(arguments: &Scale, bench: &mut Bench) -> Result<Part, Failure> {
    let case = Case::on_path(Kind::Get, &format!("{}get", other_path(ROUTES - 1)));
    let mut contenders = Vec::new();
    for routes in [0, ROUTES] {
        bench.setup.routes = routes;
        contenders.push(Contender::start(Proxy::Haldane, bench)?);
    }
    bench.setup.routes = 0;
    for round in 0..arguments.rounds {
        for at in turns(contenders.len(), round) {
            let load = Load::usual(&case, arguments.seconds);
            contenders[at].turn(&load, bench)?;
        }
    }
    let [one, many] = &contenders[..] else {
        return Err(Failure::violation("a contender is missing"));
    };
    let rows = vec![
        row("routes", "2", &one.slices, &one.slices),
        row(
            "routes",
            &(ROUTES + 2).to_string(),
            &many.slices,
            &one.slices,
        ),
    ];
    Ok(part("routes", Kind::Get.title(), arguments, rows))
}

fn connections(arguments: &Scale, bench: &mut Bench) -> Result<Part, Failure> {
    let case = Case::new(Kind::Get);
    let mut contender = Contender::start(Proxy::Haldane, bench)?;
    let many = [1, 1_000, 10_000];
    let mut rows = busy(arguments, &case, &many, (&mut contender, ""), bench)?;
    rows.push(idle(arguments, &case, &mut contender, bench)?);
    drop(contender);
    // What connections cost the kernel and the caches, everybody pays.
    // The relay has as many to the upstreams, for which there may be no descriptors.
    let others = [
        (Proxy::Haproxy, "haproxy: ", &many[..]),
        (Proxy::L4, "relay: ", &many[..2]),
    ];
    for (proxy, who, counts) in others {
        if proxy.program(&bench.setup).is_ok() {
            let mut contender = Contender::start(proxy, bench)?;
            let contender = (&mut contender, who);
            rows.extend(busy(arguments, &case, counts, contender, bench)?);
        }
    }
    Ok(part("connections", Kind::Get.title(), arguments, rows))
}

/// Connections of which each sends as soon as it has an answer: the usual number of them, and
/// these.
fn busy(
    arguments: &Scale,
    case: &Case,
    counts: &[usize],
    (contender, who): (&mut Contender, &str),
    bench: &mut Bench,
) -> Result<Vec<Row>, Failure> {
    let counts = [&[CONCURRENCY], counts].concat();
    let mut slices = vec![Vec::new(); counts.len()];
    for round in 0..arguments.rounds {
        for at in turns(counts.len(), round) {
            let load = Load {
                connections: counts[at],
                ..Load::usual(case, arguments.seconds)
            };
            contender.turn(&load, bench)?;
            slices[at].append(&mut contender.slices);
        }
    }
    let base = slices[0].clone();
    let row = |(count, slices): (&usize, &Vec<Slice>)| {
        row(
            "connections",
            &format!("{who}{count}, all busy"),
            slices,
            &base,
        )
    };
    Ok(counts.iter().zip(&slices).map(row).collect())
}

/// Few busy connections beside many idle ones, each round next to the same without the idle ones.
fn idle(
    arguments: &Scale,
    case: &Case,
    contender: &mut Contender,
    bench: &mut Bench,
) -> Result<Row, Failure> {
    let load = Load::usual(case, arguments.seconds);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let address = contender.running.target(case.kind, &bench.setup).address;
    for _ in 0..arguments.rounds {
        contender.turn(&load, bench)?;
        alone.append(&mut contender.slices);
        // They never send anything, which haldane bears for `header_timeout`.
        let idle = (0..IDLE)
            .map(|_| std::net::TcpStream::connect(address))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Failure::io("open idle connections"))?;
        contender.turn(&load, bench)?;
        drop(idle);
        beside.append(&mut contender.slices);
        bench.engine.settle(REST)?;
    }
    let name = format!("{CONCURRENCY} busy, {IDLE} idle");
    Ok(row("connections", &name, &beside, &alone))
}

/// One line of a table, and the same for programs.
type Row = (Vec<String>, Value);

fn row(dimension: &str, name: &str, slices: &[Slice], base: &[Slice]) -> Row {
    let of = |what: fn(Slice) -> f64| {
        let values: Vec<f64> = slices.iter().copied().map(what).collect();
        Spread::of(&values).map_or(f64::NAN, |spread| spread.median)
    };
    let (cpu_us, rate, busy) = (of(Slice::cpu_us), of(Slice::rate), of(Slice::busy));
    let ratio = |of| Spread::of(&ratios(slices, base, of));
    let (dearer, more) = (ratio(Slice::cpu_us), ratio(Slice::rate));
    let show = |ratio: Spread| {
        format!(
            "{:.3} ({:.3}-{:.3})",
            ratio.median, ratio.lower, ratio.upper
        )
    };
    (
        vec![
            name.to_owned(),
            format!("{cpu_us:.2}"),
            dearer.map_or_else(|| "-".to_owned(), show),
            format!("{rate:.0}"),
            more.map_or_else(|| "-".to_owned(), show),
            format!("{busy:.2}"),
        ],
        json!({
            "dimension": dimension, "at": name, "cpu_us_per_request": cpu_us,
            "ratio_to_first": dearer.map(|ratio| ratio.median), "requests_per_second": rate,
            "rate_to_first": more.map(|ratio| ratio.median), "cpus_busy": busy,
        }),
    )
}

fn part(title: &str, load: &str, arguments: &Scale, rows: Vec<Row>) -> Part {
    let (rows, values) = rows.into_iter().unzip();
    let table = Table {
        title: format!(
            "{title}: {load}, {} rounds of {:?}",
            arguments.rounds, arguments.seconds
        ),
        columns: [
            title,
            "CPU us/request",
            "ratio (quartiles)",
            "requests/s",
            "ratio (quartiles)",
            "CPUs busy",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows,
    };
    (table, values)
}

/// With the two that are there anyway they are 1 000, the most that a configuration may have.
const ROUTES: usize = 1_000 - 2;

/// With the busy ones they are 10 000.
const IDLE: usize = 10_000 - CONCURRENCY;

/// For so many closed connections to be noticed.
const REST: Duration = Duration::from_millis(300);
