//! What a targeting rule gives those it matches, and under which weights of the route.
//!
//! A rule has a share of its own, and keys lie under it where they lie under the weight: so
//! raising the share only adds keys. It is in force while the weight has reached `from` and
//! not yet `until`; before and after, the weight itself decides. At weight zero no rule is
//! ever in force: a rollback beats them all.
//!
//! [`Rule::new`] only makes rules under which raising the weight takes no key from the
//! canary. So there is one weight from which on the canary has a key, if there is any.

use super::SplitKey;
use crate::weight::Weight;

/// The share of those that a rule matches, and when it holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    share: Weight,
    from: Weight,
    until: Option<Weight>,
}

/// Why there is no such rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidRule {
    /// At weight zero nothing goes to the canary.
    FromZero,
    /// It ends before it begins.
    NeverInForce,
    /// Raising the weight to where it begins would take keys from the canary.
    TakesAtBegin,
    /// Raising the weight to where it ends would take keys from the canary.
    TakesAtEnd,
}

impl Rule {
    /// The weight from which on a rule is in force unless it says otherwise: any.
    pub const FROM_ANY: Weight = match Weight::from_parts_per_million(1) {
        Some(weight) => weight,
        None => Weight::FULL,
    };

    /// A rule that gives the canary this share, while the weight is at least `from` and
    /// below `until`; always from there on without an end.
    ///
    /// # Errors
    ///
    /// If it could never be in force, or would take keys from the canary as the weight
    /// rises.
    pub const fn new(
        share: Weight,
        from: Weight,
        until: Option<Weight>,
    ) -> Result<Self, InvalidRule> {
        if from.is_zero() {
            return Err(InvalidRule::FromZero);
        }
        // The largest weight at which the rule does not hold yet is one part less.
        if share.parts_per_million() + 1 < from.parts_per_million() {
            return Err(InvalidRule::TakesAtBegin);
        }
        if let Some(until) = until {
            if until.parts_per_million() <= from.parts_per_million() {
                return Err(InvalidRule::NeverInForce);
            }
            if until.parts_per_million() < share.parts_per_million() {
                return Err(InvalidRule::TakesAtEnd);
            }
        }
        Ok(Self { share, from, until })
    }

    /// The share of those it matches, while it is in force.
    #[must_use]
    pub const fn share(&self) -> Weight {
        self.share
    }

    /// The weight from which on it is in force.
    #[must_use]
    pub const fn from(&self) -> Weight {
        self.from
    }

    /// The weight from which on it is in force no more, if there is one.
    #[must_use]
    pub const fn until(&self) -> Option<Weight> {
        self.until
    }

    /// Whether it decides under this weight of the route.
    #[must_use]
    pub const fn is_in_force(&self, weight: Weight) -> bool {
        let weight = weight.parts_per_million();
        let is_over = match self.until {
            Some(until) => weight >= until.parts_per_million(),
            None => false,
        };
        weight >= self.from.parts_per_million() && !is_over
    }

    /// The share of those it matches that go to the canary under this weight of the route.
    #[must_use]
    pub const fn share_at(&self, weight: Weight) -> Weight {
        if self.is_in_force(weight) {
            self.share
        } else {
            weight
        }
    }

    /// The smallest weight of the route at which the canary has this key, if there is one.
    #[must_use]
    pub fn first_canary_weight(&self, key: SplitKey) -> Option<Weight> {
        let own = key.first_canary_weight();
        if own <= self.share {
            Some(own.min(self.from))
        } else {
            self.until.map(|until| own.max(until))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::role::Role;

    fn weight(parts_per_million: u32) -> Weight {
        Weight::from_parts_per_million(parts_per_million).unwrap()
    }

    /// Close to each other as often as not, so that their order matters.
    fn weights() -> impl Strategy<Value = u32> {
        prop_oneof![0..=20_u32, 999_980..=1_000_000_u32, 0..=1_000_000_u32]
    }

    fn role(rule: &Rule, key: SplitKey, at: u32) -> Role {
        key.role(rule.share_at(weight(at)))
    }

    proptest! {
        #[test]
        fn raising_the_weight_takes_no_key_from_the_canary(
            (share, from, until) in (weights(), weights(), prop::option::of(weights())),
            (low, high) in (weights(), weights()),
            bits in any::<u64>(),
        ) {
            let Ok(rule) = Rule::new(weight(share), weight(from), until.map(weight)) else {
                return Ok(());
            };
            let key = SplitKey::from_random(bits);
            let (low, high) = (low.min(high), low.max(high));
            if role(&rule, key, low) == Role::Canary {
                prop_assert_eq!(role(&rule, key, high), Role::Canary);
            }
            prop_assert_eq!(role(&rule, key, 0), Role::Stable);
        }

        #[test]
        fn the_canary_has_a_key_from_the_weight_on_that_is_told(
            (share, from, until) in (weights(), weights(), prop::option::of(weights())),
            // Positions near the ends too.
            position in weights(),
        ) {
            let Ok(rule) = Rule::new(weight(share), weight(from), until.map(weight)) else {
                return Ok(());
            };
            let bits = (u128::from(position.min(999_999)) << 64).div_ceil(1_000_000);
            let key = SplitKey::from_random(u64::try_from(bits).unwrap());
            match rule.first_canary_weight(key) {
                Some(first) => {
                    let first = first.parts_per_million();
                    prop_assert_eq!(role(&rule, key, first), Role::Canary);
                    prop_assert_eq!(role(&rule, key, first - 1), Role::Stable);
                }
                None => prop_assert_eq!(role(&rule, key, 1_000_000), Role::Stable),
            }
        }

        #[test]
        fn raising_the_share_only_adds_keys(
            (low, high, at) in (weights(), weights(), weights()),
            bits in any::<u64>(),
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let key = SplitKey::from_random(bits);
            let rules = [low, high].map(|share| Rule::new(weight(share), Rule::FROM_ANY, None));
            let [Ok(low), Ok(high)] = rules else { panic!("any share is one from any weight") };
            if role(&low, key, at) == Role::Canary {
                prop_assert_eq!(role(&high, key, at), Role::Canary);
            }
        }
    }

    #[test]
    fn rules_that_take_keys_away_or_never_hold_are_none() {
        for (share, from, until, reason) in [
            (500, 0, None, Some(InvalidRule::FromZero)),
            (0, 1, None, None),
            (0, 2, None, Some(InvalidRule::TakesAtBegin)),
            (499, 500, None, None),
            (498, 500, None, Some(InvalidRule::TakesAtBegin)),
            (500, 500, Some(500), Some(InvalidRule::NeverInForce)),
            (501, 500, Some(501), None),
            (502, 500, Some(501), Some(InvalidRule::TakesAtEnd)),
        ] {
            let rule = Rule::new(weight(share), weight(from), until.map(weight));
            assert_eq!(rule.err(), reason, "{share} {from} {until:?}");
        }
    }
}
