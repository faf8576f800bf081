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
//!
//! ## Return
//!
//! An address that was ejected or failing, and is healthy again, is often a process that
//! has just begun: its caches are empty, its own connections are not open. So it gets a
//! part of its share that grows with time ([`Health::share`]). That is a preference among
//! those that are healthy, no limit: what nobody else can take it gets at once.
//!
//! A new address has all of its share from the beginning. When haldane starts all of them
//! are new, and after a release all that a name stands for: there it would change nothing.
//! Of one that joins others nobody knows whether it is cold, but its checks may: if they
//! fail until it is warm, it returns like any other.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use haldane_config::Ejection;

use crate::clock::{Micros, micros};

/// A version without anything better tries an unreachable address so long after it was
/// last seen to be: recovery is quick, and the address hears of it four times a second.
pub(crate) const RETRIAL: Micros = 250_000;

/// A trial that has found nothing out after so long does not keep others from trying.
const TRIAL: Micros = 1_000_000;

/// All of an address's share: it has it so many microseconds after its return. A process
/// can open its connections, fill what it looks up most and compile what is hot in that
/// time; and the others, which bear the rest, do so for no longer than they bore all of
/// it during the shortest ejection by default.
pub(crate) const FULL_SHARE: Micros = 10_000_000;

/// What an address has of [`FULL_SHARE`] when it returns: enough to get warm by.
const FIRST_SHARE: Micros = FULL_SHARE / 10;

/// What is known about one address.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Failures since the last success, while it is not ejected.
    failures: AtomicU32,
    /// Ejections since the last success.
    ejections: AtomicU32,
    /// While it is ejected, the end of that and its kind; otherwise when it returned, or
    /// 0 if it was never away. See [`pack`].
    state: AtomicU64,
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
        let (_, ejected_for) = unpack(self.state.load(Ordering::Relaxed));
        if self.failing.load(Ordering::Relaxed) {
            return Standing::Failing;
        }
        match ejected_for {
            None => Standing::Healthy,
            Some(AddressFailure::Connect) => Standing::Unreachable,
            Some(AddressFailure::Broken | AddressFailure::Check) => Standing::Suspected,
        }
    }

    /// How much it gets of what it would get if it had always been well, from a tenth of
    /// [`FULL_SHARE`] to all of it. One that is ejected has all of it too: whatever it is
    /// used for, nothing better is left.
    pub(crate) fn share(&self, now: Micros) -> Micros {
        match unpack(self.state.load(Ordering::Relaxed)) {
            (0, _) | (_, Some(_)) => FULL_SHARE,
            // Another worker's clock may have been read later than this one's.
            (returned, None) => now.saturating_sub(returned).clamp(FIRST_SHARE, FULL_SHARE),
        }
    }

    /// A request was answered, however badly.
    pub(crate) fn succeeded(&self, now: Micros) {
        // The usual success writes nothing, so that workers keep the line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejections.load(Ordering::Relaxed) != 0 {
            self.ejections.store(0, Ordering::Relaxed);
        }
        let state = self.state.load(Ordering::Relaxed);
        if unpack(state).1.is_some() {
            self.replace(state, pack(now, None));
        }
    }

    /// A request failed, or an attempt to connect. Without a rule this is only noted.
    pub(crate) fn failed(&self, failure: AddressFailure, now: Micros, rule: Option<&Ejection>) {
        self.note(failure, now);
        let Some(rule) = rule else { return };
        let state = self.state.load(Ordering::Relaxed);
        let (until, ejected_for) = unpack(state);
        if ejected_for.is_none() {
            let run = self
                .failures
                .fetch_add(1, Ordering::Relaxed)
                .saturating_add(1);
            if run >= rule.failures {
                self.eject(state, failure, now, rule);
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
        if until <= now {
            self.eject(state, failure, now, rule);
        } else {
            // Tried early, for want of anything better: no reason to wait longer.
            let same_end = pack(until, Some(failure));
            self.replace(state, same_end);
        }
    }

    /// A connection was opened where none could be.
    pub(crate) fn reached(&self, now: Micros) {
        let state = self.state.load(Ordering::Relaxed);
        if unpack(state).1 == Some(AddressFailure::Connect) {
            self.failures.store(0, Ordering::Relaxed);
            self.replace(state, pack(now, None));
        }
    }

    /// What checks have come to.
    pub(crate) fn checked(&self, is_well: bool, now: Micros) {
        if is_well {
            self.reached(now);
            self.checked_no_more(now);
        } else {
            self.failing.store(true, Ordering::Relaxed);
        }
    }

    /// There are no checks (any more) that fail.
    pub(crate) fn checked_no_more(&self, now: Micros) {
        if !self.failing.load(Ordering::Relaxed) {
            return;
        }
        let state = self.state.load(Ordering::Relaxed);
        // Where it is ejected as well, the end of that is its return.
        if unpack(state).1.is_none() {
            self.replace(state, pack(now, None));
        }
        self.failing.store(false, Ordering::Relaxed);
    }

    /// Notes a failure that nothing follows from.
    pub(crate) fn note(&self, failure: AddressFailure, now: Micros) {
        self.last_failure
            .store(pack(now, Some(failure)), Ordering::Relaxed);
    }

    /// Whether the caller is the one whose request tries the address, because its
    /// ejection is over.
    pub(crate) fn begin_trial(&self, now: Micros) -> bool {
        self.ejected_until().is_some_and(|until| until <= now) && self.take_trial(now)
    }

    /// The same before the ejection is over, for want of anything better.
    pub(crate) fn begin_early_trial(&self, now: Micros) -> bool {
        let (failed, _) = unpack(self.last_failure.load(Ordering::Relaxed));
        failed.saturating_add(RETRIAL) <= now && self.take_trial(now)
    }

    /// Until when it is ejected, if it is.
    pub(crate) fn ejected_until(&self) -> Option<Micros> {
        let (until, ejected_for) = unpack(self.state.load(Ordering::Relaxed));
        ejected_for.map(|_| until)
    }

    /// When it last failed, and how.
    pub(crate) fn last_failure(&self) -> Option<(Micros, AddressFailure)> {
        let (at, failure) = unpack(self.last_failure.load(Ordering::Relaxed));
        failure.map(|failure| (at, failure))
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
        if self.replace(was, pack(until, Some(failure))) {
            self.ejections
                .store(before.saturating_add(1), Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// False if another thread has decided in the meantime, which is as good.
    fn replace(&self, was: u64, is: u64) -> bool {
        self.state
            .compare_exchange(was, is, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// A moment, and a failure if there is one: in the last two bits. Not 0, which is never.
fn pack(at: Micros, failure: Option<AddressFailure>) -> u64 {
    let kind = match failure {
        None => 0,
        Some(AddressFailure::Broken) => 1,
        Some(AddressFailure::Check) => 2,
        Some(AddressFailure::Connect) => 3,
    };
    at.max(1) << 2 | kind
}

fn unpack(word: u64) -> (Micros, Option<AddressFailure>) {
    let mut kinds = AddressFailure::ALL.into_iter().zip(1..);
    let failure = kinds.find_map(|(failure, kind)| (kind == word & 3).then_some(failure));
    (word >> 2, failure)
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
            health.succeeded(SECOND);
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
        health.succeeded(SECOND);
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
        health.succeeded(SECOND);
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
        unreachable.reached(SECOND);
        assert_eq!(unreachable.standing(), Standing::Healthy);
        let suspected = ejected(AddressFailure::Broken);
        suspected.reached(SECOND);
        assert_eq!(suspected.standing(), Standing::Suspected);
    }

    /// What it has of its share so many seconds after it returned at 20 s.
    fn shares(health: &Health) -> Vec<Micros> {
        let after = [
            0,
            SECOND,
            5 * SECOND,
            10 * SECOND - 1,
            10 * SECOND,
            1000 * SECOND,
        ];
        after.map(|after| health.share(20 * SECOND + after)).into()
    }

    #[test]
    fn after_its_return_it_has_more_and_more_of_its_share() {
        let grow = [1, 1, 5].map(|tenths| FULL_SHARE * tenths / 10);
        let grow = [&grow[..], &[FULL_SHARE - 1, FULL_SHARE, FULL_SHARE]].concat();
        let returned = 20 * SECOND;
        let answers = ejected(AddressFailure::Broken);
        answers.succeeded(returned);
        assert_eq!(shares(&answers), grow, "an answer ends its ejection");
        let reached = ejected(AddressFailure::Connect);
        reached.reached(returned);
        assert_eq!(shares(&reached), grow, "it can be reached again");
        let checked = Health::default();
        checked.checked(false, SECOND);
        checked.checked(true, returned);
        assert_eq!(shares(&checked), grow, "its checks pass again");
        let unchecked = Health::default();
        unchecked.checked(false, SECOND);
        unchecked.checked_no_more(returned);
        assert_eq!(shares(&unchecked), grow, "nobody checks it any more");
        for health in [answers, reached, checked, unchecked] {
            health.succeeded(29 * SECOND);
            health.reached(29 * SECOND);
            health.checked(true, 29 * SECOND);
            health.checked_no_more(29 * SECOND);
            fail(&health, AddressFailure::Connect, 29 * SECOND);
            assert_eq!(shares(&health), grow, "what is usual is no return");
            assert_eq!(health.standing(), Standing::Healthy);
            assert_eq!(health.ejected_until(), None);
            assert!(!health.begin_trial(30 * SECOND));
            assert_eq!(health.share(0), FULL_SHARE / 10, "a clock that is behind");
        }
    }

    #[test]
    fn what_was_never_away_has_all_of_its_share() {
        let health = Health::default();
        for now in [0, SECOND, Micros::MAX] {
            health.checked(true, now);
            health.checked_no_more(now);
            health.succeeded(now);
            health.reached(now);
            fail(&health, AddressFailure::Connect, now);
            health.succeeded(now);
            assert_eq!(health.share(now), FULL_SHARE);
        }
    }

    #[test]
    fn whoever_fails_on_its_return_is_ejected_again_and_returns_again() {
        let health = ejected(AddressFailure::Connect);
        health.reached(20 * SECOND);
        for _ in 0..RULE.failures {
            assert_eq!(health.standing(), Standing::Healthy);
            fail(&health, AddressFailure::Broken, 21 * SECOND);
        }
        assert_eq!(health.standing(), Standing::Suspected);
        // No request was answered in between: it is the second time in a row.
        assert_eq!(health.ejected_until(), Some(41 * SECOND));
        health.checked(false, 22 * SECOND);
        health.checked(true, 23 * SECOND);
        assert_eq!(
            health.standing(),
            Standing::Suspected,
            "checks are no answers"
        );
        health.succeeded(41 * SECOND);
        assert_eq!(health.share(46 * SECOND), FULL_SHARE / 2);
        health.checked(false, 60 * SECOND);
        health.checked(true, 70 * SECOND);
        assert_eq!(health.share(75 * SECOND), FULL_SHARE / 2, "a second return");
    }

    #[test]
    fn checks_have_the_last_word() {
        let health = Health::default();
        health.checked(false, SECOND);
        assert_eq!(health.standing(), Standing::Failing);
        health.succeeded(SECOND);
        health.reached(SECOND);
        assert_eq!(health.standing(), Standing::Failing);
        health.checked(true, SECOND);
        assert_eq!(health.standing(), Standing::Healthy);
    }

    proptest! {
        /// Whatever happens: it is healthy after a success, and no ejection is longer
        /// than its limit, and no return takes for ever.
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
                    _ => health.reached(now),
                }
                if let Some(until) = health.ejected_until() {
                    prop_assert!(until <= now + micros(RULE.max));
                }
                prop_assert!((FULL_SHARE / 10..=FULL_SHARE).contains(&health.share(now)));
            }
            health.succeeded(now);
            prop_assert_eq!(health.standing(), Standing::Healthy);
            prop_assert_eq!(health.share(now + FULL_SHARE), FULL_SHARE);
        }
    }
}
