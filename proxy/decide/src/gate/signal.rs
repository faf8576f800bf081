//! Is a share of good results, reported from outside, worse for the canary?
//!
//! Orders completed, answers found right: whatever is counted as good and bad for each
//! version. Reports come when they come and in bulk, so bets are made on blocks, on the
//! canary's share of the bad ones, with the margin as for hard limits on failures.

use std::sync::Arc;

use super::advance::{NoWorse, SignalCounts};
use super::bet::{Block, HardBet};
use super::errors::EPISODE_ENDS_BELOW;
use super::spec::RateMargin;
use super::tape::{Kept, Tape};
use super::verdict::{Comparison, Estimate, Measure};
use crate::role::Role;
use crate::tally::Tally;
use crate::weight::Weight;

/// One signal gate.
#[derive(Clone, Debug)]
pub(super) struct Signal {
    pub(super) name: Arc<str>,
    rollback: Option<f64>,
    advance: Option<f64>,
    share: f64,
    bet: HardBet,
    no_worse: Option<NoWorse>,
    counts: SignalCounts,
    block_start: SignalCounts,
    episode_start: SignalCounts,
}

impl Signal {
    /// A gate on the signal of this name. `share` is its part of the promise.
    pub(super) fn new(
        name: Arc<str>,
        (rollback, advance): (Option<f64>, Option<f64>),
        share: f64,
    ) -> Self {
        let margin = advance.or(rollback).unwrap_or_default();
        Self {
            name,
            rollback,
            advance,
            share,
            bet: HardBet::new(margin.max(0.0)),
            no_worse: advance.map(|by| NoWorse::new(RateMargin::AboveStable(by))),
            counts: SignalCounts::default(),
            block_start: SignalCounts::default(),
            episode_start: SignalCounts::default(),
        }
    }

    /// So many good and bad results of a version were reported.
    pub(super) fn report(&mut self, role: Role, good: u64, bad: u64) {
        self.counts.add(role, good, bad);
    }

    pub(super) fn release(&mut self, mass: f64) {
        self.bet.release(mass);
    }

    pub(super) fn begin_step(&mut self) {
        self.block_start = self.counts;
        if let Some(no_worse) = &mut self.no_worse {
            no_worse.restart(&Tally::default());
        }
    }

    /// A block is over, if both versions have reported in it.
    pub(super) fn close(&mut self, weight: Weight, released: f64) {
        let counted = self.counts.since(&self.block_start);
        let (canary, stable) = (counted.of(Role::Canary), counted.of(Role::Stable));
        let block = Block {
            canary: canary.requests(),
            stable: stable.requests(),
            canary_exceeding: canary.failures,
            stable_exceeding: stable.failures,
        };
        if block.canary == 0 || block.stable == 0 {
            return;
        }
        self.bet.close(block);
        if let Some(no_worse) = &mut self.no_worse {
            let before = self.block_start.of(Role::Stable);
            no_worse.bet_on(canary, stable, before, weight);
        }
        self.block_start = self.counts;
        if self.bet.evidence() < EPISODE_ENDS_BELOW * released {
            self.episode_start = self.counts;
        }
    }

    /// How many results were reported.
    pub(super) fn reported(&self) -> u64 {
        let of = |role| self.counts.of(role).requests();
        Role::ALL.into_iter().map(of).sum()
    }

    /// The weighted evidence that the canary is worse.
    pub(super) fn evidence(&self) -> f64 {
        self.share * self.bet.evidence()
    }

    /// The limit, if the canary exceeds it in this episode.
    pub(super) fn exceeded(&self) -> Option<Comparison> {
        let within = self.rollback?;
        let one = self.compare();
        (one.canary.samples > 0 && one.canary.value - one.stable.value >= within).then_some(one)
    }

    pub(super) fn compare(&self) -> Comparison {
        let counted = self.counts.since(&self.episode_start);
        let estimate = |role| {
            let counts = counted.of(role);
            Estimate::share(counts.failures, counts.requests())
        };
        let (canary, stable) = (estimate(Role::Canary), estimate(Role::Stable));
        let within = self.rollback.or(self.advance).unwrap_or_default();
        Comparison {
            value: canary.value,
            limit: stable.value + within,
            canary,
            stable,
            measure: Measure::Signal {
                signal: Arc::clone(&self.name),
                within,
            },
        }
    }

    /// Evidence that the canary is no worse than its margin, if it has one.
    pub(super) fn shown(&self) -> Option<f64> {
        self.no_worse.as_ref().map(NoWorse::evidence)
    }

    /// How many more results of the canary it takes.
    pub(super) fn needs(&self, enough: f64, weight: Weight) -> f64 {
        let needs = |no_worse: &NoWorse| no_worse.needs(enough, weight);
        self.no_worse.as_ref().map_or(0.0, needs)
    }
}

impl Kept for Signal {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self {
            name: _,
            rollback: _,
            advance: _,
            share: _,
            bet,
            no_worse,
            counts,
            block_start,
            episode_start,
        } = self;
        bet.pass(tape);
        tape.present(no_worse);
        counts.pass(tape);
        block_start.pass(tape);
        episode_start.pass(tape);
    }
}
