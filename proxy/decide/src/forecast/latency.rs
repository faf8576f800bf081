//! When slow responses of a canary are enough for a rollback, and fast ones for a pass.

use super::growth::{Blocks, Growth, median_of, units_until};
use super::shape::{Shape, Slowdown};
use super::{Detection, Ending, Fault, Found, Setting, Shown};
use crate::gate::bet::{Lane, block_stake, scaled_stake, stake_scale};
use crate::gate::spec::{GateRule, GateSpec, LatencyBound, LatencyLimit, LatencyMargin, Quantile};
use crate::gate::{BLOCK, Place, RATE_STAKES, Rung, SHARE_STAKES, rungs_of};

/// One latency gate in one step.
pub(super) struct LatencyGate<'a> {
    spec: &'a GateSpec,
    rollback: &'a [LatencyLimit],
    advance: &'a [LatencyMargin],
    setting: &'a Setting,
    shape: Shape,
    rungs: Vec<Rung>,
    blocks: Blocks,
}

/// A fault at a quantile is one of the slowest responses: so many times as many as lie
/// beyond the quantile.
const SLOWEST_TIMES: f64 = 3.0;

/// More lanes no rung has.
const LANES_MAX: usize = 8;

impl<'a> LatencyGate<'a> {
    /// The latency gates among `gates`, with the slot that their limits begin at.
    pub(super) fn all(gates: &[GateSpec]) -> impl Iterator<Item = (&GateSpec, usize)> {
        let mut slot = 0;
        gates.iter().filter_map(move |gate| {
            let GateRule::Latency { rollback, .. } = &gate.rule else {
                return None;
            };
            let first = slot;
            slot += rollback.len();
            Some((gate, first))
        })
    }

    pub(super) fn new(spec: &'a GateSpec, first_slot: usize, setting: &'a Setting) -> Self {
        let (rollback, advance): (&[_], &[_]) = if let GateRule::Latency {
            rollback, advance, ..
        } = &spec.rule
        {
            (rollback, advance)
        } else {
            (&[], &[])
        };
        let shape = Shape::new(&setting.traffic);
        Self {
            spec,
            rollback,
            advance,
            setting,
            shape,
            rungs: rungs_of((rollback, advance), first_slot, setting.shares.latency),
            blocks: Blocks::new(
                BLOCK.as_secs_f64(),
                setting.canary_per_second(),
                setting.stable_per_second(),
            ),
        }
    }

    /// What becomes of a canary that is as slow as each limit says.
    pub(super) fn detections(&self) -> Vec<Detection> {
        let limits = self.rollback.iter();
        limits
            .filter_map(|limit| {
                let quantile = limit.quantile;
                let times = self.times(limit)?;
                let slowdown = Slowdown {
                    times,
                    slowest: (SLOWEST_TIMES * (1.0 - quantile.as_ratio())).min(1.0),
                };
                let found = self.setting.is_contested().then(|| Found {
                    gate: self.spec.name.clone(),
                    ending: Ending::RolledBack,
                    seconds: self.seconds_until_seen(slowdown),
                });
                let fault = Fault::Slower { quantile, times };
                Some(self.setting.detection(fault, found, slowdown.slowest))
            })
            .collect()
    }

    /// How many times slower a quantile is than stable's when it reaches its limit; nothing
    /// if stable has reached it already.
    fn times(&self, limit: &LatencyLimit) -> Option<f64> {
        let times = match limit.bound {
            LatencyBound::Absolute(time) => {
                let stable = self.shape.log_quantile(limit.quantile.as_ratio()).exp();
                time.as_secs_f64() * 1e6 / stable
            }
            LatencyBound::TimesStable(times) => times,
        };
        (times > 1.0).then_some(times)
    }

    /// How long it takes until a canary that is slower so is rolled back.
    pub(super) fn seconds_until_seen(&self, slowdown: Slowdown) -> f64 {
        let mut lanes = Vec::new();
        for rung in &self.rungs {
            let log = self.log_place(rung);
            let above = (
                self.shape.share_above_of(log + rung.margin.ln(), slowdown),
                self.shape.share_above(log),
            );
            let rates = self.rates(rung.bet.lanes(), above);
            let capital = rung.share * self.setting.mass;
            lanes.extend(
                rung.bet
                    .lanes()
                    .iter()
                    .zip(rates)
                    .map(|(lane, rate)| Growth {
                        log_capital: (capital * lane.prior).ln(),
                        rate,
                    }),
            );
        }
        let blocks = units_until(&lanes, self.setting.enough());
        self.blocks.seconds * blocks.ceil()
    }

    /// Stable's time of a rung, as a logarithm of microseconds.
    fn log_place(&self, rung: &Rung) -> f64 {
        let log = |quantile| self.shape.log_quantile(quantile);
        match rung.place {
            Place::At(micros, _) => (micros.max(1) as f64).ln(),
            Place::Between(low, high) => f64::midpoint(log(low), log(high)),
            Place::Quantile(at) => log(at),
            Place::Times(times, at) => (times / rung.margin).ln() + log(at),
        }
    }

    /// By how much the lanes of a rung grow with each block, if the canary and stable exceed
    /// it with these chances.
    fn rates(&self, lanes: &[Lane], above: (f64, f64)) -> [f64; LANES_MAX] {
        let blocks = &self.blocks;
        let weight = self.setting.weight.as_ratio();
        let share = blocks.share();
        let mut stakes = [0.0; LANES_MAX];
        for (stake, lane) in stakes.iter_mut().zip(lanes) {
            *stake = block_stake(weight, lane.ratio);
        }
        blocks.mean(above, |canary, stable| {
            let events = canary + stable;
            if events <= 0.0 {
                return [0.0; LANES_MAX];
            }
            let scale = stake_scale(events, blocks.canary + blocks.stable);
            let won = canary / events / share;
            stakes.map(|stake| {
                let stake = scaled_stake(stake, scale);
                (1.0 - stake + stake * won).ln()
            })
        })
    }

    /// When it is shown at each quantile that a canary that is as fast as stable is no
    /// slower.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let margins = self.advance.iter();
        margins
            .map(|margin| {
                let seconds = if self.setting.is_contested() {
                    self.seconds_to_show(margin.quantile, margin.times)
                } else {
                    f64::INFINITY
                };
                Shown {
                    gate: self.spec.name.clone(),
                    quantile: Some(margin.quantile),
                    margin: margin.times,
                    canary_requests: seconds * self.setting.canary_per_second(),
                    seconds,
                }
            })
            .collect()
    }

    pub(super) fn seconds_to_show(&self, quantile: Quantile, times: f64) -> f64 {
        const LANES: usize = SHARE_STAKES.len() + RATE_STAKES.len();
        let log = self.shape.log_quantile(quantile.as_ratio());
        let above = (
            self.shape.share_above(log + times.ln()),
            self.shape.share_above(log),
        );
        let blocks = &self.blocks;
        let share = blocks.share();
        let rates: [f64; LANES] = blocks.mean(above, |canary, stable| {
            let events = canary + stable;
            let won = if events > 0.0 {
                share / (1.0 - share) * (1.0 - canary / events / share)
            } else {
                0.0
            };
            let difference = stable / blocks.stable - canary / blocks.canary;
            let [a, b] = SHARE_STAKES.map(|stake| (1.0 + stake * won).max(LOST).ln());
            let [c, d] = RATE_STAKES.map(|stake| (1.0 + stake * difference).max(LOST).ln());
            [a, b, c, d]
        });
        let lane_capital = -(LANES as f64).ln();
        let lanes = rates.map(|rate| Growth {
            log_capital: lane_capital,
            rate,
        });
        let enough = 1.0 / self.setting.promise.false_advance;
        let mean = units_until(&lanes, enough);
        blocks.seconds * median_of(mean, enough.ln() - lane_capital)
    }
}

/// A bet on blocks that are only about so large can lose all; the real one cannot.
const LOST: f64 = 1e-9;
