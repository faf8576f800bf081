//! Reloads of the configuration: what they may do to a release, and what never.

use proptest::prelude::*;

use super::*;
use crate::gate::VerdictKind;
use crate::gate::spec::{GateRule, GateSpec, Promise, RunLimit, default_gates};
use crate::generation::Generation;
use crate::outcome::{Evidence, FailureReason, Outcome};
use crate::release::{Release, ReleaseSpec};
use crate::role::Role;
use crate::rollout::{Command, Effect, NoticeKind, Order, PhaseName};
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

const NOW: Timestamp = Timestamp::from_micros(1);

fn share(text: &str) -> Weight {
    text.parse().unwrap()
}

fn spec(weight: Weight, failures: u32) -> ReleaseSpec {
    ReleaseSpec {
        weight,
        gates: vec![GateSpec {
            name: "meltdown".into(),
            rule: GateRule::ConsecutiveFailures {
                limit: RunLimit::Count(failures),
            },
        }],
        promise: Promise::default(),
        ..ReleaseSpec::default()
    }
}

fn with(canary: CanaryChange) -> Change {
    Change {
        canary,
        ..Change::NOTHING
    }
}

fn command(release: &mut Release, command: Command) {
    let order = Order {
        command,
        actor: None,
        reason: None,
    };
    release
        .command(order, &Tally::default(), NOW)
        .expect("is legal");
}

fn fail(release: &mut Release, tally: &mut Tally) -> Vec<Effect> {
    tally.of_mut(Role::Canary).failures += 1;
    let outcome = Outcome {
        role: Role::Canary,
        evidence: Evidence::Failure(FailureReason::Status),
        key: None,
        weight: Weight::FULL,
        class: None,
        request: None,
    };
    release.observe(&outcome, tally, NOW)
}

fn stands(release: &Release) -> (u32, PhaseName, Weight) {
    (
        release.generation().0,
        release.phase().name(),
        release.weight(),
    )
}

/// A release at 5 % of configured 10 %, idle or rolled back, and what becomes of it.
#[test]
fn the_table() {
    use CanaryChange::{Removed, Replaced, Returned, Same};
    use PhaseName::{Idle, RolledBack};
    let (five, twenty, zero) = (share("5%"), share("20%"), Weight::ZERO);
    for (rolled_back, canary, expected, effects) in [
        (false, Same, (1, Idle, five), 1),
        (false, Replaced, (2, Idle, twenty), 2),
        (false, Removed, (1, Idle, zero), 2),
        (true, Same, (1, RolledBack, zero), 1),
        (true, Replaced, (2, Idle, twenty), 2),
        (true, Removed, (1, RolledBack, zero), 0),
        (true, Returned, (1, RolledBack, zero), 1),
    ] {
        let mut release = Release::new(spec(share("10%"), 3), &Tally::default(), NOW);
        command(&mut release, Command::SetWeight(five));
        if rolled_back {
            command(&mut release, Command::Rollback);
        }
        let carried_out =
            release.reconfigure(spec(twenty, 3), with(canary), &Tally::default(), NOW);
        let context = format!("{rolled_back} {canary:?}: {carried_out:?}");
        assert_eq!(stands(&release), expected, "{context}");
        assert_eq!(carried_out.len(), effects, "{context}");
        for effect in carried_out {
            if let Effect::Reweigh {
                generation, weight, ..
            } = effect
            {
                assert_eq!((generation.0, weight), (expected.0, expected.2));
            }
        }
        assert_eq!(release.status(NOW).configured_weight, twenty);
    }
}

#[test]
fn a_canary_that_is_taken_out_and_put_back_begins_anew_unless_it_was_rolled_back() {
    let (ten, none) = (share("10%"), Tally::default());
    let mut release = Release::new(spec(ten, 3), &none, NOW);
    for generation in 2..4 {
        let removed = with(CanaryChange::Removed);
        let _effects = release.reconfigure(spec(Weight::ZERO, 3), removed, &none, NOW);
        assert_eq!(release.weight(), Weight::ZERO);
        let _effects = release.reconfigure(spec(ten, 3), with(CanaryChange::Returned), &none, NOW);
        assert_eq!(stands(&release), (generation, PhaseName::Idle, ten));
    }
    command(&mut release, Command::Rollback);
    for canary in [CanaryChange::Removed, CanaryChange::Returned] {
        let _effects = release.reconfigure(spec(ten, 3), with(canary), &none, NOW);
        assert_eq!(
            stands(&release),
            (3, PhaseName::RolledBack, Weight::ZERO),
            "{canary:?}"
        );
    }
}

#[test]
fn a_retry_begins_with_what_is_configured_now() {
    let none = Tally::default();
    let mut release = Release::new(spec(share("10%"), 3), &none, NOW);
    command(&mut release, Command::Rollback);
    let _effects = release.reconfigure(spec(share("1%"), 3), Change::NOTHING, &none, NOW);
    command(&mut release, Command::Retry);
    assert_eq!(stands(&release), (2, PhaseName::Idle, share("1%")));
}

#[test]
fn what_was_seen_before_is_evidence_only_as_long_as_the_comparison_is_the_same() {
    let ten = share("10%");
    let same = spec(ten, 3);
    let stable = Change {
        stable: true,
        ..Change::NOTHING
    };
    for (what, spec_after, change, fails_left) in [
        ("nothing", same.clone(), Change::NOTHING, 1),
        ("weight", spec(share("20%"), 3), Change::NOTHING, 1),
        ("stable", same.clone(), stable, 3),
        ("gates", spec(ten, 4), Change::NOTHING, 4),
        ("canary", same, with(CanaryChange::Replaced), 3),
    ] {
        let mut release = Release::new(spec(ten, 3), &Tally::default(), NOW);
        let mut tally = Tally::default();
        for _ in 0..2 {
            assert_eq!(fail(&mut release, &mut tally), vec![], "{what}");
        }
        let _effects = release.reconfigure(spec_after, change, &tally, NOW);
        for left in 1..=fails_left {
            let effects = fail(&mut release, &mut tally);
            assert_eq!(effects.is_empty(), left < fails_left, "{what} {left}");
        }
    }
}

#[test]
fn new_gates_take_the_place_of_the_old_ones_and_leave_the_latch() {
    let none = Tally::default();
    let mut release = Release::new(spec(share("10%"), 1), &none, NOW);
    let mut tally = Tally::default();
    let effects = fail(&mut release, &mut tally);
    assert_eq!(effects.len(), 2);
    let gates = default_gates();
    let weight = share("10%");
    let effects = release.reconfigure(
        ReleaseSpec {
            weight,
            gates,
            promise: Promise::default(),
            ..ReleaseSpec::default()
        },
        Change::NOTHING,
        &tally,
        NOW,
    );
    assert!(
        matches!(effects.as_slice(), [Effect::Announce(notice)]
            if matches!(notice.kind, NoticeKind::Reconfigured(Amendment { gates: true, .. }))),
        "{effects:?}"
    );
    let status = release.status(NOW);
    assert_eq!(status.phase, PhaseName::RolledBack);
    assert_eq!(status.verdict.verdict, VerdictKind::Fail);
    let names: Vec<_> = status
        .verdict
        .gates
        .iter()
        .map(|gate| &*gate.name)
        .collect();
    assert_eq!(names, ["errors", "latency", "meltdown"]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Fail,
    Reload(Weight, u32, bool),
    SetWeight(Weight),
    Rollback,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let weight = (0..=1_000_000_u32).prop_map(|ppm| Weight::from_parts_per_million(ppm).unwrap());
    let step = prop_oneof![
        Just(Step::Fail),
        Just(Step::Rollback),
        weight.clone().prop_map(Step::SetWeight),
        (weight, 1..5_u32, any::<bool>())
            .prop_map(|(weight, failures, stable)| Step::Reload(weight, failures, stable)),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Only a command, a gate or another canary moves a weight.
    #[test]
    fn no_reload_without_another_canary_moves_weight_generation_or_phase(steps in steps()) {
        let mut release = Release::new(spec(share("10%"), 3), &Tally::default(), NOW);
        let mut tally = Tally::default();
        for step in steps {
            let before = (stands(&release), release.phase().clone());
            match step {
                Step::Fail => drop(fail(&mut release, &mut tally)),
                Step::Rollback => command(&mut release, Command::Rollback),
                Step::SetWeight(weight) => {
                    if release.phase().name() == PhaseName::Idle {
                        command(&mut release, Command::SetWeight(weight));
                    }
                }
                Step::Reload(weight, failures, stable) => {
                    let change = Change { stable, ..Change::NOTHING };
                    let effects = release.reconfigure(spec(weight, failures), change, &tally, NOW);
                    prop_assert_eq!(before, (stands(&release), release.phase().clone()));
                    for effect in effects {
                        prop_assert!(matches!(effect, Effect::Announce(_)), "{effect:?}");
                    }
                }
            }
            prop_assert_eq!(release.generation(), Generation::FIRST);
        }
    }

    /// Whatever comes, a rolled-back generation has no weight, and generations only rise.
    #[test]
    fn a_generation_that_was_rolled_back_never_has_weight_again(
        changes in prop::collection::vec((0..4_usize, any::<bool>()), 0..40),
    ) {
        use CanaryChange::{Removed, Replaced, Returned, Same};
        let none = Tally::default();
        let mut release = Release::new(spec(share("10%"), 3), &none, NOW);
        let mut rolled_back = Generation(0);
        for (canary, roll_back) in changes {
            let before = release.generation();
            let change = with([Removed, Replaced, Returned, Same][canary]);
            let _effects = release.reconfigure(spec(share("10%"), 3), change, &none, NOW);
            prop_assert!(release.generation() >= before);
            if release.generation() == rolled_back {
                prop_assert_eq!(release.weight(), Weight::ZERO);
            }
            if roll_back {
                command(&mut release, Command::Rollback);
                rolled_back = release.generation();
            }
        }
    }
}
