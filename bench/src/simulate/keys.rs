//! Sticky users: few have most of the traffic, fail in bursts, or always fail.

use haldane_decide::{
    role::Role,
    split::{Salt, SplitKey},
    weight::Weight,
};

use super::random::Random;

/// The users of one rollout, split as haldane splits them.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    /// How much traffic users up to this one have, as a share.
    shares: Vec<f64>,
    keys: Vec<SplitKey>,
    weight: Weight,
    canary_share: f64,
    bursts: Vec<Burst>,
    bad: Vec<usize>,
}

/// A user's requests fail for a while.
#[derive(Clone, Copy, Debug)]
struct Burst {
    user: usize,
    seconds_left: f64,
}

impl Users {
    /// Splits users of Zipf's distribution, exponent 1, under a salt of their own.
    pub(crate) fn new(weight: Weight, random: &mut Random) -> Self {
        let salt = Salt::from_bits(u128::from(random.bits()) << 64 | u128::from(random.bits()));
        let total: f64 = (1..=USERS).map(|rank| 1.0 / rank as f64).sum();
        let (mut shares, mut keys) = (Vec::with_capacity(USERS), Vec::with_capacity(USERS));
        let (mut sum, mut canary_share) = (0.0, 0.0);
        for rank in 1..=USERS {
            let share = 1.0 / rank as f64 / total;
            sum += share;
            shares.push(sum);
            let key = salt.split_key(&rank.to_le_bytes());
            canary_share += if key.role(weight) == Role::Canary {
                share
            } else {
                0.0
            };
            keys.push(key);
        }
        let mut users = Self {
            shares,
            keys,
            weight,
            canary_share,
            bursts: Vec::new(),
            bad: Vec::new(),
        };
        users.bad = (0..BAD_USERS).map(|_| users.by_traffic(random)).collect();
        users
    }

    /// How much of the traffic is the canary's: far from the weight if a heavy user is.
    pub(crate) fn canary_share(&self) -> f64 {
        self.canary_share
    }

    /// What a user is split on.
    pub(crate) fn key(&self, user: usize) -> SplitKey {
        self.keys[user]
    }

    /// Where a user is sent.
    pub(crate) fn role(&self, user: usize) -> Role {
        self.keys[user].role(self.weight)
    }

    /// The users whose requests fail in this second, one entry for each of them, in
    /// random order: by chance, in a burst, or because they always do.
    pub(crate) fn failures(&mut self, rate: f64, failing: f64, random: &mut Random) -> Vec<usize> {
        let by_chance = random.poisson(rate * failing);
        let mut failures: Vec<usize> = (0..by_chance).map(|_| self.by_traffic(random)).collect();
        if random.chance(BURSTS_PER_SECOND) {
            let burst = Burst {
                user: self.by_traffic(random),
                seconds_left: BURST_SECONDS * random.exponential(),
            };
            self.bursts.push(burst);
        }
        let bursts = self.bursts.iter().map(|burst| burst.user);
        for user in bursts.chain(self.bad.iter().copied()) {
            let count = random.poisson(rate * self.share(user) * BURST_FAILING);
            failures.extend(std::iter::repeat_n(user, count as usize));
        }
        for burst in &mut self.bursts {
            burst.seconds_left -= 1.0;
        }
        self.bursts.retain(|burst| burst.seconds_left > 0.0);
        for last in (1..failures.len()).rev() {
            failures.swap(last, (random.bits() % (last as u64 + 1)) as usize);
        }
        failures
    }

    fn share(&self, user: usize) -> f64 {
        let before = user
            .checked_sub(1)
            .map_or(0.0, |before| self.shares[before]);
        self.shares[user] - before
    }

    fn by_traffic(&self, random: &mut Random) -> usize {
        let at = random.uniform();
        self.shares.partition_point(|&sum| sum < at).min(USERS - 1)
    }
}

/// As many as in the reference.
const USERS: usize = 20_000;

/// Users whose requests fail from long before the rollout on.
const BAD_USERS: usize = 5;

/// One burst begins every twenty seconds; who has more traffic has more of them.
const BURSTS_PER_SECOND: f64 = 0.05;

/// How long a burst takes on average.
const BURST_SECONDS: f64 = 10.0;

/// The share of a user's requests that fail in a burst, and of bad users' at any time.
const BURST_FAILING: f64 = 0.3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::service::percent;

    #[test]
    fn heavy_users_have_most_of_the_traffic() {
        let mut random = Random::new(1, "users", 0);
        let users = Users::new(percent(5), &mut random);
        assert!((0.08..0.1).contains(&users.share(0)), "{}", users.share(0));
        assert!((users.shares[USERS - 1] - 1.0).abs() < 1e-9);
        assert!((0.01..0.3).contains(&users.canary_share()));
        let canary = (0..USERS)
            .filter(|user| users.role(*user) == Role::Canary)
            .count();
        assert!((850..1150).contains(&canary), "{canary}");
    }

    #[test]
    fn failures_come_in_bursts() {
        let mut random = Random::new(1, "bursts", 0);
        let mut users = Users::new(percent(5), &mut random);
        let seconds: Vec<usize> = (0..500)
            .map(|_| users.failures(1000.0, 0.001, &mut random).len())
            .collect();
        let mean = seconds.iter().sum::<usize>() as f64 / 500.0;
        let variance = seconds
            .iter()
            .map(|n| (*n as f64 - mean).powi(2))
            .sum::<f64>()
            / 500.0;
        // Independent failures would have a variance as large as their mean.
        assert!(variance > 2.0 * mean, "{variance} {mean}");
    }
}
