//! Does the canary show kinds of errors that stable does not?
//!
//! One bet for each kind (HTTP status, gRPC status, reason), client errors included. Half
//! of the promise is for the kinds that stable showed before the rollout. The k-th new one
//! gets `1/(k (k + 1))` of the other half, fixed when it is first seen and before it is
//! looked at whose it is, so that there may be any number of them. A new kind begins with
//! all the capital put in so far: nothing has happened to it yet.

use std::collections::BTreeMap;

use super::bet::{ERROR_LANES, ShareBet, float};
use super::errors::EPISODE_ENDS_BELOW;
use super::keys::KeySet;
use super::tape::{Kept, Tape};
use super::verdict::{Comparison, Estimate, Measure};
use crate::outcome::{ErrorClass, Outcome};
use crate::role::Role;
use crate::tally::Tally;
use crate::weight::Weight;

/// A kind that stable has shown so often before the rollout is known.
const KNOWN_FROM: u64 = 10;

/// More kinds are not told apart, whatever a version answers.
const CLASSES_MAX: usize = 64;

/// The bets of all kinds.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    share: f64,
    /// What stable had shown when the rollout began, and what it has shown until now.
    before: BTreeMap<ErrorClass, u64>,
    of_stable: BTreeMap<ErrorClass, u64>,
    bets: BTreeMap<ErrorClass, ClassBet>,
    new: u64,
    weight: Weight,
}

#[derive(Clone, Debug)]
struct ClassBet {
    bet: ShareBet,
    share: f64,
    /// Requests of the canary when the episode began.
    episode_start: u64,
    /// In this episode.
    canary: u64,
    stable: u64,
}

impl Classes {
    /// Without any kind. `share` is their part of the promise.
    pub(super) const fn new(share: f64) -> Self {
        Self {
            share,
            before: BTreeMap::new(),
            of_stable: BTreeMap::new(),
            bets: BTreeMap::new(),
            new: 0,
            weight: Weight::ZERO,
        }
    }

    /// Stable has shown this.
    pub(super) fn note(&mut self, class: ErrorClass) {
        if self.of_stable.len() < CLASSES_MAX || self.of_stable.contains_key(&class) {
            let count = self.of_stable.entry(class).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Knows what others know of the same stable.
    pub(super) fn inherit(&mut self, other: &Self) {
        self.of_stable.clone_from(&other.of_stable);
    }

    /// The rollout begins: what stable has shown until now is not new.
    pub(super) fn begin(&mut self) {
        self.before.clone_from(&self.of_stable);
    }

    pub(super) fn release(&mut self, mass: f64) {
        for class in self.bets.values_mut() {
            class.bet.release(mass);
        }
    }

    pub(super) fn set_weight(&mut self, weight: Weight) {
        self.weight = weight;
        for class in self.bets.values_mut() {
            class.bet.set_share(weight.as_ratio());
        }
    }

    /// The weighted evidence of all kinds.
    pub(super) fn evidence(&self) -> f64 {
        self.bets.values().map(ClassBet::evidence).sum()
    }

    /// The weighted evidence of the kinds that the canary shows in at least this share of
    /// its requests, and the kind that most of it is about.
    pub(super) fn evidence_above(&self, rate: f64, tally: &Tally) -> (f64, Option<Comparison>) {
        let requests = tally.of(Role::Canary).requests();
        let mut sum = 0.0;
        let mut worst: Option<(f64, Comparison)> = None;
        for (class, one) in &self.bets {
            let samples = requests.saturating_sub(one.episode_start);
            if float(one.canary) < rate * float(samples.max(1)) {
                continue;
            }
            let evidence = one.evidence();
            sum += evidence;
            if worst.as_ref().is_none_or(|(most, _)| evidence > *most) {
                let canary = Estimate::share(one.canary, samples);
                let comparison = Comparison {
                    value: canary.value,
                    limit: rate,
                    canary,
                    stable: Estimate::count(one.stable, 0),
                    measure: Measure::NewErrors { class: *class },
                };
                worst = Some((evidence, comparison));
            }
        }
        (sum, worst.map(|(_, comparison)| comparison))
    }

    /// Whether any kind alone speaks against the canary with at least this evidence.
    pub(super) fn any_above(&self, evidence: f64) -> bool {
        self.bets.values().any(|one| one.bet.evidence() >= evidence)
    }

    /// An error of a kind, before it is known whether its user counts.
    pub(super) fn count(&mut self, class: ErrorClass, role: Role) {
        if let Some(one) = self.bets.get_mut(&self.told_apart(class)) {
            match role {
                Role::Canary => one.canary += 1,
                Role::Stable => one.stable += 1,
            }
        }
    }

    /// An error of a kind. `released` is the capital so far.
    pub(super) fn observe(
        &mut self,
        class: ErrorClass,
        outcome: &Outcome,
        seen: &mut KeySet,
        (tally, released): (&Tally, f64),
    ) {
        let class = self.told_apart(class);
        let key = outcome.key.map(crate::split::SplitKey::to_bits);
        if key.is_some_and(|key| !seen.is_first(key, class.code())) {
            return;
        }
        let requests = tally.of(Role::Canary).requests();
        let is_canary = outcome.role == Role::Canary;
        if !self.bets.contains_key(&class) {
            let one = ClassBet {
                bet: self.fresh_bet(released),
                share: self.share_of(class),
                episode_start: requests.saturating_sub(u64::from(is_canary)),
                canary: u64::from(is_canary),
                stable: u64::from(!is_canary),
            };
            self.bets.insert(class, one);
        }
        let Some(one) = self.bets.get_mut(&class) else {
            return;
        };
        let canary_part = if is_canary { 1.0 } else { 0.0 };
        if outcome.weight == self.weight {
            one.bet.update(canary_part);
        } else {
            one.bet.update_at(outcome.weight.as_ratio(), canary_part);
        }
        if one.bet.evidence() < EPISODE_ENDS_BELOW * released {
            one.episode_start = requests;
            one.canary = 0;
            one.stable = 0;
        }
    }

    fn fresh_bet(&self, released: f64) -> ShareBet {
        let mut bet = ShareBet::new(&ERROR_LANES);
        bet.set_share(self.weight.as_ratio());
        bet.release(released);
        bet
    }

    fn share_of(&mut self, class: ErrorClass) -> f64 {
        let known = |count: &u64| *count >= KNOWN_FROM;
        if self.before.get(&class).is_some_and(known) {
            let all = self.before.values().filter(|count| known(count)).count();
            return self.share / 2.0 / float(all as u64);
        }
        self.new += 1;
        self.share / 2.0 / float(self.new * (self.new + 1))
    }

    /// The kind itself, or what stands for all those that are too many.
    fn told_apart(&self, class: ErrorClass) -> ErrorClass {
        let is_full = self.bets.len() >= CLASSES_MAX;
        if is_full && !self.bets.contains_key(&class) {
            ErrorClass::OTHER
        } else {
            class
        }
    }
}

impl Kept for Classes {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        self.weight.pass(tape);
        let blank = ClassBet {
            bet: self.fresh_bet(0.0),
            share: 0.0,
            episode_start: 0,
            canary: 0,
            stable: 0,
        };
        let Self {
            share: _,
            before,
            of_stable,
            bets,
            new,
            weight: _,
        } = self;
        for shown in [before, of_stable] {
            tape.map(shown, CLASSES_MAX, &(ErrorClass::OTHER, 0));
        }
        // One more stands for all others.
        let most = CLASSES_MAX + 1;
        tape.map(bets, most, &(ErrorClass::OTHER, blank));
        tape.count(new, most as u64);
    }
}

impl Kept for ClassBet {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self {
            bet,
            share,
            episode_start,
            canary,
            stable,
        } = self;
        bet.pass(tape);
        tape.number(share, 0.0..=1.0);
        episode_start.pass(tape);
        canary.pass(tape);
        stable.pass(tape);
    }
}

impl ClassBet {
    fn evidence(&self) -> f64 {
        self.share * self.bet.evidence()
    }
}
