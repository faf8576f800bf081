//! What gates will be able to say under a given traffic, before there is any.
//!
//! A bet grows on average by a number of nats with each event or block, which follows from
//! its lanes and from how bad the canary is; a rollback takes `ln(1 / (promise x share x
//! capital x prior))` of them. That is all there is to a forecast (see `growth.rs`); the
//! simulations that the gates were chosen with confirm it within a factor of one and a
//! half. Times until a rollback are means, times until a pass are medians.
//!
//! Assumed are requests that fail independently, each of another user, latencies with a
//! log-normal distribution, and a fault that is there from the beginning of the step.

use std::time::Duration;

use crate::gate::restart::RestartMass;
use crate::gate::spec::{GateName, GateRule, GateSpec, Promise, Quantile, RunLimit};
use crate::gate::{Shares, numbers};
use crate::plan::{Hold, Plan};
use crate::weight::Weight;

mod failures;
mod growth;
mod latency;
mod shape;

use failures::FailureGates;
use latency::LatencyGate;

/// The traffic that a forecast is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Of both versions together.
    pub requests_per_second: f64,
    /// The share of stable's requests that fail.
    pub failure_rate: f64,
    /// What half of stable's responses take at most.
    pub median: Duration,
    /// What 99 % of them take at most.
    pub p99: Duration,
}

impl Default for Traffic {
    /// Of a service of middling size.
    fn default() -> Self {
        let p99 = Duration::from_millis(250);
        Self {
            requests_per_second: 1000.0,
            failure_rate: 0.001,
            median: Self::median_for(p99),
            p99,
        }
    }
}

impl Traffic {
    /// The median that goes with a 99th percentile, where nothing else is known: the spread
    /// of the latencies that the gates were simulated with.
    #[must_use]
    pub fn median_for(p99: Duration) -> Duration {
        const SPREAD: f64 = 0.8;
        p99.div_f64((SPREAD * shape::P99_DEVIATIONS).exp())
    }
}

/// One step of a rollout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// The canary's share.
    pub weight: Weight,
    /// How long it stays, if that is planned.
    pub hold: Option<Duration>,
    /// How long it may wait for evidence after that; then the rollout pauses.
    pub max_hold: Duration,
}

impl Step {
    /// A weight without a plan.
    #[must_use]
    pub const fn at(weight: Weight) -> Self {
        Self {
            weight,
            hold: None,
            max_hold: Duration::ZERO,
        }
    }

    /// The steps of a plan that give the canary traffic. A hold for a number of requests
    /// lasts until this traffic has brought them.
    #[must_use]
    pub fn of_plan(plan: &Plan, traffic: &Traffic) -> Vec<Self> {
        let steps = plan.steps().iter().filter(|step| !step.weight.is_zero());
        let step = |step: &crate::plan::Step| Self {
            weight: step.weight,
            hold: match step.hold {
                _ if step.weight == Weight::FULL => None,
                Hold::For { time, requests: 0 } => Some(time),
                Hold::For { time, requests } => {
                    let rate = traffic.requests_per_second * step.weight.as_ratio();
                    let seconds = requests as f64 / rate;
                    let counted = Duration::try_from_secs_f64(seconds);
                    Some(time.max(counted.unwrap_or(Duration::MAX)))
                }
                Hold::UntilPromoted => None,
            },
            max_hold: plan.terms.max_hold,
        };
        steps.map(step).collect()
    }

    /// How long it lasts at most, if that is planned.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        self.hold.map(|hold| hold.saturating_add(self.max_hold))
    }
}

/// What gates will be able to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// How likely a canary that is no worse is rolled back by evidence, at most.
    pub false_rollback: f64,
    /// The same for runs of failures, which come by chance.
    pub by_chance: f64,
    /// In the order of the rollout.
    pub steps: Vec<StepForecast>,
}

/// What they will be able to say in one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepForecast {
    /// Which step.
    pub step: Step,
    /// Requests of the canary.
    pub canary_per_second: f64,
    /// What becomes of a bad canary.
    pub detections: Vec<Detection>,
    /// What it takes until a good one may advance.
    pub shown: Vec<Shown>,
}

impl StepForecast {
    /// When everything is shown that a good canary needs for advancing.
    #[must_use]
    pub fn shown_seconds(&self) -> f64 {
        self.shown.iter().map(|one| one.seconds).fold(0.0, f64::max)
    }
}

/// What is wrong with a canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It fails so many times as often as stable.
    Failing {
        /// How many times.
        times: f64,
    },
    /// It fails always.
    FailingAlways,
    /// Its slowest responses are so much slower that this quantile is so many times
    /// stable's.
    Slower {
        /// Which quantile.
        quantile: Quantile,
        /// How many times.
        times: f64,
    },
}

/// What becomes of a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// It is seen to be worse, by less than what a rollback takes: the rollout holds.
    Held,
    /// It is rolled back.
    RolledBack,
    /// Nothing tells it from a good one.
    Unseen,
}

/// How a fault is found.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// What is wrong.
    pub fault: Fault,
    /// What becomes of it.
    pub ending: Ending,
    /// Which gate finds it first, if one does.
    pub gate: Option<GateName>,
    /// Requests of the canary until then, on average; infinite if it is not found.
    pub canary_requests: f64,
    /// How long that takes.
    pub seconds: f64,
    /// Users who had a failure, or a slow response, until then: at most so many, if every
    /// request is of another one.
    pub users: f64,
}

/// When it is shown that a good canary keeps a limit for advancing.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Which gate shows it.
    pub gate: GateName,
    /// Of which quantile, if it is about latency.
    pub quantile: Option<Quantile>,
    /// By how much it may be worse: a difference of rates, or a factor.
    pub margin: f64,
    /// Requests of the canary until then, in half of all cases; infinite if never.
    pub canary_requests: f64,
    /// How long that takes.
    pub seconds: f64,
}

/// A fault that is found by a gate, after so many seconds.
#[derive(Clone, Debug)]
struct Found {
    gate: GateName,
    ending: Ending,
    seconds: f64,
}

/// What the bets of one step are made under.
#[derive(Clone, Copy, Debug)]
struct Setting {
    traffic: Traffic,
    promise: Promise,
    shares: Shares,
    weight: Weight,
    /// The capital that is put in when the step begins.
    mass: f64,
}

/// How many times as often as stable a canary fails that is forecast.
const FAILING_TIMES: [f64; 3] = [2.0, 5.0, 10.0];

/// What these gates will be able to say in each step.
#[must_use]
pub fn forecast(
    gates: &[GateSpec],
    promise: &Promise,
    steps: &[Step],
    traffic: &Traffic,
) -> Forecast {
    let shares = Shares::of(gates);
    let raises = u32::try_from(steps.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let mut mass = RestartMass::new(promise.steps.max(raises), 1);
    let forecasts = steps.iter().enumerate().map(|(index, step)| {
        let setting = Setting {
            traffic: *traffic,
            promise: *promise,
            shares,
            weight: step.weight,
            mass: if index == 0 {
                mass.on_start()
            } else {
                mass.on_step()
            },
        };
        let next = steps.get(index + 1).map_or(step.weight, |next| next.weight);
        setting.forecast(gates, *step, next)
    });
    let forecasts: Vec<_> = forecasts.collect();
    let rests_on_evidence = shares.errors + shares.classes + shares.latency + shares.signal > 0.0;
    Forecast {
        false_rollback: if rests_on_evidence {
            promise.false_rollback
        } else {
            0.0
        },
        by_chance: by_chance(gates, promise, &forecasts, traffic),
        steps: forecasts,
    }
}

/// The chance of a run of failures that is too long, over the whole rollout.
fn by_chance(
    gates: &[GateSpec],
    promise: &Promise,
    steps: &[StepForecast],
    traffic: &Traffic,
) -> f64 {
    let horizon = promise.horizon.as_secs_f64();
    let rates = steps.iter().map(|step| step.canary_per_second);
    let requests = horizon * rates.sum::<f64>() / (steps.len().max(1) as f64);
    let p = traffic.failure_rate;
    let runs = gates
        .iter()
        .filter_map(|gate| run_limit(&gate.rule, traffic));
    let chance = |run| ((requests * (1.0 - p) + 1.0) * p.powf(f64::from(run))).min(1.0);
    runs.map(chance).fold(0.0, f64::max)
}

/// After how many failures in a row a gate acts, if it is one that does.
fn run_limit(rule: &GateRule, traffic: &Traffic) -> Option<u32> {
    let GateRule::ConsecutiveFailures { limit } = rule else {
        return None;
    };
    Some(match limit {
        RunLimit::Calibrated => numbers::calibrated_run(failures::usual_rate(traffic.failure_rate)),
        RunLimit::Count(count) => (*count).max(1),
    })
}

impl Setting {
    fn canary_per_second(&self) -> f64 {
        self.traffic.requests_per_second * self.weight.as_ratio()
    }

    fn stable_per_second(&self) -> f64 {
        self.traffic.requests_per_second * (1.0 - self.weight.as_ratio())
    }

    /// Whether there is anything to compare.
    fn is_contested(&self) -> bool {
        !self.weight.is_zero() && self.weight != Weight::FULL
    }

    /// Evidence that is enough for a rollback.
    fn enough(&self) -> f64 {
        1.0 / self.promise.false_rollback
    }

    fn forecast(&self, gates: &[GateSpec], step: Step, next: Weight) -> StepForecast {
        let failures = FailureGates::new(gates, self);
        let p = self.traffic.failure_rate;
        let failing = FAILING_TIMES
            .into_iter()
            .filter(|times| p > 0.0 && p * times < 1.0)
            .map(|times| (Fault::Failing { times }, p * times));
        let failing = failing.chain([(Fault::FailingAlways, 1.0)]);
        let mut detections: Vec<_> = failing
            .map(|(fault, rate)| self.detection(fault, failures.find(rate), rate))
            .collect();
        let mut shown = failures.shown(next);
        for (gate, first_slot) in LatencyGate::all(gates) {
            let latency = LatencyGate::new(gate, first_slot, self);
            detections.extend(latency.detections());
            shown.extend(latency.shown());
        }
        StepForecast {
            step,
            canary_per_second: self.canary_per_second(),
            detections,
            shown,
        }
    }

    /// `bad` is the share of the canary's requests that its users notice.
    fn detection(&self, fault: Fault, found: Option<Found>, bad: f64) -> Detection {
        let Some(found) = found.filter(|found| found.seconds.is_finite()) else {
            return Detection {
                fault,
                ending: Ending::Unseen,
                gate: None,
                canary_requests: f64::INFINITY,
                seconds: f64::INFINITY,
                users: f64::INFINITY,
            };
        };
        // Requests that are under way when it is decided have been sent too.
        let seconds = found.seconds + self.traffic.median.as_secs_f64();
        let requests = found.seconds * self.canary_per_second();
        Detection {
            fault,
            ending: found.ending,
            gate: Some(found.gate),
            canary_requests: requests,
            seconds,
            users: (requests * bad).max(1.0),
        }
    }
}

#[cfg(test)]
mod tests;
