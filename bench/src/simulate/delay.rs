//! Detection delays: how many canary requests, and failed ones, a fault costs.

use haldane_decide::weight::Weight;
use serde_json::{Value, json};

use super::{
    Effort,
    information::{concurrent, requests},
    judge::{Judge, Limits, Past, Plan},
    latency::{Change, Family, Latency},
    minutes::{Minutes, Pollers},
    polled::Polled,
    random::Random,
    rounds,
    traffic::{Load, Second},
};

/// A canary that is worse than stable from some moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// What the tables call it.
    pub(crate) name: &'static str,
    /// How likely a request fails: stable's and the canary's.
    pub(crate) failing: [f64; 2],
    /// How the canary is slower; `None` where only errors are looked at, which leaves
    /// latency out of the simulation.
    pub(crate) slower: Option<(Family, Change)>,
}

/// The conditions under which faults are to be found.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Requests per second on average.
    pub(crate) rate: f64,
    /// The canary's share.
    pub(crate) weight: Weight,
    /// After how many healthy canary requests faults begin.
    pub(crate) healthy: u64,
    /// How long each rollout is watched after that, in seconds.
    pub(crate) seconds_max: u32,
    /// What a canary may do.
    pub(crate) limits: Limits,
    /// Who polls.
    pub(crate) polled: Vec<Polled>,
}

/// Delays of one method for one fault.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delays {
    /// Canary requests until the rollback, one for each rollout that had one.
    requests: Vec<f64>,
    failures: f64,
    seconds: f64,
    /// Rolled back while the canary was healthy; not among the others.
    blamed: u64,
    missed: u64,
}

/// What one rollout ended with: haldane's end first, then those of the pollers.
type Ends = Vec<End>;

#[derive(Clone, Copy, Debug)]
enum End {
    /// Before there was a fault.
    Blamed,
    /// Canary requests, failures among them, and seconds from the fault on.
    Found([f64; 3]),
    Missed,
}

impl Fault {
    /// The fewest canary requests that any test could need, by its failures.
    pub(crate) fn bound(&self, weight: Weight) -> f64 {
        let [stable, canary] = self.failing;
        requests(concurrent(canary, stable, weight.as_ratio()), ALPHA)
    }
}

/// Lets haldane and all pollers of the setting look for faults. For each fault and method,
/// haldane first.
pub(crate) fn find(
    name: &str,
    faults: &[Fault],
    setting: &Setting,
    effort: &Effort,
) -> Vec<Vec<Delays>> {
    let stream = format!("{name}{}{:?}", setting.rate, setting.weight);
    let found = rounds::each(effort.rollouts, effort.threads, |index| {
        let random = &mut Random::new(effort.seed, &stream, index);
        rollout(faults, setting, random)
    });
    let mut delays = vec![vec![Delays::default(); 1 + setting.polled.len()]; faults.len()];
    for rollout in found {
        for (delays, ends) in delays.iter_mut().zip(rollout) {
            for (delays, end) in delays.iter_mut().zip(ends) {
                delays.add(end);
            }
        }
    }
    delays
}

/// One rollout: the same healthy beginning for all faults, if there is one.
fn rollout(faults: &[Fault], setting: &Setting, random: &mut Random) -> Vec<Ends> {
    if setting.healthy == 0 {
        let run = |fault: &Fault| Run::new(fault, setting, random).end(fault, random);
        return faults.iter().map(run).collect();
    }
    // A base rate of zero makes another beginning.
    let mut beginnings: Vec<(f64, Run<'_>)> = Vec::new();
    let mut ends = Vec::new();
    for fault in faults {
        let known = beginnings
            .iter()
            .position(|(failing, _)| *failing == fault.failing[0]);
        let at = known.unwrap_or_else(|| {
            let mut run = Run::new(fault, setting, random);
            run.be_healthy(fault.failing[0], random);
            beginnings.push((fault.failing[0], run));
            beginnings.len() - 1
        });
        ends.push(beginnings[at].1.clone().end(fault, random));
    }
    ends
}

/// A rollout on its way.
#[derive(Clone)]
struct Run<'a> {
    setting: &'a Setting,
    judge: Judge,
    pollers: Pollers,
    minutes: Minutes,
    second: Second,
}

impl Fault {
    fn stable(&self) -> Option<Latency> {
        self.slower
            .map(|(family, _)| Latency::new(family, Change::None))
    }

    fn latency(&self) -> Option<[Latency; 2]> {
        let (family, change) = self.slower?;
        Some([
            Latency::new(family, Change::None),
            Latency::new(family, change),
        ])
    }
}

impl<'a> Run<'a> {
    fn new(fault: &Fault, setting: &'a Setting, random: &mut Random) -> Self {
        let past = Past::new(setting.rate, fault.failing[0], fault.stable(), random);
        let plan = Plan {
            false_rollback: ALPHA,
            seconds: HORIZON,
            steps: 1,
            limits: setting.limits,
        };
        Self {
            setting,
            judge: Judge::new(&plan, setting.weight, &past, random),
            pollers: Pollers::new(setting.polled.clone()),
            minutes: Minutes::default(),
            second: Second::default(),
        }
    }

    fn pass(&mut self, load: &Load, latency: Option<&[Latency; 2]>, random: &mut Random) {
        self.second.draw(load, random);
        self.judge.watch(&self.second, load.weight, latency, random);
        self.minutes.add(&self.second);
        if let Some(minute) = self.minutes.over(latency, random) {
            self.pollers.see(&minute);
        }
    }

    fn be_healthy(&mut self, failing: f64, random: &mut Random) {
        let load = self.load([failing; 2]);
        while self.judge.canary()[0] < self.setting.healthy {
            self.pass(&load, None, random);
        }
    }

    fn load(&self, failing: [f64; 2]) -> Load {
        Load {
            rate: self.setting.rate,
            weight: self.setting.weight,
            failing,
        }
    }

    /// Lets the fault begin. When haldane has found it, what is left is drawn by the minute.
    fn end(mut self, fault: &Fault, random: &mut Random) -> Ends {
        let (load, latency) = (self.load(fault.failing), fault.latency());
        let (before, begun) = (self.judge.canary(), self.judge.seconds());
        let haldane_blamed = self.judge.decided().is_some();
        let blamed: Vec<bool> = self.pollers.ended.iter().map(Option::is_some).collect();
        while self.judge.decided().is_none()
            && self.judge.seconds() - begun < f64::from(self.setting.seconds_max)
        {
            self.pass(&load, latency.as_ref(), random);
        }
        let mut seconds = self.judge.seconds() - begun;
        while !self.pollers.are_done() && seconds < f64::from(self.setting.seconds_max) {
            self.minutes.fill(&load, random);
            if let Some(minute) = self.minutes.over(latency.as_ref(), random) {
                self.pollers.see(&minute);
            }
            seconds += 60.0;
        }
        let since = |canary: [u64; 2], seconds| {
            let part = |at: usize| canary[at].saturating_sub(before[at]) as f64;
            End::Found([part(0), part(1), seconds])
        };
        let haldane = match self.judge.decided() {
            _ if haldane_blamed => End::Blamed,
            Some(decided) => since(decided.canary, decided.seconds - begun),
            None => End::Missed,
        };
        let polled = self
            .pollers
            .ended
            .iter()
            .zip(blamed)
            .map(|(ended, blamed)| match ended {
                _ if blamed => End::Blamed,
                Some(canary) => since(*canary, 0.0),
                None => End::Missed,
            });
        std::iter::once(haldane).chain(polled).collect()
    }
}

impl Delays {
    fn add(&mut self, end: End) {
        match end {
            End::Blamed => self.blamed += 1,
            End::Found([requests, failures, seconds]) => {
                self.requests.push(requests);
                self.failures += failures;
                self.seconds += seconds;
            }
            End::Missed => self.missed += 1,
        }
    }

    /// Mean canary requests; `None` if the fault was never found.
    pub(crate) fn mean(&self) -> Option<f64> {
        let count = self.requests.len();
        (count > 0).then(|| self.requests.iter().sum::<f64>() / count as f64)
    }

    /// Mean failed canary requests.
    pub(crate) fn mean_failures(&self) -> f64 {
        self.failures / self.requests.len().max(1) as f64
    }

    /// Mean seconds; known of haldane only.
    pub(crate) fn mean_seconds(&self) -> f64 {
        self.seconds / self.requests.len().max(1) as f64
    }

    /// `848 / 8.5 / 1.51`: canary requests, failed ones, ratio to the bound.
    pub(crate) fn cell(&self, bound: f64) -> String {
        let Some(mean) = self.mean() else {
            return "never".to_owned();
        };
        format!(
            "{} / {:.1} / {:.2}{}",
            short(mean),
            self.mean_failures(),
            mean / bound,
            self.detected()
        )
    }

    /// How many found the fault, if not all did.
    pub(crate) fn detected(&self) -> String {
        let trials = self.requests.len() as u64 + self.missed + self.blamed;
        let share = |count: u64| 100.0 * count as f64 / trials as f64;
        let missed = match self.missed {
            0 => String::new(),
            missed => format!(" (missed {:.1}%)", share(missed)),
        };
        match self.blamed {
            0 => missed,
            blamed => format!("{missed} (false before {:.1}%)", share(blamed)),
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "mean_canary_requests": self.mean(),
            "mean_failed_requests": self.mean_failures(),
            "mean_seconds": self.mean_seconds(),
            "found": self.requests.len(),
            "missed": self.missed,
            "false_before": self.blamed,
        })
    }
}

/// Few requests with a decimal, many without.
pub(crate) fn short(requests: f64) -> String {
    if requests < 100.0 {
        format!("{requests:.1}")
    } else {
        format!("{requests:.0}")
    }
}

/// The promise under which delays are measured: the default.
pub(crate) const ALPHA: f64 = 0.001;

/// The planned time: the default of an hour.
const HORIZON: u32 = 3600;
