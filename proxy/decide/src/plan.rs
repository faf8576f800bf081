//! Steps and holds: a plan that cannot be malformed.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::weight::Weight;

/// How a canary is to get its traffic. Without steps it has one weight, until somebody
/// gives it another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    steps: Vec<Step>,
    /// What holds for all of them.
    pub terms: Terms,
}

/// What holds for all steps of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// What ends a step whose hold is over.
    pub advance: Advance,
    /// What a breach does.
    pub on_breach: OnBreach,
    /// How long the canary is still judged once it has all traffic.
    pub watch: Duration,
    /// How long a step may wait for evidence after its hold; then the rollout pauses.
    pub max_hold: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            advance: Advance::default(),
            on_breach: OnBreach::default(),
            watch: DAY,
            max_hold: FOUR_HOURS,
        }
    }
}

/// One step of a plan: give the canary a weight and hold it there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The canary's share.
    pub weight: Weight,
    /// How long it stays there at least.
    pub hold: Hold,
}

/// How long a step lasts at least.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hold {
    /// At least this long, and for so many requests of the canary; then until every gate
    /// passes.
    For {
        /// How long.
        time: Duration,
        /// How many.
        requests: u64,
    },
    /// Until a person promotes.
    UntilPromoted,
}

/// What ends a step whose hold is over.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Advance {
    /// Every gate passes.
    #[default]
    Auto,
    /// A person promotes.
    Manual,
}

/// What a breach does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBreach {
    /// Nothing but being told: the weight stays, and nothing advances.
    Observe,
    /// The rollout stops where it is.
    Pause,
    /// The canary loses its traffic.
    #[default]
    Rollback,
}

/// A plan that comes with haldane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BuiltIn {
    /// 1 → 5 → 25 → 50 → 100 %, half an hour each.
    Aggressive,
    /// Dark until promoted, then everything at once.
    Switch,
    /// 0.1 → 1 → 5 → 10 → 25 → 50 → 100 %, four hours each.
    Conservative,
    /// 2 → 10 → 50 → 100 %, one to two days each.
    Standard,
}

impl BuiltIn {
    /// All of them, by the name in the configuration.
    pub const ALL: [(&'static str, Self); 4] = [
        ("standard", Self::Standard),
        ("conservative", Self::Conservative),
        ("aggressive", Self::Aggressive),
        ("blue-green", Self::Switch),
    ];

    /// Its steps.
    #[must_use]
    pub fn steps(self) -> Vec<Step> {
        let held: &[(u32, Duration)] = match self {
            Self::Aggressive => &[
                (10_000, HALF_HOUR),
                (50_000, HALF_HOUR),
                (250_000, HALF_HOUR),
                (500_000, HALF_HOUR),
            ],
            Self::Switch => return vec![Step::DARK, Step::FULL],
            Self::Conservative => &[
                (1000, FOUR_HOURS),
                (10_000, FOUR_HOURS),
                (50_000, FOUR_HOURS),
                (100_000, FOUR_HOURS),
                (250_000, FOUR_HOURS),
                (500_000, FOUR_HOURS),
            ],
            Self::Standard => &[(20_000, DAY), (100_000, TWO_DAYS), (500_000, DAY)],
        };
        let held = held.iter().filter_map(|(parts, time)| {
            Some(Step {
                weight: Weight::from_parts_per_million(*parts)?,
                hold: Hold::For {
                    time: *time,
                    requests: REQUESTS,
                },
            })
        });
        held.chain([Step::FULL]).collect()
    }
}

const HALF_HOUR: Duration = Duration::from_secs(1800);
const FOUR_HOURS: Duration = Duration::from_secs(4 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const TWO_DAYS: Duration = Duration::from_secs(48 * 3600);

/// A step of a plan that comes with haldane sees at least so many requests of the canary.
const REQUESTS: u64 = 500;

/// The shortest time that evidence is spread over.
const HORIZON_MIN: Duration = Duration::from_secs(3600);

impl Step {
    /// No traffic but what asks for the canary by name, until somebody promotes.
    const DARK: Self = Self {
        weight: Weight::ZERO,
        hold: Hold::UntilPromoted,
    };

    /// The last step of every plan.
    pub const FULL: Self = Self {
        weight: Weight::FULL,
        hold: Hold::For {
            time: Duration::ZERO,
            requests: 0,
        },
    };
}

/// Why steps are no plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidPlan {
    /// The last step is not 100 %.
    EndsEarly,
    /// There is no step.
    NoStep,
    /// This step, counted from 0, has no more weight than the one before.
    NotRising(usize),
    /// This step, counted from 0, has no hold, and is not the last.
    WithoutHold(usize),
}

impl fmt::Display for InvalidPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndsEarly => f.write_str("the last step is not 100%"),
            Self::NoStep => f.write_str("there is no step"),
            Self::NotRising(_) => f.write_str("the step has no more weight than the one before"),
            Self::WithoutHold(_) => f.write_str("the step has no hold"),
        }
    }
}

impl Error for InvalidPlan {}

impl Plan {
    /// A canary that has one weight.
    #[must_use]
    pub const fn fixed(terms: Terms) -> Self {
        Self {
            steps: Vec::new(),
            terms,
        }
    }

    /// These steps in their order.
    ///
    /// # Errors
    ///
    /// [`InvalidPlan`] unless weights rise from step to step up to 100 %, and every step
    /// before the last has a hold.
    pub fn new(steps: Vec<Step>, terms: Terms) -> Result<Self, InvalidPlan> {
        let Some((last, before)) = steps.split_last() else {
            return Err(InvalidPlan::NoStep);
        };
        let rises = |pair: &[Step]| pair[0].weight < pair[1].weight;
        if let Some(index) = steps.windows(2).position(|pair| !rises(pair)) {
            return Err(InvalidPlan::NotRising(index + 1));
        }
        if let Some(index) = before.iter().position(|step| step.hold.is_none()) {
            return Err(InvalidPlan::WithoutHold(index));
        }
        if last.weight != Weight::FULL {
            return Err(InvalidPlan::EndsEarly);
        }
        Ok(Self { steps, terms })
    }

    /// The steps in their order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether there is nothing to be walked: the canary has one weight.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.steps.is_empty()
    }

    /// The step with this number, counted from 1.
    #[must_use]
    pub fn step(&self, number: u32) -> Option<&Step> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.steps.get(index)
    }

    /// The weight of a generation that has not begun: none, or without steps the
    /// `configured` one.
    #[must_use]
    pub const fn weight_before(&self, configured: Weight) -> Weight {
        if self.is_fixed() {
            configured
        } else {
            Weight::ZERO
        }
    }

    /// How many steps there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// Whether this is the number of the last step.
    #[must_use]
    pub fn is_last(&self, number: u32) -> bool {
        number > 0 && number == self.count()
    }

    /// The number of the step that a canary with this weight has reached: the last whose
    /// weight is not above; 0 if it is before the first.
    #[must_use]
    pub fn reached(&self, weight: Weight) -> u32 {
        let reached = self.steps.iter().take_while(|step| step.weight <= weight);
        u32::try_from(reached.count()).unwrap_or(u32::MAX)
    }

    /// Over which time the evidence of a rollout is to be spread: how long the plan takes
    /// at least, watching included. What waits for people takes none.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        let times = self.steps.iter().map(|step| step.hold.time());
        let length = times.fold(self.terms.watch, Duration::saturating_add);
        length.max(HORIZON_MIN)
    }
}

impl Hold {
    /// Whether it holds nothing.
    const fn is_none(self) -> bool {
        match self {
            Self::For { time, requests } => time.is_zero() && requests == 0,
            Self::UntilPromoted => false,
        }
    }

    /// How long it is at least.
    const fn time(self) -> Duration {
        match self {
            Self::For { time, .. } => time,
            Self::UntilPromoted => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(weight: &str) -> Step {
        Step {
            weight: weight.parse().unwrap(),
            hold: Hold::For {
                time: Duration::from_secs(1),
                requests: 0,
            },
        }
    }

    #[test]
    fn every_built_in_plan_is_one() {
        for (name, built_in) in BuiltIn::ALL {
            let steps = built_in.steps();
            let plan = Plan::new(steps.clone(), Terms::default());
            assert_eq!(plan.unwrap().steps(), steps, "{name}");
        }
        let weights = |built_in: BuiltIn| {
            let weights = built_in.steps();
            let weights: Vec<_> = weights.iter().map(|step| step.weight.to_string()).collect();
            weights.join(" ")
        };
        assert_eq!(weights(BuiltIn::Standard), "2% 10% 50% 100%");
        assert_eq!(
            weights(BuiltIn::Conservative),
            "0.1% 1% 5% 10% 25% 50% 100%"
        );
        assert_eq!(weights(BuiltIn::Aggressive), "1% 5% 25% 50% 100%");
        assert_eq!(weights(BuiltIn::Switch), "0% 100%");
    }

    #[test]
    fn what_does_not_rise_to_everything_with_holds_is_no_plan() {
        let bare = |weight: &str| Step {
            weight: weight.parse().unwrap(),
            ..Step::FULL
        };
        for (steps, why) in [
            (vec![], InvalidPlan::NoStep),
            (vec![held("5%")], InvalidPlan::EndsEarly),
            (
                vec![held("5%"), held("5%"), Step::FULL],
                InvalidPlan::NotRising(1),
            ),
            (
                vec![held("1%"), held("5%"), held("2%"), Step::FULL],
                InvalidPlan::NotRising(2),
            ),
            (
                vec![held("1%"), bare("5%"), Step::FULL],
                InvalidPlan::WithoutHold(1),
            ),
        ] {
            assert_eq!(Plan::new(steps, Terms::default()), Err(why));
        }
    }

    #[test]
    fn a_weight_has_reached_the_last_step_that_is_not_above_it() {
        let steps = vec![held("1%"), held("5%"), Step::FULL];
        let plan = Plan::new(steps, Terms::default()).unwrap();
        for (weight, reached) in [("0%", 0), ("1%", 1), ("4.9%", 1), ("5%", 2), ("100%", 3)] {
            assert_eq!(plan.reached(weight.parse().unwrap()), reached, "{weight}");
        }
        assert_eq!(plan.step(0), None);
        assert_eq!(plan.step(1).unwrap().weight, "1%".parse().unwrap());
        assert_eq!(plan.step(4), None);
    }
}
