//! Does the canary fail more often than stable?
//!
//! Every failure is a bet on which version it comes from, the first of each user only;
//! see [`super::bet`] and [`super::keys`]. A second bet, for `hard` limits, counts all
//! failures in blocks of ten seconds: it also sees a service with three users.
//!
//! Evidence says that the canary is worse, not by how much. So a rollback takes the size
//! of the difference too, as counted since the evidence began to grow.

use super::bet::{ERROR_LANES, HardBet, ShareBet};
use super::keys::{KeySet, KnownBad};
use super::panel::Manner;
use super::spec::{RateBound, RateLimit};
use super::tape::{Kept, Tape};
use super::verdict::{Comparison, Estimate, Measure};
use super::whole::HardBlock;
use crate::outcome::Outcome;
use crate::role::Role;
use crate::split::SplitKey;
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

/// The kind that failures of whatever kind are noted with; no class has this code.
const ANY_KIND: u64 = u64::MAX;

/// The same for failures of requests that a rule has sent to the canary: they are counted
/// apart, so that none of them makes a user one who has failed already where it is bet.
const RULED_KIND: u64 = u64::MAX - 1;

/// Evidence that has fallen below this part of the capital is over: what comes next is
/// another episode.
pub(super) const EPISODE_ENDS_BELOW: f64 = 0.01;

/// The evidence of all error-rate gates of a route.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    manner: Manner,
    bet: ShareBet,
    hard: Option<HardBet>,
    pub(super) seen: KeySet,
    known_bad: KnownBad,
    /// Who has failed on stable until now; known bad when the next rollout begins.
    of_stable: KnownBad,
    weight: Weight,
    hard_block: HardBlock,
    /// Where the estimate of how bad the canary is begins.
    pub(super) episode_start: Tally,
    /// The error of the canary since which there is more evidence than capital.
    pub(super) suspected_since: Option<Timestamp>,
    suspicion_start: Tally,
    /// Users of the canary who had a failure.
    affected: u64,
}

impl Failures {
    /// The evidence for these limits.
    pub(super) fn new<'a>(limits: impl Iterator<Item = &'a RateLimit>) -> Self {
        let hard = limits
            .filter(|limit| limit.hard)
            .map(|limit| match limit.bound {
                RateBound::AboveStable(by) => by.max(0.0),
                // The size of these is compared; the evidence is for any difference.
                RateBound::Absolute(_) | RateBound::TimesStable(_) => 0.0,
            })
            .reduce(f64::min);
        Self {
            manner: Manner::Guarded,
            bet: ShareBet::new(&ERROR_LANES),
            hard: hard.map(HardBet::new),
            seen: KeySet::default(),
            known_bad: KnownBad::default(),
            of_stable: KnownBad::default(),
            weight: Weight::ZERO,
            hard_block: HardBlock::default(),
            episode_start: Tally::default(),
            suspected_since: None,
            suspicion_start: Tally::default(),
            affected: 0,
        }
    }

    /// A user has failed on stable.
    pub(super) fn note(&mut self, key: SplitKey, now: Timestamp) {
        self.of_stable.note(key.to_bits(), now);
    }

    /// Knows what others know of the same stable.
    pub(super) fn inherit(&mut self, other: &Self) {
        self.of_stable.clone_from(&other.of_stable);
    }

    /// Whether failures of this user say nothing about a version.
    pub(super) fn is_known_bad(&self, key: Option<SplitKey>) -> bool {
        key.is_some_and(|key| self.known_bad.contains(key.to_bits()))
    }

    /// The rollout begins, and what `tally` counts already is no evidence.
    pub(super) fn begin(&mut self, tally: &Tally) {
        self.known_bad.clone_from(&self.of_stable);
        self.drop_hard_block(tally);
        self.episode_start = *tally;
    }

    pub(super) const fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
    }

    pub(super) fn release(&mut self, mass: f64) {
        self.bet.release(mass);
        if let Some(hard) = &mut self.hard {
            hard.release(mass);
        }
    }

    pub(super) fn set_weight(&mut self, weight: Weight) {
        self.weight = weight;
        self.bet.set_share(weight.as_ratio());
    }

    /// Evidence that the canary fails more often, and the same for hard limits.
    pub(super) fn evidence(&self) -> (f64, f64) {
        let hard = self.hard.as_ref().map_or(0.0, HardBet::evidence);
        (self.bet.evidence(), hard)
    }

    /// A failure. `released` is the capital so far.
    pub(super) fn observe(&mut self, outcome: &Outcome, tally: &Tally, released: f64) {
        let is_known_bad = self.is_known_bad(outcome.key);
        // A heavy user who always fails is no difference between the versions, but a large
        // one between what they get.
        let is_spared = is_known_bad && self.manner == Manner::Guarded;
        if outcome.weight == self.weight && !is_spared {
            self.hard_block.count(outcome);
        }
        let is_canary = outcome.role == Role::Canary;
        if is_known_bad {
            return;
        }
        let key = outcome.key.map(SplitKey::to_bits);
        if key.is_some_and(|key| !self.seen.is_first(key, ANY_KIND)) {
            return;
        }
        self.affected += u64::from(is_canary);
        let canary_part = if is_canary { 1.0 } else { 0.0 };
        if outcome.weight == self.weight {
            self.bet.update(canary_part);
        } else {
            self.bet.update_at(outcome.weight.as_ratio(), canary_part);
        }
        if self.bet.evidence() < EPISODE_ENDS_BELOW * released {
            self.episode_start = *tally;
        }
    }

    /// A user whom a rule has sent to the canary has failed there.
    pub(super) fn harm(&mut self, key: Option<SplitKey>) {
        let key = key.map(SplitKey::to_bits);
        let is_first = key.is_none_or(|key| self.seen.is_first(key, RULED_KIND));
        self.affected += u64::from(is_first);
    }

    /// The canary has shown an error. Suspicion begins with the first.
    pub(super) fn suspect(&mut self, tally: &Tally, now: Timestamp) {
        if self.suspected_since.is_none() {
            self.suspected_since = Some(now);
            self.suspicion_start = *tally;
        }
    }

    /// There is no more evidence than there was capital.
    pub(super) const fn trust(&mut self) {
        self.suspected_since = None;
    }

    /// What of stable has succeeded that began after the canary was first suspected.
    pub(super) fn stable_since_suspicion(&self, tally: &Tally) -> u64 {
        let stable = |tally: &Tally| tally.of(Role::Stable).after_suspicion;
        stable(tally).saturating_sub(stable(&self.suspicion_start))
    }

    /// Failures of the canary in this episode.
    pub(super) fn canary_failures(&self, tally: &Tally) -> u64 {
        tally.since(&self.episode_start).of(Role::Canary).failures
    }

    /// Users of the canary who had a failure.
    pub(super) const fn affected(&self) -> u64 {
        self.affected
    }

    /// A block of the hard bet is over. True if it had both versions in it.
    pub(super) fn close_hard(&mut self, tally: &Tally) -> bool {
        let block = self.hard_block.block(tally, self.manner);
        if block.canary == 0 || block.stable == 0 {
            return false;
        }
        if let Some(hard) = &mut self.hard {
            hard.close(block);
        }
        self.drop_hard_block(tally);
        true
    }

    /// The block of the hard bet is given up: the weight has changed in it.
    pub(super) fn drop_hard_block(&mut self, tally: &Tally) {
        self.hard_block = HardBlock::new(tally);
    }

    /// How bad the canary is compared with a limit, in this episode.
    pub(super) fn compare(&self, limit: &RateLimit, tally: &Tally) -> Comparison {
        compare(limit, &tally.since(&self.episode_start))
    }
}

impl Kept for Failures {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self {
            manner: _,
            bet,
            hard,
            seen,
            known_bad,
            of_stable,
            weight,
            hard_block,
            episode_start,
            suspected_since,
            suspicion_start,
            affected,
        } = self;
        weight.pass(tape);
        bet.pass(tape);
        bet.set_share(weight.as_ratio());
        tape.present(hard);
        seen.pass(tape);
        known_bad.close();
        known_bad.pass(tape);
        of_stable.pass(tape);
        hard_block.pass(tape);
        episode_start.pass(tape);
        suspected_since.pass(tape);
        suspicion_start.pass(tape);
        affected.pass(tape);
    }
}

/// How bad the canary is compared with a limit.
pub(super) fn compare(limit: &RateLimit, counted: &Tally) -> Comparison {
    let estimate = |role| {
        let counts = counted.of(role);
        Estimate::share(counts.failures, counts.requests())
    };
    let (canary, stable) = (estimate(Role::Canary), estimate(Role::Stable));
    Comparison {
        value: canary.value,
        limit: bound(limit.bound, stable),
        canary,
        stable,
        measure: Measure::ErrorRate {
            bound: limit.bound,
            hard: limit.hard,
        },
    }
}

/// Whether the canary exceeds the limit that it is compared with. Of a difference, the
/// difference itself is compared: `0.002 - 0.001 >= 0.001`.
pub(super) fn is_exceeded(one: &Comparison) -> bool {
    let Measure::ErrorRate { bound, .. } = one.measure else {
        return false;
    };
    match bound {
        RateBound::AboveStable(by) => one.canary.value - one.stable.value >= by,
        RateBound::Absolute(_) | RateBound::TimesStable(_) => one.value > one.limit,
    }
}

/// What the canary's rate may be.
///
/// A multiple of zero is zero, and one failure in a thousand requests would be
/// infinitely worse than none. So if stable has not failed, a multiple is taken of
/// one failure among its requests, the smallest rate that it could have shown.
fn bound(bound: RateBound, stable: Estimate) -> f64 {
    let rate = match bound {
        RateBound::AboveStable(by) => stable.value + by,
        RateBound::Absolute(rate) => rate,
        RateBound::TimesStable(times) if stable.samples == 0 => times,
        RateBound::TimesStable(times) => {
            times * Estimate::share(stable.count.max(1), stable.samples).value
        }
    };
    rate.clamp(0.0, 1.0)
}
