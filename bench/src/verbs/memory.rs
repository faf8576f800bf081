//! `memory`: proportional set size with connections that have served one request and are idle.

use std::time::Duration;

use serde_json::json;

use super::{Bench, difference};
use crate::{
    args::Memory,
    case::{Case, Kind, USERS},
    check::Ledger,
    failure::Failure,
    process,
    proxies::{Proxy, Running},
    report::{Report, Table},
};

/// Measures one proxy after the other.
pub(super) fn run(arguments: &Memory) -> Result<Report, Failure> {
    let mut bench = Bench::new(
        &arguments.common,
        &[Proxy::Haldane, Proxy::Haproxy, Proxy::Nginx],
    )?;
    bench.notes.push(format!(
        "open descriptors allowed: {}",
        bench.setup.descriptors
    ));
    let (mut rows, mut results) = (Vec::new(), Vec::new());
    for proxy in bench.proxies.clone() {
        let running = proxy.start(&bench.setup, &mut bench.engine)?;
        bench.engine.settle(IDLE)?;
        let idle_kib = process::pss_kib(&running.tree()?)?;
        let mut row = vec![proxy.name().to_owned(), mib(idle_kib)];
        results.push(json!({ "proxy": proxy.name(), "connections": 0, "pss_kib": idle_kib }));
        for &connections in &arguments.connections {
            let needed = needed(proxy, connections);
            if bench.setup.descriptors < needed {
                let name = proxy.name();
                bench.notes.push(format!(
                    "{name} with {connections} connections needs {needed} descriptors: left out"
                ));
                row.extend(["-".to_owned(), "-".to_owned()]);
                continue;
            }
            let kib = measure(&mut bench, &running, connections)
                .map_err(|failure| running.explain(failure))?;
            let per_connection_kib = (kib as f64 - idle_kib as f64) / f64::from(connections);
            row.extend([mib(kib), format!("{per_connection_kib:.2}")]);
            results.push(json!({
                "proxy": proxy.name(), "connections": connections, "pss_kib": kib,
                "kib_per_connection": per_connection_kib,
            }));
        }
        rows.push(row);
    }
    let mut columns = vec!["proxy".to_owned(), "idle".to_owned()];
    for connections in &arguments.connections {
        columns.extend([format!("{connections} conns"), "KiB/conn".to_owned()]);
    }
    let title = "PSS of the process tree in MiB".to_owned();
    let tables = vec![Table {
        title,
        columns,
        rows,
    }];
    Ok(Report {
        verb: "memory",
        notes: bench.notes,
        tables,
        results,
    })
}

fn measure(bench: &mut Bench, running: &Running, connections: u32) -> Result<u64, Failure> {
    let case = Case::new(Kind::Get);
    let mut ledger = Ledger::new(running.proxy.expectation());
    let target = running.target(Kind::Get, &bench.setup);
    let (served, count) = (bench.engine.upstreams.served(), connections as usize);
    let mut clients = bench.engine.clients(&[target], count, &case, &mut ledger)?;
    bench.engine.touch_each(&mut clients)?;
    bench.engine.settle(IDLE)?;
    let kib = process::pss_kib(&running.tree()?)?;
    drop(clients);
    bench.engine.settle(IDLE)?;
    ledger.settle([0, 0], difference(bench.engine.upstreams.served(), served))?;
    if count >= USERS {
        ledger.check_share()?;
    }
    Ok(kib)
}

/// Descriptors that the driver or the proxy needs at most: a relay has two for each connection, and
/// so has the driver, whose upstreams are at the other end.
fn needed(proxy: Proxy, connections: u32) -> u64 {
    let ends = if proxy == Proxy::L4 { 2 } else { 1 };
    u64::from(connections) * ends + SPARE
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// Pools of upstream connections, listeners, files.
const SPARE: u64 = 1000;

/// For the proxy to come to rest.
const IDLE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_needs_both_ends() {
        assert_eq!(needed(Proxy::Haproxy, 10_000), 11_000);
        assert_eq!(needed(Proxy::L4, 10_000), 21_000);
    }
}
