//! Do the gates trip? Synthetic failures against a shadow copy of them.
//!
//! Before a canary gets its first traffic, a copy of its gates is shown a canary that does
//! nothing but fail, beside a stable that answers. Gates that let that pass would let
//! anything pass. Nothing of it is evidence about the real canary.

use crate::feed::{Decision, Feed, Row};
use crate::gate::spec::{GateRule, GateSpec};
use crate::release::ReleaseSpec;
use crate::role::Role;
use crate::time::Timestamp;
use crate::weight::Weight;

/// A canary that fails more often than this before it is stopped is not stopped.
const FAILURES_MAX: u64 = 10_000;

/// Microseconds between two requests of the service.
const GAP: u64 = 1_000;

/// How long stable's requests take, in microseconds.
const LATENCY: u64 = 10_000;

/// How much longer those of a slow canary do.
const SLOWER: u64 = 50;

/// Requests of stable before the canary has any.
const PRELUDE: u64 = 2_000;

/// Stable requests between two of the canary at most: what is beyond shows nothing new.
const BETWEEN_MAX: u64 = 200;

/// How the canary of a drill fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Every request fails.
    Errors,
    /// Every request takes fifty times as long as stable's.
    Slowness,
}

/// A drill under way.
#[derive(Clone, Debug)]
pub struct Drill {
    feed: Feed,
    fault: Fault,
    weight: Weight,
    /// Requests of stable between two of the canary.
    between: u64,
    requests: u64,
    faults: u64,
}

impl Drill {
    /// The drill that fits these gates, at the first weight of the canary that is not zero.
    /// `None` if no gate is about what the proxy can see, so that nothing can be shown.
    #[must_use]
    pub fn new(spec: &ReleaseSpec) -> Option<Self> {
        let fault = fault_of(&spec.gates)?;
        let mut weights = spec.plan.steps().iter().map(|step| step.weight);
        let first = weights.find(|weight| !weight.is_zero() && *weight != Weight::FULL);
        // At 100 % there is nothing to compare with: the drill is about the gates.
        let half = Weight::from_parts_per_million(Weight::FULL.parts_per_million() / 2);
        let weight = first.or(half)?;
        let share = u64::from(weight.parts_per_million()).max(1);
        let between = u64::from(Weight::FULL.parts_per_million()) / share;
        let start = Timestamp::from_micros(PRELUDE * GAP);
        let mut drill = Self {
            feed: Feed::new(spec.clone(), start),
            fault,
            weight,
            between: between.saturating_sub(1).clamp(1, BETWEEN_MAX),
            requests: 0,
            faults: 0,
        };
        for _ in 0..PRELUDE {
            drill.row(Role::Stable);
        }
        Some(drill)
    }

    /// Requests of stable that answer: those that come between two of the canary.
    pub fn answer(&mut self) {
        for _ in 0..self.between {
            self.row(Role::Stable);
        }
    }

    /// One request of the canary that fails. What was decided, if anything was.
    pub fn fail(&mut self) -> Option<&Decision> {
        self.faults += 1;
        self.row(Role::Canary)
    }

    /// How often the canary has failed.
    #[must_use]
    pub const fn faults(&self) -> u64 {
        self.faults
    }

    /// How it fails.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// Whether the gates have let more pass than anybody may.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.faults >= FAILURES_MAX
    }

    fn row(&mut self, role: Role) -> Option<&Decision> {
        self.requests += 1;
        let (status, latency) = match (role, self.fault) {
            (Role::Stable, _) => (200, LATENCY + self.requests % LATENCY),
            (Role::Canary, Fault::Errors) => (500, LATENCY),
            (Role::Canary, Fault::Slowness) => (200, LATENCY * SLOWER),
        };
        // Each by another user, and all started at most as long ago as the slowest takes.
        let at = Timestamp::from_micros(self.requests * GAP + LATENCY * SLOWER);
        self.feed.row(&Row {
            at,
            latency,
            role,
            status,
            key: Some(self.requests),
            weight: if self.requests <= PRELUDE {
                Weight::ZERO
            } else {
                self.weight
            },
        })
    }
}

/// The fault that some gate rolls back for.
fn fault_of(gates: &[GateSpec]) -> Option<Fault> {
    let stops_errors = |rule: &GateRule| match rule {
        GateRule::ConsecutiveFailures { .. } | GateRule::ErrorRate { .. } | GateRule::NewErrors => {
            true
        }
        GateRule::BurnRate { .. }
        | GateRule::ErrorTrend
        | GateRule::Latency { .. }
        | GateRule::LatencySpike { .. }
        | GateRule::Outside { .. }
        | GateRule::Signal { .. } => false,
    };
    let is_latency = |gate: &GateSpec| matches!(gate.rule, GateRule::Latency { .. });
    if gates.iter().any(|gate| stops_errors(&gate.rule)) {
        Some(Fault::Errors)
    } else {
        gates.iter().any(is_latency).then_some(Fault::Slowness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::spec::{RunLimit, default_gates};
    use crate::plan::{BuiltIn, Plan, Terms};

    fn drill(gates: Vec<GateSpec>, plan: BuiltIn) -> Option<(u64, String)> {
        let spec = ReleaseSpec {
            gates,
            plan: Plan::new(plan.steps(), Terms::default()).unwrap(),
            ..ReleaseSpec::default()
        };
        let mut drill = Drill::new(&spec)?;
        while !drill.has_failed() {
            drill.answer();
            if let Some(decision) = drill.fail() {
                let gate = decision.breach.gate.to_string();
                return Some((drill.faults(), gate));
            }
        }
        Some((drill.faults(), "none".to_owned()))
    }

    #[test]
    fn the_default_gates_trip_in_every_plan() {
        for (name, plan) in BuiltIn::ALL {
            let (faults, gate) = drill(default_gates(), plan).unwrap();
            assert!(faults <= 20, "{name}: {faults}");
            assert!(gate == "errors" || gate == "meltdown", "{name}: {gate}");
        }
    }

    #[test]
    fn latency_gates_trip_on_slowness() {
        let latency = vec![default_gates()[1].clone()];
        let (faults, gate) = drill(latency, BuiltIn::Aggressive).unwrap();
        assert!(faults < 2_000 && gate == "latency", "{faults} {gate}");
    }

    #[test]
    fn gates_that_let_everything_pass_are_found() {
        let gate = |rule| GateSpec {
            name: "gate".into(),
            rule,
        };
        let limit = RunLimit::Count(1_000_000);
        let lax = vec![gate(GateRule::ConsecutiveFailures { limit })];
        let (faults, gate_name) = drill(lax, BuiltIn::Standard).unwrap();
        assert_eq!((faults, &*gate_name), (FAILURES_MAX, "none"));
        // What the proxy cannot see cannot be shown.
        assert_eq!(
            drill(vec![gate(GateRule::ErrorTrend)], BuiltIn::Standard),
            None
        );
    }
}
