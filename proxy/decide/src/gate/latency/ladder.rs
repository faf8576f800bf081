//! The rungs of a latency gate: at which times both versions are compared.
//!
//! A rung is a time for stable and one for the canary. "The canary is at most `rho` times
//! slower at this level" says that it exceeds `rho x` no more often than stable exceeds
//! `x`; so each rung bets on the canary's share of those that exceed it. Rungs around
//! each quantile that is limited make up a ladder: between the 95th and the 99th
//! percentile for services with two modes, and at multiples of the highest one for
//! faults that only the slowest show.

use super::super::baseline::Baseline;
use super::super::bet::{
    Block, BlockBet, FAR_TAIL_LANES, Lane, MEDIAN_LANES, TAIL_LANES, UPPER_LANES,
};
use super::super::panel::Manner;
use super::super::spec::{LatencyMargin, Quantile};
use crate::gate::tape::kept;

/// Where stable's time of a rung lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// At a given time, in microseconds: the limit in this slot.
    At(u64, usize),
    /// At the geometric mean of two quantiles.
    Between(f64, f64),
    /// At a quantile.
    Quantile(f64),
    /// Where the canary's time is this multiple of a quantile.
    Times(f64, f64),
}

/// One level at which both versions are compared.
#[derive(Clone, Debug)]
pub(crate) struct Rung {
    pub(crate) place: Place,
    /// How many times slower the canary may be here and count as no slower.
    pub(crate) margin: f64,
    /// The rung's part of the promise.
    pub(crate) share: f64,
    pub(crate) bet: BlockBet,
    /// Stable's time in microseconds, once it is known.
    pub(super) stable: Option<f64>,
}

/// Parts of the promise, as chosen in the simulations that the lanes were chosen in.
const MEDIAN_SHARE: f64 = 0.07;
const UPPER_LOWER_SHARE: f64 = 0.05;
const UPPER_SHARE: f64 = 0.06;
const GAP_SHARE: f64 = 0.06;
const TAIL_SHARE: f64 = 0.06;
const TWICE_SHARE: f64 = 0.07;
const FOUR_TIMES_SHARE: f64 = 0.03;
const ABSOLUTE_SHARE: f64 = 0.06;

/// Quantiles below are judged with the lanes of a median, those from the other one on
/// with those of a tail.
const MEDIAN_BELOW: f64 = 0.75;
const TAIL_FROM: f64 = 0.97;

/// Without a margin in the configuration, a quantile has that of its kind.
fn usual_margin(quantile: f64) -> f64 {
    if quantile < MEDIAN_BELOW {
        1.05
    } else if quantile < TAIL_FROM {
        1.1
    } else {
        1.2
    }
}

/// The quantile with `times` as many values beyond it, without the noise of subtraction.
fn with_tail(quantile: f64, times: f64) -> f64 {
    let tail = (1.0 - quantile) * times;
    ((1.0 - tail) * 1e9).round() / 1e9
}

/// The share of values beyond a quantile, without the noise of subtraction.
pub(super) fn tail_of(quantile: Quantile) -> f64 {
    ((1.0 - quantile.as_ratio()) * 1e9).round() / 1e9
}

impl Rung {
    fn new(place: Place, margin: f64, share: f64, lanes: &[Lane]) -> Self {
        Self {
            place,
            margin,
            share,
            bet: BlockBet::new(lanes),
            stable: None,
        }
    }

    /// Moves the rung to where stable is now, if enough is known of that.
    pub(super) fn settle(&mut self, baseline: &Baseline, manner: Manner) {
        let quantile = |quantile| baseline.quantile(quantile, manner.values_min());
        let stable = match self.place {
            #[expect(clippy::cast_precision_loss, reason = "a time below 2^52 microseconds")]
            Place::At(micros, _) => Some(micros as f64),
            Place::Between(low, high) => quantile(low)
                .zip(quantile(high))
                .map(|(low, high)| (low * high).sqrt()),
            Place::Quantile(at) => quantile(at),
            Place::Times(times, at) => quantile(at).map(|value| times / self.margin * value),
        };
        self.stable = stable.or(self.stable);
    }

    /// The canary's time in microseconds, once it is known.
    pub(super) fn canary(&self) -> Option<f64> {
        self.stable.map(|stable| self.margin * stable)
    }

    /// Bets on a block; adds only the capital if the rung has no place yet.
    pub(super) fn close(&mut self, mass: f64, block: Block) -> f64 {
        let block = if self.stable.is_some() {
            block
        } else {
            Block::default()
        };
        self.bet.close(mass, block)
    }
}

kept!(Rung { bet, stable } without { place, margin, share });

/// The rungs for these quantiles and absolute limits, in ascending order of their
/// quantiles. `absolute` are times in microseconds with their slots.
pub(super) fn rungs(
    quantiles: &[Quantile],
    margins: &[LatencyMargin],
    absolute: &[(u64, usize)],
) -> Vec<Rung> {
    let mut quantiles: Vec<f64> = quantiles.iter().map(|one| one.as_ratio()).collect();
    quantiles.sort_by(f64::total_cmp);
    quantiles.dedup();
    let margin_of = |quantile: f64| {
        let given = margins
            .iter()
            .find(|margin| (margin.quantile.as_ratio() - quantile).abs() < 1e-12);
        given.map_or_else(|| usual_margin(quantile), |margin| margin.times)
    };
    let mut rungs = Vec::new();
    let mut lower_margin = None;
    for (index, &quantile) in quantiles.iter().enumerate() {
        let margin = margin_of(quantile);
        let at = Place::Quantile(quantile);
        if quantile < MEDIAN_BELOW {
            rungs.push(Rung::new(at, margin, MEDIAN_SHARE, &MEDIAN_LANES));
        } else if quantile < TAIL_FROM {
            let lower = Place::Quantile(with_tail(quantile, 2.0));
            rungs.push(Rung::new(lower, margin, UPPER_LOWER_SHARE, &UPPER_LANES));
            rungs.push(Rung::new(at, margin, UPPER_SHARE, &UPPER_LANES));
            lower_margin = Some(margin);
        } else {
            let gap_margin = f64::midpoint(lower_margin.unwrap_or(margin), margin);
            let gap = Place::Between(with_tail(quantile, 5.0), quantile);
            rungs.push(Rung::new(gap, gap_margin, GAP_SHARE, &TAIL_LANES));
            rungs.push(Rung::new(at, margin, TAIL_SHARE, &TAIL_LANES));
            lower_margin = Some(margin);
            if index + 1 == quantiles.len() {
                let twice = Place::Times(2.0, quantile);
                rungs.push(Rung::new(twice, margin, TWICE_SHARE, &FAR_TAIL_LANES));
                let four_times = Place::Times(4.0, quantile);
                rungs.push(Rung::new(
                    four_times,
                    margin,
                    FOUR_TIMES_SHARE,
                    &FAR_TAIL_LANES,
                ));
            }
        }
    }
    for &(micros, slot) in absolute {
        let at = Place::At(micros, slot);
        rungs.push(Rung::new(at, 1.0, ABSOLUTE_SHARE, &UPPER_LANES));
    }
    rungs
}
