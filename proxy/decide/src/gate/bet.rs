//! The e-processes that every statistical gate is made of.
//!
//! An e-process starts at a capital of at most one and never grows on average while the
//! canary is no worse than its margin, whatever else happens. So by Ville's inequality
//! the chance that it ever reaches `1/alpha` is at most `alpha`, however often one looks
//! (Ramdas, Grünwald, Vovk, Shafer: "Game-theoretic statistics and safe anytime-valid
//! inference", Statistical Science 2023). Its value is called evidence here.
//!
//! All of them bet on one thing: of what is bad, which share is the canary's? That does
//! not depend on how much is bad, so drift, bursts and faults that hit both versions
//! move none of them (Lindon, Malek: "Anytime-valid inference for multinomial count
//! data", NeurIPS 2022).
//!
//! A bet is spread over lanes, one for each size of the difference. Capital is not put
//! in at once but bit by bit (see [`super::restart`]), which makes each lane a Shiryaev
//! recursion that finds a change at any time.

use serde::{Deserialize, Serialize};

mod kept;

/// One size of difference that is bet on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lane {
    /// How many times more often than stable the canary shows what is bad, beyond what
    /// it may; infinite for a canary that alone does.
    pub ratio: f64,
    /// The lane's share of the capital.
    pub prior: f64,
}

const fn lane(ratio: f64, prior: f64) -> Lane {
    Lane { ratio, prior }
}

/// Lanes for failures. Most of the capital is on large differences: there the first few
/// failures decide.
pub const ERROR_LANES: [Lane; 8] = [
    lane(1.5, 0.05),
    lane(2.0, 0.07),
    lane(3.0, 0.08),
    lane(5.0, 0.10),
    lane(10.0, 0.15),
    lane(30.0, 0.15),
    lane(100.0, 0.20),
    lane(f64::INFINITY, 0.20),
];

/// Lanes for medians and other quantiles with half of the traffic beyond them.
pub const MEDIAN_LANES: [Lane; 6] = [
    lane(1.05, 0.10),
    lane(1.1, 0.15),
    lane(1.2, 0.20),
    lane(1.35, 0.20),
    lane(1.6, 0.20),
    lane(1.95, 0.15),
];

/// Lanes for quantiles around the 95th.
pub const UPPER_LANES: [Lane; 7] = [
    lane(1.1, 0.10),
    lane(1.3, 0.15),
    lane(1.6, 0.15),
    lane(2.2, 0.15),
    lane(3.5, 0.15),
    lane(6.0, 0.15),
    lane(12.0, 0.15),
];

/// Lanes for quantiles around the 99th.
pub const TAIL_LANES: [Lane; 8] = [
    lane(1.2, 0.08),
    lane(1.5, 0.12),
    lane(2.0, 0.15),
    lane(3.0, 0.15),
    lane(5.0, 0.15),
    lane(10.0, 0.15),
    lane(25.0, 0.10),
    lane(60.0, 0.10),
];

/// Lanes for what lies far beyond the 99th percentile.
pub const FAR_TAIL_LANES: [Lane; 7] = [
    lane(2.0, 0.08),
    lane(3.0, 0.12),
    lane(5.0, 0.15),
    lane(10.0, 0.20),
    lane(25.0, 0.20),
    lane(60.0, 0.15),
    lane(200.0, 0.10),
];

/// Below this a lane is lost and set to zero: subnormal numbers are slow.
const LOST_BELOW: f64 = 1e-280;

/// More evidence is not told apart. Far beyond any bound, and products stay finite.
const EVIDENCE_MAX: f64 = 1e280;

/// The largest stake of a lane in one block, so that no block ruins it.
const STAKE_MAX: f64 = 0.9;

/// The least part of a population that is taken for not yet seen.
const REST_MIN: f64 = 0.05;

/// Capital of one lane.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct Capital(f64);

impl Capital {
    /// Puts `fresh` in, and multiplies by what the bet has won or lost.
    fn bet(&mut self, fresh: f64, factor: f64) {
        let capital = (self.0 + fresh) * factor;
        self.0 = if capital < LOST_BELOW {
            0.0
        } else {
            capital.min(EVIDENCE_MAX)
        };
    }
}

/// Whether both versions have traffic under this share, so that there is something to bet on.
fn is_contested(share: f64) -> bool {
    share > 0.0 && share < 1.0
}

/// Bets on which version an event comes from.
///
/// While the canary is no worse, an event is its with probability `w`, its share of the
/// units that are split. A lane for the ratio `r` bets that it is
/// `theta = w r / (w r + 1 - w)` and multiplies its capital by `theta / w` for an event
/// of the canary and by `(1 - theta) / (1 - w)` for one of stable.
#[derive(Clone, Debug)]
pub struct ShareBet {
    lanes: Vec<Lane>,
    capitals: Vec<Capital>,
    stakes: Vec<f64>,
    share: f64,
    pending: f64,
}

impl ShareBet {
    /// A bet without capital.
    #[must_use]
    pub fn new(lanes: &[Lane]) -> Self {
        Self {
            lanes: lanes.to_vec(),
            capitals: vec![Capital(0.0); lanes.len()],
            stakes: vec![0.0; lanes.len()],
            share: 0.0,
            pending: 0.0,
        }
    }

    /// From now on units are split so that the canary has this share.
    pub fn set_share(&mut self, share: f64) {
        self.share = share;
        for (stake, lane) in self.stakes.iter_mut().zip(&self.lanes) {
            *stake = event_stake(share, lane.ratio);
        }
    }

    /// Puts capital in: a part of one.
    pub fn release(&mut self, mass: f64) {
        self.pending += mass;
    }

    /// An event, of which this share is the canary's: one or zero.
    pub fn update(&mut self, canary_part: f64) {
        if is_contested(self.share) {
            let won = canary_part / self.share;
            for index in 0..self.lanes.len() {
                let stake = self.stakes[index];
                self.bet(index, stake, won);
            }
            self.pending = 0.0;
        }
    }

    /// An event of a unit that was split under another share.
    pub fn update_at(&mut self, share: f64, canary_part: f64) {
        if is_contested(share) {
            let won = canary_part / share;
            for index in 0..self.lanes.len() {
                let stake = event_stake(share, self.lanes[index].ratio);
                self.bet(index, stake, won);
            }
            self.pending = 0.0;
        }
    }

    fn bet(&mut self, index: usize, stake: f64, won: f64) {
        let fresh = self.pending * self.lanes[index].prior;
        self.capitals[index].bet(fresh, 1.0 - stake + stake * won);
    }

    /// The sum of the lanes.
    #[must_use]
    pub fn evidence(&self) -> f64 {
        self.capitals.iter().map(|capital| capital.0).sum()
    }
}

/// The part of a lane's capital that is at stake with each event.
pub(crate) fn event_stake(share: f64, ratio: f64) -> f64 {
    let believed = if ratio.is_infinite() {
        1.0
    } else {
        share * ratio / (share * ratio + 1.0 - share)
    };
    (believed - share) / (1.0 - share)
}

/// What was counted in one stretch of time: of a gate's population, and of those the
/// ones that exceeded its limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Block {
    /// The canary's, all of them.
    pub canary: u64,
    /// Stable's, all of them.
    pub stable: u64,
    /// The canary's that exceeded the limit.
    pub canary_exceeding: u64,
    /// Stable's that exceeded the limit.
    pub stable_exceeding: u64,
}

/// A count as a number to calculate with.
#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 52 bits"
)]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

impl Block {
    /// Whether both versions are in it.
    const fn is_contested(self) -> bool {
        self.canary > 0 && self.stable > 0
    }

    /// The canary's share of all.
    fn canary_share(self) -> f64 {
        float(self.canary) / float(self.canary + self.stable)
    }
}

/// Bets on the canary's share of those that exceed a limit, once for each block.
///
/// Under exchangeability that share is the canary's share of the block on average,
/// however the block's events hang together, by linearity. So a burst counts once.
/// The stake grows with the number of events, corrected for a finite population, and
/// depends on nothing else.
#[derive(Clone, Debug)]
pub struct BlockBet {
    lanes: Vec<Lane>,
    capitals: Vec<Capital>,
    stakes: Vec<f64>,
}

impl BlockBet {
    /// A bet without capital.
    #[must_use]
    pub fn new(lanes: &[Lane]) -> Self {
        Self {
            lanes: lanes.to_vec(),
            capitals: vec![Capital(0.0); lanes.len()],
            stakes: vec![0.0; lanes.len()],
        }
    }

    /// What the capital is spread over.
    #[must_use]
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// From now on the canary has this share of the traffic.
    pub fn set_share(&mut self, share: f64) {
        for (stake, lane) in self.stakes.iter_mut().zip(&self.lanes) {
            *stake = block_stake(share, lane.ratio);
        }
    }

    /// Puts `mass` in and bets on a block. Returns the evidence.
    pub fn close(&mut self, mass: f64, block: Block) -> f64 {
        let events = float(block.canary_exceeding + block.stable_exceeding);
        let (factor, scale) = if events > 0.0 && block.is_contested() {
            let all = float(block.canary + block.stable);
            let won = float(block.canary_exceeding) / events / block.canary_share();
            (won, stake_scale(events, all))
        } else {
            (1.0, 0.0)
        };
        for (index, capital) in self.capitals.iter_mut().enumerate() {
            let stake = scaled_stake(self.stakes[index], scale);
            let fresh = mass * self.lanes[index].prior;
            capital.bet(fresh, 1.0 - stake + stake * factor);
        }
        self.evidence()
    }

    /// The sum of the lanes.
    #[must_use]
    pub fn evidence(&self) -> f64 {
        self.capitals.iter().map(|capital| capital.0).sum()
    }
}

/// What a lane stakes on a single event of a block.
pub(crate) fn block_stake(share: f64, ratio: f64) -> f64 {
    share * (ratio - 1.0) / (share * ratio + 1.0 - share)
}

/// By how much more is staked for so many events of a finite population.
pub(crate) fn stake_scale(events: f64, all: f64) -> f64 {
    events / (1.0 - (events - 1.0) / all).max(REST_MIN)
}

/// What a lane stakes on a block.
pub(crate) fn scaled_stake(stake: f64, scale: f64) -> f64 {
    (stake * scale).min(STAKE_MAX)
}

/// The stakes of a bet whose size does not follow from a lane.
pub(crate) const HARD_STAKES: [f64; 3] = [0.3, 0.6, 0.9];

/// Bets that the canary fails more often than stable by more than a difference, once
/// for each block and over all failures.
///
/// Of stable's successes a share `d`, the difference, is added to its failures. The
/// canary's share of what results is then at most its share of the block on average
/// while it fails at most `d` more often than stable, by Jensen's inequality.
#[derive(Clone, Debug)]
pub struct HardBet {
    difference: f64,
    capitals: [Capital; HARD_STAKES.len()],
    pending: f64,
}

impl HardBet {
    /// A bet without capital on a difference of rates, as a ratio.
    #[must_use]
    pub const fn new(difference: f64) -> Self {
        Self {
            difference,
            capitals: [Capital(0.0); HARD_STAKES.len()],
            pending: 0.0,
        }
    }

    /// Puts capital in: a part of one.
    pub fn release(&mut self, mass: f64) {
        self.pending += mass;
    }

    /// Bets on a block of requests, of which failures exceed. Nothing happens unless
    /// both versions are in it.
    pub fn close(&mut self, block: Block) {
        if !block.is_contested() {
            return;
        }
        let spared = float(block.stable.saturating_sub(block.stable_exceeding));
        let events = float(block.canary_exceeding)
            + float(block.stable_exceeding)
            + self.difference * spared;
        let won = if events > 0.0 {
            float(block.canary_exceeding) / events / block.canary_share()
        } else {
            1.0
        };
        let fresh = self.pending / float(HARD_STAKES.len() as u64);
        self.pending = 0.0;
        for (capital, stake) in self.capitals.iter_mut().zip(HARD_STAKES) {
            capital.bet(fresh, 1.0 - stake + stake * won);
        }
    }

    /// The sum of the lanes.
    #[must_use]
    pub fn evidence(&self) -> f64 {
        self.capitals.iter().map(|capital| capital.0).sum()
    }
}

/// The stakes of the bet against a ceiling.
pub(crate) const CEILING_STAKES: [f64; 4] = [0.1, 0.3, 0.6, 0.9];

/// Bets that one version fails more often than a rate, once for each block.
///
/// It compares with a number and not with the other version, so it tells that something
/// is wrong and never with whom (Waudby-Smith, Ramdas: "Estimating means of bounded
/// random variables by betting", JRSS B 2024).
#[derive(Clone, Debug)]
pub struct CeilingBet {
    rate_max: f64,
    capitals: [Capital; CEILING_STAKES.len()],
    pending: f64,
}

impl CeilingBet {
    /// Ceilings are at least this, so that the first failure does not win a fortune.
    const RATE_MIN: f64 = 1e-6;

    /// A bet without capital on a rate above `rate_max`.
    #[must_use]
    pub fn new(rate_max: f64) -> Self {
        Self {
            rate_max: rate_max.clamp(Self::RATE_MIN, 1.0),
            capitals: [Capital(0.0); CEILING_STAKES.len()],
            pending: 0.0,
        }
    }

    /// Puts capital in: a part of one.
    pub fn release(&mut self, mass: f64) {
        self.pending += mass;
    }

    /// Gives up what it has won and what it was given, but for what was not bet yet.
    pub fn forget(&mut self) {
        self.capitals = [Capital(0.0); CEILING_STAKES.len()];
    }

    /// Moves the ceiling; must not depend on what comes after.
    pub fn set_rate_max(&mut self, rate_max: f64) {
        self.rate_max = rate_max.clamp(Self::RATE_MIN, 1.0);
    }

    /// Bets on a block. Evidence stays below `evidence_max`, so that it is forgotten
    /// soon when the fault is over.
    pub fn close(&mut self, failures: u64, requests: u64, evidence_max: f64) {
        if requests == 0 {
            return;
        }
        let rate = float(failures) / float(requests);
        let fresh = self.pending / float(CEILING_STAKES.len() as u64);
        self.pending = 0.0;
        for (capital, stake) in self.capitals.iter_mut().zip(CEILING_STAKES) {
            capital.bet(fresh, 1.0 + stake * (rate - self.rate_max) / self.rate_max);
            capital.0 = capital.0.min(evidence_max);
        }
    }

    /// The sum of the lanes.
    #[must_use]
    pub fn evidence(&self) -> f64 {
        self.capitals.iter().map(|capital| capital.0).sum()
    }
}

/// What was counted of both versions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TwoSample {
    /// Failures of the canary.
    pub canary_failures: u64,
    /// Successes of the canary.
    pub canary_successes: u64,
    /// Failures of stable.
    pub stable_failures: u64,
    /// Successes of stable.
    pub stable_successes: u64,
}

/// Bets that the canary's failure rate is below stable's plus a margin, with all that was
/// counted (Turner, Ly, Grünwald: "Generic E-variables for exact sequential k-sample
/// tests", JSPI 2024).
///
/// A lane is a pair of rates `a` of the canary and `b` of stable. With `a > b` it bets
/// that the canary is worse by more than the margin, with `a < b` that it is not. The
/// share must be the canary's share of what is fed in.
#[derive(Clone, Debug)]
pub struct TwoSampleBet {
    margin: f64,
    share: f64,
    lanes: Vec<TwoSampleLane>,
}

#[derive(Clone, Copy, Debug)]
struct TwoSampleLane {
    canary: f64,
    stable: f64,
    /// The logarithm of the capital: successes come by the million.
    log_capital: f64,
}

impl TwoSampleBet {
    /// A bet with its whole capital of one, evenly over the lanes.
    #[must_use]
    pub fn new(lanes: &[(f64, f64)], margin: f64, share: f64) -> Self {
        let log_capital = -float(lanes.len().max(1) as u64).ln();
        let lane = |&(canary, stable): &(f64, f64)| TwoSampleLane {
            canary,
            stable,
            log_capital,
        };
        Self {
            margin,
            share,
            lanes: lanes.iter().map(lane).collect(),
        }
    }

    /// From now on the canary has this share of what is fed in.
    pub fn set_share(&mut self, share: f64) {
        self.share = share;
    }

    /// From now on the lanes bet on these rates, with the capital that they have.
    pub fn set_rates(&mut self, lanes: &[(f64, f64)]) {
        for (lane, &(canary, stable)) in self.lanes.iter_mut().zip(lanes) {
            lane.canary = canary;
            lane.stable = stable;
        }
    }

    /// Bets on all of these, one by one.
    pub fn update(&mut self, counts: TwoSample) {
        if !is_contested(self.share) {
            return;
        }
        for lane in &mut self.lanes {
            lane.update(counts, self.margin, self.share);
        }
    }

    /// The sum of the lanes.
    #[must_use]
    pub fn evidence(&self) -> f64 {
        let capitals = self.lanes.iter().map(|lane| lane.log_capital.exp());
        capitals.sum::<f64>().min(EVIDENCE_MAX)
    }
}

impl TwoSampleLane {
    fn update(&mut self, counts: TwoSample, margin: f64, share: f64) {
        let (a, b) = (self.canary, self.stable);
        let both = share * a + (1.0 - share) * b;
        let spared = margin * b / both + (1.0 - margin) * (1.0 - b) / (1.0 - both);
        let won = [
            (counts.canary_failures, a / both),
            (counts.canary_successes, (1.0 - a) / (1.0 - both)),
            (counts.stable_failures, b / both),
            (counts.stable_successes, spared),
        ];
        let gain: f64 = won
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, factor)| float(count) * factor.ln())
            .sum();
        self.log_capital = (self.log_capital + gain).clamp(LOG_LOST, LOG_MAX);
    }
}

/// Logarithms of the bounds above.
const LOG_LOST: f64 = -644.0;
const LOG_MAX: f64 = 644.0;

#[cfg(test)]
mod tests;
