//! Walks the plan as time passes.

use std::fmt;
use std::time::Duration;

use super::{Cause, Effect, NoticeKind, Phase, Preconditions, Rollout};
use crate::gate::{self, GateStatus, VerdictKind};
use crate::plan::{Advance, Hold, Step};
use crate::time::Timestamp;
use crate::weight::Weight;

/// The position is kept whenever a step has lasted so much longer.
const STRIDE: Duration = Duration::from_secs(5);

/// What a rollout waits for. Displayed as a fragment that fits after "waits for ".
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Waiting {
    /// That the reason to freeze is gone.
    Freeze(String),
    /// That these gates pass.
    Gates(String),
    /// The rest of the hold.
    Hold { time: Duration, requests: u64 },
    /// That what must hold before the first step does.
    Preconditions(String),
    /// A person. `ready` if the gates pass.
    Person { ready: bool },
    /// That the canary was watched long enough with all traffic.
    Watch(Duration),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Freeze(why) => write!(f, "the end of the freeze ({why})"),
            Self::Gates(sentence) => write!(f, "its gates: {sentence}"),
            Self::Hold { time, requests } => {
                f.write_str("its hold: ")?;
                match (time.is_zero(), requests) {
                    (false, 0) => write!(f, "{} left", Span(*time)),
                    (true, requests) => write!(f, "{requests} requests left"),
                    (false, requests) => {
                        write!(f, "{} and {requests} requests left", Span(*time))
                    }
                }
            }
            Self::Person { ready: true } => f.write_str("a person to promote; every gate passes"),
            Self::Person { ready: false } => f.write_str("a person to promote"),
            Self::Preconditions(why) => f.write_str(why),
            Self::Watch(time) => write!(f, "{} more with all traffic", Span(*time)),
        }
    }
}

/// A duration in its two largest units.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64().ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a duration is not negative, and the cast saturates"
        )]
        let seconds = seconds as u64;
        match seconds {
            0..60 => write!(f, "{seconds}s"),
            60..3600 => write!(f, "{}m {}s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{}h {}m", seconds / 3600, seconds % 3600 / 60),
            _ => write!(f, "{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
        }
    }
}

impl Rollout {
    /// Takes into account how late it is, and how many requests the canary has had.
    pub(crate) fn count(&mut self, requests: u64, now: Timestamp) {
        let counted = self.counted.replace((now, requests));
        let Some((then, before)) = counted else {
            return;
        };
        if let Phase::Progressing { position } | Phase::Promoted { position } = &mut self.phase {
            position.held += now.since(then);
            position.requests += requests.saturating_sub(before);
            if position.held.saturating_sub(self.kept.held) >= STRIDE {
                self.kept = *position;
            }
        }
    }

    /// Whether the plan could begin, as far as the rollout knows.
    pub(crate) fn may_begin(&self) -> bool {
        self.phase == Phase::Idle
            && !self.plan.is_fixed()
            && self.barriers.frozen.is_none()
            && self.barriers.preconditions == Preconditions::Met
    }

    /// Whether it has not begun because something must hold before.
    pub(crate) fn awaits_preconditions(&self) -> bool {
        self.barriers.preconditions != Preconditions::Met
            && self
                .phase
                .position()
                .is_none_or(|position| position.step == 0)
            && self.phase.is_judged()
    }

    /// Begins with the plan, at the step that the weight has reached already.
    pub(crate) fn begin(&mut self, now: Timestamp) -> Vec<Effect> {
        let step = self.plan.reached(self.weight).max(1);
        self.enter(step, Cause::Plan, now)
    }

    /// Whether the gates are to be asked, because the hold is over, or the watch over a canary
    /// that has all traffic.
    pub(crate) fn awaits_gates(&self) -> bool {
        match &self.phase {
            Phase::Progressing { position } => self.plan.step(position.step).is_none_or(|step| {
                let (time, requests) = self.left(step);
                time.is_zero() && requests == 0
            }),
            Phase::Promoted { position } => position.held >= self.plan.terms.watch,
            Phase::Complete { .. }
            | Phase::Idle
            | Phase::Paused { .. }
            | Phase::RolledBack { .. } => false,
        }
    }

    /// What of the hold of a step is left.
    fn left(&self, step: &Step) -> (Duration, u64) {
        let position = self.phase.position().copied().unwrap_or_default();
        match step.hold {
            Hold::For { time, requests } => (
                time.saturating_sub(position.held),
                requests.saturating_sub(position.requests),
            ),
            Hold::UntilPromoted => (Duration::ZERO, 0),
        }
    }

    /// Goes on, if what the gates say allows that. To be called when
    /// [`Rollout::awaits_gates`] says so.
    pub(crate) fn advance(&mut self, gates: &[GateStatus], now: Timestamp) -> Vec<Effect> {
        let position = match &self.phase {
            Phase::Progressing { position } => *position,
            Phase::Promoted { .. } => return self.complete(gates, now),
            Phase::Complete { .. }
            | Phase::Idle
            | Phase::Paused { .. }
            | Phase::RolledBack { .. } => return Vec::new(),
        };
        let waits_for_person = self.waits_for_person();
        let pass = self.may_go_on(gates);
        if self.barriers.frozen.is_some() {
            return Vec::new();
        }
        match (pass, waits_for_person) {
            (true, false) => self.enter(position.step.saturating_add(1), Cause::Plan, now),
            (true, true) if !position.ready => {
                if let Some(position) = self.phase.position_mut() {
                    position.ready = true;
                    self.kept = *position;
                }
                let (step, weight) = (position.step, self.weight);
                vec![self.announce(NoticeKind::Ready { step, weight }, now)]
            }
            (false, false) if self.is_overdue() => {
                let detail = unpassed(gates);
                self.pause(Cause::Overdue { detail }, now)
            }
            (true | false, true) | (false, false) => Vec::new(),
        }
    }

    /// A step whose requests do not come is overdue too, before its gates are asked.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Effect> {
        let Phase::Progressing { position } = &self.phase else {
            return Vec::new();
        };
        let missing = self
            .plan
            .step(position.step)
            .map_or(0, |step| self.left(step).1);
        if missing == 0 || self.barriers.frozen.is_some() || !self.is_overdue() {
            return Vec::new();
        }
        let detail = format!("{missing} more requests of the canary are missing");
        self.pause(Cause::Overdue { detail }, now)
    }

    /// Ends the rollout, if no gate has anything against it.
    fn complete(&mut self, gates: &[GateStatus], now: Timestamp) -> Vec<Effect> {
        if gates.iter().all(has_no_objection) {
            self.go(Phase::Complete { at: now });
            let weight = self.weight;
            vec![self.announce(NoticeKind::Completed { weight }, now)]
        } else if self.is_overdue() {
            let detail = objections(gates);
            self.pause(Cause::Overdue { detail }, now)
        } else {
            Vec::new()
        }
    }

    /// Whether every gate passes, or there is nothing that they could judge.
    fn may_go_on(&self, gates: &[GateStatus]) -> bool {
        self.weight.is_zero() || gates.iter().all(passes)
    }

    fn waits_for_person(&self) -> bool {
        let step = self.phase.position().map_or(0, |position| position.step);
        let hold = self.plan.step(step).map(|step| step.hold);
        self.plan.terms.advance == Advance::Manual || hold == Some(Hold::UntilPromoted)
    }

    fn is_overdue(&self) -> bool {
        let Some(position) = self.phase.position() else {
            return false;
        };
        let from = if matches!(self.phase, Phase::Promoted { .. }) {
            Some(self.plan.terms.watch)
        } else {
            self.patience_from(position.step)
        };
        from.is_some_and(|from| position.held >= from + self.plan.terms.max_hold)
    }

    /// How long a step, or the watch after the last one, lasts before it is waited for gates;
    /// `None` if it is for a person to go on.
    pub(super) fn patience_from(&self, step: u32) -> Option<Duration> {
        if self.plan.is_last(step) {
            return Some(self.plan.terms.watch);
        }
        match self.plan.step(step).map(|step| step.hold) {
            Some(Hold::UntilPromoted) => None,
            Some(Hold::For { time, .. }) => Some(time),
            None => Some(Duration::ZERO),
        }
    }

    /// What it waits for, if it is about to go anywhere.
    pub(crate) fn waiting(&self, gates: &[GateStatus]) -> Option<Waiting> {
        let frozen = self.barriers.frozen.as_deref().map(str::to_owned);
        match &self.phase {
            Phase::Complete { .. } | Phase::Paused { .. } | Phase::RolledBack { .. } => None,
            Phase::Idle if self.plan.is_fixed() => None,
            Phase::Idle => match (frozen, &self.barriers.preconditions) {
                (Some(why), _) => Some(Waiting::Freeze(why)),
                (None, Preconditions::Awaited(why)) => {
                    Some(Waiting::Preconditions(why.to_string()))
                }
                (None, Preconditions::Met) => None,
            },
            Phase::Promoted { position } => {
                let left = self.plan.terms.watch.saturating_sub(position.held);
                let is_over = left.is_zero() && !gates.iter().all(has_no_objection);
                Some(if is_over {
                    Waiting::Gates(objections(gates))
                } else {
                    Waiting::Watch(left)
                })
            }
            Phase::Progressing { position } => {
                let left = self.plan.step(position.step).map(|step| self.left(step));
                if let Some((time, requests)) = left
                    && (!time.is_zero() || requests > 0)
                {
                    return Some(Waiting::Hold { time, requests });
                }
                let ready = self.may_go_on(gates);
                if self.waits_for_person() {
                    return Some(Waiting::Person { ready });
                }
                frozen
                    .map(Waiting::Freeze)
                    .or_else(|| (!ready).then(|| Waiting::Gates(unpassed(gates))))
            }
        }
    }

    /// With another plan, the position is that of the weight, which never moves for it.
    pub(super) fn fit_plan(&mut self) {
        if self.plan.is_fixed() && matches!(self.phase, Phase::Progressing { .. }) {
            self.go(Phase::Idle);
        }
        let reached = self.plan.reached(self.weight);
        let is_full = self.weight == Weight::FULL;
        let len = self.plan.count();
        let Some(position) = self.phase.position_mut() else {
            return;
        };
        if position.step <= len {
            return;
        }
        position.step = if is_full { len } else { reached };
        self.kept = *position;
    }
}

fn passes(gate: &GateStatus) -> bool {
    gate.verdict == VerdictKind::Pass
}

/// Whether a gate passes, or has nothing to say because stable has no traffic any more.
fn has_no_objection(gate: &GateStatus) -> bool {
    // Evidence that is enough waits for stable where only that is missing.
    passes(gate) || (gate.reason == Some(gate::Waiting::Stable) && gate.evidence < 1.0)
}

/// What the gates say that do not pass.
fn unpassed(gates: &[GateStatus]) -> String {
    sentences(gates.iter().filter(|gate| !passes(gate)))
}

/// What the gates say that stand against the end of a rollout.
fn objections(gates: &[GateStatus]) -> String {
    sentences(gates.iter().filter(|gate| !has_no_objection(gate)))
}

fn sentences<'a>(gates: impl Iterator<Item = &'a GateStatus>) -> String {
    let sentences: Vec<_> = gates.map(|gate| &*gate.sentence).collect();
    sentences.join("; ")
}
