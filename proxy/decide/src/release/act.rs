//! What a release does about breaches, commands and the time.

use std::time::Duration;

use super::Release;
use crate::gate::Breach;
use crate::plan::OnBreach;
use crate::role::Role;
use crate::rollout::{Cause, Effect, Order, Phase, Rejected};
use crate::tally::Tally;
use crate::time::Timestamp;

/// A breach that is only told stands for at least so long, so that one that comes and
/// goes is not told all day.
const TOLD_FOR: Duration = Duration::from_secs(10);

/// How often gates are asked whether the rollout may advance.
pub(super) const LOOK: Duration = Duration::from_secs(1);

impl Release {
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
        let was_judged = self.is_judged();
        let was_stopped = self.is_stopped_by_breach();
        let effects = self.rollout.handle(order, now)?;
        if !effects.is_empty() {
            self.refusals.settle();
        }
        if generation != self.generation() {
            self.await_preconditions();
            self.judge_anew(tally, now);
        } else if !self.is_judged() {
            // The gates stay as they were, to be read.
            self.publish_limits();
        } else if !was_judged || (was_stopped && !self.is_stopped_by_breach()) {
            self.judge_anew(tally, now);
        } else if !effects.is_empty() {
            self.take_weight(tally, now);
        }
        Ok(effects)
    }

    /// Goes on in the plan, if it is time and nothing stands against it.
    pub(super) fn walk(&mut self, tally: &Tally, now: Timestamp) -> Vec<Effect> {
        self.walked = Some(now);
        self.rollout.count(tally.of(Role::Canary).requests(), now);
        let effects = if self.rollout.may_begin() {
            if self.panel.is_burning() {
                Vec::new()
            } else {
                self.rollout.begin(now)
            }
        } else if self.rollout.awaits_gates() {
            self.advance(now)
        } else {
            self.rollout.expire(now)
        };
        if !effects.is_empty() {
            self.take_weight(tally, now);
        }
        effects
    }

    fn advance(&mut self, now: Timestamp) -> Vec<Effect> {
        let is_due = |looked: Timestamp| now.since(looked) >= LOOK;
        if !self.looked.is_none_or(is_due) {
            return Vec::new();
        }
        self.looked = Some(now);
        self.rollout.advance(&self.panel.status(), now)
    }

    /// The gates judge by the weight that there is now, and by the one that comes next.
    pub(super) fn take_weight(&mut self, tally: &Tally, now: Timestamp) {
        self.panel.reweigh(self.rollout.weight(), tally, now);
        self.panel
            .set_next_weight(self.rollout.next_weight(), tally);
        self.publish_limits();
    }

    /// Does with a breach what the plan says.
    pub(super) fn act_on(&mut self, breach: Option<Breach>, now: Timestamp) -> Vec<Effect> {
        let Some(breach) = breach else {
            return Vec::new();
        };
        let on_breach = self.spec.plan.terms.on_breach;
        if on_breach == OnBreach::Observe {
            if self.observed.is_some() {
                return Vec::new();
            }
            self.observed = Some((now, breach.clone()));
            return self.rollout.breach(breach, now);
        }
        if on_breach == OnBreach::Rollback && self.refusals.refuse() {
            let first = self.refusals.note(&breach, now);
            return first
                .then(|| self.rollout.refuse(breach, now))
                .into_iter()
                .collect();
        }
        self.refusals.settle();
        self.rollout.breach(breach, now)
    }

    /// A breach that is only told is forgotten once no gate fails any more.
    pub(super) fn settle_observed(&mut self, now: Timestamp) {
        let is_over = |(since, _): &(Timestamp, Breach)| now.since(*since) >= TOLD_FOR;
        if self.observed.as_ref().is_some_and(is_over) {
            self.observed = None;
        }
    }

    fn is_stopped_by_breach(&self) -> bool {
        matches!(
            self.phase(),
            Phase::Paused {
                by: Cause::Breach(_),
                ..
            }
        )
    }
}
