//! Services under a rollout: what both versions have in common, moment by moment.

use haldane_decide::weight::Weight;

use super::{
    Part,
    latency::{Change, Family, Latency},
    random::Random,
};

/// What holds for one second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Requests per second on average; arrivals are a Poisson process.
    pub(crate) rate: f64,
    /// The canary's share.
    pub(crate) weight: Weight,
    /// How likely a request fails.
    pub(crate) failing: f64,
    /// How many times as slow both versions are as at the start.
    pub(crate) slowdown: f64,
}

/// A rollout of a canary that is no worse, with what happens to both versions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// What `--only` and the tables call it.
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) course: Course,
    /// Mean requests per second.
    pub(crate) rate: f64,
    /// How likely a request fails at first.
    pub(crate) failing: f64,
    /// What response times look like.
    pub(crate) family: Family,
    /// How long it takes, in seconds.
    pub(crate) seconds: u32,
    /// How long it goes on for those who poll, in seconds: as long as in the reference.
    pub(crate) seconds_polled: u32,
}

/// How a service changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Course {
    /// 20 000 sticky users of Zipf's distribution, with bursts of failures of single users,
    /// and users whose requests always fail (see [`super::keys`]).
    BurstyKeys,
    /// Rate of requests, failures and slowness go with the hour; the rollout begins at any.
    Diurnal,
    /// Failures and slowness wander, failures triple at some time, and twice for two minutes
    /// 30 % of everything fails.
    Drifting,
    /// Nothing changes.
    Independent,
    /// The weight goes 1, 5, 25, 50 %, while failures go from 0.05 to 0.5 %.
    Ramping,
}

/// One rollout of a scenario: what chance has decided about its course.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    scenario: Scenario,
    /// When the day began, or when the step comes.
    phase: f64,
    outages: [f64; 2],
    failing: f64,
    slowdown: f64,
}

impl Scenario {
    /// How often the weight is raised after the start.
    pub(crate) fn steps(&self) -> u32 {
        match self.course {
            Course::Ramping => RAMP.len() as u32 - 1,
            Course::BurstyKeys | Course::Diurnal | Course::Drifting | Course::Independent => 0,
        }
    }

    /// What it belongs to.
    pub(crate) fn part(&self) -> Part {
        match self.course {
            Course::BurstyKeys => Part::BurstyKeys,
            Course::Diurnal => Part::Diurnal,
            Course::Drifting => Part::Drifting,
            Course::Independent => Part::Independent,
            Course::Ramping => Part::Ramping,
        }
    }

    /// The response times of both versions at the start.
    pub(crate) fn latency(&self) -> Latency {
        Latency::new(self.family, Change::None)
    }
}

impl Weather {
    /// Draws what happens when.
    pub(crate) fn new(scenario: Scenario, random: &mut Random) -> Self {
        let span = f64::from(scenario.seconds);
        let mut at = || random.uniform() * span;
        Self {
            scenario,
            outages: [at(), at()],
            phase: match scenario.course {
                Course::Diurnal => at() / span * DAY,
                _ => at(),
            },
            failing: scenario.failing,
            slowdown: 1.0,
        }
    }

    /// What holds in this second; seconds have to be asked for in order.
    pub(crate) fn at(&mut self, second: u32, random: &mut Random) -> Moment {
        let (scenario, now) = (self.scenario, f64::from(second));
        let mut moment = Moment {
            rate: scenario.rate,
            weight: percent(5),
            failing: scenario.failing,
            slowdown: 1.0,
        };
        match scenario.course {
            Course::BurstyKeys | Course::Independent => {}
            Course::Diurnal => {
                let hour = (std::f64::consts::TAU * (now + self.phase) / DAY).sin();
                moment.rate *= 1.0 + 0.8 * hour;
                moment.failing *= (1.2 * hour).exp();
                moment.slowdown = (0.4 * hour).exp();
            }
            Course::Drifting => {
                self.failing = wander(self.failing, scenario.failing, random);
                self.slowdown = wander(self.slowdown, 1.0, random);
                moment.failing = self.failing * if now < self.phase { 1.0 } else { 3.0 };
                moment.slowdown = self.slowdown;
                if self
                    .outages
                    .iter()
                    .any(|&from| (from..from + OUTAGE).contains(&now))
                {
                    moment.failing = 0.3;
                    moment.slowdown *= 2.0;
                }
            }
            Course::Ramping => {
                let step = (RAMP.len() * second as usize / scenario.seconds as usize).min(3);
                moment.weight = percent(RAMP[step]);
                moment.failing *= 10.0_f64.powf(now / f64::from(scenario.seconds));
            }
        }
        moment
    }
}

/// A weight in percent.
pub(crate) fn percent(percent: u32) -> Weight {
    Weight::from_parts_per_million(percent * 10_000).unwrap_or(Weight::ZERO)
}

/// One second of a random walk of the logarithm that stays within a factor of five of home.
fn wander(value: f64, home: f64, random: &mut Random) -> f64 {
    (value * (0.02 * random.normal()).exp()).clamp(home / 5.0, home * 5.0)
}

/// Weights in percent.
const RAMP: [u32; 4] = [1, 5, 25, 50];

/// In seconds.
const DAY: f64 = 86_400.0;

/// In seconds.
const OUTAGE: f64 = 120.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(course: Course) -> Scenario {
        Scenario {
            name: "test",
            course,
            rate: 100.0,
            failing: 0.001,
            family: Family::LogNormal,
            seconds: 2000,
            seconds_polled: 2000,
        }
    }

    fn moments(course: Course) -> Vec<Moment> {
        let mut random = Random::new(5, "service", 0);
        let mut weather = Weather::new(scenario(course), &mut random);
        (0..2000)
            .map(|second| weather.at(second, &mut random))
            .collect()
    }

    #[test]
    fn a_ramp_has_all_its_weights() {
        let mut weights: Vec<Weight> = moments(Course::Ramping).iter().map(|m| m.weight).collect();
        weights.dedup();
        assert_eq!(weights, RAMP.map(percent));
        assert_eq!(scenario(Course::Ramping).steps(), 3);
        assert!((moments(Course::Ramping)[1999].failing - 0.01).abs() < 1e-4);
    }

    #[test]
    fn drift_has_outages_and_stays_within_bounds() {
        let moments = moments(Course::Drifting);
        let outage = moments
            .iter()
            .filter(|moment| moment.failing == 0.3)
            .count();
        assert!((1..=240).contains(&outage), "{outage}");
        for moment in moments.iter().filter(|moment| moment.failing < 0.3) {
            assert!((0.0002..=0.015_001).contains(&moment.failing));
            assert!((0.2..=5.0).contains(&moment.slowdown));
        }
    }

    #[test]
    fn a_day_has_more_and_less_busy_hours() {
        for moment in moments(Course::Diurnal) {
            assert!((19.9..=180.1).contains(&moment.rate));
        }
    }
}
