//! What every gate says, with the numbers it says it for, and in one sentence.

use serde::Serialize;

use super::super::errors;
use super::super::verdict::{Comparison, Estimate, Measure, Times, VerdictKind, number};
use super::ceiling::CeilingKind;
use super::{Check, Gate, Panel};
use crate::gate::spec::{GateName, RateBound};
use crate::outcome::RequestId;
use crate::role::Role;
use crate::tally::Tally;
use crate::weight::Weight;

/// Where one gate stands. Units of `value` and `limit` as in [`Breach`](super::super::Breach).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateStatus {
    /// Its name.
    pub name: GateName,
    /// What it says.
    pub verdict: VerdictKind,
    /// If inconclusive, what it waits for.
    pub reason: Option<Waiting>,
    /// How many more requests of the canary it takes for a pass, if the canary is no worse
    /// than stable; 0 if it is not requests that are missing.
    pub needs: u64,
    /// How long that takes at the present rate, if there is one. Seconds.
    pub needs_seconds: Option<f64>,
    /// What was measured.
    pub value: f64,
    /// What it may be at most.
    pub limit: f64,
    /// Requests of the canary that were measured.
    pub samples: u64,
    /// What was counted of the canary.
    pub canary: Estimate,
    /// What was counted of stable.
    pub stable: Estimate,
    /// The evidence that the canary is worse, as a multiple of what a rollback takes.
    pub evidence: f64,
    /// A request of the canary that counted against it.
    pub example: Option<RequestId>,
    /// The same in words.
    pub sentence: String,
}

/// What an inconclusive gate waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// What is asked for outside is above its limit.
    Above,
    /// An answer from outside: there is none, none that is a number, or none lately.
    Answer,
    /// The error budget of the service is used up too fast.
    Burning,
    /// The canary is above an absolute limit, and not known to be worse than stable.
    Ceiling,
    /// The canary is worse, by less than what a rollback takes.
    Confirmed,
    /// More requests of the canary, or a longer look.
    Evidence,
    /// A kind of errors of the canary that stable does not show.
    NewErrors,
    /// The canary's failures rise.
    Rising,
    /// Both versions are degraded.
    Shared,
    /// The canary has all traffic, and takes longer than stable did before.
    Slower,
    /// The canary has had very slow responses a moment ago.
    Spike,
    /// Stable's traffic, without which there is nothing to compare with.
    Stable,
}

/// What a gate that has not failed says.
struct Finding {
    reason: Option<Waiting>,
    needs: f64,
}

impl Finding {
    const PASS: Self = Self {
        reason: None,
        needs: 0.0,
    };

    const fn waits(reason: Waiting) -> Self {
        Self {
            reason: Some(reason),
            needs: 0.0,
        }
    }

    fn needs(needs: f64) -> Self {
        Self {
            reason: Some(Waiting::Evidence),
            needs: needs.max(1.0),
        }
    }
}

/// With fewer requests of the canary, a gate without a margin to show says nothing.
const SAMPLE_MIN: u64 = 50;

/// Evidence against the canary below which it may advance.
const QUIET_BELOW: f64 = 1.0;

impl Panel {
    pub(super) fn report(&self, gate: &Gate) -> GateStatus {
        let tally = &self.last.0;
        let comparison = self.compare(gate, tally);
        let evidence = self.evidence_of(gate) * self.promise.false_rollback;
        if let Some(breach) = &gate.breach {
            return GateStatus {
                name: gate.name.clone(),
                verdict: VerdictKind::Fail,
                reason: None,
                needs: 0,
                needs_seconds: None,
                value: breach.value,
                limit: breach.limit,
                samples: breach.canary.samples,
                canary: breach.canary,
                stable: breach.stable,
                evidence: breach.evidence,
                example: breach.example,
                sentence: breach.to_string(),
            };
        }
        let finding = self.find(gate, &comparison, tally);
        let verdict = if finding.reason.is_some() {
            VerdictKind::Inconclusive
        } else {
            VerdictKind::Pass
        };
        let needs_seconds = self.seconds_for(finding.needs);
        let sentence = self.sentence(gate, &comparison, &finding, needs_seconds);
        GateStatus {
            name: gate.name.clone(),
            verdict,
            reason: finding.reason,
            needs: whole(finding.needs),
            needs_seconds,
            value: comparison.value,
            limit: comparison.limit,
            samples: comparison.canary.samples,
            canary: comparison.canary.with_interval(),
            stable: comparison.stable.with_interval(),
            evidence,
            example: gate.example,
            sentence,
        }
    }

    /// How long so many requests of the canary take at the rate of this rollout so far.
    fn seconds_for(&self, needs: f64) -> Option<f64> {
        let elapsed = self.last.1.since(self.begun_at?).as_secs_f64();
        let requests = self.last.0.since(&self.start).of(Role::Canary).requests();
        let rate = super::super::bet::float(requests) / elapsed;
        (needs > 0.0 && elapsed > 0.0 && requests > 0 && needs.is_finite()).then(|| needs / rate)
    }

    /// The weighted evidence that a gate rests on.
    pub(super) fn evidence_of(&self, gate: &Gate) -> f64 {
        let (errors, hard) = self.failures.evidence();
        let failures = self.shares.errors * errors + self.shares.hard * hard;
        let classes = self.classes.evidence();
        match &gate.check {
            Check::ErrorRate { .. } => failures + classes,
            Check::BurnRate(_) => failures,
            Check::NewErrors => classes,
            Check::Latency(latency) => latency.evidence(),
            Check::Signal(signal) => signal.evidence(),
            Check::ConsecutiveFailures(_)
            | Check::ErrorTrend(_)
            | Check::LatencySpike(..)
            | Check::Outside(_) => 0.0,
        }
    }

    fn compare(&self, gate: &Gate, tally: &Tally) -> Comparison {
        let since_start = tally.since(&self.start);
        match &gate.check {
            Check::BurnRate(burn) => burn.judge().1,
            Check::ConsecutiveFailures(run) => run.compare(since_start.of(Role::Stable)),
            Check::ErrorRate { limits, .. } => {
                let compared = limits
                    .iter()
                    .map(|limit| errors::compare(limit, &since_start));
                let beyond = |one: &Comparison| one.value - one.limit;
                compared
                    .max_by(|one, other| beyond(one).total_cmp(&beyond(other)))
                    .unwrap_or_else(|| self.plain(tally))
            }
            Check::ErrorTrend(trend) => trend.compare(),
            Check::Latency(latency) => latency
                .nearest(self.alone.counted(tally).as_ref().unwrap_or(&since_start))
                .unwrap_or_else(|| self.plain(tally)),
            Check::LatencySpike(metric, spike) => spike.compare(*metric),
            Check::NewErrors => {
                let (_, worst) = self.classes.evidence_above(0.0, tally);
                worst.unwrap_or_else(|| self.plain(tally))
            }
            Check::Outside(outside) => outside.compare(self.last.1),
            Check::Signal(signal) => signal.compare(),
        }
    }

    /// The failure rates of both, where a gate has no numbers of its own yet.
    fn plain(&self, tally: &Tally) -> Comparison {
        let counted = tally.since(&self.start);
        let estimate = |role| {
            let counts = counted.of(role);
            Estimate::share(counts.failures, counts.requests())
        };
        let canary = estimate(Role::Canary);
        Comparison {
            value: canary.value,
            limit: 1.0,
            canary,
            stable: estimate(Role::Stable),
            measure: Measure::ErrorRate {
                bound: RateBound::Absolute(1.0),
                hard: false,
            },
        }
    }

    fn find(&self, gate: &Gate, comparison: &Comparison, tally: &Tally) -> Finding {
        let enough = 1.0 / self.promise.false_rollback;
        let evidence = self.evidence_of(gate);
        if self.is_shared() {
            return Finding::waits(Waiting::Shared);
        }
        if self.awaits_stable && evidence > 0.0 {
            return Finding::waits(Waiting::Stable);
        }
        if evidence >= enough {
            return Finding::waits(Waiting::Confirmed);
        }
        if gate.above(CeilingKind::Absolute) >= enough {
            return Finding::waits(Waiting::Ceiling);
        }
        if gate.above(CeilingKind::Recorded) >= enough {
            return Finding::waits(Waiting::Slower);
        }
        match &gate.check {
            Check::BurnRate(burn) if burn.judge().0 => Finding::waits(Waiting::Burning),
            Check::ConsecutiveFailures(_) | Check::BurnRate(_) => Finding::PASS,
            Check::ErrorTrend(trend) if !trend.is_known() => Finding::waits(Waiting::Evidence),
            Check::ErrorTrend(_) if comparison.value > comparison.limit => {
                Finding::waits(Waiting::Rising)
            }
            Check::ErrorTrend(_) => Finding::PASS,
            Check::LatencySpike(_, spike) if spike.holds() => Finding::waits(Waiting::Spike),
            Check::LatencySpike(..) => Finding::PASS,
            Check::ErrorRate { .. } | Check::NewErrors if self.has_new_errors() => {
                Finding::waits(Waiting::NewErrors)
            }
            Check::NewErrors => self.without_margin(tally, evidence),
            Check::Outside(outside) => match outside.waits(self.last.1) {
                Some(reason) => Finding::waits(reason),
                None => Finding::PASS,
            },
            Check::ErrorRate { .. } | Check::Latency(_) | Check::Signal(_) => {
                self.find_shown(gate, comparison, tally)
            }
        }
    }

    /// What is shown of the margin for advancing.
    fn find_shown(&self, gate: &Gate, comparison: &Comparison, tally: &Tally) -> Finding {
        let enough = 1.0 / self.promise.false_advance;
        let evidence = self.evidence_of(gate);
        let (is_shown, needs) = match &gate.check {
            Check::ErrorRate {
                no_worse: Some(no_worse),
                ..
            } => (
                no_worse.evidence() >= enough,
                no_worse.needs(enough, self.weight),
            ),
            Check::Latency(latency) if latency.has_margins() => {
                let baseline = &self.baselines[latency.metric().index()];
                let needs = latency.needs(enough, self.weight.as_ratio(), baseline);
                (latency.is_shown(enough), needs)
            }
            Check::Signal(signal) => match signal.shown() {
                Some(shown) => (shown >= enough, signal.needs(enough, self.weight)),
                None => return self.with_samples(comparison.canary.samples, evidence),
            },
            Check::BurnRate(_)
            | Check::ConsecutiveFailures(_)
            | Check::ErrorRate { .. }
            | Check::ErrorTrend(_)
            | Check::Latency(_)
            | Check::LatencySpike(..)
            | Check::NewErrors
            | Check::Outside(_) => return self.without_margin(tally, evidence),
        };
        if self.weight == Weight::FULL || tally.since(&self.start).of(Role::Stable).requests() == 0
        {
            Finding::waits(Waiting::Stable)
        } else if is_shown && evidence < QUIET_BELOW && comparison.value <= comparison.limit {
            Finding::PASS
        } else if is_shown {
            Finding::waits(Waiting::Evidence)
        } else {
            Finding::needs(needs)
        }
    }

    fn without_margin(&self, tally: &Tally, evidence: f64) -> Finding {
        let requests = tally.since(&self.start).of(Role::Canary).requests();
        self.with_samples(requests, evidence)
    }

    /// Without a margin to show, quiet evidence of enough requests is all there is.
    fn with_samples(&self, samples: u64, evidence: f64) -> Finding {
        let missing = SAMPLE_MIN.saturating_sub(samples);
        if missing == 0 && evidence < QUIET_BELOW {
            Finding::PASS
        } else {
            Finding::needs(super::super::bet::float(missing))
        }
    }

    fn has_new_errors(&self) -> bool {
        self.classes.any_above(1.0 / self.promise.false_advance)
    }

    fn sentence(
        &self,
        gate: &Gate,
        comparison: &Comparison,
        finding: &Finding,
        needs_seconds: Option<f64>,
    ) -> String {
        let name = &gate.name;
        let Some(reason) = finding.reason else {
            return format!("{name}: {}", comparison.sentence(VerdictKind::Pass));
        };
        let numbers = comparison.sentence(VerdictKind::Inconclusive);
        let waits = match reason {
            Waiting::Above | Waiting::Burning => "holds".to_owned(),
            Waiting::Answer => "waits for an answer".to_owned(),
            Waiting::Ceiling => {
                "holds, the canary is above its limit but not known to be worse than stable"
                    .to_owned()
            }
            Waiting::Confirmed => format!(
                "holds, the canary is worse but by less than a rollback takes (evidence {} of the bound)",
                Times(self.evidence_of(gate) * self.promise.false_rollback)
            ),
            Waiting::Evidence if finding.needs > 0.0 && finding.needs.is_finite() => {
                let requests = whole(finding.needs);
                let plural = if requests == 1 { "request" } else { "requests" };
                let time = needs_seconds.map_or_else(String::new, |seconds| {
                    format!(", {} at the present rate", Span(seconds))
                });
                format!("waits for about {requests} more canary {plural}{time}")
            }
            Waiting::Evidence => "waits for evidence".to_owned(),
            Waiting::NewErrors => "holds, a kind of errors is new".to_owned(),
            Waiting::Rising | Waiting::Spike => "holds".to_owned(),
            Waiting::Slower => {
                "holds, the canary takes longer than stable did before, and there is no stable \
                 traffic to compare with"
                    .to_owned()
            }
            Waiting::Shared => "inconclusive (shared), both versions are degraded".to_owned(),
            Waiting::Stable => "waits for stable traffic".to_owned(),
        };
        format!("{name}: {waits}; {numbers}")
    }
}

/// A number of requests, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates"
)]
fn whole(requests: f64) -> u64 {
    requests.max(0.0).ceil() as u64
}

/// A span of seconds in the unit that suits it.
struct Span(f64);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (value, unit) = match self.0 {
            seconds if seconds < 120.0 => (seconds, "s"),
            seconds if seconds < 7200.0 => (seconds / 60.0, "min"),
            seconds if seconds < 172_800.0 => (seconds / 3600.0, "h"),
            seconds => (seconds / 86_400.0, "d"),
        };
        write!(f, "{} {unit}", number(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_unit_that_suits_them() {
        for (seconds, text) in [
            (1.0, "1 s"),
            (600.0, "10 min"),
            (9000.0, "2.5 h"),
            (864_000.0, "10 d"),
        ] {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }
}
