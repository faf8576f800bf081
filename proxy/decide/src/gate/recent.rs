//! What the last minutes look like: does the canary's failure rate rise, and does it show
//! bursts of very slow responses? Both hold a rollout and roll nothing back: a person
//! would look twice, and evidence about the size comes from the other gates.

use std::collections::VecDeque;

use super::bet::float;
use super::tape::{Kept, Tape, kept};
use super::verdict::{Comparison, Estimate, Measure};
use crate::role::Role;
use crate::tally::{Counts, Tally};

/// Over so many parts of a minute each the trend is taken.
const PARTS: usize = 10;
/// Ticks in a part: a minute.
const TICKS_PER_PART: u32 = 6;
/// So many standard errors are a rise.
const RISES_FROM: f64 = 3.0;

/// Whether the share of failures rises over ten minutes.
#[derive(Clone, Debug)]
pub(super) struct Trend {
    /// Cumulative, oldest first.
    parts: VecDeque<Tally>,
    ticks: u32,
}

impl Trend {
    pub(super) fn new(tally: &Tally) -> Self {
        Self {
            parts: VecDeque::from([*tally]),
            ticks: 0,
        }
    }

    /// Ten seconds are over.
    pub(super) fn tick(&mut self, tally: &Tally) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_PER_PART) {
            self.parts.push_back(*tally);
            if self.parts.len() > PARTS + 1 {
                self.parts.pop_front();
            }
        }
    }

    /// Whether there is enough to tell a trend from.
    pub(super) fn is_known(&self) -> bool {
        self.parts.len() > PARTS / 2
    }

    /// By how many standard errors the canary's rate rises, beyond what stable's does
    /// (Cochran, Armitage: "Tests for linear trends in proportions", Biometrics 1955).
    pub(super) fn compare(&self) -> Comparison {
        let (canary, all) = self.score(Role::Canary);
        let (stable, of_stable) = self.score(Role::Stable);
        Comparison {
            value: (canary - stable.max(0.0)).max(0.0),
            limit: RISES_FROM,
            canary: all,
            stable: of_stable,
            measure: Measure::ErrorTrend,
        }
    }

    fn score(&self, role: Role) -> (f64, Estimate) {
        let parts = self.parts.iter().zip(self.parts.iter().skip(1));
        let parts: Vec<Counts> = parts
            .map(|(start, end)| *end.since(start).of(role))
            .collect();
        let requests: u64 = parts.iter().map(Counts::requests).sum();
        let failures: u64 = parts.iter().map(|part| part.failures).sum();
        let all = Estimate::share(failures, requests);
        let weighted = parts.iter().zip(0_u64..);
        let mean = weighted
            .clone()
            .map(|(part, time)| float(time) * float(part.requests()))
            .sum::<f64>()
            / float(requests.max(1));
        let (mut score, mut spread) = (0.0, 0.0);
        for (part, time) in weighted {
            let (expected, distance) = (all.value * float(part.requests()), float(time) - mean);
            score += distance * (float(part.failures) - expected);
            spread += distance * distance * float(part.requests());
        }
        let variance = all.value * (1.0 - all.value) * spread;
        // A single failure is no trend, wherever it lies.
        if failures < 2 || variance <= 0.0 {
            (0.0, all)
        } else {
            (score / variance.sqrt(), all)
        }
    }
}

/// A tick is a spike from this share of very slow responses on.
const SPIKE_FROM: f64 = 0.05;
/// With fewer of them it is chance.
const SPIKE_COUNT_MIN: u64 = 3;
/// Stable shows it too if its share is at least this part of the canary's.
const SHARED_FROM: f64 = 0.5;
/// A spike holds for so many ticks: a minute.
const HOLDS_FOR: u32 = 6;

/// Whether the canary has had a burst of responses beyond all rungs lately.
#[derive(Clone, Debug)]
pub(super) struct Spike {
    pub(super) tick_start: Tally,
    holds_for: u32,
    last: (Estimate, Estimate),
}

impl Spike {
    pub(super) const fn new(tally: &Tally) -> Self {
        Self {
            tick_start: *tally,
            holds_for: 0,
            last: (Estimate::NONE, Estimate::NONE),
        }
    }

    /// Ten seconds are over, with these shares beyond all rungs.
    pub(super) fn tick(&mut self, tally: &Tally, beyond: Option<(Estimate, Estimate)>) {
        self.tick_start = *tally;
        self.holds_for = self.holds_for.saturating_sub(1);
        let Some((canary, stable)) = beyond else {
            return;
        };
        let is_spike = canary.count >= SPIKE_COUNT_MIN
            && canary.value > SPIKE_FROM
            && stable.value < SHARED_FROM * canary.value;
        if is_spike {
            self.holds_for = HOLDS_FOR;
        }
        if is_spike || self.holds_for == 0 {
            self.last = (canary, stable);
        }
    }

    /// Whether one holds.
    pub(super) const fn holds(&self) -> bool {
        self.holds_for > 0
    }

    pub(super) fn compare(&self, metric: super::spec::LatencyMetric) -> Comparison {
        let (canary, stable) = self.last;
        Comparison {
            value: canary.value,
            limit: SPIKE_FROM,
            canary,
            stable,
            measure: Measure::LatencySpike { metric },
        }
    }
}

impl Kept for Trend {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self { parts, ticks } = self;
        tape.queue(parts, PARTS + 1, &Tally::default());
        ticks.pass(tape);
    }
}

kept!(Spike {
    tick_start,
    holds_for,
    last,
});

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(of: impl Fn(Role, u64) -> u64) -> Comparison {
        let mut tally = Tally::default();
        let mut trend = Trend::new(&tally);
        for minute in 0..10 {
            for role in Role::ALL {
                let failures = of(role, minute);
                tally.of_mut(role).failures += failures;
                tally.of_mut(role).successes += 1000 - failures;
            }
            for _ in 0..TICKS_PER_PART {
                trend.tick(&tally);
            }
        }
        assert!(trend.is_known());
        trend.compare()
    }

    #[test]
    fn a_rise_of_the_canary_alone_is_a_trend() {
        let rises = |one: Comparison| one.value > one.limit;
        assert!(rises(trend(|role, minute| if role == Role::Canary {
            3 * minute
        } else {
            2
        })));
        assert!(!rises(trend(|_, _| 5)));
        assert!(!rises(trend(|_, minute| 30 - 3 * minute)));
        assert!(!rises(trend(|_, minute| 3 * minute)));
        assert!(!rises(trend(|role, minute| u64::from(
            role == Role::Canary && minute == 9
        ))));
    }

    #[test]
    fn a_spike_holds_for_a_minute_unless_stable_has_it_too() {
        let tally = Tally::default();
        let mut spike = Spike::new(&tally);
        let beyond =
            |canary, stable| Some((Estimate::share(canary, 50), Estimate::share(stable, 950)));
        spike.tick(&tally, beyond(2, 0));
        assert!(!spike.holds());
        spike.tick(&tally, beyond(10, 190));
        assert!(!spike.holds());
        spike.tick(&tally, beyond(10, 9));
        for _ in 0..HOLDS_FOR {
            assert!(spike.holds());
            spike.tick(&tally, beyond(0, 0));
        }
        assert!(!spike.holds());
    }
}
