//! What commands do, by phase.

use super::{
    Cause, Command, CommandName, Effect, NoticeKind, Objection, Order, Phase, Position,
    Preconditions, Promotion, Rejected, Rollout,
};
use crate::time::Timestamp;
use crate::weight::Weight;

impl Rollout {
    /// Carries out a command.
    ///
    /// | phase | pause | promote | promote, full | resume | retry | rollback | weight |
    /// | --- | --- | --- | --- | --- | --- | --- | --- |
    /// | idle, no plan | – | no plan | → promoted | – | – | → rolled back | that weight |
    /// | idle, plan | → paused | → first step | → promoted | – | – | → rolled back | → paused, that weight |
    /// | progressing | → paused | → next step | → promoted | – | – | → rolled back | → paused, that weight |
    /// | paused | – | → next step | → promoted | → as before | – | → rolled back | that weight |
    /// | promoted | → paused | – | – | – | – | → rolled back | → paused, that weight |
    /// | complete | – | – | – | – | – | → rolled back | → paused, that weight |
    /// | rolled back | – | rejected | rejected | rejected | → idle, next generation | – | 0: –, else rejected |
    ///
    /// The last step is reached by promoting too, and is the phase promoted. A weight that
    /// is in force already has no effect. What has no effect (–) returns an empty `Vec`,
    /// which does not allocate. While frozen, promote, retry and a higher weight are
    /// rejected; so is promote before the preconditions of the first step hold.
    pub(crate) fn handle(&mut self, order: Order, now: Timestamp) -> Result<Vec<Effect>, Rejected> {
        if self.has_no_effect(order.command) {
            return Ok(Vec::new());
        }
        if let Some(why) = self.objection(order.command) {
            return Err(Rejected {
                command: order.command,
                phase: self.phase.name(),
                why,
            });
        }
        let command = order.command;
        let by = order.into_cause();
        Ok(match command {
            Command::Pause => self.pause(by, now),
            Command::Promote(Promotion::Full) => self.promote(by, now),
            Command::Promote(Promotion::Next { .. }) => {
                let step = self.step().saturating_add(1);
                self.enter(step, by, now)
            }
            Command::Resume => self.resume(by, now),
            Command::Retry => {
                self.begin_generation();
                let weight = self.weight;
                self.effects(NoticeKind::Retried { weight, by }, now)
            }
            Command::Rollback => self.roll_back(by, now),
            Command::SetWeight(to) => self.set_weight(to, by, now),
        })
    }

    /// The commands that would change something now.
    pub(crate) fn commands(&self) -> Vec<CommandName> {
        let promotion = if self.plan.is_fixed() {
            Promotion::Full
        } else {
            Promotion::Next { from: None }
        };
        // Lowering is always legal, so what is at zero is asked about raising.
        let other = if self.weight.is_zero() {
            Weight::FULL
        } else {
            Weight::ZERO
        };
        let commands = [
            Command::Promote(promotion),
            Command::Pause,
            Command::Resume,
            Command::SetWeight(other),
            Command::Rollback,
            Command::Retry,
        ];
        let legal =
            |command: &Command| !self.has_no_effect(*command) && self.objection(*command).is_none();
        let commands = commands.into_iter().filter(legal);
        commands.map(Command::name).collect()
    }

    fn has_no_effect(&self, command: Command) -> bool {
        match command {
            Command::Pause => match &self.phase {
                Phase::Idle => self.plan.is_fixed(),
                Phase::Progressing { .. } | Phase::Promoted { .. } => false,
                Phase::Complete { .. } | Phase::Paused { .. } | Phase::RolledBack { .. } => true,
            },
            Command::Promote(promotion) => match &self.phase {
                Phase::Complete { .. } | Phase::Promoted { .. } => true,
                Phase::RolledBack { .. } => false,
                Phase::Idle | Phase::Paused { .. } | Phase::Progressing { .. } => {
                    let is_from = |from| from == self.step();
                    matches!(promotion, Promotion::Next { from: Some(from) } if !is_from(from))
                }
            },
            Command::Resume => {
                !matches!(self.phase, Phase::Paused { .. } | Phase::RolledBack { .. })
            }
            Command::Retry => !matches!(self.phase, Phase::RolledBack { .. }),
            Command::Rollback => matches!(self.phase, Phase::RolledBack { .. }),
            Command::SetWeight(weight) => weight == self.weight,
        }
    }

    fn objection(&self, command: Command) -> Option<Objection> {
        let is_rolled_back = matches!(self.phase, Phase::RolledBack { .. });
        let raises = match command {
            Command::Pause | Command::Rollback | Command::Resume => false,
            Command::Promote(_) | Command::Retry => true,
            Command::SetWeight(weight) => weight > self.weight,
        };
        match command {
            Command::Retry | Command::Rollback | Command::Pause => {}
            Command::Promote(_) | Command::Resume | Command::SetWeight(_) if is_rolled_back => {
                return Some(Objection::RolledBack);
            }
            Command::Promote(Promotion::Next { .. }) if self.plan.is_fixed() => {
                return Some(Objection::NoPlan);
            }
            Command::Promote(_) | Command::Resume | Command::SetWeight(_) => {}
        }
        if let (true, Some(why)) = (raises, &self.barriers.frozen) {
            return Some(Objection::Frozen(why.clone()));
        }
        match (&self.barriers.preconditions, &self.phase) {
            (Preconditions::Awaited(why), Phase::Idle | Phase::Paused { .. })
                if raises && command != Command::Retry && self.step() == 0 =>
            {
                Some(Objection::Preconditions(why.clone()))
            }
            _ => None,
        }
    }

    /// The number of the step that it is at; 0 before the first.
    fn step(&self) -> u32 {
        self.phase.position().map_or(0, |position| position.step)
    }

    fn resume(&mut self, by: Cause, now: Timestamp) -> Vec<Effect> {
        let Some(position) = self.phase.position().copied() else {
            return Vec::new();
        };
        let is_last = self.plan.is_last(position.step);
        let position = self.with_patience(position);
        self.go(if is_last {
            Phase::Promoted { position }
        } else if position.step == 0 && (self.plan.is_fixed() || self.weight.is_zero()) {
            Phase::Idle
        } else {
            Phase::Progressing { position }
        });
        let (step, weight) = (position.step, self.weight);
        vec![self.announce(NoticeKind::Resumed { step, weight, by }, now)]
    }

    /// Who lets a rollout go on that has waited too long for its gates lets it wait again.
    fn with_patience(&self, mut position: Position) -> Position {
        let is_overdue = matches!(
            self.phase,
            Phase::Paused {
                by: Cause::Overdue { .. },
                ..
            }
        );
        if let (true, Some(from)) = (is_overdue, self.patience_from(position.step)) {
            position.held = position.held.min(from);
        }
        position
    }

    /// With a plan, a weight that a person sets takes the rollout off it: it stands still
    /// until somebody resumes, and then goes on from the step that the weight has reached.
    fn set_weight(&mut self, to: Weight, by: Cause, now: Timestamp) -> Vec<Effect> {
        let from = self.weight;
        self.weight = to;
        let position = Position::at(self.plan.reached(to));
        match &self.phase {
            Phase::Idle if self.plan.is_fixed() => {}
            Phase::Paused { at, by, .. } => {
                let (at, by) = (*at, by.clone());
                self.go(Phase::Paused { at, position, by });
            }
            Phase::Complete { .. }
            | Phase::Idle
            | Phase::Progressing { .. }
            | Phase::Promoted { .. }
            | Phase::RolledBack { .. } => {
                let by = by.clone();
                let at = now;
                self.go(Phase::Paused { at, position, by });
            }
        }
        self.effects(NoticeKind::Reweighed { from, to, by }, now)
    }

    /// Gives the canary all traffic.
    fn promote(&mut self, by: Cause, now: Timestamp) -> Vec<Effect> {
        let from = self.weight;
        self.weight = Weight::FULL;
        self.go(Phase::Promoted {
            position: Position::at(self.plan.count()),
        });
        self.effects(NoticeKind::Promoted { from, by }, now)
    }

    /// Begins the step with this number. The weight never falls.
    pub(super) fn enter(&mut self, step: u32, by: Cause, now: Timestamp) -> Vec<Effect> {
        if step >= self.plan.count() {
            return self.promote(by, now);
        }
        let from = self.weight;
        let planned = self.plan.step(step).map_or(from, |step| step.weight);
        let is_first = self.phase == Phase::Idle || (step == 1 && from.is_zero());
        self.weight = planned.max(from);
        self.go(Phase::Progressing {
            position: Position::at(step),
        });
        let to = self.weight;
        let kind = if is_first {
            NoticeKind::Started { weight: to, by }
        } else {
            NoticeKind::Progressed { step, from, to, by }
        };
        self.effects(kind, now)
    }

    /// The next generation, which has not begun with its plan yet.
    pub(super) fn begin_generation(&mut self) {
        self.generation = self.generation.next();
        self.weight = self.plan.weight_before(self.configured);
        self.go(Phase::Idle);
    }
}
