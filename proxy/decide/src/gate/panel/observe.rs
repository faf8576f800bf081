//! What gates are told one by one: whatever counts against a version.

use super::super::verdict::Breach;
use super::{Check, Panel};
use crate::outcome::{Evidence, Outcome};
use crate::role::Role;
use crate::tally::Tally;
use crate::time::Timestamp;

impl Panel {
    /// One outcome, which `tally` already counts. Constant time.
    pub(crate) fn observe(
        &mut self,
        outcome: &Outcome,
        tally: &Tally,
        now: Timestamp,
    ) -> Option<Breach> {
        self.last = (*tally, now);
        self.learn(outcome, now);
        if self.weight.is_zero() {
            return None;
        }
        let is_failure = matches!(outcome.evidence, Evidence::Failure(_));
        self.note_example(outcome, is_failure);
        for gate in &mut self.gates {
            if let Some(run) = gate.check.run_mut() {
                run.observe(outcome, tally);
            }
        }
        let is_known_bad = self.count(outcome, is_failure, tally, now);
        if outcome.role == Role::Stable {
            return None;
        }
        let counted = self.check_counted(tally);
        if counted.is_some() || is_known_bad || (!is_failure && outcome.class.is_none()) {
            return counted;
        }
        self.check(tally)
    }

    /// A failure of the canary with a request that a rule has sent there, which `tally`
    /// already counts. Only what acts on what was counted hears of it: nothing is bet on
    /// those whom a rule matches, who may fare otherwise than others.
    pub(crate) fn observe_ruled(
        &mut self,
        outcome: &Outcome,
        tally: &Tally,
        now: Timestamp,
    ) -> Option<Breach> {
        self.last = (*tally, now);
        if self.weight.is_zero() || self.failures.is_known_bad(outcome.key) {
            return None;
        }
        self.failures.harm(outcome.key);
        for gate in &mut self.gates {
            if let Some(run) = gate.check.run_mut() {
                run.observe_ruled(tally);
                gate.example = outcome.request.or(gate.example);
            }
        }
        self.check_counted(tally)
    }

    /// Who and what fails anyway, for the rollout that begins next.
    fn learn(&mut self, outcome: &Outcome, now: Timestamp) {
        if outcome.role == Role::Canary {
            return;
        }
        if let (Evidence::Failure(_), Some(key)) = (outcome.evidence, outcome.key) {
            self.failures.note(key, now);
        }
        if let Some(class) = outcome.class {
            self.classes.note(class);
        }
    }

    fn note_example(&mut self, outcome: &Outcome, is_failure: bool) {
        if outcome.role == Role::Stable || outcome.request.is_none() {
            return;
        }
        for gate in &mut self.gates {
            let concerns = match &gate.check {
                Check::Latency(_) | Check::LatencySpike(..) => {
                    !is_failure && outcome.class.is_none()
                }
                Check::NewErrors => outcome.class.is_some(),
                Check::BurnRate(_)
                | Check::ConsecutiveFailures(_)
                | Check::ErrorRate { .. }
                | Check::ErrorTrend(_)
                | Check::Signal(_) => is_failure,
                // No request is an example of what is not about requests.
                Check::Outside(_) => false,
            };
            if concerns {
                gate.example = outcome.request;
            }
        }
    }

    /// Bets on an outcome. True if its user is known to be bad.
    fn count(
        &mut self,
        outcome: &Outcome,
        is_failure: bool,
        tally: &Tally,
        now: Timestamp,
    ) -> bool {
        if let Some(class) = outcome.class {
            self.classes.count(class, outcome.role);
        }
        let released = self.mass.released();
        if is_failure {
            self.failures.observe(outcome, tally, released);
        }
        if self.failures.is_known_bad(outcome.key) {
            return true;
        }
        if let Some(class) = outcome.class {
            let seen = &mut self.failures.seen;
            self.classes
                .observe(class, outcome, seen, (tally, released));
        }
        if outcome.role == Role::Canary && (is_failure || outcome.class.is_some()) {
            self.failures.suspect(tally, now);
        }
        if self.failures.evidence().0 < released && !self.classes.any_above(released) {
            self.failures.trust();
        }
        false
    }
}
