//! One route's gates and rollout behind one type.

use crate::gate::spec::GateSpec;
use crate::gate::{Breach, Gate, LatencyLimits, StableLatency, Verdict, VerdictKind};
use crate::generation::Generation;
use crate::outcome::{Evidence, Outcome};
use crate::refusal::{Refusals, StableReach};
use crate::rollout::{Cause, Effect, Order, Phase, Rejected, Rollout};
use crate::status::{OverallVerdict, Status};
use crate::tally::{LATENCY_LIMITS_MAX, Tally};
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
}

/// One route's gates and rollout. The only type that the shell drives.
///
/// Gates are asked only while the canary has traffic. At weight 0 and after a
/// rollback there is nothing to judge: what still ends are requests that began
/// before, and they must not cause a second rollback.
#[derive(Clone, Debug)]
pub struct Release {
    specs: Vec<GateSpec>,
    gates: Vec<Gate>,
    rollout: Rollout,
    latency_limits: LatencyLimits,
    refusals: Refusals,
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
        Self {
            gates: fresh_gates(&spec.gates, tally, now),
            rollout,
            specs: spec.gates,
            latency_limits: LatencyLimits::default(),
            refusals: Refusals::default(),
        }
    }

    /// Makes the rollout stand where another one did, with fresh gates.
    pub(crate) fn take_over(
        &mut self,
        change: impl FnOnce(&mut Rollout) -> Vec<Effect>,
        (tally, now): (&Tally, Timestamp),
    ) -> Vec<Effect> {
        let effects = change(&mut self.rollout);
        if !effects.is_empty() {
            self.gates = fresh_gates(&self.specs, tally, now);
            self.refusals.settle();
            self.publish_limits();
        }
        effects
    }

    /// Whether stable can be reached, as far as is known. To be told before
    /// [`Release::observe`] and [`Release::absorb`]: while it cannot, a breach rolls
    /// nothing back, because all traffic would go where nobody answers.
    pub const fn tell_stable(&mut self, reach: StableReach) {
        self.refusals.tell(reach);
    }

    /// One outcome, which `tally` already counts.
    ///
    /// Must be called for every failure of either role, and for every success of
    /// the canary that was slower than a latency limit. The cost is that of looking
    /// at a few counters for each limit.
    #[must_use]
    pub fn observe(&mut self, outcome: &Outcome, tally: &Tally, now: Timestamp) -> Vec<Effect> {
        if !self.is_judged() || outcome.evidence == Evidence::Neither {
            return Vec::new();
        }
        let breach = first_breach(
            self.gates
                .iter_mut()
                .map(|gate| gate.observe(outcome, tally)),
        );
        self.rolled_back_by(breach, now)
    }

    /// Everything counted so far. To be called several times a second: it moves the
    /// evidence along, sets the latency limits, and judges.
    ///
    /// `stable` is cumulative, like `tally`.
    #[must_use]
    pub fn absorb(
        &mut self,
        tally: &Tally,
        stable: &StableLatency<'_>,
        now: Timestamp,
    ) -> Vec<Effect> {
        if !self.is_judged() {
            return Vec::new();
        }
        let verdicts = self
            .gates
            .iter_mut()
            .map(|gate| gate.absorb(tally, stable, now));
        let breach = first_breach(verdicts);
        self.publish_limits();
        if breach.is_none() {
            self.refusals.all_pass(now);
        }
        self.rolled_back_by(breach, now)
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
        let (generation, weight) = (self.generation(), self.weight());
        let effects = self.rollout.handle(order, now)?;
        if !effects.is_empty() {
            self.refusals.settle();
        }
        match self.rollout.phase() {
            // The gates stay as they were, to be read.
            Phase::RolledBack { .. } => {}
            Phase::Idle if generation == self.generation() && weight == self.weight() => {}
            Phase::Idle
                if generation != self.generation()
                    || weight.is_zero()
                    || self.weight().is_zero() =>
            {
                self.gates = fresh_gates(&self.specs, tally, now);
            }
            Phase::Idle => {
                for gate in &mut self.gates {
                    gate.reweigh(tally, now);
                }
            }
        }
        self.publish_limits();
        Ok(effects)
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
        let gates: Vec<_> = self.gates.iter().map(Gate::status).collect();
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
            gates: change.gates || spec.gates != self.specs,
            ..change
        };
        if change.restarts_evidence() {
            self.gates = fresh_gates(&spec.gates, tally, now);
            self.refusals.settle();
        }
        self.specs = spec.gates;
        let effects = self.rollout.reconfigure(spec.weight, change, now);
        self.publish_limits();
        effects
    }

    fn is_judged(&self) -> bool {
        match self.phase() {
            Phase::Idle => !self.weight().is_zero(),
            Phase::RolledBack { .. } => false,
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
        let mut slots = [None; LATENCY_LIMITS_MAX];
        for gate in &self.gates {
            gate.write_limits(&mut slots);
        }
        self.latency_limits.replace(slots);
    }
}

fn fresh_gates(specs: &[GateSpec], tally: &Tally, now: Timestamp) -> Vec<Gate> {
    let mut slot = 0;
    let gate = |spec: &GateSpec| {
        let first_slot = slot;
        slot += Gate::slots(&spec.rule);
        Gate::new(spec, first_slot, tally, now)
    };
    specs.iter().map(gate).collect()
}

/// Every gate is asked, also after one has failed: each must see every outcome.
fn first_breach(verdicts: impl Iterator<Item = Verdict>) -> Option<Breach> {
    verdicts.fold(None, |first, verdict| match (first, verdict) {
        (None, Verdict::Fail(breach)) => Some(breach),
        (first, Verdict::Fail(_) | Verdict::Inconclusive { .. } | Verdict::Pass) => first,
    })
}

#[cfg(test)]
mod tests;
