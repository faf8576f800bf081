//! Sums of minutes, for those who poll.

use haldane_decide::role::Role;

use super::{
    latency::Latency,
    polled::{Minute, Polled, Served},
    random::Random,
    traffic::{Load, Second},
};

/// The minute that is not over yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minutes {
    successes: [u64; 2],
    failures: [u64; 2],
    seconds: u32,
}

impl Minutes {
    /// Adds a second.
    pub(crate) fn add(&mut self, second: &Second) {
        let (successes, failures) = (second.successes(), second.failures());
        for role in 0..2 {
            self.successes[role] += successes[role];
            self.failures[role] += failures[role];
        }
        self.seconds += 1;
    }

    /// Adds what is left of the minute, in bulk: a Poisson number for each version and ending.
    pub(crate) fn fill(&mut self, load: &Load, random: &mut Random) {
        let canary = load.weight.as_ratio();
        for (role, share) in [1.0 - canary, canary].into_iter().enumerate() {
            let requests = load.rate * share * f64::from(60 - self.seconds);
            self.successes[role] += random.poisson(requests * (1.0 - load.failing[role]));
            self.failures[role] += random.poisson(requests * load.failing[role]);
        }
        self.seconds = 60;
    }

    /// The minute, if it is over.
    pub(crate) fn over(
        &mut self,
        latency: Option<&[Latency; 2]>,
        random: &mut Random,
    ) -> Option<Minute> {
        if self.seconds < 60 {
            return None;
        }
        let [stable, canary] = Role::ALL.map(|role| {
            let at = role.index();
            [self.successes[at], self.failures[at]]
        });
        // As many of stable's requests as the canary has, at random.
        let part = (canary[0] + canary[1]) as f64 / ((stable[0] + stable[1]) as f64).max(1.0);
        let baseline = stable.map(|count| random.binomial(count, part));
        let mut served = |[successes, failures]: [u64; 2], role: Role| Served {
            requests: successes + failures,
            failures,
            p99: latency
                .filter(|_| successes > 0)
                .map(|latency| p99(&latency[role.index()], successes, random) / 1000.0),
        };
        let minute = Minute {
            baseline: served(baseline, Role::Stable),
            canary: served(canary, Role::Canary),
            stable: served(stable, Role::Stable),
        };
        *self = Self::default();
        Some(minute)
    }
}

/// The p99 of so many response times: a draw of the order statistic that it is.
fn p99(latency: &Latency, count: u64, random: &mut Random) -> f64 {
    let rank = (0.99 * count as f64).ceil() as u64;
    latency.quantile(1.0 - random.order_statistic(rank, count))
}

/// All who poll one rollout, with what each found.
#[derive(Clone, Debug)]
pub(crate) struct Pollers {
    polled: Vec<Polled>,
    /// Of each: canary requests and failures until it rolled back.
    pub(crate) ended: Vec<Option<[u64; 2]>>,
    canary: [u64; 2],
}

impl Pollers {
    /// At the start of a rollout.
    pub(crate) fn new(polled: Vec<Polled>) -> Self {
        Self {
            ended: vec![None; polled.len()],
            polled,
            canary: [0; 2],
        }
    }

    /// Shows a minute to all who have not rolled back yet.
    pub(crate) fn see(&mut self, minute: &Minute) {
        self.canary[0] += minute.canary.requests;
        self.canary[1] += minute.canary.failures;
        for (polled, ended) in self.polled.iter_mut().zip(&mut self.ended) {
            if ended.is_none() && polled.rolls_back(minute) {
                *ended = Some(self.canary);
            }
        }
    }

    /// Whether none is left.
    pub(crate) fn are_done(&self) -> bool {
        self.ended.iter().all(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{
        latency::{Change, Family},
        polled::{Poll, Query},
        service::percent,
    };

    #[test]
    fn a_minute_is_filled_and_over() {
        let (mut minutes, mut random) = (Minutes::default(), Random::new(1, "minutes", 0));
        assert!(minutes.over(None, &mut random).is_none());
        let load = Load {
            rate: 1000.0,
            weight: percent(5),
            failing: [0.0, 1.0],
        };
        minutes.fill(&load, &mut random);
        let latency = [Latency::new(Family::LogNormal, Change::None); 2];
        let minute = minutes.over(Some(&latency), &mut random).unwrap();
        assert_eq!(minute.canary.failures, minute.canary.requests);
        assert!((2700..3300).contains(&minute.canary.requests));
        assert!((55_000..59_000).contains(&minute.stable.requests));
        let p99 = minute.stable.p99.unwrap();
        assert!((155.0..167.0).contains(&p99), "{p99}");
        assert_eq!(minute.canary.p99, None);
        let mut pollers = Pollers::new(vec![Polled::new(Poll::Argo { limit: 0 }, Query::Errors)]);
        pollers.see(&minute);
        assert!(pollers.are_done());
        assert_eq!(pollers.ended[0], Some([minute.canary.requests; 2]));
    }
}
