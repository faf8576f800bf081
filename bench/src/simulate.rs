//! Rollouts by the thousand, simulated: how often a good canary is blamed, how soon a bad one is found.
//!
//! What decides is the product itself (see [`judge`]); what it decides on is drawn from known
//! distributions, and so are the rollouts that polling sees. What is drawn in bulk, and why
//! that changes nothing, is said in [`traffic`] and [`judge`].

mod aa;
mod certainty;
mod delay;
mod errors;
mod information;
mod judge;
mod keys;
mod latency;
mod mannwhitney;
mod minutes;
mod polled;
mod random;
mod reference;
mod rounds;
mod service;
mod slow;
mod traffic;

use clap::ValueEnum;
use serde_json::Value;

use crate::report::Table;

/// What can be simulated on its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Part {
    /// False rollbacks with sticky users who fail in bursts.
    BurstyKeys,
    /// False rollbacks while load, failures and slowness go with the hour.
    Diurnal,
    /// False rollbacks while both versions drift and have outages.
    Drifting,
    /// Delays for failures from the start.
    Errors,
    /// False rollbacks while nothing happens.
    Independent,
    /// Delays for failures that begin late.
    Late,
    /// Delays for slowness.
    Latency,
    /// False rollbacks while the weight is raised.
    Ramping,
    /// Delays for failures by weight.
    Weights,
}

/// How much is simulated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Of each scenario and fault.
    pub(crate) rollouts: u64,
    /// Of everything.
    pub(crate) seed: u64,
    /// Side by side.
    pub(crate) threads: usize,
    /// How many times shorter rollouts are.
    pub(crate) shortening: u32,
}

/// False rollbacks, and the promises that are broken.
pub(crate) fn blamed(
    effort: &Effort,
    is_wanted: impl Fn(Part) -> bool,
    progress: impl Fn(&str),
) -> ((Vec<Table>, Vec<Value>), Vec<String>) {
    let mut blamed = Vec::new();
    for scenario in aa::scenarios() {
        if is_wanted(scenario.part()) {
            blamed.push(aa::run(scenario, effort));
            progress(scenario.name);
        }
    }
    let results = blamed.iter().map(aa::Blamed::json).collect();
    let broken = blamed.iter().flat_map(aa::Blamed::broken).collect();
    ((aa::tables(&blamed), results), broken)
}

/// Delays.
pub(crate) fn delays(
    effort: &Effort,
    is_wanted: impl Fn(Part) -> bool,
    progress: impl Fn(&str),
) -> Vec<(Table, Vec<Value>)> {
    type Find = fn(&Effort) -> (Table, Vec<Value>);
    let parts: [(Part, &str, Find); 5] = [
        (Part::Errors, "errors", errors::from_start),
        (Part::Late, "late", errors::late),
        (Part::Weights, "weights", errors::by_weight),
        (Part::Latency, "latency, evidence", slow::evidence),
        (Part::Latency, "latency, rollback", slow::rollback),
    ];
    let wanted = parts.into_iter().filter(|(part, ..)| is_wanted(*part));
    let find = |(_, name, find): (Part, &str, Find)| {
        let found = find(effort);
        progress(name);
        found
    };
    wanted.map(find).collect()
}
