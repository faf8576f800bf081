//! The same requests as many rollouts of a canary that is no other than stable.
//!
//! Every user is given to a version at random, under many salts, so whatever is rolled back
//! is rolled back by mistake. That is how often the promise is kept with one's own traffic.

use std::collections::BTreeMap;
use std::io::BufRead;

use haldane_decide::feed::{Feed, Row};
use haldane_decide::gate::spec::GateName;
use haldane_decide::release::ReleaseSpec;
use haldane_decide::role::Role;
use haldane_decide::split::Salt;

use super::judge::Begin;
use super::rows::{BadRow, Record, Rows};

/// How many rollouts there were, and what became of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rollouts {
    pub(super) rollouts: u32,
    pub(super) rolled_back: u32,
    /// By which gates, and how many.
    pub(super) by_gate: BTreeMap<GateName, u32>,
    /// The chance that is promised at most.
    pub(super) bound: f64,
    pub(super) rows: u64,
}

/// Rows that are read before they are fed.
const CHUNK_ROWS: usize = 8192;

/// Feeds all rows to all rollouts.
pub(super) fn count<R: BufRead>(
    rows: &mut Rows<R>,
    spec: &ReleaseSpec,
    mut begin: Begin,
    rollouts: u32,
) -> Result<Rollouts, BadRow> {
    let rollout = |salt: u32| Rollout {
        salt: Salt::from_bits(u128::from(salt) + 1),
        feed: Feed::new(spec.clone(), begin.first()),
    };
    let mut all: Vec<Rollout> = (0..rollouts).map(rollout).collect();
    let mut chunk = Vec::with_capacity(CHUNK_ROWS);
    let mut count = 0;
    loop {
        let record = rows.next()?;
        let is_end = record.is_none();
        if let Some(record) = record {
            count = record.row;
            if let Some(start) = begin.next(&record) {
                feed(&mut all, &chunk);
                chunk.clear();
                all.iter_mut()
                    .for_each(|rollout| rollout.feed.begin_at(start));
            }
            chunk.push(record);
        }
        if is_end || chunk.len() == CHUNK_ROWS {
            feed(&mut all, &chunk);
            chunk.clear();
        }
        if is_end {
            break;
        }
    }
    let mut by_gate = BTreeMap::new();
    for decision in all.iter().filter_map(|rollout| rollout.feed.decision()) {
        *by_gate.entry(decision.breach.gate.clone()).or_default() += 1;
    }
    Ok(Rollouts {
        rollouts,
        rolled_back: by_gate.values().sum(),
        by_gate,
        bound: spec.promise.false_rollback,
        rows: count,
    })
}

struct Rollout {
    salt: Salt,
    feed: Feed,
}

/// On two threads, as replaying is not all that a machine has to do.
fn feed(rollouts: &mut [Rollout], records: &[Record]) {
    if records.is_empty() {
        return;
    }
    let (some, others) = rollouts.split_at_mut(rollouts.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| some.iter_mut().for_each(|rollout| rollout.feed(records)));
        others.iter_mut().for_each(|rollout| rollout.feed(records));
    });
}

impl Rollout {
    fn feed(&mut self, records: &[Record]) {
        if self.feed.decision().is_some() {
            return;
        }
        for record in records {
            if self.feed.row(&self.assign(record)).is_some() {
                return;
            }
        }
    }

    /// The row as it would have been under this salt: by its key, or by itself.
    fn assign(&self, record: &Record) -> Row {
        let mut row = record.row();
        let bits = record.key.unwrap_or(record.row);
        let position = self.salt.split_key(&bits.to_le_bytes());
        row.key = record.key.map(|_| position.to_bits());
        row.role = position.role(record.weight);
        if record.weight.is_zero() {
            row.role = Role::Stable;
        }
        row
    }
}

/// How sure an interval is, and a claim that there were too many.
const ERROR: f64 = 0.05;

impl Rollouts {
    pub(super) fn rate(&self) -> f64 {
        f64::from(self.rolled_back) / f64::from(self.rollouts)
    }

    /// Where the true rate lies with a confidence of 95 %, whatever it is (Clopper, Pearson:
    /// "The use of confidence or fiducial limits illustrated in the case of the binomial",
    /// 1934).
    pub(super) fn interval(&self) -> (f64, f64) {
        let (count, all) = (self.rolled_back, self.rollouts);
        let low = if count == 0 {
            0.0
        } else {
            // Where so many or more are too many.
            bisect(|rate| 1.0 - at_most(count - 1, all, rate) < ERROR / 2.0)
        };
        let high = if count == all {
            1.0
        } else {
            bisect(|rate| at_most(count, all, rate) > ERROR / 2.0)
        };
        (low, high)
    }

    /// Whether more were rolled back than chance explains.
    pub(super) fn is_too_many(&self) -> bool {
        self.interval().0 > self.bound
    }
}

/// The rate up to which it holds.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The chance of at most `count` of `all` at this rate.
fn at_most(count: u32, all: u32, rate: f64) -> f64 {
    let odds = rate.ln() - (-rate).ln_1p();
    let mut log = f64::from(all) * (-rate).ln_1p();
    let mut sum = log.exp();
    for index in 0..count {
        log += (f64::from(all - index) / f64::from(index + 1)).ln() + odds;
        sum += log.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollouts(rolled_back: u32, rollouts: u32) -> Rollouts {
        Rollouts {
            rollouts,
            rolled_back,
            by_gate: BTreeMap::new(),
            bound: 0.001,
            rows: 0,
        }
    }

    #[test]
    fn intervals_are_those_of_clopper_and_pearson() {
        for (count, all, low, high) in [
            (0, 200, 0.0, 0.018_275),
            (1, 200, 0.000_126_6, 0.027_54),
            (2, 200, 0.001_213, 0.035_66),
            (10, 200, 0.024_24, 0.090_03),
            (200, 200, 0.981_725, 1.0),
            (0, 1, 0.0, 0.975),
        ] {
            let found = rollouts(count, all).interval();
            assert!((found.0 - low).abs() < 1e-5, "{count} of {all}: {found:?}");
            assert!((found.1 - high).abs() < 1e-5, "{count} of {all}: {found:?}");
        }
    }

    #[test]
    fn a_few_false_rollbacks_are_chance_and_more_are_not() {
        assert!(!rollouts(0, 200).is_too_many());
        assert!(!rollouts(1, 200).is_too_many());
        assert!(rollouts(2, 200).is_too_many());
        assert!(!rollouts(15, 10_000).is_too_many());
        assert!(rollouts(20, 10_000).is_too_many());
    }
}
