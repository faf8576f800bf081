//! One route's gates and rollout behind one type.

use std::sync::Arc;

use crate::feed::EvidenceParts;
use crate::gate::spec::{GateSpec, Promise};
use crate::gate::{Answer, Breach, FreshLatencies, LatencyLimits, Manner, Panel};
use crate::generation::Generation;
use crate::outcome::{Evidence, Outcome};
use crate::plan::Plan;
use crate::refusal::{Refusals, StableReach};
use crate::role::Role;
use crate::rollout::{CanaryReach, Effect, Phase, Preconditions, Rollout};
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

mod act;
pub mod change;
pub mod evidence;
mod foresee;
mod picture;

use change::Change;

/// What a route is configured with.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseSpec {
    /// The canary's share when a generation begins that has no plan.
    pub weight: Weight,
    /// How it gets its traffic otherwise.
    pub plan: Plan,
    /// Whether something must hold before the first step, which
    /// [`Release::tell_preconditions`] tells.
    pub has_preconditions: bool,
    /// What the canary must keep passing.
    pub gates: Vec<GateSpec>,
    /// How sure the gates are to be, and what of the plan that depends on.
    pub promise: Promise,
}

impl Default for ReleaseSpec {
    /// No traffic, no plan, no gates.
    fn default() -> Self {
        Self {
            weight: Weight::ZERO,
            plan: Plan::default(),
            has_preconditions: false,
            gates: Vec::new(),
            promise: Promise::default(),
        }
    }
}

impl ReleaseSpec {
    /// How the canary gets its traffic.
    pub(crate) fn course(&self) -> (Weight, Plan) {
        (self.weight, self.plan.clone())
    }
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
    /// A breach that is only told.
    observed: Option<(Timestamp, Breach)>,
    /// When the gates were asked last whether the rollout may advance.
    looked: Option<Timestamp>,
    /// When it was looked at last whether the plan goes on.
    walked: Option<Timestamp>,
}

impl Release {
    /// The first generation. What `tally` counts already is not evidence.
    #[must_use]
    pub fn new(spec: ReleaseSpec, tally: &Tally, now: Timestamp) -> Self {
        let rollout = Rollout::new(spec.weight, spec.plan.clone());
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
        panel.set_next_weight(rollout.next_weight(), tally);
        let mut release = Self {
            panel,
            rollout,
            spec,
            latency_limits: LatencyLimits::default(),
            refusals: Refusals::default(),
            is_shared: false,
            is_confirmed: false,
            observed: None,
            looked: None,
            walked: None,
        };
        release.await_preconditions();
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
        panel.set_next_weight(self.rollout.next_weight(), tally);
        self.panel = panel;
        self.refusals.settle();
        self.is_shared = false;
        self.is_confirmed = false;
        self.observed = None;
        self.publish_limits();
    }

    /// Whether stable can be reached, as far as is known. To be told before
    /// [`Release::observe`] and [`Release::absorb`]: while it cannot, a breach rolls
    /// nothing back, because all traffic would go where nobody answers.
    pub const fn tell_stable(&mut self, reach: StableReach) {
        self.refusals.tell(reach);
    }

    /// Whether anything may start or advance; if not, why.
    pub fn tell_freeze(&mut self, why: Option<Arc<str>>) {
        self.rollout.freeze(why);
    }

    /// Whether what must hold before the first step of this generation does. To be told
    /// again in every generation, if the spec says that there is something.
    pub fn tell_preconditions(&mut self, generation: Generation, preconditions: Preconditions) {
        if self.spec.has_preconditions && generation == self.generation() {
            self.rollout.set_preconditions(preconditions);
        }
    }

    /// Whether the generation has not begun, and something must hold before it does.
    #[must_use]
    pub fn awaits_preconditions(&self) -> bool {
        self.spec.has_preconditions && self.rollout.awaits_preconditions()
    }

    fn await_preconditions(&mut self) {
        self.rollout
            .set_preconditions(if self.spec.has_preconditions {
                Preconditions::Awaited(
                    "what must hold before the first step was not asked yet".into(),
                )
            } else {
                Preconditions::Met
            });
    }

    /// One outcome, which `tally` already counts. Constant time.
    ///
    /// Must be called for every failure and every error with a class, of either role; may
    /// be called for a success of the canary that was slower than a limit, so that there is
    /// an example to show.
    #[must_use]
    pub fn observe(&mut self, outcome: &Outcome, tally: &Tally, now: Timestamp) -> Vec<Effect> {
        if !self.is_judged() || outcome.evidence == Evidence::Neither {
            return Vec::new();
        }
        let breach = self.panel.observe(outcome, tally, now);
        self.latency_limits.suspected_since = self.panel.suspected_since();
        self.act_on(breach, now)
    }

    /// A failure of the canary with a request that a targeting rule has sent there, which
    /// `tally` already counts as such. Constant time.
    ///
    /// It counts for failures in a row and for the budgets of harm, not as evidence.
    #[must_use]
    pub fn observe_ruled(
        &mut self,
        outcome: &Outcome,
        tally: &Tally,
        now: Timestamp,
    ) -> Vec<Effect> {
        if !self.is_judged() || outcome.role == Role::Stable {
            return Vec::new();
        }
        let Evidence::Failure(_) = outcome.evidence else {
            return Vec::new();
        };
        let breach = self.panel.observe_ruled(outcome, tally, now);
        self.act_on(breach, now)
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
        if !self.is_judged() {
            return Vec::new();
        }
        self.panel.tick(fresh, tally, now);
        self.close(tally, now)
    }

    /// The first half of [`Release::absorb`], for a caller that counts in between.
    pub(crate) fn tick(&mut self, tally: &Tally, fresh: &mut FreshLatencies<'_>, now: Timestamp) {
        if self.is_judged() {
            self.panel.tick(fresh, tally, now);
            self.publish_limits();
        }
    }

    /// The second half of [`Release::absorb`].
    pub(crate) fn close(&mut self, tally: &Tally, now: Timestamp) -> Vec<Effect> {
        if !self.is_judged() {
            return Vec::new();
        }
        let breach = self.panel.close(tally, now);
        self.publish_limits();
        if breach.is_none() {
            self.refusals.all_pass(now);
            self.settle_observed(now);
        }
        let mut effects = self.act_on(breach, now);
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
        if effects.is_empty() {
            effects = self.walk(tally, now);
        }
        effects
    }

    /// When [`Release::absorb`] has something to do next.
    #[must_use]
    pub(crate) fn deadline(&self) -> Timestamp {
        let gates = self.panel.deadline();
        match self.walked {
            _ if self.rollout.plan().is_fixed() => gates,
            Some(walked) => gates.min(walked.after(act::LOOK)),
            // It has not begun, and may as soon as it is asked.
            None => Timestamp::from_micros(0),
        }
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
        self.is_judged() && self.panel.tell_answer(gate, answer, asked)
    }

    /// The evidence by what it comes from.
    pub(crate) fn evidence(&self) -> EvidenceParts {
        self.panel.evidence_parts()
    }

    /// The weight of requests that are fed is now this one, whoever has set it.
    pub(crate) fn reweigh(&mut self, weight: Weight, tally: &Tally, now: Timestamp) {
        self.rollout.force(weight);
        self.panel.reweigh(weight, tally, now);
        self.panel
            .set_next_weight(self.rollout.next_weight(), tally);
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

    /// Where it stands, for another process.
    pub(crate) fn phase_to_keep(&self) -> Phase {
        self.rollout.phase_to_keep()
    }

    /// Who gets the canary while its weight is zero.
    #[must_use]
    pub fn reach(&self) -> CanaryReach {
        self.rollout.reach()
    }

    /// What successes of the canary are to be compared with from now on.
    #[must_use]
    pub const fn latency_limits(&self) -> &LatencyLimits {
        &self.latency_limits
    }

    /// Takes over what the configuration says now.
    ///
    /// The configuration is a plan, the release a state: whatever else has changed, a
    /// generation keeps its weight, and a rolled-back one stays at zero.
    ///
    /// | change | generation | phase | weight | evidence |
    /// | --- | --- | --- | --- | --- |
    /// | another canary, or the first | next | idle: its plan begins | configured, or 0 before the plan | anew |
    /// | canary removed | same | idle; rolled back stays | 0 | – |
    /// | the canary that was removed is back, and was not rolled back | next | idle: its plan begins | configured, or 0 before the plan | anew |
    /// | the canary that was removed is back, and was rolled back | same | rolled back | 0 | anew |
    /// | stable or gates, under the same canary | same | same | same | anew |
    /// | steps, under the same canary | same | same; the step that the weight has reached begins anew | same | goes on |
    /// | steps, where there was no plan | same | paused, until somebody resumes | same | goes on |
    /// | no plan any more | same | idle | same | goes on |
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
        let change = self.with_gates(change, &spec);
        self.spec = spec;
        let (generation, was_judged) = (self.generation(), self.is_judged());
        let effects = self.rollout.reconfigure(self.spec.course(), change, now);
        if generation != self.generation() {
            self.await_preconditions();
        }
        if change.restarts_evidence() || (!was_judged && self.is_judged()) {
            if change.stable {
                self.panel = Panel::new(&self.spec.gates, &self.spec.promise, tally, now);
            }
            self.judge_anew(tally, now);
        } else if self.is_judged() {
            self.panel
                .set_next_weight(self.rollout.next_weight(), tally);
        }
        self.publish_limits();
        effects
    }

    /// A change with what a spec has otherwise of what the canary is judged by.
    fn with_gates(&self, change: Change, spec: &ReleaseSpec) -> Change {
        Change {
            gates: change.gates
                || spec.gates != self.spec.gates
                || spec.promise != self.spec.promise,
            ..change
        }
    }

    fn is_judged(&self) -> bool {
        self.phase().is_judged()
    }

    fn publish_limits(&mut self) {
        let mut limits = LatencyLimits::default();
        self.panel.write_limits(&mut limits);
        self.latency_limits = limits;
    }
}

#[cfg(test)]
mod tests;
