//! How much suspicion is put on each moment at which the canary may have changed.
//!
//! A bet that has watched a healthy canary for half an hour has lost its capital and
//! is asleep. So capital is put in bit by bit: half at the start, where most faults
//! are, a fifth over the planned raises of the weight, a quarter evenly over the planned
//! time, and the rest over all time after that. The sum is at most one for ever, hence
//! the bound on false rollbacks holds for the whole rollout. A fault that begins late
//! costs `ln(1/mass)` more evidence: about three failures more at a weight of 5 %.

use super::tape::kept;

/// Put in when the rollout begins.
const START: f64 = 0.5;
/// Put in over the planned raises.
const STEPS: f64 = 0.2;
/// Put in over the planned time.
const TICKS: f64 = 0.25;
/// Put in over all time: in the k-th tick, a telescoping part of it.
const TAIL: f64 = 0.05;

/// Says how much capital to put in, and when.
#[derive(Clone, Debug)]
pub struct RestartMass {
    step: f64,
    steps_left: u32,
    tick: f64,
    ticks_planned: u64,
    ticks: u64,
    released: f64,
}

impl RestartMass {
    /// For a rollout with so many raises and so many ticks.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rollout has less than 2^52 ticks"
    )]
    pub fn new(steps: u32, ticks: u64) -> Self {
        Self {
            step: STEPS / f64::from(steps.max(1)),
            steps_left: steps.max(1),
            tick: TICKS / ticks.max(1) as f64,
            ticks_planned: ticks.max(1),
            ticks: 0,
            released: 0.0,
        }
    }

    /// The rollout begins.
    pub fn on_start(&mut self) -> f64 {
        self.note(START)
    }

    /// The weight changes; nothing for changes that were not planned.
    pub fn on_step(&mut self) -> f64 {
        if self.steps_left == 0 {
            return 0.0;
        }
        self.steps_left -= 1;
        self.note(self.step)
    }

    /// Another tick has passed.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rollout has less than 2^52 ticks"
    )]
    pub fn on_tick(&mut self) -> f64 {
        let index = self.ticks as f64;
        let is_planned = self.ticks < self.ticks_planned;
        self.ticks = self.ticks.saturating_add(1);
        let tail = TAIL * (1.0 / (index + 2.0).log2() - 1.0 / (index + 3.0).log2());
        self.note(if is_planned { tail + self.tick } else { tail })
    }

    /// What was put in so far.
    #[must_use]
    pub const fn released(&self) -> f64 {
        self.released
    }

    fn note(&mut self, mass: f64) -> f64 {
        self.released += mass;
        mass
    }
}

kept!(RestartMass {
    steps_left,
    ticks,
    released,
} without {
    step,
    tick,
    ticks_planned,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_one_is_ever_put_in() {
        for (steps, ticks) in [(0, 0), (1, 1), (4, 180), (1000, 8640)] {
            let mut mass = RestartMass::new(steps, ticks);
            let mut sum = mass.on_start();
            for _ in 0..2 * steps + 3 {
                sum += mass.on_step();
            }
            for _ in 0..100_000 {
                let tick = mass.on_tick();
                assert!(tick >= 0.0);
                sum += tick;
            }
            assert!(sum <= 1.0 + 1e-12, "{steps} {ticks}: {sum}");
            assert!((sum - mass.released()).abs() < 1e-9);
        }
    }
}
