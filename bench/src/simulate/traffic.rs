//! Requests second by second: every failure on its own, successes in bulk.
//!
//! Each request goes to the canary with the probability of the weight and fails with that of
//! its version, independently. What lies between two failures is drawn as one number, which
//! has the same distribution: a geometric number of requests, a binomial part of them the
//! canary's. Sticky users are the exception: see [`Second::draw_by_users`].

use haldane_decide::{role::Role, split::SplitKey, weight::Weight};

use super::{keys::Users, random::Random};

/// One request that failed, with what went well before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedRequest {
    /// Which version had it.
    pub(crate) role: Role,
    /// Whose it was, if users are told apart.
    pub(crate) user: Option<SplitKey>,
    /// Successes since the failure before, by role.
    pub(crate) successes: [u64; 2],
    /// When, as a part of the second.
    pub(crate) at: f64,
}

/// One second of traffic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Second {
    /// In their order.
    pub(crate) failed: Vec<FailedRequest>,
    /// Successes since the last failure, by role.
    pub(crate) rest: [u64; 2],
}

/// What a second is drawn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests per second on average.
    pub(crate) rate: f64,
    /// The canary's share.
    pub(crate) weight: Weight,
    /// How likely a request fails, by role.
    pub(crate) failing: [f64; 2],
}

impl Second {
    /// Successes of the whole second, by role.
    pub(crate) fn successes(&self) -> [u64; 2] {
        self.failed.iter().fold(self.rest, |sum, failed| {
            [sum[0] + failed.successes[0], sum[1] + failed.successes[1]]
        })
    }

    /// Failures of the whole second, by role.
    pub(crate) fn failures(&self) -> [u64; 2] {
        Role::ALL.map(|role| {
            self.failed
                .iter()
                .filter(|failed| failed.role == role)
                .count() as u64
        })
    }

    /// Draws a second in which each request is split on its own.
    pub(crate) fn draw(&mut self, load: &Load, random: &mut Random) {
        self.failed.clear();
        let total = random.poisson(load.rate);
        let canary = load.weight.as_ratio();
        let shares = [1.0 - canary, canary];
        let weigh = |part: [f64; 2]| shares[0] * part[0] + shares[1] * part[1];
        let failing = weigh(load.failing);
        let canary_of_failed = shares[1] * load.failing[1] / failing;
        let canary_of_good = shares[1] * (1.0 - load.failing[1]) / (1.0 - failing);
        let mut seen = 0;
        loop {
            let gap = random.gap(failing).min(total - seen);
            let canary = random.binomial(gap, canary_of_good);
            let successes = [gap - canary, canary];
            seen += gap;
            if seen == total {
                self.rest = successes;
                return;
            }
            let role = if random.chance(canary_of_failed) {
                Role::Canary
            } else {
                Role::Stable
            };
            self.failed.push(FailedRequest {
                role,
                user: None,
                successes,
                at: seen as f64 / total as f64,
            });
            seen += 1;
        }
    }

    /// Draws a second in which each user stays with a version. Each version's number of
    /// requests is a Poisson number for its users' share; successes fall between failures at
    /// random.
    pub(crate) fn draw_by_users(
        &mut self,
        (rate, failing): (f64, f64),
        users: &mut Users,
        random: &mut Random,
    ) {
        self.failed.clear();
        let failures = users.failures(rate, failing, random);
        let share = users.canary_share();
        let mut left = [1.0 - share, share].map(|share| random.poisson(rate * share));
        let parts = failures.len() + 1;
        for (index, &user) in failures.iter().enumerate() {
            let part = 1.0 / (parts - index) as f64;
            let successes = left.map(|left| random.binomial(left, part));
            left = [left[0] - successes[0], left[1] - successes[1]];
            self.failed.push(FailedRequest {
                role: users.role(user),
                user: Some(users.key(user)),
                successes,
                at: (index as f64 + 0.5) / parts as f64,
            });
        }
        self.rest = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::service::percent;

    fn sums(load: &Load, seconds: u32) -> ([f64; 2], [f64; 2]) {
        let (mut random, mut second) = (Random::new(9, "traffic", 0), Second::default());
        let (mut good, mut failed) = ([0.0; 2], [0.0; 2]);
        for _ in 0..seconds {
            second.draw(load, &mut random);
            for role in 0..2 {
                good[role] += second.successes()[role] as f64 / f64::from(seconds);
                failed[role] += second.failures()[role] as f64 / f64::from(seconds);
            }
        }
        (good, failed)
    }

    #[test]
    fn bulk_has_the_means_of_single_requests() {
        for failing in [[0.001, 0.05], [0.3, 0.3], [0.0, 1.0], [0.0, 0.0]] {
            let load = Load {
                rate: 1000.0,
                weight: percent(5),
                failing,
            };
            let (good, failed) = sums(&load, 400);
            for (role, rate) in [950.0, 50.0].into_iter().enumerate() {
                let expected = rate * failing[role];
                assert!((failed[role] - expected).abs() <= 5.0 * (expected / 400.0).sqrt());
                let expected = rate - expected;
                assert!((good[role] - expected).abs() <= 5.0 * (expected / 400.0).sqrt());
            }
        }
    }

    #[test]
    fn a_canary_that_always_fails_has_no_success_between() {
        let (mut random, mut second) = (Random::new(9, "total", 0), Second::default());
        let load = Load {
            rate: 1000.0,
            weight: percent(5),
            failing: [0.0, 1.0],
        };
        second.draw(&load, &mut random);
        assert!(
            second
                .failed
                .iter()
                .all(|failed| failed.role == Role::Canary)
        );
        assert_eq!(second.successes()[1], 0);
    }

    #[test]
    fn users_stay_with_their_version() {
        let mut random = Random::new(4, "sticky", 0);
        let (mut users, mut second) = (Users::new(percent(5), &mut random), Second::default());
        for _ in 0..200 {
            second.draw_by_users((1000.0, 0.01), &mut users, &mut random);
            for failed in &second.failed {
                assert_eq!(
                    failed.user.map(|user| user.role(percent(5))),
                    Some(failed.role)
                );
            }
            let successes: u64 = second.successes().iter().sum();
            assert!((800..1200).contains(&successes), "{successes}");
        }
    }
}
