//! Requests that stand for what is counted of a version, by the names of their traces.
//!
//! Only those that have failed, and some of those that were slow, come here: to keep one
//! takes a lock, which nobody else ever waits for but a scrape.

use std::sync::{Mutex, MutexGuard, PoisonError};

use haldane_decide::outcome::FailureReason;
use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;

use super::Route;
use super::limits::Times;
use crate::clock::Micros;
use crate::trace::TraceId;

/// Times are told apart by their number of bits: finer than any bucket that is scraped,
/// and up to more than an hour in microseconds.
const SIZES: usize = 33;

/// A request that can be looked up, since its trace is sampled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) trace: TraceId,
    /// When it ended.
    pub(crate) at: Timestamp,
}

/// The last request of each kind. Nothing is allocated before the first.
#[derive(Debug, Default)]
pub(crate) struct Exemplars(Mutex<Option<Box<Kept>>>);

#[derive(Debug)]
struct Kept {
    failures: [Option<Exemplar>; FailureReason::ALL.len()],
    ttfb: BySize,
    duration: BySize,
}

/// By the number of bits of the time.
type BySize = [Option<(Micros, Exemplar)>; SIZES];

/// The requests that stand for times, with what each took.
pub(crate) type Slow = Vec<(Micros, Exemplar)>;

impl Route {
    /// This request stands for those that the version of a role has failed in this way.
    pub(crate) fn exemplify_failure(&self, role: Role, reason: FailureReason, one: Exemplar) {
        if let Some(exemplars) = self.exemplars(role) {
            exemplars.failed(reason, one);
        }
    }

    /// This request stands for those that have taken as long.
    pub(crate) fn exemplify_times(&self, role: Role, times: &Times, one: Exemplar) {
        if let Some(exemplars) = self.exemplars(role) {
            exemplars.took(times, one);
        }
    }

    fn exemplars(&self, role: Role) -> Option<&Exemplars> {
        // Those in force come before those that were replaced.
        let mut series = self.series.iter();
        series
            .find(|series| series.role == role)
            .map(|series| &*series.exemplars)
    }
}

impl Exemplars {
    /// The last request that was failed for this reason.
    pub(crate) fn of_failure(&self, reason: FailureReason) -> Option<Exemplar> {
        self.lock().as_ref()?.failures[reason.index()]
    }

    /// Requests by the time to the first byte.
    pub(crate) fn by_ttfb(&self) -> Slow {
        let kept = self.lock();
        let times = kept.iter().flat_map(|kept| kept.ttfb);
        times.flatten().collect()
    }

    /// Requests by their duration.
    pub(crate) fn by_duration(&self) -> Slow {
        let kept = self.lock();
        let times = kept.iter().flat_map(|kept| kept.duration);
        times.flatten().collect()
    }

    fn failed(&self, reason: FailureReason, one: Exemplar) {
        self.lock().get_or_insert_default().failures[reason.index()] = Some(one);
    }

    fn took(&self, times: &Times, one: Exemplar) {
        let mut kept = self.lock();
        let kept = kept.get_or_insert_default();
        kept.ttfb[size_of(times.ttfb)] = Some((times.ttfb, one));
        kept.duration[size_of(times.duration)] = Some((times.duration, one));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Kept>>> {
        // A panic under the lock leaves requests that are what they stand for.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            failures: Default::default(),
            ttfb: [None; SIZES],
            duration: [None; SIZES],
        }
    }
}

const fn size_of(time: Micros) -> usize {
    let bits = (Micros::BITS - time.leading_zeros()) as usize;
    if bits < SIZES { bits } else { SIZES - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    fn one(number: u64) -> Exemplar {
        let field = format!("00-{number:032x}-00f067aa0ba902b7-01");
        Exemplar {
            trace: Trace::parse(field.as_bytes()).expect("is valid").id,
            at: Timestamp::from_micros(number),
        }
    }

    #[test]
    fn the_last_request_stands_for_its_kind() {
        let exemplars = Exemplars::default();
        assert_eq!(exemplars.of_failure(FailureReason::Status), None);
        assert!(exemplars.by_ttfb().is_empty());
        for number in 1..10 {
            exemplars.failed(FailureReason::Status, one(number));
        }
        exemplars.failed(FailureReason::Reset, one(10));
        let found = FailureReason::ALL.map(|reason| exemplars.of_failure(reason));
        let found: Vec<Exemplar> = found.into_iter().flatten().collect();
        assert_eq!(found, [one(10), one(9)]);
    }

    #[test]
    fn times_of_one_size_share_a_place() {
        let exemplars = Exemplars::default();
        let took = |ttfb, duration, number| {
            let times = Times {
                started: 0,
                ttfb,
                duration,
            };
            exemplars.took(&times, one(number));
        };
        took(0, 4, 1);
        took(1000, 1_000_000, 2);
        took(1023, u64::MAX, 3);
        assert_eq!(exemplars.by_ttfb(), [(0, one(1)), (1023, one(3))]);
        let expected = [(4, one(1)), (1_000_000, one(2)), (u64::MAX, one(3))];
        assert_eq!(exemplars.by_duration(), expected);
    }
}
