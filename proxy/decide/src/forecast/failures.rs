//! When failures of a canary are enough for a rollback, and successes for a pass.

use super::growth::{Blocks, Growth, median_of, units_until};
use super::{Ending, Found, Setting, Shown, run_limit};
use crate::gate::bet::{CEILING_STAKES, ERROR_LANES, HARD_STAKES, event_stake};
use crate::gate::numbers::interval;
use crate::gate::spec::{GateName, GateRule, GateSpec, RateBound, RateMargin};
use crate::gate::{BLOCK, HARD_BLOCK, NO_WORSE_LANES, rate_limits_of};
use crate::weight::Weight;

/// All gates of a route that judge failures, in one step.
pub(super) struct FailureGates<'a> {
    gates: &'a [GateSpec],
    setting: &'a Setting,
}

impl<'a> FailureGates<'a> {
    pub(super) const fn new(gates: &'a [GateSpec], setting: &'a Setting) -> Self {
        Self { gates, setting }
    }

    /// What becomes of a canary that fails this often.
    pub(super) fn find(&self, rate: f64) -> Option<Found> {
        let paths = [
            self.by_evidence(rate),
            self.by_run(rate),
            self.by_exposure(rate),
        ];
        let found = paths.into_iter().flatten();
        let found = found.filter(|found| found.seconds.is_finite());
        // What only holds is no end if something else rolls back, however late.
        found.min_by(|one, other| {
            let is_held = |found: &Found| found.ending == Ending::Held;
            let order = is_held(one).cmp(&is_held(other));
            order.then(one.seconds.total_cmp(&other.seconds))
        })
    }

    /// By the bets on failures.
    fn by_evidence(&self, rate: f64) -> Option<Found> {
        let first = self.gates.iter().find(|gate| is_about_errors(&gate.rule))?;
        let seconds = if self.setting.weight == Weight::FULL {
            self.seconds_alone(rate)
        } else if self.setting.is_contested() {
            self.seconds_by_user(rate).min(self.seconds_by_block(rate))
        } else {
            return None;
        };
        let exceeded = self.gates.iter().find(|gate| {
            let mut limits = rate_limits_of(&gate.rule).iter();
            limits.any(|limit| self.is_exceeded(limit.bound, rate))
        });
        let ending = if exceeded.is_some() {
            Ending::RolledBack
        } else {
            Ending::Held
        };
        let gate = exceeded.unwrap_or(first).name.clone();
        Some(Found {
            gate,
            ending,
            seconds,
        })
    }

    fn is_exceeded(&self, bound: RateBound, rate: f64) -> bool {
        let stable = self.setting.traffic.failure_rate;
        match bound {
            // What lies exactly on it is beyond it half of the time, which will do.
            RateBound::AboveStable(by) => rate - stable >= by * (1.0 - 1e-9),
            RateBound::Absolute(limit) => rate > limit,
            RateBound::TimesStable(times) => rate > times * stable,
        }
    }

    /// The bet on the first failure of each user.
    fn seconds_by_user(&self, rate: f64) -> f64 {
        let setting = self.setting;
        let share = setting.weight.as_ratio();
        let of_canary = setting.canary_per_second() * rate;
        let of_stable = setting.stable_per_second() * setting.traffic.failure_rate;
        let canary_part = of_canary / (of_canary + of_stable);
        let lanes = ERROR_LANES.map(|lane| {
            let stake = event_stake(share, lane.ratio);
            let (won, lost) = (1.0 - stake + stake / share, 1.0 - stake);
            let of_lost = if canary_part < 1.0 {
                (1.0 - canary_part) * lost.ln()
            } else {
                0.0
            };
            Growth {
                log_capital: (setting.shares.errors * setting.mass * lane.prior).ln(),
                rate: canary_part * won.ln() + of_lost,
            }
        });
        // Events come one by one.
        let events = (units_until(&lanes, setting.enough()) - 1e-9).ceil();
        events / (of_canary + of_stable)
    }

    /// The bet for hard limits.
    fn seconds_by_block(&self, rate: f64) -> f64 {
        let setting = self.setting;
        let hard = self
            .gates
            .iter()
            .flat_map(|gate| rate_limits_of(&gate.rule));
        let difference = hard
            .filter(|limit| limit.hard)
            .map(|limit| match limit.bound {
                RateBound::AboveStable(by) => by.max(0.0),
                RateBound::Absolute(_) | RateBound::TimesStable(_) => 0.0,
            });
        let Some(difference) = difference.reduce(f64::min) else {
            return f64::INFINITY;
        };
        let blocks = Blocks::new(
            HARD_BLOCK.as_secs_f64(),
            setting.canary_per_second(),
            setting.stable_per_second(),
        );
        let share = blocks.share();
        let rates = blocks.mean((rate, setting.traffic.failure_rate), |failed, by_stable| {
            let events = failed + by_stable + difference * (blocks.stable - by_stable).max(0.0);
            let won = if events > 0.0 {
                failed / events / share
            } else {
                1.0
            };
            HARD_STAKES.map(|stake| (1.0 - stake + stake * won).ln())
        });
        let capital = setting.shares.hard * setting.mass / HARD_STAKES.len() as f64;
        blocks.seconds * self.whole_blocks(&rates, capital)
    }

    /// The bet of a canary that is alone.
    fn seconds_alone(&self, rate: f64) -> f64 {
        let setting = self.setting;
        let differences = self
            .gates
            .iter()
            .flat_map(|gate| rate_limits_of(&gate.rule));
        let difference = differences.filter_map(|limit| match limit.bound {
            RateBound::AboveStable(by) => Some(by.max(0.0)),
            RateBound::Absolute(_) | RateBound::TimesStable(_) => None,
        });
        let Some(difference) = difference.reduce(f64::min) else {
            return f64::INFINITY;
        };
        let usual = usual_rate(setting.traffic.failure_rate);
        let rate_max = (usual + difference).min(1.0);
        let per_second = setting.canary_per_second();
        let blocks = Blocks::new(BLOCK.as_secs_f64(), per_second, per_second);
        let rates = blocks.mean((rate, 0.0), |failed, _| {
            let excess = (failed / blocks.canary - rate_max) / rate_max;
            CEILING_STAKES.map(|stake| (1.0 + stake * excess).ln())
        });
        let capital = setting.mass / CEILING_STAKES.len() as f64;
        blocks.seconds * self.whole_blocks(&rates, capital)
    }

    fn whole_blocks(&self, rates: &[f64], capital: f64) -> f64 {
        let lane = |rate: &f64| Growth {
            log_capital: capital.ln(),
            rate: *rate,
        };
        let lanes: Vec<_> = rates.iter().map(lane).collect();
        units_until(&lanes, self.setting.enough()).ceil()
    }

    /// Failures in a row.
    fn by_run(&self, rate: f64) -> Option<Found> {
        let setting = self.setting;
        let runs = self.gates.iter().filter_map(|gate| {
            let limit = run_limit(&gate.rule, &setting.traffic)?;
            Some((limit, &gate.name))
        });
        let (run, gate) = runs.min()?;
        // The mean time until a run (Feller: "An introduction to probability theory and its
        // applications", volume 1, XIII.7).
        let requests = if rate < 1.0 {
            (rate.powf(-f64::from(run)) - 1.0) / (1.0 - rate)
        } else {
            f64::from(run)
        };
        Some(Found {
            gate: gate.clone(),
            ending: Ending::RolledBack,
            seconds: requests / setting.canary_per_second(),
        })
    }

    /// The budget for harm.
    fn by_exposure(&self, rate: f64) -> Option<Found> {
        let setting = self.setting;
        let exposure = setting.promise.exposure;
        let budgets = [exposure.failed_requests, exposure.affected_users];
        let budget = budgets.into_iter().flatten().min()?;
        let excess = rate - setting.traffic.failure_rate;
        let gate: GateName = self.gates.first()?.name.clone();
        Some(Found {
            gate,
            ending: Ending::RolledBack,
            seconds: (budget as f64 + 1.0) / excess.max(0.0) / setting.canary_per_second(),
        })
    }

    /// When it is shown that a canary that is as good as stable is no worse. The margin for
    /// the whole service is for the weight that comes next.
    pub(super) fn shown(&self, next: Weight) -> Vec<Shown> {
        let margins = self.gates.iter().filter_map(|gate| {
            let GateRule::ErrorRate { advance, .. } = gate.rule else {
                return None;
            };
            Some((gate, advance?))
        });
        margins
            .map(|(gate, margin)| self.shown_by(gate, margin, next))
            .collect()
    }

    fn shown_by(&self, gate: &GateSpec, margin: RateMargin, next: Weight) -> Shown {
        let setting = self.setting;
        let margin = margin.at(next);
        let canary_requests = if setting.is_contested() && margin > 0.0 {
            self.requests_to_show(margin)
        } else {
            f64::INFINITY
        };
        Shown {
            gate: gate.name.clone(),
            quantile: None,
            margin,
            canary_requests,
            seconds: canary_requests / setting.canary_per_second(),
        }
    }

    fn requests_to_show(&self, margin: f64) -> f64 {
        let setting = self.setting;
        let share = setting.weight.as_ratio();
        let p = setting.traffic.failure_rate.max(1e-9);
        let lane_capital = -(NO_WORSE_LANES.len() as f64).ln();
        let lanes = NO_WORSE_LANES.map(|times| {
            let a = (times * p).clamp(1e-9, 0.9);
            let b = (a + margin).min(0.99);
            let both = share * a + (1.0 - share) * b;
            let spared = margin * b / both + (1.0 - margin) * (1.0 - b) / (1.0 - both);
            let canary = p * (a / both).ln() + (1.0 - p) * ((1.0 - a) / (1.0 - both)).ln();
            let stable = p * (b / both).ln() + (1.0 - p) * spared.ln();
            Growth {
                log_capital: lane_capital,
                rate: canary + (1.0 - share) / share * stable,
            }
        });
        let enough = 1.0 / setting.promise.false_advance;
        median_of(units_until(&lanes, enough), enough.ln() - lane_capital)
    }
}

/// How often stable fails at most, as the gates know it from so many of its requests.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates"
)]
pub(super) fn usual_rate(rate: f64) -> f64 {
    const REQUESTS: u32 = 100_000;
    let failures = (rate * f64::from(REQUESTS)).round().max(0.0) as u64;
    interval(failures, u64::from(REQUESTS), 0.001).1
}

const fn is_about_errors(rule: &GateRule) -> bool {
    matches!(rule, GateRule::ErrorRate { .. } | GateRule::BurnRate { .. })
}
