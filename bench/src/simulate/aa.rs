//! False rollbacks: canaries that are no worse than stable, under whatever happens to both.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Effort, certainty,
    judge::{Judge, Limits, Past, Plan},
    keys::Users,
    latency::Family,
    minutes::{Minutes, Pollers},
    polled::{Poll, Polled, Query},
    random::Random,
    reference, rounds,
    service::{Course, Scenario, Weather},
    traffic::{Load, Second},
};
use crate::report::Table;

/// What was found in one scenario.
#[derive(Debug)]
pub(crate) struct Blamed {
    scenario: Scenario,
    rollouts: u64,
    /// By promise.
    haldane: [u64; PROMISES.len()],
    /// Which gates that was, all promises together.
    gates: BTreeMap<String, u64>,
    /// By poller.
    polled: Vec<u64>,
}

/// What is promised: the default, and one that is large enough to be seen to hold.
const PROMISES: [f64; 2] = [0.001, 0.05];

/// All scenarios, those of the reference's table first.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, course, rate, failing| Scenario {
        name,
        course,
        rate,
        failing,
        family: Family::LogNormal,
        seconds: 3600,
        seconds_polled: 3600,
    };
    let independent = |rate, failing, family| Scenario {
        family,
        seconds_polled: 20_000,
        ..scenario("independent", Course::Independent, rate, failing)
    };
    vec![
        independent(1000.0, 0.001, Family::LogNormal),
        independent(100.0, 0.001, Family::LogNormal),
        independent(10.0, 0.001, Family::LogNormal),
        independent(100.0, 0.005, Family::Bimodal),
        scenario("bursty-keys", Course::BurstyKeys, 1000.0, 0.001),
        scenario("drifting", Course::Drifting, 1000.0, 0.001),
        scenario("ramping", Course::Ramping, 1000.0, 0.0005),
        scenario("diurnal", Course::Diurnal, 100.0, 0.001),
    ]
}

/// Simulates all rollouts of a scenario.
pub(crate) fn run(scenario: Scenario, effort: &Effort) -> Blamed {
    let scenario = Scenario {
        seconds: scenario.seconds / effort.shortening,
        seconds_polled: scenario.seconds_polled / effort.shortening,
        ..scenario
    };
    let found = rounds::each(effort.rollouts, effort.threads, |index| {
        rollout(scenario, effort.seed, index)
    });
    let mut blamed = Blamed {
        scenario,
        rollouts: effort.rollouts,
        haldane: [0; PROMISES.len()],
        gates: BTreeMap::new(),
        polled: vec![0; pollers().len()],
    };
    for (haldane, polled) in found {
        for (sum, one) in blamed.haldane.iter_mut().zip(haldane) {
            *sum += u64::from(one.is_some());
            if let Some(gate) = one {
                *blamed.gates.entry(gate).or_default() += 1;
            }
        }
        for (sum, one) in blamed.polled.iter_mut().zip(polled) {
            *sum += u64::from(one);
        }
    }
    blamed
}

/// Who rolls back in one rollout: haldane by promise and with the gate, and the pollers.
fn rollout(
    scenario: Scenario,
    seed: u64,
    index: u64,
) -> ([Option<String>; PROMISES.len()], Vec<bool>) {
    let random = &mut Random::new(seed, scenario.name, index ^ (scenario.rate as u64) << 40);
    let mut weather = Weather::new(scenario, random);
    let first = weather.at(0, random);
    let latency = scenario.latency();
    let mut users =
        (scenario.course == Course::BurstyKeys).then(|| Users::new(first.weight, random));
    let mut past = Past::new(
        first.rate,
        first.failing,
        Some(latency.times(first.slowdown)),
        random,
    );
    if let Some(users) = &mut users {
        past.failures.clear();
        for _ in 0..Past::SECONDS {
            let failures = users.failures(first.rate, first.failing, random);
            past.failures
                .extend(failures.into_iter().map(|user| Some(users.key(user))));
        }
    }
    let mut judges = PROMISES.map(|promise| {
        let plan = Plan {
            false_rollback: promise,
            seconds: scenario.seconds,
            steps: scenario.steps(),
            limits: Limits::Default,
        };
        Judge::new(&plan, first.weight, &past, random)
    });
    let (mut second, mut minutes) = (Second::default(), Minutes::default());
    let mut pollers = Pollers::new(pollers());
    for at in 0..scenario.seconds {
        let moment = weather.at(at, random);
        let load = Load {
            rate: moment.rate,
            weight: moment.weight,
            failing: [moment.failing; 2],
        };
        match &mut users {
            Some(users) => second.draw_by_users((load.rate, moment.failing), users, random),
            None => second.draw(&load, random),
        }
        let latency = [latency.times(moment.slowdown); 2];
        for judge in &mut judges {
            judge.watch(&second, moment.weight, Some(&latency), random);
        }
        minutes.add(&second);
        if let Some(minute) = minutes.over(Some(&latency), random) {
            pollers.see(&minute);
        }
    }
    let last = weather.at(scenario.seconds - 1, random);
    let load = Load {
        rate: last.rate,
        weight: last.weight,
        failing: [last.failing; 2],
    };
    let latency = [latency.times(last.slowdown); 2];
    for _ in scenario.seconds / 60..scenario.seconds_polled / 60 {
        minutes.fill(&load, random);
        if let Some(minute) = minutes.over(Some(&latency), random) {
            pollers.see(&minute);
        }
    }
    let polled = pollers.ended.iter().map(Option::is_some).collect();
    (
        judges.map(|judge| judge.decided().map(|decided| decided.gate.clone())),
        polled,
    )
}

fn pollers() -> Vec<Polled> {
    let by = |query| POLLS.map(|poll| Polled::new(poll, query));
    by(Query::Errors)
        .into_iter()
        .chain(by(Query::Latency))
        .collect()
}

const POLLS: [Poll; 5] = [
    Poll::Argo { limit: 0 },
    Poll::Argo { limit: 1 },
    Poll::Flagger { failures: 5 },
    Poll::Kayenta { minutes: 5 },
    Poll::Kayenta { minutes: 30 },
];

impl Blamed {
    /// What breaks a promise beyond doubt, in one sentence for each.
    pub(crate) fn broken(&self) -> impl Iterator<Item = String> {
        let promises = PROMISES.iter().zip(self.haldane);
        promises
            .filter(|&(&promise, count)| certainty::is_broken(count, self.rollouts, promise))
            .map(|(promise, count)| {
                let (name, rollouts, gates) = (self.name(), self.rollouts, &self.gates);
                format!("{name}: {count} of {rollouts} rolled back, promised were {promise}; gates {gates:?}")
            })
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let haldane = PROMISES.iter().zip(self.haldane).map(|(promise, count)| {
            let upper = certainty::upper_limit(count, self.rollouts);
            json!({ "promised": promise, "rolled_back": count, "upper_limit": upper })
        });
        let polled = pollers().into_iter().zip(&self.polled).map(|(polled, count)| {
            json!({ "by": polled.poll().name(), "of": polled.query().name(), "rolled_back": count })
        });
        json!({
            "scenario": self.scenario.name,
            "requests_per_second": self.scenario.rate,
            "failing": self.scenario.failing,
            "seconds": self.scenario.seconds,
            "seconds_polled": self.scenario.seconds_polled,
            "rollouts": self.rollouts,
            "gates": self.gates,
            "haldane": haldane.collect::<Vec<_>>(),
            "polled": polled.collect::<Vec<_>>(),
        })
    }
}

/// For people: haldane's promise, then what polling does to the same rollouts.
pub(crate) fn tables(blamed: &[Blamed]) -> Vec<Table> {
    let Some(first) = blamed.first() else {
        return Vec::new();
    };
    let mut columns = vec![
        "scenario".to_owned(),
        "req/s".to_owned(),
        "seconds".to_owned(),
    ];
    for promise in PROMISES {
        let percent = promise * 100.0;
        columns.extend([
            format!("at {percent} %"),
            "rate".to_owned(),
            "95 % limit".to_owned(),
        ]);
    }
    columns.push("gates.md".to_owned());
    let haldane = Table {
        title: format!(
            "false rollbacks of {} rollouts by haldane, whose promise is 0.1 % or 5 %",
            first.rollouts
        ),
        columns,
        rows: blamed.iter().map(haldane_row).collect(),
    };
    let polled = [Query::Errors, Query::Latency]
        .into_iter()
        .enumerate()
        .map(|(at, query)| {
            let mut columns = ["scenario", "req/s", "seconds"].map(str::to_owned).to_vec();
            columns.extend(POLLS.map(|poll| poll.name()));
            let row = |one: &Blamed| {
                let counts = one.polled.iter().skip(at * POLLS.len()).take(POLLS.len());
                let rates = counts.zip(reference::polled_blamed(&one.scenario, query));
                let scenario = &one.scenario;
                let mut row = vec![
                    one.name(),
                    scenario.rate.to_string(),
                    scenario.seconds_polled.to_string(),
                ];
                row.extend(rates.map(|(&count, known)| {
                    let found = percent(count as f64 / one.rollouts as f64);
                    known.map_or_else(|| found.clone(), |known| format!("{found} ({known})"))
                }));
                row
            };
            Table {
                title: format!(
                    "false rollbacks by polling {} (in brackets: gates.md)",
                    query.name()
                ),
                columns,
                rows: blamed.iter().map(row).collect(),
            }
        });
    std::iter::once(haldane).chain(polled).collect()
}

fn haldane_row(one: &Blamed) -> Vec<String> {
    let scenario = &one.scenario;
    let mut row = vec![
        one.name(),
        scenario.rate.to_string(),
        scenario.seconds.to_string(),
    ];
    for count in one.haldane {
        row.push(count.to_string());
        row.push(percent(count as f64 / one.rollouts as f64));
        row.push(percent(certainty::upper_limit(count, one.rollouts)));
    }
    row.push(reference::blamed(scenario).unwrap_or("-").to_owned());
    row
}

fn percent(rate: f64) -> String {
    match rate * 100.0 {
        0.0 => "0".to_owned(),
        percent if percent >= 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.2} %"),
    }
}

impl Blamed {
    fn name(&self) -> String {
        let family = match self.scenario.family {
            Family::Bimodal => "BI",
            Family::LogNormal => "LN",
        };
        let failing = self.scenario.failing * 100.0;
        format!("{}, {failing:.2} % errors, {family}", self.scenario.name)
    }
}
