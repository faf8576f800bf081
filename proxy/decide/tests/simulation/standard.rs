//! The plan that comes with haldane, on compressed time: a healthy canary walks it to its
//! end, one that breaks at any step ends rolled back.

use std::time::Duration;

use haldane_decide::feed::{Feed, Row};
use haldane_decide::gate::spec::{Promise, default_gates};
use haldane_decide::plan::{BuiltIn, Plan, Terms};
use haldane_decide::release::ReleaseSpec;
use haldane_decide::role::Role;
use haldane_decide::rollout::{Notice, PhaseName};
use haldane_decide::split::SplitKey;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use crate::generator::Generator;

const PER_SECOND: u64 = 25;
/// Microseconds of stable alone before the rollout.
const PRELUDE: u64 = 600_000_000;
/// The share of requests that fails on a healthy version.
const HEALTHY: f64 = 0.0003;
/// Longer than the plan takes: 1 + 2 + 1 days, and one of watching.
const LONGEST: Duration = Duration::from_secs(6 * 24 * 3600);

fn spec() -> ReleaseSpec {
    let plan = Plan::new(BuiltIn::Standard.steps(), Terms::default()).expect("a plan");
    ReleaseSpec {
        promise: Promise {
            steps: plan.count() - 1,
            horizon: plan.horizon(),
            ..Promise::default()
        },
        gates: default_gates(),
        plan,
        ..ReleaseSpec::default()
    }
}

/// What is wrong with a canary.
#[derive(Clone, Copy)]
enum Fault {
    None,
    /// So many of its requests fail from this weight on.
    Errors(Weight, f64),
    /// It takes twice as long once it has all traffic.
    SlowAtTheEnd,
}

/// Walks until the rollout is over.
fn walk(fault: Fault, seed: u64) -> (Feed, Timestamp) {
    let mut generator = Generator::new(seed);
    let mut feed = Feed::walking(spec(), Timestamp::from_micros(PRELUDE));
    let mut at = Timestamp::from_micros(0);
    let end = at.after(LONGEST);
    while at < end {
        at = at.after(Duration::from_micros(1_000_000 / PER_SECOND));
        let weight = feed.weight();
        let key = generator.next();
        let role = SplitKey::from_random(key).role(weight);
        let rate = match fault {
            Fault::Errors(from, rate) if weight >= from && role == Role::Canary => rate,
            Fault::Errors(..) | Fault::None | Fault::SlowAtTheEnd => HEALTHY,
        };
        let is_slow = matches!(fault, Fault::SlowAtTheEnd) && weight == Weight::FULL;
        let times = if is_slow { 2 } else { 1 };
        feed.row(&Row {
            at,
            latency: times * (10_000 + generator.below(10_000)),
            role,
            status: if generator.unit() < rate { 500 } else { 200 },
            key: Some(key),
            weight,
        });
        if feed.is_over() {
            break;
        }
    }
    (feed, at)
}

/// The kind of each notice, and the weight that it tells.
fn kinds(notices: &[Notice]) -> Vec<String> {
    let told = |notice: &Notice| {
        let notice = serde_json::to_value(notice).expect("plain data");
        let text = |key: &str| notice[key].as_str().map(str::to_owned);
        let kind = text("kind").expect("a kind");
        match text("to").or_else(|| text("weight")) {
            Some(weight) => format!("{kind} {weight}"),
            None => kind,
        }
    };
    notices.iter().map(told).collect()
}

#[test]
fn a_healthy_canary_walks_the_standard_plan_to_its_end() {
    let (feed, end) = walk(Fault::None, 1);
    let status = feed.status(end);
    assert_eq!(status.phase, PhaseName::Complete, "{status:?}");
    assert_eq!(status.weight, Weight::FULL);
    let steps = [
        "started 2%",
        "progressed 10%",
        "progressed 50%",
        "promoted",
        "completed 100%",
    ];
    assert_eq!(kinds(feed.notices()), steps);
    // No step was shorter than its hold.
    let at: Vec<_> = feed.notices().iter().map(|notice| notice.at).collect();
    for (index, days) in [1, 2, 1, 1].into_iter().enumerate() {
        let lasted = at[index + 1].since(at[index]);
        assert!(lasted >= Duration::from_secs(days * 86_400), "{lasted:?}");
    }
}

#[test]
fn a_canary_that_gets_slow_at_the_end_is_told_of_and_never_complete() {
    let (feed, end) = walk(Fault::SlowAtTheEnd, 2);
    let told = kinds(feed.notices());
    let after_promotion = ["promoted", "confirmed 100%", "paused 100%"];
    assert_eq!(told[told.len() - 3..], after_promotion);
    let status = feed.status(end);
    assert_eq!(status.phase, PhaseName::Paused, "{status:?}");
    assert_eq!(status.weight, Weight::FULL);
}

#[test]
fn a_canary_that_breaks_at_any_step_of_the_standard_plan_ends_rolled_back() {
    for (seed, weight) in ["2%", "10%", "50%", "100%"].into_iter().enumerate() {
        let from: Weight = weight.parse().unwrap();
        let (feed, end) = walk(Fault::Errors(from, 0.2), seed as u64);
        let status = feed.status(end);
        assert_eq!(status.phase, PhaseName::RolledBack, "{weight}: {status:?}");
        assert_eq!(status.weight, Weight::ZERO);
        let decision = feed.decision().expect("a decision");
        assert!(decision.canary_failures > 0, "{decision:?}");
    }
}
