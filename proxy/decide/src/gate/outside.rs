//! Does something outside say that the canary is well?
//!
//! A number is asked for again and again: how full a pool is, what a query over metrics
//! gives. Nothing is known of how it comes about, so nothing is bet on it: it is compared
//! with a limit. One answer may be a blip, so a rollback takes two in a row. Whoever does
//! not answer, or not with a number, says nothing: neither for the canary nor against it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::panel::Waiting;
use super::verdict::{Comparison, Estimate, Measure};
use crate::time::Timestamp;

/// So many answers in a row above the limit roll back.
pub const ANSWERS_TO_ROLL_BACK: u32 = 2;

/// After so many intervals an answer says nothing about now.
pub const INTERVALS_FRESH: u32 = 3;

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing, or nothing that is a number; and why.
    None(Arc<str>),
    /// A number.
    Value(f64),
}

/// A gate that is told answers.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    rollback: Option<f64>,
    advance: Option<f64>,
    interval: Duration,
    /// Questions that were asked before are not about what there is now.
    since: Timestamp,
    /// The last number, and when it was asked for.
    last: Option<(f64, Timestamp)>,
    /// Why the last question has no answer.
    problem: Option<Arc<str>>,
    /// Answers above the limit in a row.
    run: u32,
    /// Numbers that have come so far.
    answers: u64,
}

impl Outside {
    /// Without an answer yet.
    pub(super) const fn new(
        (rollback, advance): (Option<f64>, Option<f64>),
        interval: Duration,
        now: Timestamp,
    ) -> Self {
        Self {
            rollback,
            advance,
            interval,
            since: now,
            last: None,
            problem: None,
            run: 0,
            answers: 0,
        }
    }

    /// The canary has another weight: what was answered before was about something else.
    pub(super) fn restart(&mut self, now: Timestamp) {
        self.since = now;
        self.last = None;
        self.run = 0;
    }

    /// What came of the question that was asked then.
    pub(super) fn tell(&mut self, answer: Answer, asked: Timestamp) {
        if asked < self.since || self.last.is_some_and(|(_, last)| asked < last) {
            return;
        }
        let value = match answer {
            Answer::Value(value) if value.is_finite() => value,
            Answer::Value(_) => return self.miss("the answer is no number".into()),
            Answer::None(problem) => return self.miss(problem),
        };
        // With a long silence between, two are not in a row.
        if !self.is_fresh(asked) {
            self.run = 0;
        }
        self.run = match self.rollback {
            Some(limit) if value > limit => self.run.saturating_add(1),
            Some(_) | None => 0,
        };
        self.last = Some((value, asked));
        self.problem = None;
        self.answers = self.answers.saturating_add(1);
    }

    fn miss(&mut self, problem: Arc<str>) {
        self.run = 0;
        self.problem = Some(problem);
    }

    /// Whether the last number still says something.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let fresh = self.interval.saturating_mul(INTERVALS_FRESH);
        self.last
            .is_some_and(|(_, asked)| now.since(asked) <= fresh)
    }

    /// Whether it is enough for a rollback.
    pub(super) fn is_exceeded(&self, now: Timestamp) -> bool {
        self.run >= ANSWERS_TO_ROLL_BACK && self.is_fresh(now)
    }

    /// What it waits for, if it does.
    pub(super) fn waits(&self, now: Timestamp) -> Option<Waiting> {
        let Some((value, _)) = self.last.filter(|_| self.is_heard(now)) else {
            return Some(Waiting::Answer);
        };
        (value > self.limit()).then_some(Waiting::Above)
    }

    /// Whether the last question was answered, and not too long ago.
    fn is_heard(&self, now: Timestamp) -> bool {
        self.problem.is_none() && self.is_fresh(now)
    }

    /// Up to which number the canary may advance.
    fn limit(&self) -> f64 {
        self.advance.or(self.rollback).unwrap_or(f64::INFINITY)
    }

    pub(super) fn compare(&self, now: Timestamp) -> Comparison {
        let value = self.last.map_or(0.0, |(value, _)| value);
        let problem = match (&self.problem, self.last) {
            (Some(problem), _) => Some(Arc::clone(problem)),
            (None, None) => Some("not asked yet".into()),
            (None, Some(_)) if !self.is_fresh(now) => Some("the last one is too old".into()),
            (None, Some(_)) => None,
        };
        let is_above = self.rollback.is_some_and(|limit| value > limit);
        Comparison {
            value,
            limit: match self.rollback {
                Some(limit) if is_above => limit,
                Some(_) | None => self.limit(),
            },
            canary: Estimate {
                value,
                low: value,
                high: value,
                count: u64::from(self.run),
                samples: self.answers,
            },
            stable: Estimate::default(),
            measure: Measure::Outside { problem },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::gate::VerdictKind;
    use crate::gate::spec::{GateRule, GateSpec};
    use crate::refusal::StableReach;
    use crate::release::{Release, ReleaseSpec};
    use crate::rollout::{Effect, PhaseName};
    use crate::tally::Tally;
    use crate::weight::Weight;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn at(second: u64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn gate() -> Outside {
        Outside::new((Some(0.9), Some(0.8)), INTERVAL, at(0))
    }

    /// Told every ten seconds: `.` is below both limits, `-` between them, `#` above both,
    /// `?` no answer, `!` no number, a space no question. What the gate says at the end.
    fn after(answers: &str) -> (bool, Option<Waiting>) {
        let mut gate = gate();
        let mut second = 0;
        for answer in answers.chars() {
            second += 10;
            let answer = match answer {
                '.' => Answer::Value(0.8),
                '-' => Answer::Value(0.9),
                '#' => Answer::Value(0.91),
                '!' => Answer::Value(f64::NAN),
                '?' => Answer::None("refused".into()),
                _ => continue,
            };
            gate.tell(answer, at(second));
        }
        (gate.is_exceeded(at(second)), gate.waits(at(second)))
    }

    #[test]
    fn two_in_a_row_roll_back_and_silence_never_does() {
        let (above, unanswered) = (Some(Waiting::Above), Some(Waiting::Answer));
        for (answers, expected) in [
            ("", (false, unanswered)),
            (".", (false, None)),
            ("-", (false, above)),
            ("#", (false, above)),
            ("##", (true, above)),
            ("#.#", (false, above)),
            ("#-#", (false, above)),
            ("#?#", (false, above)),
            ("#!#", (false, above)),
            ("# #", (true, above)),
            ("#   #", (false, above)),
            ("##.", (false, None)),
            ("##?", (false, unanswered)),
            (".!", (false, unanswered)),
            (".   ", (false, None)),
            (".    ", (false, unanswered)),
            ("##    ", (false, unanswered)),
        ] {
            assert_eq!(after(answers), expected, "{answers:?}");
        }
    }

    #[test]
    fn what_was_asked_before_a_step_is_not_about_it() {
        let mut gate = gate();
        gate.tell(Answer::Value(2.0), at(10));
        gate.restart(at(15));
        gate.tell(Answer::Value(2.0), at(14));
        assert_eq!(gate.waits(at(16)), Some(Waiting::Answer));
        gate.tell(Answer::Value(2.0), at(16));
        assert!(!gate.is_exceeded(at(16)));
        gate.tell(Answer::Value(2.0), at(26));
        assert!(gate.is_exceeded(at(26)));
        // The answer to an earlier question comes late.
        gate.tell(Answer::Value(0.0), at(20));
        assert!(gate.is_exceeded(at(26)));
    }

    #[test]
    fn a_gate_without_a_limit_for_one_has_the_other() {
        let mut holds = Outside::new((None, Some(1.0)), INTERVAL, at(0));
        let mut acts = Outside::new((Some(1.0), None), INTERVAL, at(0));
        for second in [1, 2, 3] {
            holds.tell(Answer::Value(5.0), at(second));
            acts.tell(Answer::Value(5.0), at(second));
        }
        assert!(!holds.is_exceeded(at(3)) && acts.is_exceeded(at(3)));
        assert_eq!(holds.waits(at(3)), Some(Waiting::Above));
        acts.tell(Answer::Value(1.0), at(4));
        assert_eq!(acts.waits(at(4)), None);
    }

    fn release(weight: Weight) -> Release {
        let rule = GateRule::Outside {
            rollback: Some(0.9),
            advance: None,
            interval: INTERVAL,
        };
        let gate = GateSpec {
            name: "cpu".into(),
            rule,
        };
        let spec = ReleaseSpec {
            weight,
            gates: vec![gate],
            ..ReleaseSpec::default()
        };
        Release::new(spec, &Tally::default(), at(0))
    }

    fn tell(release: &mut Release, value: f64, second: u64) -> Vec<Effect> {
        assert!(release.tell_answer("cpu", Answer::Value(value), at(second)));
        let now = at(second).after(Duration::from_millis(100));
        release.absorb(&Tally::default(), &mut |_, _| {}, now)
    }

    #[test]
    fn a_release_is_rolled_back_by_answers_alone() {
        let mut release = release(Weight::FULL);
        assert!(!release.tell_answer("ram", Answer::Value(1.0), at(1)));
        let gate = |release: &Release| release.verdict().gates.remove(0);
        assert_eq!(
            gate(&release).sentence,
            "cpu: waits for an answer; no answer: not asked yet"
        );
        assert_eq!(tell(&mut release, 0.5, 1), []);
        assert_eq!(gate(&release).sentence, "cpu: the answer is 0.5, limit 0.9");
        assert_eq!(gate(&release).verdict, VerdictKind::Pass);
        assert_eq!(tell(&mut release, 0.95, 2), []);
        assert_eq!(
            gate(&release).sentence,
            "cpu: holds; the answer is 0.95, limit 0.9"
        );
        let effects = tell(&mut release, 0.97, 3);
        let is_zero =
            |effect: &Effect| matches!(effect, Effect::Reweigh { weight, .. } if weight.is_zero());
        assert!(effects.iter().any(is_zero));
        let by = release.status(at(4)).cause.unwrap();
        assert_eq!(by, "cpu: the answer is 0.97, limit 0.9");
        // What still comes is about nothing.
        assert!(!release.tell_answer("cpu", Answer::Value(0.0), at(5)));
        assert_eq!(gate(&release).verdict, VerdictKind::Fail);
    }

    #[test]
    fn a_canary_without_traffic_is_not_rolled_back() {
        let mut release = release(Weight::ZERO);
        for second in 1..10 {
            assert_eq!(tell(&mut release, 2.0, second), []);
        }
        assert_eq!(release.phase().name(), PhaseName::Idle);
    }

    #[test]
    fn while_stable_cannot_be_reached_a_bad_answer_waits() {
        let mut release = release(Weight::FULL);
        release.tell_stable(StableReach::Unreachable);
        tell(&mut release, 2.0, 1);
        let refused = tell(&mut release, 2.0, 2);
        assert!(matches!(&refused[..], [Effect::Announce(_)]), "{refused:?}");
        // It has got well in the meantime.
        assert_eq!(tell(&mut release, 0.0, 3), []);
        release.tell_stable(StableReach::Reachable);
        assert_eq!(tell(&mut release, 2.0, 4), []);
        assert_eq!(tell(&mut release, 2.0, 5).len(), 2);
    }
}
