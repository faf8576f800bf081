//! Is it shown that the canary is no slower than its margin?

use super::super::bet::{Block, float};
use super::super::spec::LatencyMargin;
use super::ladder::Place;
use crate::gate::tape::kept;

/// Stakes of the lanes that bet on the canary's share of what exceeds.
pub(crate) const SHARE_STAKES: [f64; 2] = [0.3, 0.95];
/// Stakes of the lanes that bet on the difference of the rates.
pub(crate) const RATE_STAKES: [f64; 2] = [0.25, 0.9];

/// Evidence that the canary exceeds its time less often than stable exceeds its own. Begins
/// with each step, and must be enough at the moment of advancing.
#[derive(Clone, Debug)]
pub(super) struct NoSlower {
    pub(super) spec: LatencyMargin,
    by_share: [f64; SHARE_STAKES.len()],
    by_rate: [f64; RATE_STAKES.len()],
    /// Requests of the canary that were looked at.
    requests: u64,
}

impl NoSlower {
    pub(super) fn new(spec: LatencyMargin) -> Self {
        let lanes = float((SHARE_STAKES.len() + RATE_STAKES.len()) as u64);
        Self {
            spec,
            by_share: [1.0 / lanes; SHARE_STAKES.len()],
            by_rate: [1.0 / lanes; RATE_STAKES.len()],
            requests: 0,
        }
    }

    /// Whether this is what the rung at that place tells about.
    pub(super) fn is_at(&self, place: Place) -> bool {
        matches!(place, Place::Quantile(at) if (at - self.spec.quantile.as_ratio()).abs() < 1e-12)
    }

    pub(super) fn close(&mut self, block: Block) {
        if block.canary == 0 || block.stable == 0 {
            return;
        }
        self.requests += block.canary;
        let (canary, stable) = (float(block.canary), float(block.stable));
        let (exceeding, by_stable) = (float(block.canary_exceeding), float(block.stable_exceeding));
        let all = exceeding + by_stable;
        if all > 0.0 {
            let share = canary / (canary + stable);
            let won = 1.0 - exceeding / all / share;
            for (capital, stake) in self.by_share.iter_mut().zip(SHARE_STAKES) {
                *capital = bounded(*capital * (1.0 + stake * share / (1.0 - share) * won));
            }
        }
        let difference = by_stable / stable - exceeding / canary;
        for (capital, stake) in self.by_rate.iter_mut().zip(RATE_STAKES) {
            *capital = bounded(*capital * (1.0 + stake * difference));
        }
    }

    pub(super) fn evidence(&self) -> f64 {
        self.by_share.iter().chain(&self.by_rate).sum()
    }

    /// How many more requests it takes until the evidence is enough: by how it has grown so
    /// far, or if it has not, of `all` that it usually takes those that are left.
    pub(super) fn needs(&self, enough: f64, all: f64) -> f64 {
        if self.evidence() >= enough {
            return 0.0;
        }
        let requests = float(self.requests);
        let grown = self.evidence().ln();
        if grown > 1.0 {
            requests * (enough.ln() / grown - 1.0)
        } else {
            (all - requests).max(all / 4.0)
        }
    }
}

kept!(NoSlower {
    by_share,
    by_rate,
    requests,
} without { spec });

/// Neither lost for ever nor without bound: a step may last for days.
fn bounded(capital: f64) -> f64 {
    capital.clamp(1e-30, 1e30)
}
