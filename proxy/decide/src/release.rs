//! One route's gates and rollout behind one type.

use crate::feed::EvidenceParts;
use crate::gate::spec::{GateSpec, Promise};
use crate::gate::{Answer, Breach, FreshLatencies, LatencyLimits, Manner, Panel, VerdictKind};
use crate::generation::Generation;
use crate::outcome::{Evidence, Outcome};
use crate::refusal::{Refusals, StableReach};
use crate::role::Role;
use crate::rollout::{Cause, Effect, Order, Phase, Rejected, Rollout};
use crate::status::{OverallVerdict, Status};
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

pub mod change;

use change::Change;

/// What a route is configured with.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseSpec {
    /// The canary's share when a generation begins.
    pub weight: Weight,
    /// What the canary must keep passing.
    pub gates: Vec<GateSpec>,
    /// How sure the gates are to be, and what of the plan that depends on.
    pub promise: Promise,
}

/// One route's gates and rollout. The only type that the shell drives.
///
/// Gates are asked only while the canary has traffic. At weight 0 before the first request
/// they look at stable alone. After a rollback there is nothing to judge: what still ends
/// are requests that began before, and they must not cause a second rollback.
#[derive(Clone, Debug)]
pub struct Release {
    spec: ReleaseSpec,
    panel: Panel,
    rollout: Rollout,
    latency_limits: LatencyLimits,
    refusals: Refusals,
    /// Both versions are degraded, and that was said.
    is_shared: bool,
    /// The canary is worse by less than a rollback takes, and that was said.
    is_confirmed: bool,
}

impl Release {
    /// The first generation. What `tally` counts already is not evidence.
    #[must_use]
    pub fn new(spec: ReleaseSpec, tally: &Tally, now: Timestamp) -> Self {
        let rollout = Rollout::new(spec.weight);
        Self::with_rollout(spec, rollout, tally, now)
    }

    /// A release whose rollout stands there, with gates that have seen nothing yet.
    pub(crate) fn with_rollout(
        spec: ReleaseSpec,
        rollout: Rollout,
        tally: &Tally,
        now: Timestamp,
    ) -> Self {
        let mut panel = Panel::new(&spec.gates, &spec.promise, tally, now);
        panel.reweigh(rollout.weight(), tally, now);
        let mut release = Self {
            panel,
            rollout,
            spec,
            latency_limits: LatencyLimits::default(),
            refusals: Refusals::default(),
            is_shared: false,
            is_confirmed: false,
        };
        release.publish_limits();
        release
    }

    /// Decides as the reference engine does, for the tests that compare the two.
    pub(crate) fn set_manner(&mut self, manner: Manner) {
        self.panel.set_manner(manner);
    }

    /// Makes the rollout stand where another one did, with fresh gates.
    pub(crate) fn take_over(
        &mut self,
        change: impl FnOnce(&mut Rollout) -> Vec<Effect>,
        (tally, now): (&Tally, Timestamp),
    ) -> Vec<Effect> {
        let effects = change(&mut self.rollout);
        if !effects.is_empty() {
            self.judge_anew(tally, now);
        }
        effects
    }

    /// Gates that have seen nothing, for whatever weight there is now.
    fn judge_anew(&mut self, tally: &Tally, now: Timestamp) {
        let before = &self.panel;
        let mut panel = Panel::new(&self.spec.gates, &self.spec.promise, tally, now);
        panel.inherit(before);
        panel.reweigh(self.rollout.weight(), tally, now);
        self.panel = panel;
        self.refusals.settle();
        self.is_shared = false;
        self.is_confirmed = false;
        self.publish_limits();
    }

    /// Whether stable can be reached, as far as is known. To be told before
    /// [`Release::observe`] and [`Release::absorb`]: while it cannot, a breach rolls
    /// nothing back, because all traffic would go where nobody answers.
    pub const fn tell_stable(&mut self, reach: StableReach) {
        self.refusals.tell(reach);
    }

    /// One outcome, which `tally` already counts. Constant time.
    ///
    /// Must be called for every failure and every error with a class, of either role; may
    /// be called for a success of the canary that was slower than a limit, so that there is
    /// an example to show.
    #[must_use]
    pub fn observe(&mut self, outcome: &Outcome, tally: &Tally, now: Timestamp) -> Vec<Effect> {
        if self.is_rolled_back() || outcome.evidence == Evidence::Neither {
            return Vec::new();
        }
        let breach = self.panel.observe(outcome, tally, now);
        self.latency_limits.suspected_since = self.panel.suspected_since();
        self.rolled_back_by(breach, now)
    }

    /// Everything counted so far. To be called several times a second: it ends blocks, puts
    /// capital in, sets the latency limits, and judges.
    ///
    /// `fresh` adds what stable has taken since it was called last. It is called once in
    /// ten seconds, and as long as too little is known of stable every time.
    #[must_use]
    pub fn absorb(
        &mut self,
        tally: &Tally,
        fresh: &mut FreshLatencies<'_>,
        now: Timestamp,
    ) -> Vec<Effect> {
        if self.is_rolled_back() {
            return Vec::new();
        }
        self.panel.tick(fresh, tally, now);
        self.close(tally, now)
    }

    /// The first half of [`Release::absorb`], for a caller that counts in between.
    pub(crate) fn tick(&mut self, tally: &Tally, fresh: &mut FreshLatencies<'_>, now: Timestamp) {
        if !self.is_rolled_back() {
            self.panel.tick(fresh, tally, now);
            self.publish_limits();
        }
    }

    /// The second half of [`Release::absorb`].
    pub(crate) fn close(&mut self, tally: &Tally, now: Timestamp) -> Vec<Effect> {
        if self.is_rolled_back() {
            return Vec::new();
        }
        let breach = self.panel.close(tally, now);
        self.publish_limits();
        if breach.is_none() {
            self.refusals.all_pass(now);
        }
        let mut effects = self.rolled_back_by(breach, now);
        let was_shared = std::mem::replace(&mut self.is_shared, self.panel.is_shared());
        if self.is_shared && !was_shared && effects.is_empty() {
            effects.push(self.rollout.incident(now));
        }
        if !self.is_confirmed
            && effects.is_empty()
            && let Some(gate) = self.panel.confirmed()
        {
            self.is_confirmed = true;
            effects.push(self.rollout.confirmed(gate, now));
        }
        effects
    }

    /// When [`Release::absorb`] has something to do next.
    #[must_use]
    pub(crate) fn deadline(&self) -> Timestamp {
        self.panel.deadline()
    }

    /// Lets the gates take what stable has done before a rollout begins.
    pub(crate) fn take_baseline(&mut self, fresh: &mut FreshLatencies<'_>) {
        self.panel.take(fresh);
    }

    /// So many good and bad results of a version were reported under a name. False if no
    /// gate is about that signal.
    pub fn report_signal(&mut self, signal: &str, role: Role, good: u64, bad: u64) -> bool {
        self.panel.report_signal(signal, role, good, bad)
    }

    /// What came of a question for the gate of this name, which was asked then. Acted on
    /// by the next [`Release::absorb`]. False if there is no such gate that asks.
    pub fn tell_answer(&mut self, gate: &str, answer: Answer, asked: Timestamp) -> bool {
        !self.is_rolled_back() && self.panel.tell_answer(gate, answer, asked)
    }

    /// The evidence by what it comes from.
    pub(crate) fn evidence(&self) -> EvidenceParts {
        self.panel.evidence_parts()
    }

    /// Carries out a command. Without effects if nothing had to change. A person may
    /// roll back, or give the canary more, whether stable can be reached or not.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the command is not legal in the current phase.
    pub fn command(
        &mut self,
        order: Order,
        tally: &Tally,
        now: Timestamp,
    ) -> Result<Vec<Effect>, Rejected> {
        let generation = self.generation();
        let effects = self.rollout.handle(order, now)?;
        if !effects.is_empty() {
            self.refusals.settle();
        }
        match self.rollout.phase() {
            // The gates stay as they were, to be read.
            Phase::RolledBack { .. } => {}
            Phase::Idle if generation == self.generation() => {
                self.panel.reweigh(self.rollout.weight(), tally, now);
            }
            Phase::Idle => self.judge_anew(tally, now),
        }
        self.publish_limits();
        Ok(effects)
    }

    /// The weight of requests that are fed is now this one, whoever has set it.
    pub(crate) fn reweigh(&mut self, weight: Weight, tally: &Tally, now: Timestamp) {
        self.rollout.force(weight);
        self.panel.reweigh(weight, tally, now);
        self.publish_limits();
    }

    /// The canary's share.
    #[must_use]
    pub const fn weight(&self) -> Weight {
        self.rollout.weight()
    }

    /// Which attempt this is.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.rollout.generation()
    }

    /// Where the rollout stands.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        self.rollout.phase()
    }

    /// What successes of the canary are to be compared with from now on.
    #[must_use]
    pub const fn latency_limits(&self) -> &LatencyLimits {
        &self.latency_limits
    }

    /// What the gates said last, together and each.
    #[must_use]
    pub fn verdict(&self) -> OverallVerdict {
        let gates = self.panel.status();
        let undecided = gates
            .iter()
            .any(|gate| gate.verdict == VerdictKind::Inconclusive);
        let verdict = match self.phase() {
            Phase::Idle if self.refusals.standing().is_some() => VerdictKind::Fail,
            Phase::RolledBack {
                by: Cause::Breach(_),
                ..
            } => VerdictKind::Fail,
            Phase::Idle
            | Phase::RolledBack {
                by: Cause::Command { .. } | Cause::Configuration | Cause::StateDamaged { .. },
                ..
            } if undecided => VerdictKind::Inconclusive,
            Phase::Idle
            | Phase::RolledBack {
                by: Cause::Command { .. } | Cause::Configuration | Cause::StateDamaged { .. },
                ..
            } => VerdictKind::Pass,
        };
        OverallVerdict { verdict, gates }
    }

    /// A picture of everything, for people and for the admin API.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let (rolled_back_at, by) = match self.phase() {
            Phase::Idle => (None, None),
            Phase::RolledBack { at, by } => (Some(*at), Some(by.clone())),
        };
        let refused = self.refusals.standing();
        Status {
            at: now,
            phase: self.phase().name(),
            rolled_back_at,
            cause: by.as_ref().map(Cause::to_string),
            by,
            rollback_refused_at: refused.map(|refused| refused.at),
            rollback_refused: refused.map(ToString::to_string),
            generation: self.generation(),
            weight: self.weight(),
            configured_weight: self.rollout.configured(),
            verdict: self.verdict(),
            commands: self.phase().name().commands(),
        }
    }

    /// Takes over what the configuration says now.
    ///
    /// The configuration is a plan, the release a state: whatever else has changed, a
    /// generation keeps its weight, and a rolled-back one stays at zero.
    ///
    /// | change | generation | phase | weight | evidence |
    /// | --- | --- | --- | --- | --- |
    /// | another canary, or the first | next | idle | configured | anew |
    /// | canary removed | same | same | 0 | – |
    /// | the canary that was removed is back, and was not rolled back | next | idle | configured | anew |
    /// | the canary that was removed is back, and was rolled back | same | rolled back | 0 | anew |
    /// | stable or gates, under the same canary | same | same | same | anew |
    /// | configured weight only | same | same | same | goes on |
    ///
    /// `tally` counts for the versions that there are now. A change of the gates is
    /// seen by comparison with those before; [`Change::gates`] says it of what the
    /// caller knows besides.
    #[must_use]
    pub fn reconfigure(
        &mut self,
        spec: ReleaseSpec,
        change: Change,
        tally: &Tally,
        now: Timestamp,
    ) -> Vec<Effect> {
        let change = Change {
            gates: change.gates
                || spec.gates != self.spec.gates
                || spec.promise != self.spec.promise,
            ..change
        };
        self.spec = spec;
        let effects = self.rollout.reconfigure(self.spec.weight, change, now);
        if change.restarts_evidence() {
            if change.stable {
                self.panel = Panel::new(&self.spec.gates, &self.spec.promise, tally, now);
            }
            self.judge_anew(tally, now);
        }
        self.publish_limits();
        effects
    }

    fn is_rolled_back(&self) -> bool {
        match self.phase() {
            Phase::Idle => false,
            Phase::RolledBack { .. } => true,
        }
    }

    fn rolled_back_by(&mut self, breach: Option<Breach>, now: Timestamp) -> Vec<Effect> {
        let Some(breach) = breach else {
            return Vec::new();
        };
        if self.refusals.refuse() {
            let first = self.refusals.note(&breach, now);
            return first
                .then(|| self.rollout.refuse(breach, now))
                .into_iter()
                .collect();
        }
        self.refusals.settle();
        self.rollout.breach(breach, now)
    }

    fn publish_limits(&mut self) {
        let mut limits = LatencyLimits::default();
        self.panel.write_limits(&mut limits);
        self.latency_limits = limits;
    }
}

#[cfg(test)]
mod tests;
