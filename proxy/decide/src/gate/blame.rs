//! Is something wrong with both versions?
//!
//! Each version is compared with how often stable usually fails, once a second. That says
//! nothing about who is to blame, but if it holds of both, the fault is shared: then
//! nothing is rolled back for it, and nothing advances either.
//!
//! ## Why stable must have succeeded before a rollback
//!
//! When something that both need is down, a canary that gives up after one second fails
//! long before a stable that waits for thirty: for that time only the canary is seen to
//! fail. So evidence acts when stable has answered requests that began after the first
//! failure of the canary: twenty, or if fewer were to be expected, a part of those.

use super::bet::{CeilingBet, float};
use super::numbers::upper;
use super::tape::kept;
use crate::role::Role;
use crate::tally::Tally;
use crate::weight::Weight;

/// Evidence of this much says that a version is degraded.
const DEGRADED_FROM: f64 = 100.0;
/// More is not kept, so that the fault is over soon after it is over.
const EVIDENCE_MAX: f64 = 1e4;
/// How much more often than usual is no degradation.
const TOLERANCE: f64 = 0.005;
/// Stable's usual rate is the upper end of an interval with this error.
const RATE_ERROR: f64 = 0.001;
/// What stable's usual rate is taken from, at least.
const REQUESTS_MIN: f64 = 100.0;
/// A request of so many blocks ago counts half.
const HALF_LIFE_BLOCKS: f64 = 300.0;
/// How many blocks go by between two looks before the rollout.
const LEARNED_BLOCKS: f64 = 10.0;
/// How long it takes until a fault has come to light.
const LAG_BLOCKS: usize = 5;
/// Capital that is put in with each block.
const MASS: f64 = 0.01;

/// Enough successes of stable, however many were to be expected.
const STABLE_ENOUGH: f64 = 20.0;
/// Otherwise this part of those that were.
const STABLE_PART: f64 = 0.25;

/// Whether each version fails more often than stable usually does.
#[derive(Clone, Debug)]
pub(super) struct Degradation {
    bets: [CeilingBet; 2],
    block_start: Tally,
    /// Stable's failures and requests as long as it was not degraded; old ones count less.
    usual: (f64, f64),
    /// The last blocks, oldest first: they are usual if no fault comes to light meanwhile.
    /// A fault that was usual from its first second on would never be one.
    recent: [(f64, f64); LAG_BLOCKS],
}

impl Default for Degradation {
    fn default() -> Self {
        Self {
            bets: [CeilingBet::new(1.0), CeilingBet::new(1.0)],
            block_start: Tally::default(),
            usual: (0.0, 0.0),
            recent: [(0.0, 0.0); LAG_BLOCKS],
        }
    }
}

impl Degradation {
    /// What `tally` counts already is not looked at.
    pub(super) fn new(tally: &Tally) -> Self {
        Self {
            block_start: *tally,
            ..Self::default()
        }
    }

    /// What stable has done since the last call, before the rollout, is usual.
    pub(super) fn learn(&mut self, tally: &Tally) {
        let counted = tally.since(&self.block_start);
        self.block_start = *tally;
        let stable = counted.of(Role::Stable);
        let (failures, requests) = self.usual;
        let keep = 0.5_f64.powf(LEARNED_BLOCKS / HALF_LIFE_BLOCKS);
        self.usual = (
            failures * keep + float(stable.failures),
            requests * keep + float(stable.requests()),
        );
    }

    /// Takes over what is known of the same stable.
    pub(super) const fn inherit(&mut self, other: &Self) {
        self.usual = other.usual;
    }

    /// A second is over.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, and counts are positive"
    )]
    pub(super) fn close(&mut self, tally: &Tally) {
        let counted = tally.since(&self.block_start);
        self.block_start = *tally;
        let (failures, requests) = self.usual;
        if requests >= REQUESTS_MIN {
            let usual = upper(failures as u64, requests as u64, RATE_ERROR);
            for role in Role::ALL {
                let bet = &mut self.bets[role.index()];
                bet.set_rate_max(usual + TOLERANCE);
                bet.release(MASS);
                let counts = counted.of(role);
                bet.close(counts.failures, counts.requests(), EVIDENCE_MAX);
            }
        }
        if self.is_degraded(Role::Stable) {
            self.recent = [(0.0, 0.0); LAG_BLOCKS];
        } else {
            let stable = counted.of(Role::Stable);
            self.recent.rotate_left(1);
            let newest = (float(stable.failures), float(stable.requests()));
            let oldest = std::mem::replace(&mut self.recent[LAG_BLOCKS - 1], newest);
            let keep = 0.5_f64.powf(1.0 / HALF_LIFE_BLOCKS);
            self.usual = (failures * keep + oldest.0, requests * keep + oldest.1);
        }
    }

    /// Whether a version fails more often than stable usually does.
    pub(super) fn is_degraded(&self, role: Role) -> bool {
        self.bets[role.index()].evidence() >= DEGRADED_FROM
    }

    /// Whether both do.
    pub(super) fn is_shared(&self) -> bool {
        Role::ALL.into_iter().all(|role| self.is_degraded(role))
    }

    /// How often stable usually fails at most, once that is known.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, and counts are positive"
    )]
    pub(super) fn usual_rate_max(&self) -> Option<f64> {
        let (failures, requests) = self.usual;
        (requests >= REQUESTS_MIN).then(|| upper(failures as u64, requests as u64, RATE_ERROR))
    }
}

kept!(Degradation {
    bets,
    block_start,
    usual,
    recent,
});

/// Whether stable has answered enough requests since the canary, with so many failures, is
/// suspected.
pub(super) fn is_stable_heard(succeeded: u64, canary_failures: u64, weight: Weight) -> bool {
    if weight == Weight::FULL {
        return true;
    }
    let share = weight.as_ratio();
    let expected = float(canary_failures) * (1.0 - share) / share;
    float(succeeded) >= (STABLE_PART * expected).ceil().clamp(1.0, STABLE_ENOUGH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(
        degradation: &mut Degradation,
        tally: &mut Tally,
        count: u64,
        per_thousand: [u64; 2],
    ) {
        for _ in 0..count {
            for role in Role::ALL {
                let requests = if role == Role::Stable { 950 } else { 50 };
                let failures = requests * per_thousand[role.index()] / 1000;
                tally.of_mut(role).failures += failures;
                tally.of_mut(role).successes += requests - failures;
            }
            degradation.close(tally);
        }
    }

    #[test]
    fn a_fault_is_shared_if_both_have_it_and_over_when_it_is_over() {
        let (mut degradation, mut tally) = (Degradation::default(), Tally::default());
        let canary_alone = if Role::Canary.index() == 1 {
            [0, 300]
        } else {
            [300, 0]
        };
        seconds(&mut degradation, &mut tally, 60, [0, 0]);
        seconds(&mut degradation, &mut tally, 10, canary_alone);
        assert!(degradation.is_degraded(Role::Canary) && !degradation.is_shared());
        seconds(&mut degradation, &mut tally, 10, [300, 300]);
        assert!(degradation.is_shared());
        seconds(&mut degradation, &mut tally, 60, [0, 0]);
        assert!(!degradation.is_degraded(Role::Stable));
        assert!(!degradation.is_degraded(Role::Canary));
    }

    #[test]
    fn a_fault_is_no_habit_however_soon_it_comes() {
        let (mut degradation, mut tally) = (Degradation::default(), Tally::default());
        seconds(&mut degradation, &mut tally, 7, [0, 0]);
        let mut early = Degradation::new(&Tally::default());
        early.learn(&tally);
        for mut degradation in [degradation, early] {
            let mut tally = tally;
            seconds(&mut degradation, &mut tally, 1, [500, 500]);
            seconds(&mut degradation, &mut tally, 4, [1000, 1000]);
            assert!(degradation.is_shared());
        }
    }

    #[test]
    fn a_quiet_stable_is_waited_for_as_long_as_it_could_have_answered() {
        let weight = |text: &str| text.parse::<Weight>().unwrap();
        for (weight, failures, enough) in [
            (weight("5%"), 4, 19),
            (weight("5%"), 50, 20),
            (weight("50%"), 14, 4),
            (weight("90%"), 33, 1),
        ] {
            assert!(is_stable_heard(enough, failures, weight), "{weight}");
            assert!(!is_stable_heard(enough - 1, failures, weight), "{weight}");
        }
        assert!(is_stable_heard(0, 4, Weight::FULL));
    }
}
