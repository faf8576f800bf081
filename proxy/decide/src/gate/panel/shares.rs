//! How the promise is shared out over the gates that there are.

use super::super::spec::{GateRule, GateSpec};
use super::rate_limits_of;

/// Parts as chosen in the simulations: most is on failures, whose users notice first.
const ERRORS: f64 = 0.45;
const CLASSES: f64 = 0.10;
const HARD: f64 = 0.05;
const LATENCY: f64 = 0.40;
/// Taken from that of failures, for all signals together.
const SIGNALS: f64 = 0.15;

/// The parts of the promise; their sum, each latency gate and signal counted, is one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Shares {
    /// Failures of distinct users.
    pub(crate) errors: f64,
    /// Kinds of errors.
    pub(crate) classes: f64,
    /// All failures, by blocks.
    pub(crate) hard: f64,
    /// Each latency gate.
    pub(crate) latency: f64,
    /// Each signal gate.
    pub(crate) signal: f64,
}

impl Shares {
    /// The parts for these gates.
    pub(crate) fn of(specs: &[GateSpec]) -> Self {
        let count = |is: fn(&GateRule) -> bool| {
            let number = specs.iter().filter(|spec| is(&spec.rule)).count();
            u32::try_from(number).map_or(f64::MAX, f64::from)
        };
        let mut limits = specs.iter().flat_map(|spec| rate_limits_of(&spec.rule));
        let has_hard = limits.any(|limit| limit.hard);
        let error_gates =
            count(|rule| matches!(rule, GateRule::ErrorRate { .. } | GateRule::BurnRate { .. }));
        let class_gates = error_gates + count(|rule| matches!(rule, GateRule::NewErrors));
        let latencies = count(|rule| matches!(rule, GateRule::Latency { .. }));
        let signals = count(|rule| matches!(rule, GateRule::Signal { .. }));

        let part = |is_there: bool, part: f64| if is_there { part } else { 0.0 };
        let of_signals = part(signals > 0.0, SIGNALS);
        let errors = part(error_gates > 0.0, ERRORS - of_signals);
        let classes = part(class_gates > 0.0, CLASSES);
        let hard = part(has_hard, HARD);
        let latency = part(latencies > 0.0, LATENCY);
        let sum = errors + classes + hard + latency + of_signals;
        let scaled = |part: f64| if sum > 0.0 { part / sum } else { 0.0 };
        Self {
            errors: scaled(errors),
            classes: scaled(classes),
            hard: scaled(hard),
            latency: scaled(latency) / latencies.max(1.0),
            signal: scaled(of_signals) / signals.max(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::spec::{RunLimit, default_gates};
    use super::*;

    #[test]
    fn the_parts_are_a_whole_whatever_there_is() {
        let defaults = Shares::of(&default_gates());
        assert!((defaults.errors - ERRORS).abs() < 1e-12);
        assert!((defaults.latency - LATENCY).abs() < 1e-12);
        let gate = |rule: &GateRule| GateSpec {
            name: "g".into(),
            rule: rule.clone(),
        };
        let signal = GateRule::Signal {
            signal: "orders".into(),
            rollback: None,
            advance: Some(0.01),
        };
        let defaults = default_gates();
        let latency = defaults[1].rule.clone();
        for rules in [
            vec![latency.clone()],
            vec![latency.clone(), latency],
            vec![signal.clone(), signal.clone()],
            vec![defaults[0].rule.clone(), signal],
            vec![GateRule::NewErrors],
            vec![GateRule::BurnRate { objective: 0.999 }],
        ] {
            let specs: Vec<GateSpec> = rules.iter().map(gate).collect();
            let shares = Shares::of(&specs);
            let count = |is: fn(&GateRule) -> bool| {
                f64::from(u32::try_from(rules.iter().filter(|rule| is(rule)).count()).unwrap())
            };
            let sum = shares.errors
                + shares.classes
                + shares.hard
                + shares.latency * count(|rule| matches!(rule, GateRule::Latency { .. }))
                + shares.signal * count(|rule| matches!(rule, GateRule::Signal { .. }));
            assert!((sum - 1.0).abs() < 1e-12, "{rules:?}: {sum}");
        }
        let run = GateRule::ConsecutiveFailures {
            limit: RunLimit::Count(10),
        };
        assert_eq!(Shares::of(&[gate(&run)]), Shares::default());
    }
}
