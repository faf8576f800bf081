//! Is the canary slower than stable allows?
//!
//! Evidence comes from the rungs of a ladder (see [`ladder`]), once for each second: of
//! what exceeds a rung in that second, which share is the canary's? Its size does not
//! matter, and so neither does a burst that hits both. What the canary exceeds too is a
//! user's limit: "its p95 is above 24 ms" is the same as "more than 5 % of its successes
//! took longer than 24 ms", and that is a counter. So the caller counts what exceeds
//! which time, and nothing on the response path looks at a histogram.

use std::time::Duration;

use super::baseline::Baseline;
use super::bet::{Block, float};
use super::errors::EPISODE_ENDS_BELOW;
use super::numbers::requests_to_show;
use super::panel::Manner;
use super::spec::{LatencyBound, LatencyLimit, LatencyMargin, LatencyMetric, Quantile};
use super::tape::kept;
use super::verdict::{Comparison, Estimate, Measure};
use crate::role::Role;
use crate::tally::{Counts, LADDERS_MAX, LATENCY_LIMITS_MAX, RUNGS_MAX, Tally};

mod advance;
mod ladder;
mod limits;

use advance::NoSlower;
use ladder::{rungs, tail_of};

pub(crate) use advance::{RATE_STAKES, SHARE_STAKES};
pub(crate) use ladder::{Place, Rung};

pub use limits::{LadderLimits, LatencyLimits};

/// One latency gate.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    metric: LatencyMetric,
    /// `None` if the route has more latency gates than are counted.
    ladder: Option<usize>,
    rungs: Vec<Rung>,
    limits: Vec<Limit>,
    margins: Vec<NoSlower>,
    /// Its part of the promise.
    share: f64,
    evidence: f64,
    block_start: Tally,
    /// Where the estimate of how slow the canary is begins.
    episode_start: Tally,
}

#[derive(Clone, Debug)]
struct Limit {
    spec: LatencyLimit,
    /// `None` if the route has more limits than are counted.
    slot: Option<usize>,
    /// In microseconds, once it is known.
    micros: Option<f64>,
    /// Stable's own quantile in microseconds, if the bound refers to it.
    stable: Option<f64>,
}

impl Latency {
    /// A gate that counts in this ladder and the slots from `first_slot` on. `share` is
    /// its part of the promise.
    pub(super) fn new(
        metric: LatencyMetric,
        (rollback, advance): (&[LatencyLimit], &[LatencyMargin]),
        (ladder, first_slot): (usize, usize),
        share: f64,
    ) -> Self {
        let limits: Vec<Limit> = rollback
            .iter()
            .enumerate()
            .map(|(index, spec)| Limit {
                spec: *spec,
                slot: Some(first_slot + index).filter(|slot| *slot < LATENCY_LIMITS_MAX),
                micros: None,
                stable: None,
            })
            .collect();
        let rungs = rungs_of((rollback, advance), first_slot, share);
        Self {
            metric,
            ladder: Some(ladder).filter(|ladder| *ladder < LADDERS_MAX),
            rungs,
            limits,
            margins: advance
                .iter()
                .map(|margin| NoSlower::new(*margin))
                .collect(),
            share,
            evidence: 0.0,
            block_start: Tally::default(),
            episode_start: Tally::default(),
        }
    }

    pub(super) const fn metric(&self) -> LatencyMetric {
        self.metric
    }

    /// The weighted evidence of all rungs.
    pub(super) const fn evidence(&self) -> f64 {
        self.evidence
    }

    /// What `tally` counts already is no evidence.
    pub(super) fn begin(&mut self, tally: &Tally) {
        self.block_start = *tally;
        self.episode_start = *tally;
    }

    /// Moves rungs and limits to where stable is now.
    pub(super) fn settle(&mut self, baseline: &Baseline, manner: Manner) {
        for rung in &mut self.rungs {
            rung.settle(baseline, manner);
        }
        for limit in &mut self.limits {
            limit.settle(baseline, manner);
        }
    }

    /// Whether rungs have a place yet.
    pub(super) fn is_settled(&self) -> bool {
        self.rungs.iter().all(|rung| rung.stable.is_some())
    }

    /// The weight has changed. A block in which it did is not judged.
    pub(super) fn set_share(&mut self, share: f64, tally: &Tally) {
        self.go_on_with(share);
        self.block_start = *tally;
    }

    /// The weight is this one, and has been.
    pub(super) fn go_on_with(&mut self, share: f64) {
        for rung in &mut self.rungs {
            rung.bet.set_share(share);
        }
    }

    /// A step begins: whether the canary is no slower has to be shown anew.
    pub(super) fn begin_step(&mut self) {
        for margin in &mut self.margins {
            *margin = NoSlower::new(margin.spec);
        }
    }

    /// Whether a block has both versions in it.
    pub(super) fn can_close(&self, tally: &Tally) -> bool {
        let timed = |role| tally.of(role).timed > self.block_start.of(role).timed;
        timed(Role::Canary) && timed(Role::Stable)
    }

    /// Ends a block and puts `mass` in, of `released` so far.
    pub(super) fn close(&mut self, mass: f64, released: f64, tally: &Tally) {
        let counted = tally.since(&self.block_start);
        self.block_start = *tally;
        let mut evidence = 0.0;
        for index in 0..self.rungs.len() {
            let block = self.block(index, &counted);
            evidence += self.rungs[index].share * self.rungs[index].close(mass, block);
            let at = self.rungs[index].place;
            if self.rungs[index].stable.is_some() {
                let mut margins = self.margins.iter_mut();
                if let Some(margin) = margins.find(|margin| margin.is_at(at)) {
                    margin.close(block);
                }
            }
        }
        self.evidence = evidence;
        if evidence < EPISODE_ENDS_BELOW * self.share * released {
            self.episode_start = *tally;
        }
    }

    /// What exceeded a rung among what was counted.
    fn block(&self, index: usize, counted: &Tally) -> Block {
        let exceeding = |counts: &Counts| match (self.rungs[index].place, self.ladder) {
            (Place::At(_, slot), _) => counts.slower[slot],
            (_, Some(ladder)) => counts.rungs[ladder].iter().skip(index).sum(),
            (_, None) => 0,
        };
        let (canary, stable) = (counted.of(Role::Canary), counted.of(Role::Stable));
        Block {
            canary: canary.timed,
            stable: stable.timed,
            canary_exceeding: exceeding(canary),
            stable_exceeding: exceeding(stable),
        }
    }

    /// Writes what successes are to be compared with.
    pub(super) fn write_limits(&self, limits: &mut LatencyLimits) {
        if let Some(ladder) = self.ladder {
            let mut times = [[u64::MAX; RUNGS_MAX]; 2];
            let rungs = self
                .rungs
                .iter()
                .filter(|rung| !matches!(rung.place, Place::At(..)));
            for (index, rung) in rungs.enumerate().take(RUNGS_MAX) {
                for (role, time) in [(Role::Stable, rung.stable), (Role::Canary, rung.canary())] {
                    times[role.index()][index] = time.map_or(u64::MAX, whole_micros);
                }
            }
            limits.ladders[ladder] = Some(LadderLimits {
                metric: self.metric,
                rungs: times,
            });
        }
        for limit in &self.limits {
            if let (Some(slot), Some(micros)) = (limit.slot, limit.micros) {
                let limit = Duration::from_micros(whole_micros(micros));
                limits.slots[slot] = Some((self.metric, limit));
            }
        }
    }

    /// The first limit of which the canary exceeds the size, if it does one.
    pub(super) fn exceeded(&self, tally: &Tally) -> Option<Comparison> {
        let counted = tally.since(&self.episode_start);
        let compare = |limit| self.compare(limit, &counted);
        let mut compared = self.limits.iter().map(compare);
        compared.find(|one| one.canary.samples > 0 && one.canary.value > one.limit)
    }

    /// The limit that the canary is nearest to, or furthest beyond, among what was counted.
    pub(super) fn nearest(&self, counted: &Tally) -> Option<Comparison> {
        let compared = self.limits.iter().map(|limit| self.compare(limit, counted));
        compared.max_by(|one, other| {
            let used = |one: &Comparison| one.value / one.limit;
            used(one).total_cmp(&used(other))
        })
    }

    fn compare(&self, limit: &Limit, counted: &Tally) -> Comparison {
        let estimate = |role| {
            let counts = counted.of(role);
            let slower = limit.slot.map_or(0, |slot| counts.slower[slot]);
            Estimate::share(slower, counts.timed)
        };
        let (canary, stable) = (estimate(Role::Canary), estimate(Role::Stable));
        let time = |micros: f64| Duration::from_micros(whole_micros(micros));
        Comparison {
            value: canary.value,
            limit: tail_of(limit.spec.quantile),
            canary,
            stable,
            measure: Measure::Latency {
                metric: self.metric,
                quantile: limit.spec.quantile,
                bound: limit.spec.bound,
                limit: limit.micros.map(time),
                stable: limit.stable.map(time),
            },
        }
    }

    /// Whether it is shown at every quantile that the canary is no slower than its margin,
    /// with evidence of at least `enough`.
    pub(super) fn is_shown(&self, enough: f64) -> bool {
        self.margins
            .iter()
            .all(|margin| margin.evidence() >= enough)
    }

    /// Whether there is anything to show.
    pub(super) fn has_margins(&self) -> bool {
        !self.margins.is_empty()
    }

    /// How many more requests of the canary it takes to show that, if it is no slower.
    pub(super) fn needs(&self, enough: f64, share: f64, baseline: &Baseline) -> f64 {
        let needs = |margin: &NoSlower| {
            let rung = self.rungs.iter().find(|rung| margin.is_at(rung.place))?;
            let (stable, canary) = rung.stable.zip(rung.canary())?;
            let (near, far) = (baseline.share_above(stable), baseline.share_above(canary));
            let all = requests_to_show(f64::midpoint(near, far), near - far, share);
            Some(margin.needs(enough, all))
        };
        self.margins.iter().filter_map(needs).fold(0.0, f64::max)
    }

    /// The share of the canary's and of stable's successes beyond the highest rung, since
    /// an earlier tally.
    pub(super) fn beyond_all(&self, counted: &Tally) -> Option<(Estimate, Estimate)> {
        let nested = |rung: &Rung| !matches!(rung.place, Place::At(..));
        let last = self.rungs.iter().rposition(nested)?;
        let block = self.block(last, counted);
        Some((
            Estimate::share(block.canary_exceeding, block.canary),
            Estimate::share(block.stable_exceeding, block.stable),
        ))
    }
}

/// The rungs for these limits, which have slots from `first_slot` on, and margins. `share`
/// is their part of the promise.
pub(crate) fn rungs_of(
    (rollback, advance): (&[LatencyLimit], &[LatencyMargin]),
    first_slot: usize,
    share: f64,
) -> Vec<Rung> {
    let mut quantiles: Vec<Quantile> = advance.iter().map(|margin| margin.quantile).collect();
    let mut absolute = Vec::new();
    for (index, limit) in rollback.iter().enumerate() {
        match limit.bound {
            LatencyBound::Absolute(time) => {
                let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                let slot = first_slot + index;
                absolute.extend((slot < LATENCY_LIMITS_MAX).then_some((micros, slot)));
            }
            LatencyBound::TimesStable(_) => quantiles.push(limit.quantile),
        }
    }
    let mut rungs = rungs(&quantiles, advance, &absolute);
    let nested = |rung: &Rung| !matches!(rung.place, Place::At(..));
    debug_assert!(rungs.iter().filter(|rung| nested(rung)).count() <= RUNGS_MAX);
    let sum: f64 = rungs.iter().map(|rung| rung.share).sum();
    for rung in &mut rungs {
        rung.share *= share / sum;
    }
    rungs
}

kept!(Latency {
    rungs,
    limits,
    margins,
    evidence,
    block_start,
    episode_start,
} without {
    metric,
    ladder,
    share,
});
kept!(Limit { micros, stable } without { spec, slot });

impl Limit {
    fn settle(&mut self, baseline: &Baseline, manner: Manner) {
        match self.spec.bound {
            LatencyBound::Absolute(time) => {
                let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                self.micros = Some(float(micros));
            }
            LatencyBound::TimesStable(times) => {
                let quantile = self.spec.quantile.as_ratio();
                let stable = baseline.quantile(quantile, manner.values_min());
                self.stable = stable.or(self.stable);
                self.micros = self
                    .stable
                    .map(|stable| (times * stable).max(stable + manner.difference_min_micros()));
            }
        }
    }
}

/// The largest whole number of microseconds that is no more: a whole number is above the
/// one exactly if it is above the other.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, and times are positive"
)]
fn whole_micros(micros: f64) -> u64 {
    micros.floor() as u64
}

#[cfg(test)]
mod tests;
