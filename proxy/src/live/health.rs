//! Whether one address is well: what requests found out, and what checks did.
//!
//! Shared by all workers and the control plane; atomics only, so that the path of a
//! request reads it without a lock.
//!
//! ## Ejection
//!
//! So many failures in a row that are the address's own doing eject it: it gets no
//! requests for a time that doubles with each ejection in a row, up to a limit. Then a
//! single request tries it: a success lets it in, a failure ejects it for longer. There
//! are two kinds, by the failure that came last:
//!
//! - **Unreachable**: no connection could be opened. That is known, not suspected, so a
//!   version with nothing else is answered 503 at once. Trying costs nobody anything, as
//!   nothing was sent: one request at a time may, every [`RETRIAL`], and the control
//!   plane does every second. A connection that is opened lets the address in.
//! - **Suspected**: connections broke before an answer, or it was no HTTP. One client
//!   with a request that crashes a worker process can bring that about, so it must not
//!   become an outage: where nothing better is left, suspected addresses are used.
//!
//! A success of any request ends the ejection and the run of failures.
//!
//! ## Checks
//!
//! An address whose checks fail is *failing*: it gets no requests at all, until its
//! checks pass. One that was never checked counts as healthy.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use haldane_config::Ejection;

use crate::clock::{Micros, micros};

/// A version without anything better tries an unreachable address so long after it was
/// last seen to be: recovery is quick, and the address hears of it four times a second.
pub(crate) const RETRIAL: Micros = 250_000;

/// A trial that has found nothing out after so long does not keep others from trying.
const TRIAL: Micros = 1_000_000;

/// What is known about one address.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Failures since the last success, while it is not ejected.
    failures: AtomicU32,
    /// Ejections since the last success.
    ejections: AtomicU32,
    /// The end of the ejection and its kind, see [`pack`]; 0 while it is not ejected.
    ejected: AtomicU64,
    /// A request tries it until then at most.
    trial: AtomicU64,
    /// When it last failed and how, see [`pack`]; 0 is never.
    last_failure: AtomicU64,
    /// Its checks fail.
    failing: AtomicBool,
}

/// How an address failed a request or a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AddressFailure {
    /// A connection broke before an answer, or what came was no HTTP.
    Broken,
    /// A check had a bad answer or none.
    Check,
    /// No connection could be opened.
    Connect,
}

impl AddressFailure {
    const ALL: [Self; 3] = [Self::Broken, Self::Check, Self::Connect];

    /// The name on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "reset",
            Self::Check => "check",
            Self::Connect => "connect",
        }
    }
}

/// What may be done with an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// Its checks fail: nothing.
    Failing,
    /// Anything.
    Healthy,
    /// It broke connections: only what would have to be refused otherwise.
    Suspected,
    /// No connection can be opened: one trial at a time.
    Unreachable,
}

impl Standing {
    /// Whether requests are sent there where nothing better is left.
    pub(crate) const fn is_usable(self) -> bool {
        matches!(self, Self::Healthy | Self::Suspected)
    }
}

impl Health {
    /// What may be done with the address.
    pub(crate) fn standing(&self) -> Standing {
        let ejected = self.ejected.load(Ordering::Relaxed);
        if self.failing.load(Ordering::Relaxed) {
            Standing::Failing
        } else if ejected == 0 {
            Standing::Healthy
        } else if unpack(ejected).1 == AddressFailure::Connect {
            Standing::Unreachable
        } else {
            Standing::Suspected
        }
    }

    /// A request was answered, however badly.
    pub(crate) fn succeeded(&self) {
        // The usual success writes nothing, so that workers keep the line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejections.load(Ordering::Relaxed) != 0 {
            self.ejections.store(0, Ordering::Relaxed);
            self.ejected.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed, or an attempt to connect. Without a rule this is only noted.
    pub(crate) fn failed(&self, failure: AddressFailure, now: Micros, rule: Option<&Ejection>) {
        self.note(failure, now);
        let Some(rule) = rule else { return };
        let ejected = self.ejected.load(Ordering::Relaxed);
        if ejected == 0 {
            let run = self
                .failures
                .fetch_add(1, Ordering::Relaxed)
                .saturating_add(1);
            if run >= rule.failures {
                self.eject(ejected, failure, now, rule);
            }
            return;
        }
        // Requests that were on their way say nothing new; only a trial does.
        let trial = self.trial.load(Ordering::Relaxed);
        if trial <= now
            || self
                .trial
                .compare_exchange(trial, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let (until, _) = unpack(ejected);
        if until <= now {
            self.eject(ejected, failure, now, rule);
        } else {
            // Tried early, for want of anything better: no reason to wait longer.
            let same_end = pack(until, failure);
            self.replace(ejected, same_end);
        }
    }

    /// A connection was opened where none could be.
    pub(crate) fn reached(&self) {
        let ejected = self.ejected.load(Ordering::Relaxed);
        if ejected != 0 && unpack(ejected).1 == AddressFailure::Connect {
            self.failures.store(0, Ordering::Relaxed);
            self.replace(ejected, 0);
        }
    }

    /// What checks have come to.
    pub(crate) fn checked(&self, is_well: bool) {
        self.failing.store(!is_well, Ordering::Relaxed);
        if is_well {
            self.reached();
        }
    }

    /// There are no checks (any more).
    pub(crate) fn checked_no_more(&self) {
        self.failing.store(false, Ordering::Relaxed);
    }

    /// Notes a failure that nothing follows from.
    pub(crate) fn note(&self, failure: AddressFailure, now: Micros) {
        self.last_failure
            .store(pack(now, failure), Ordering::Relaxed);
    }

    /// Whether the caller is the one whose request tries the address, because its
    /// ejection is over.
    pub(crate) fn begin_trial(&self, now: Micros) -> bool {
        let ejected = self.ejected.load(Ordering::Relaxed);
        ejected != 0 && unpack(ejected).0 <= now && self.take_trial(now)
    }

    /// The same before the ejection is over, for want of anything better.
    pub(crate) fn begin_early_trial(&self, now: Micros) -> bool {
        let (failed, _) = unpack(self.last_failure.load(Ordering::Relaxed));
        failed.saturating_add(RETRIAL) <= now && self.take_trial(now)
    }

    /// Until when it is ejected, if it is.
    pub(crate) fn ejected_until(&self) -> Option<Micros> {
        let ejected = self.ejected.load(Ordering::Relaxed);
        (ejected != 0).then(|| unpack(ejected).0)
    }

    /// When it last failed, and how.
    pub(crate) fn last_failure(&self) -> Option<(Micros, AddressFailure)> {
        let last = self.last_failure.load(Ordering::Relaxed);
        (last != 0).then(|| unpack(last))
    }

    fn take_trial(&self, now: Micros) -> bool {
        let trial = self.trial.load(Ordering::Relaxed);
        trial <= now
            && self
                .trial
                .compare_exchange(trial, now + TRIAL, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn eject(&self, was: u64, failure: AddressFailure, now: Micros, rule: &Ejection) {
        let before = self.ejections.load(Ordering::Relaxed);
        // 2^40 times the shortest ejection is longer than any limit.
        let time = micros(rule.time).saturating_mul(1 << before.min(40));
        let until = now.saturating_add(time.min(micros(rule.max)));
        if self.replace(was, pack(until, failure)) {
            self.ejections
                .store(before.saturating_add(1), Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// False if another thread has decided in the meantime, which is as good.
    fn replace(&self, was: u64, is: u64) -> bool {
        self.ejected
            .compare_exchange(was, is, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// A moment and a failure in one word that is not 0: the last two bits are the failure.
const fn pack(at: Micros, failure: AddressFailure) -> u64 {
    let kind = match failure {
        AddressFailure::Broken => 1,
        AddressFailure::Check => 2,
        AddressFailure::Connect => 3,
    };
    at << 2 | kind
}

fn unpack(word: u64) -> (Micros, AddressFailure) {
    let kind = (word & 3).saturating_sub(1);
    let failure = AddressFailure::ALL
        .into_iter()
        .zip(0..)
        .find_map(|(failure, index)| (index == kind).then_some(failure));
    (word >> 2, failure.unwrap_or(AddressFailure::Connect))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Micros = 1_000_000;
    const RULE: Ejection = Ejection {
        failures: 3,
        time: Duration::from_secs(10),
        max: Duration::from_secs(60),
    };

    fn fail(health: &Health, failure: AddressFailure, now: Micros) {
        health.failed(failure, now, Some(&RULE));
    }

    fn ejected(failure: AddressFailure) -> Health {
        let health = Health::default();
        for _ in 0..RULE.failures {
            fail(&health, failure, SECOND);
        }
        assert!(!matches!(health.standing(), Standing::Healthy));
        health
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
        let health = Health::default();
        for _ in 0..10 {
            fail(&health, AddressFailure::Connect, SECOND);
            fail(&health, AddressFailure::Broken, SECOND);
            assert_eq!(health.standing(), Standing::Healthy);
            health.succeeded();
        }
        assert_eq!(
            health.last_failure(),
            Some((SECOND, AddressFailure::Broken))
        );
        for (failure, standing) in [
            (AddressFailure::Broken, Standing::Suspected),
            (AddressFailure::Connect, Standing::Unreachable),
        ] {
            let health = ejected(failure);
            assert_eq!(health.standing(), standing);
            assert_eq!(health.ejected_until(), Some(11 * SECOND));
        }
    }

    #[test]
    fn without_a_rule_nobody_is_ejected() {
        let health = Health::default();
        for _ in 0..100 {
            health.failed(AddressFailure::Connect, SECOND, None);
        }
        assert_eq!(health.standing(), Standing::Healthy);
        assert_eq!(
            health.last_failure(),
            Some((SECOND, AddressFailure::Connect))
        );
    }

    #[test]
    fn each_ejection_in_a_row_is_twice_as_long_up_to_the_limit() {
        let health = ejected(AddressFailure::Broken);
        let mut now = 11 * SECOND;
        for seconds in [20, 40, 60, 60, 60] {
            assert!(health.begin_trial(now));
            fail(&health, AddressFailure::Broken, now + 1);
            let until = now + 1 + seconds * SECOND;
            assert_eq!(health.ejected_until(), Some(until));
            now = until;
        }
        health.succeeded();
        assert_eq!(health.standing(), Standing::Healthy);
        for _ in 0..RULE.failures {
            fail(&health, AddressFailure::Broken, now);
        }
        assert_eq!(health.ejected_until(), Some(now + 10 * SECOND));
    }

    #[test]
    fn one_request_at_a_time_tries_an_ejected_address() {
        let health = ejected(AddressFailure::Broken);
        assert!(!health.begin_trial(11 * SECOND - 1), "it is ejected");
        assert!(health.begin_trial(11 * SECOND));
        assert!(!health.begin_trial(11 * SECOND), "one tries it already");
        // The trial is never heard of again: its client has left.
        assert!(!health.begin_trial(12 * SECOND - 1));
        assert!(health.begin_trial(12 * SECOND));
        // What was on its way before says nothing about the trial's end.
        health.succeeded();
        assert_eq!(health.standing(), Standing::Healthy);
    }

    #[test]
    fn what_was_on_its_way_when_it_was_ejected_makes_nothing_worse() {
        let health = ejected(AddressFailure::Connect);
        for _ in 0..100 {
            fail(&health, AddressFailure::Connect, 2 * SECOND);
        }
        assert_eq!(health.ejected_until(), Some(11 * SECOND));
    }

    #[test]
    fn for_want_of_anything_better_it_is_tried_early_and_not_often() {
        let health = ejected(AddressFailure::Connect);
        assert!(!health.begin_early_trial(SECOND + RETRIAL - 1));
        let mut now = SECOND + RETRIAL;
        for _ in 0..10 {
            assert!(health.begin_early_trial(now));
            assert!(!health.begin_early_trial(now), "one at a time");
            fail(&health, AddressFailure::Connect, now);
            assert!(!health.begin_early_trial(now), "not again at once");
            now += RETRIAL;
        }
        assert_eq!(health.ejected_until(), Some(11 * SECOND), "no longer");
    }

    #[test]
    fn a_connection_refutes_what_connections_have_shown_and_nothing_else() {
        let unreachable = ejected(AddressFailure::Connect);
        unreachable.reached();
        assert_eq!(unreachable.standing(), Standing::Healthy);
        let suspected = ejected(AddressFailure::Broken);
        suspected.reached();
        assert_eq!(suspected.standing(), Standing::Suspected);
    }

    #[test]
    fn checks_have_the_last_word() {
        let health = Health::default();
        health.checked(false);
        assert_eq!(health.standing(), Standing::Failing);
        health.succeeded();
        health.reached();
        assert_eq!(health.standing(), Standing::Failing);
        health.checked(true);
        assert_eq!(health.standing(), Standing::Healthy);
    }

    proptest! {
        /// Whatever happens: it is healthy after a success, and no ejection is longer
        /// than its limit.
        #[test]
        fn no_history_is_for_ever(
            steps in prop::collection::vec((0..5_u8, 0..20_000_000_u64), 0..200),
        ) {
            let health = Health::default();
            let mut now = 0;
            for (step, later) in steps {
                now += later;
                match step {
                    0 => fail(&health, AddressFailure::Connect, now),
                    1 => fail(&health, AddressFailure::Broken, now),
                    2 => drop(health.begin_trial(now)),
                    3 => drop(health.begin_early_trial(now)),
                    _ => health.reached(),
                }
                if let Some(until) = health.ejected_until() {
                    prop_assert!(until <= now + micros(RULE.max));
                }
            }
            health.succeeded();
            prop_assert_eq!(health.standing(), Standing::Healthy);
        }
    }
}
