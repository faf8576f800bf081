//! Is it shown that the canary fails no more often than its margin?
//!
//! The other side of the bets on failures: the hypothesis is that the canary is worse by
//! more than the margin, and enough evidence against it at the moment of asking is a pass.
//! It begins anew with each step and uses successes too. Less than enough is neither a
//! pass nor a fail, and comes with how much is missing.

use super::bet::{TwoSample, TwoSampleBet, float};
use super::numbers::requests_to_show;
use super::spec::RateMargin;
use super::tape::{Kept, Tape};
use crate::role::Role;
use crate::tally::{Counts, Tally};
use crate::weight::Weight;

/// The canary's rate in the lanes, as multiples of what stable fails.
pub(crate) const LANES: [f64; 3] = [0.5, 1.0, 1.6];
/// Stable's rate is taken from this many requests on.
const REQUESTS_MIN: u64 = 100;
/// How fast the realised share follows what is counted.
const FOLLOWS: f64 = 0.1;

/// Evidence that the canary is worse by less than a margin.
#[derive(Clone, Debug)]
pub(super) struct NoWorse {
    margin: RateMargin,
    /// The weight that comes next, if it is known.
    next: Weight,
    bet: Option<TwoSampleBet>,
    /// What was counted when it was asked last.
    fed: Tally,
    share: f64,
    /// How often stable fails, as the lanes have it.
    rate: f64,
    /// Requests of the canary that were looked at.
    requests: u64,
}

impl NoWorse {
    pub(super) fn new(margin: RateMargin) -> Self {
        Self {
            margin,
            next: Weight::ZERO,
            bet: None,
            fed: Tally::default(),
            share: 0.0,
            rate: 0.0,
            requests: 0,
        }
    }

    /// A step begins, and what `tally` counts already was before it.
    pub(super) fn restart(&mut self, tally: &Tally) {
        *self = Self {
            fed: *tally,
            next: self.next,
            ..Self::new(self.margin)
        };
    }

    /// What is to be shown is about this weight. Begins anew if it was about another.
    pub(super) fn set_next_weight(&mut self, next: Weight, tally: &Tally) {
        if std::mem::replace(&mut self.next, next) != next {
            self.restart(tally);
        }
    }

    /// What was counted until now in a rollout that began at `start`.
    pub(super) fn see(&mut self, tally: &Tally, start: &Tally, weight: Weight) {
        let fed = std::mem::replace(&mut self.fed, *tally);
        let (counted, before) = (tally.since(&fed), fed.since(start));
        let (canary, stable) = (counted.of(Role::Canary), counted.of(Role::Stable));
        self.bet_on(canary, stable, before.of(Role::Stable), weight);
    }

    /// Bets on what was counted since the last time; `before` is what stable did until then,
    /// so that nothing is bet with what it is bet on.
    pub(super) fn bet_on(
        &mut self,
        canary: &Counts,
        stable: &Counts,
        before: &Counts,
        weight: Weight,
    ) {
        let margin = self.margin_at(weight);
        if weight == Weight::FULL || weight.is_zero() || before.requests() < REQUESTS_MIN {
            return;
        }
        self.rate = (float(before.failures) + 0.5) / (float(before.requests()) + 1.0);
        let lanes = self.lanes(margin);
        let share = if self.bet.is_some() {
            self.share
        } else {
            weight.as_ratio()
        };
        let bet = self
            .bet
            .get_or_insert_with(|| TwoSampleBet::new(&lanes, margin, share));
        bet.set_share(share);
        bet.set_rates(&lanes);
        bet.update(TwoSample {
            canary_failures: canary.failures,
            canary_successes: canary.successes,
            stable_failures: stable.failures,
            stable_successes: stable.successes,
        });
        let all = canary.requests() + stable.requests();
        self.share = if all == 0 {
            share
        } else {
            let realised = float(canary.requests()) / float(all);
            (share + FOLLOWS * (realised - share)).clamp(1e-6, 1.0 - 1e-6)
        };
        self.requests += canary.requests();
    }

    fn lanes(&self, margin: f64) -> [(f64, f64); LANES.len()] {
        LANES.map(|times| {
            let canary = (times * self.rate).clamp(1e-9, 0.9);
            (canary, (canary + margin).min(0.99))
        })
    }

    fn margin_at(&self, weight: Weight) -> f64 {
        self.margin.at(weight.max(self.next))
    }

    /// The evidence that the canary is no worse.
    pub(super) fn evidence(&self) -> f64 {
        self.bet.as_ref().map_or(0.0, TwoSampleBet::evidence)
    }

    /// How many more requests of the canary it takes, if it is no worse than stable.
    pub(super) fn needs(&self, enough: f64, weight: Weight) -> f64 {
        if self.evidence() >= enough {
            return 0.0;
        }
        let all = requests_to_show(self.rate, self.margin_at(weight), weight.as_ratio());
        let (requests, grown) = (float(self.requests), self.evidence().max(1e-12).ln());
        if grown > 1.0 {
            requests * (enough.ln() / grown - 1.0)
        } else {
            (all - requests).max(all / 4.0)
        }
    }
}

impl Kept for NoWorse {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self {
            margin: _,
            next,
            bet,
            fed,
            share,
            rate,
            requests,
        } = self;
        next.pass(tape);
        fed.pass(tape);
        tape.number(share, 0.0..=1.0);
        tape.number(rate, 0.0..=1.0);
        requests.pass(tape);
        let mut has_begun = bet.is_some();
        has_begun.pass(tape);
        if !has_begun {
            *bet = None;
            return;
        }
        let blank = || TwoSampleBet::new(&[(0.5, 0.5); LANES.len()], 0.0, 0.5);
        bet.get_or_insert_with(blank).pass(tape);
    }
}

/// Counts of a signal as counts of outcomes: bad ones are failures.
pub(super) fn counts_of(good: u64, bad: u64) -> Counts {
    Counts {
        failures: bad,
        successes: good,
        ..Counts::default()
    }
}

/// Both versions' counts of a signal, by role.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SignalCounts([Counts; 2]);

impl SignalCounts {
    pub(super) fn add(&mut self, role: Role, good: u64, bad: u64) {
        let counts = &mut self.0[role.index()];
        counts.successes = counts.successes.saturating_add(good);
        counts.failures = counts.failures.saturating_add(bad);
    }

    pub(super) const fn of(&self, role: Role) -> &Counts {
        &self.0[role.index()]
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self(Role::ALL.map(|role| {
            let (now, then) = (self.of(role), earlier.of(role));
            counts_of(
                now.successes.saturating_sub(then.successes),
                now.failures.saturating_sub(then.failures),
            )
        }))
    }
}

impl Kept for SignalCounts {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        self.0.pass(tape);
    }
}
