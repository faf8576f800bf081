//! The verbs, and what they share: the engine, the proxies that are there, the notes.

mod all;
mod compare;
mod guard;
mod latency;
mod memory;
mod scale;
mod simulate;
mod slice;
mod soak;
mod start;

use crate::{
    args::{Common, Verb},
    case::{Case, Kind, USERS, Version},
    check::Ledger,
    child, cpus, descriptors,
    drive::Engine,
    failure::Failure,
    proxies::{Proxy, Running, Setup},
    relay,
    report::Report,
    spin,
    tls::Identity,
    wire::Target,
};

/// What a verb has to say.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// To be printed.
    pub(crate) text: String,
    /// What was found that must not be.
    pub(crate) failure: Option<Failure>,
}

/// Does what a verb says.
pub(crate) fn run(verb: &Verb) -> Result<Answer, Failure> {
    let (report, json) = match verb {
        Verb::All(arguments) => return all::run(arguments),
        Verb::Guard(arguments) => return guard::run(arguments),
        Verb::Scale(arguments) => (scale::run(arguments)?, arguments.common.json),
        Verb::Compare(arguments) => (compare::run(arguments)?, arguments.common.json),
        Verb::Latency(arguments) => (latency::run(arguments)?, arguments.common.json),
        Verb::Memory(arguments) => (memory::run(arguments)?, arguments.common.json),
        Verb::Simulate(arguments) => {
            let (report, failure) = simulate::run(arguments);
            return Ok(Answer::of(&report, arguments.json, failure));
        }
        Verb::Soak(arguments) => {
            let (report, failure) = soak::run(arguments)?;
            return Ok(Answer::of(&report, arguments.json, failure));
        }
        Verb::Start(arguments) => (start::run(arguments)?, arguments.common.json),
        Verb::Launch(arguments) => return Err(child::launch(arguments)),
        Verb::Relay { listen, upstream } => {
            descriptors::raise();
            relay::run(*listen, *upstream)?;
            return Ok(Answer::default());
        }
        Verb::Spin => spin::run(),
    };
    Ok(Answer::of(&report, json, None))
}

impl Answer {
    fn of(report: &Report, json: bool, failure: Option<Failure>) -> Self {
        let text = if json { report.json() } else { report.text() };
        Self { text, failure }
    }
}

/// What a measuring verb works with.
struct Bench {
    engine: Engine,
    setup: Setup,
    proxies: Vec<Proxy>,
    notes: Vec<String>,
}

impl Bench {
    /// Finds the proxies, shares the CPUs, binds the upstreams.
    fn new(common: &Common, default: &[Proxy]) -> Result<Self, Failure> {
        let plan = cpus::Plan::new(usize::from(common.workers))?;
        cpus::pin(plan.driver.as_slice())?;
        let mut notes: Vec<String> = plan.warning.into_iter().collect();
        let directory = tempfile::Builder::new()
            .prefix("haldane-bench-")
            .tempdir()
            .map_err(Failure::io("create a temporary directory"))?;
        let setup = Setup {
            haldane: common.haldane.clone(),
            envoy: common.envoy.clone(),
            workers: usize::from(common.workers),
            cpus: plan.proxy,
            descriptors: descriptors::raise(),
            wrapper: Vec::new(),
            routes: 0,
            identity: Identity::new(directory.path())?,
            directory,
        };
        let mut proxies = Vec::new();
        let mut wanted = common.proxies.clone();
        if wanted.is_empty() {
            wanted.extend_from_slice(default);
            wanted.extend(common.envoy.as_ref().map(|_| Proxy::Envoy));
        }
        for proxy in wanted {
            match proxy.program(&setup) {
                Ok(_) if proxies.contains(&proxy) => {}
                Ok(_) => proxies.push(proxy),
                Err(failure) if common.proxies.is_empty() => notes.push(failure.to_string()),
                Err(failure) => return Err(failure),
            }
        }
        for note in &notes {
            eprintln!("haldane-bench: {note}");
        }
        if proxies.is_empty() {
            return Err(Failure::Missing("every proxy".to_owned()));
        }
        Ok(Self {
            engine: Engine::new()?,
            setup,
            proxies,
            notes,
        })
    }

    /// Starts a proxy and lets every user in once, so that each has a version to stay with.
    fn start(&mut self, proxy: Proxy) -> Result<(Running, Ledger), Failure> {
        let running = proxy.start(&self.setup, &mut self.engine)?;
        let mut ledger = Ledger::new(proxy.expectation());
        let target = running.target(Kind::Get, &self.setup);
        self.introduce(&target, &mut ledger)
            .map_err(|failure| running.explain(failure))?;
        Ok((running, ledger))
    }

    fn introduce(&mut self, target: &Target, ledger: &mut Ledger) -> Result<(), Failure> {
        let (case, engine) = (Case::new(Kind::Get), &mut self.engine);
        let served = engine.upstreams.served();
        let mut clients = engine.clients(std::slice::from_ref(target), USERS, &case, ledger)?;
        engine.touch_each(&mut clients)?;
        drop(clients);
        ledger.settle([0, 0], difference(self.engine.upstreams.served(), served))?;
        ledger.check_share()
    }

    /// The way without a proxy.
    fn direct(&self) -> Target {
        let port = self.engine.upstreams.ports()[Version::Stable.index()];
        Target::plain(([127, 0, 0, 1], port).into())
    }
}

/// What was served between two readings of [`crate::upstream::Upstreams::served`].
fn difference(after: [u64; 2], before: [u64; 2]) -> [u64; 2] {
    [after[0] - before[0], after[1] - before[1]]
}

/// The turns of a round: there and back, so that drift falls on all alike.
fn turns(count: usize, round: u16) -> Vec<usize> {
    if round.is_multiple_of(2) {
        (0..count).collect()
    } else {
        (0..count).rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_there_and_back() {
        assert_eq!(turns(3, 0), [0, 1, 2]);
        assert_eq!(turns(3, 1), [2, 1, 0]);
        assert_eq!(turns(3, 2), [0, 1, 2]);
    }
}
