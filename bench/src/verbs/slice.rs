//! A turn of a proxy under load: CPU time and requests, checked.

use std::time::Duration;

use super::{Bench, difference};
use crate::{
    case::Case,
    check::Ledger,
    clock,
    drive::CONCURRENCY,
    failure::Failure,
    process,
    proxies::{Proxy, Running},
};

/// A proxy with all that is known of it.
pub(super) struct Contender {
    /// The proxy.
    pub(super) running: Running,
    /// Another process of the same, which takes half of the connections.
    twin: Option<Running>,
    /// From its start on.
    pub(super) ledger: Ledger,
    /// Of the case at hand, one for each round.
    pub(super) slices: Vec<Slice>,
}

/// What a turn consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load<'run> {
    /// The requests.
    pub(super) case: &'run Case,
    /// Connections that send as soon as they have an answer.
    pub(super) connections: usize,
    /// For how long.
    pub(super) time: Duration,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// Of the process tree.
    pub(super) cpu_ns: u64,
    /// From first to last.
    pub(super) wall_ns: u64,
    /// Answered, all of them right.
    pub(super) requests: u64,
}

impl<'run> Load<'run> {
    /// As many connections as make [`CONCURRENCY`] requests at a time.
    pub(super) fn usual(case: &'run Case, time: Duration) -> Self {
        Self {
            case,
            connections: CONCURRENCY / case.streams,
            time,
        }
    }
}

impl Contender {
    /// Starts a proxy and lets every user in once.
    pub(super) fn start(proxy: Proxy, bench: &mut Bench) -> Result<Self, Failure> {
        let (running, ledger) = bench.start(proxy)?;
        Ok(Self {
            running,
            twin: None,
            ledger,
            slices: Vec::new(),
        })
    }

    /// Starts two processes of a proxy that do the same and know nothing of each other.
    pub(super) fn start_twins(proxy: Proxy, bench: &mut Bench) -> Result<Self, Failure> {
        let mut twins = Self::start(proxy, bench)?;
        twins.twin = Some(bench.start(proxy)?.0);
        Ok(twins)
    }

    fn processes(&self) -> impl Iterator<Item = &Running> {
        std::iter::once(&self.running).chain(&self.twin)
    }

    /// Has one turn and keeps what it came to.
    pub(super) fn turn(&mut self, load: &Load<'_>, bench: &mut Bench) -> Result<(), Failure> {
        let slice = self
            .slice(load, bench)
            .map_err(|failure| self.running.explain(failure.within(load.case.kind.name())))?;
        for running in std::iter::once(&mut self.running).chain(&mut self.twin) {
            running.check_running()?;
        }
        self.slices.push(slice);
        Ok(())
    }

    fn slice(&mut self, load: &Load<'_>, bench: &mut Bench) -> Result<Slice, Failure> {
        let target = |running: &Running| running.target(load.case.kind, &bench.setup);
        let targets: Vec<_> = self.processes().map(target).collect();
        let engine = &mut bench.engine;
        let trees: Result<Vec<_>, _> = self.processes().map(Running::tree).collect();
        let tree = trees?.concat();
        let (served, answers) = (engine.upstreams.served(), self.ledger.answers());
        let mut clients =
            engine.clients(&targets, load.connections, load.case, &mut self.ledger)?;
        engine.touch_each(&mut clients)?;
        engine.run_closed(&mut clients, WARM_UP)?;
        // The kernel adds to schedstat when a thread leaves the CPU, so it is read at rest.
        engine.settle(REST)?;
        let (cpu_before, begin) = (process::cpu_ns(&tree)?, clock::now_ns());
        let requests = engine.run_closed(&mut clients, load.time)?;
        let wall_ns = clock::now_ns() - begin;
        engine.settle(REST)?;
        let cpu_ns = process::cpu_ns(&tree)?.saturating_sub(cpu_before);
        drop(clients);
        engine.settle(REST)?;
        self.ledger
            .settle(answers, difference(engine.upstreams.served(), served))?;
        self.ledger.check_share()?;
        if requests == 0 || cpu_ns == 0 {
            return Err(Failure::violation(
                "a turn without a request, or without CPU time",
            ));
        }
        Ok(Slice {
            cpu_ns,
            wall_ns,
            requests,
        })
    }
}

impl Slice {
    /// Microseconds of CPU for one request.
    pub(super) fn cpu_us(self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / self.requests as f64
    }

    /// Requests per second.
    pub(super) fn rate(self) -> f64 {
        self.requests as f64 * 1e9 / self.wall_ns as f64
    }

    /// Share of one CPU.
    pub(super) fn busy(self) -> f64 {
        self.cpu_ns as f64 / self.wall_ns as f64
    }
}

/// Round by round: what the host did to one of a round, it did to the other.
pub(super) fn ratios(slices: &[Slice], base: &[Slice], of: fn(Slice) -> f64) -> Vec<f64> {
    slices
        .iter()
        .zip(base)
        .map(|(slice, base)| of(*slice) / of(*base))
        .collect()
}

/// Fills connection pools and buffers; not measured.
const WARM_UP: Duration = Duration::from_millis(60);

/// For the proxy to go to sleep, and for closed connections to be noticed.
const REST: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let slice = |cpu_ns, requests| Slice {
            cpu_ns,
            wall_ns: 1_000_000_000,
            requests,
        };
        let base = [slice(1000, 1), slice(4000, 2)];
        let other = [slice(500, 1), slice(3000, 3)];
        assert_eq!(ratios(&other, &base, Slice::cpu_us), [0.5, 0.5]);
        assert_eq!(slice(12_000, 4).cpu_us(), 3.0);
        assert_eq!(slice(12_000, 4).rate(), 4.0);
        assert_eq!(slice(500_000_000, 4).busy(), 0.5);
    }
}
