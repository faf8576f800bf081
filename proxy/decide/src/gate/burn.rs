//! How fast is the error budget used up?
//!
//! Over a long and a short window, so that it neither reacts to a blip nor goes on after a
//! fault is over (Google SRE Workbook, "Alerting on SLOs"). It looks at both versions
//! together, so it holds what would make things worse; whose doing it is, the share bets
//! say.

use std::collections::VecDeque;
use std::time::Duration;

use super::bet::float;
use super::numbers::interval;
use super::tape::{Kept, Tape, kept};
use super::verdict::{Comparison, Estimate, Measure};
use crate::role::Role;
use crate::tally::Tally;
use crate::time::Timestamp;

/// A burn rate that is too high over both windows.
#[derive(Clone, Copy, Debug)]
struct Pair {
    rate: f64,
    long: Duration,
    short: Duration,
}

const HOUR: u64 = 3600;

const PAIRS: [Pair; 3] = [
    Pair {
        rate: 14.4,
        long: Duration::from_secs(HOUR),
        short: Duration::from_secs(300),
    },
    Pair {
        rate: 6.0,
        long: Duration::from_secs(6 * HOUR),
        short: Duration::from_secs(HOUR / 2),
    },
    Pair {
        rate: 1.0,
        long: Duration::from_secs(72 * HOUR),
        short: Duration::from_secs(6 * HOUR),
    },
];

/// Few requests prove nothing: one error in ten is "100 times too fast". So the rate must
/// be above the limit with this error.
const ERROR: f64 = 0.05;

/// How far apart what was counted is kept: finely for an hour, then coarsely.
const FINE: (Duration, usize) = (Duration::from_secs(10), 361);
const COARSE: (Duration, usize) = (Duration::from_secs(300), 865);

/// What was counted at some time, of both versions together.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Timestamp,
    failures: u64,
    requests: u64,
}

/// The burn rate of a route.
#[derive(Clone, Debug)]
pub(super) struct BurnRate {
    /// The share of requests that may fail.
    budget: f64,
    objective: f64,
    fine: VecDeque<Mark>,
    coarse: VecDeque<Mark>,
    now: Mark,
    /// Failures and requests of canaries that were counted before and are not any more.
    gone: (u64, u64),
}

impl BurnRate {
    pub(super) fn new(objective: f64, tally: &Tally, now: Timestamp) -> Self {
        let mark = Mark::of(tally, now);
        Self {
            budget: (1.0 - objective).max(1e-9),
            objective,
            fine: VecDeque::from([mark]),
            coarse: VecDeque::from([mark]),
            now: mark,
            gone: (0, 0),
        }
    }

    /// Goes on from what another one has seen of the same service. What this one counts may
    /// begin anew, with another canary.
    pub(super) fn inherit(&mut self, other: &Self) {
        let (now, before) = (self.now, other.now);
        let gone = |before: u64, now: u64| before.saturating_sub(now);
        let gone = (
            gone(before.failures, now.failures),
            gone(before.requests, now.requests),
        );
        *self = Self {
            budget: self.budget,
            objective: self.objective,
            gone,
            ..other.clone()
        };
    }

    pub(super) fn see(&mut self, tally: &Tally, now: Timestamp) {
        let counted = Mark::of(tally, now);
        self.now = Mark {
            failures: counted.failures + self.gone.0,
            requests: counted.requests + self.gone.1,
            ..counted
        };
        for (marks, (distance, count)) in [(&mut self.fine, FINE), (&mut self.coarse, COARSE)] {
            if marks
                .back()
                .is_none_or(|last| now.since(last.at) >= distance)
            {
                marks.push_back(self.now);
                if marks.len() > count {
                    marks.pop_front();
                }
            }
        }
    }

    /// The pair that burns most, and whether that is too fast.
    pub(super) fn judge(&self) -> (bool, Comparison) {
        let burns = |pair: &Pair| {
            let (long, short) = (self.over(pair.long), self.over(pair.short));
            let is_too_fast = [long, short].into_iter().all(|part| {
                let (low, _) = interval(part.failures, part.requests, ERROR);
                low > pair.rate * self.budget
            });
            (is_too_fast, self.compare(pair, long))
        };
        let mut judged = PAIRS.iter().map(burns);
        let first = judged.find(|(is_too_fast, _)| *is_too_fast);
        first.unwrap_or_else(|| (false, self.compare(&PAIRS[0], self.over(PAIRS[0].long))))
    }

    /// What was counted in the last so long; before the first mark nothing was.
    fn over(&self, window: Duration) -> Mark {
        let marks = if window <= Duration::from_secs(HOUR) {
            &self.fine
        } else {
            &self.coarse
        };
        let is_old = |mark: &&Mark| self.now.at.since(mark.at) >= window;
        let since = marks.iter().rev().find(is_old).or_else(|| marks.front());
        let since = since.copied().unwrap_or(self.now);
        let requests = self.now.requests.saturating_sub(since.requests);
        Mark {
            at: since.at,
            failures: self.now.failures.saturating_sub(since.failures),
            requests: self.padded(requests, since.at, window),
        }
    }

    /// A window that is not full yet counts as if it had been without failures before.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, and a ratio of durations is positive"
    )]
    fn padded(&self, requests: u64, since: Timestamp, window: Duration) -> u64 {
        let elapsed = self.now.at.since(since).as_secs_f64().max(1.0);
        let missing = (window.as_secs_f64() / elapsed).max(1.0);
        (float(requests) * missing) as u64
    }

    fn compare(&self, pair: &Pair, part: Mark) -> Comparison {
        let service = Estimate::share(part.failures, part.requests);
        Comparison {
            value: service.value / self.budget,
            limit: pair.rate,
            canary: service,
            stable: Estimate::default(),
            measure: Measure::BurnRate {
                objective: self.objective,
            },
        }
    }
}

impl Mark {
    fn of(tally: &Tally, at: Timestamp) -> Self {
        let sum = |part: fn(&crate::tally::Counts) -> u64| {
            Role::ALL.into_iter().map(|role| part(tally.of(role))).sum()
        };
        Self {
            at,
            failures: sum(|counts| counts.failures),
            requests: sum(crate::tally::Counts::requests),
        }
    }
}

kept!(Mark {
    at,
    failures,
    requests,
});

impl Kept for BurnRate {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self {
            budget: _,
            objective: _,
            fine,
            coarse,
            now,
            gone,
        } = self;
        now.pass(tape);
        gone.0.pass(tape);
        gone.1.pass(tape);
        tape.queue(fine, FINE.1, now);
        tape.queue(coarse, COARSE.1, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service with 100 requests a second, of which so many in a thousand fail.
    fn after(minutes: &[(u64, u64)]) -> (bool, f64) {
        let (mut tally, mut second) = (Tally::default(), 0);
        let at = |second: u64| Timestamp::from_micros(second * 1_000_000);
        let mut burn = BurnRate::new(0.999, &tally, at(0));
        for &(minutes, per_thousand) in minutes {
            for _ in 0..minutes * 6 {
                tally.of_mut(Role::Stable).failures += per_thousand;
                tally.of_mut(Role::Stable).successes += 1000 - per_thousand;
                second += 10;
                burn.see(&tally, at(second));
            }
        }
        let (is_too_fast, comparison) = burn.judge();
        (is_too_fast, comparison.value)
    }

    #[test]
    fn a_fast_burn_is_seen_while_it_lasts() {
        assert!(!after(&[(120, 1)]).0);
        assert!(after(&[(60, 0), (60, 30)]).0);
        // Two minutes at thirty times the rate use no more than an hour at the right one.
        assert!(!after(&[(60, 0), (2, 30)]).0);
        // It is over.
        assert!(!after(&[(60, 0), (60, 30), (40, 0)]).0);
    }

    #[test]
    fn one_error_in_ten_requests_is_no_burn() {
        let mut tally = Tally::default();
        let at = |second: u64| Timestamp::from_micros(second * 1_000_000);
        let mut burn = BurnRate::new(0.999, &tally, at(0));
        tally.of_mut(Role::Stable).failures += 1;
        tally.of_mut(Role::Stable).successes += 9;
        burn.see(&tally, at(3600));
        let (is_too_fast, comparison) = burn.judge();
        assert!(!is_too_fast);
        assert!((comparison.value - 100.0).abs() < 1e-6);
    }
}
