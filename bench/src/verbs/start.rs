//! `start`: time from exec to the first 200 through the proxy.

use serde_json::json;

use super::{Bench, turns};
use crate::{
    args::Start,
    failure::Failure,
    proxies::Proxy,
    report::{Report, Table},
    stats::Spread,
};

/// Starts and ends each proxy once a round.
pub(super) fn run(arguments: &Start) -> Result<Report, Failure> {
    let default = [Proxy::Haldane, Proxy::Haproxy, Proxy::Nginx, Proxy::L4];
    let mut bench = Bench::new(&arguments.common, &default)?;
    let mut times_ms = vec![Vec::new(); bench.proxies.len()];
    for round in 0..arguments.rounds {
        for at in turns(bench.proxies.len(), round) {
            let running = bench.proxies[at].start(&bench.setup, &mut bench.engine)?;
            times_ms[at].push(running.start_ns as f64 / 1e6);
        }
    }
    let (mut rows, mut results) = (Vec::new(), Vec::new());
    for (proxy, times_ms) in bench.proxies.iter().zip(&times_ms) {
        let Some(spread) = Spread::of(times_ms) else {
            continue;
        };
        rows.push(vec![
            proxy.name().to_owned(),
            format!("{:.1}", spread.median),
            format!("{:.1}-{:.1}", spread.lower, spread.upper),
        ]);
        results.push(json!({
            "proxy": proxy.name(),
            "lower_ms": spread.lower, "median_ms": spread.median, "upper_ms": spread.upper,
        }));
    }
    let title = format!("ms from exec to the first 200, {} starts", arguments.rounds);
    let columns = ["proxy", "median", "quartiles"].map(str::to_owned).to_vec();
    let tables = vec![Table {
        title,
        columns,
        rows,
    }];
    Ok(Report {
        verb: "start",
        notes: bench.notes,
        tables,
        results,
    })
}
