//! Every cell of the transition table.

use super::*;
use crate::gate::{Estimate, Measure};

const NOW: Timestamp = Timestamp::from_micros(5);

fn percent(text: &str) -> Weight {
    text.parse().unwrap()
}

fn order(command: Command) -> Order {
    Order {
        command,
        actor: Some("alice".to_owned()),
        reason: Some("errors".to_owned()),
    }
}

fn by_alice() -> Cause {
    order(Command::Rollback).into_cause()
}

fn breach() -> Breach {
    let run = Estimate {
        value: 3.0,
        count: 3,
        samples: 3,
        ..Estimate::default()
    };
    Breach {
        gate: "meltdown".into(),
        value: 3.0,
        limit: 3.0,
        canary: run,
        stable: Estimate::default(),
        measure: Measure::ConsecutiveFailures,
        evidence: 0.0,
        example: None,
    }
}

fn idle() -> Rollout {
    Rollout::new(percent("5%"))
}

fn rolled_back() -> Rollout {
    let mut rollout = idle();
    assert!(!rollout.breach(breach(), NOW).is_empty());
    rollout
}

fn effects(generation: u32, weight: &str, kind: NoticeKind) -> Vec<Effect> {
    let (generation, weight) = (Generation(generation), percent(weight));
    let notice = Notice {
        at: NOW,
        generation,
        kind,
    };
    vec![
        Effect::Reweigh { generation, weight },
        Effect::Announce(notice),
    ]
}

fn check(mut rollout: Rollout, command: Command, expected: &Result<Vec<Effect>, Rejected>) {
    let was = rollout.phase.name();
    let result = rollout.handle(order(command), NOW);
    assert_eq!(&result, expected, "{command:?} while {was}");
}

#[test]
fn the_row_of_idle() {
    let [from, to] = [percent("5%"), percent("20%")];
    let reweighed = |to| NoticeKind::Reweighed {
        from,
        to,
        by: by_alice(),
    };
    let kind = NoticeKind::RolledBack {
        from,
        by: by_alice(),
    };
    check(idle(), Command::Retry, &Ok(vec![]));
    check(idle(), Command::Rollback, &Ok(effects(1, "0%", kind)));
    check(idle(), Command::SetWeight(from), &Ok(vec![]));
    check(
        idle(),
        Command::SetWeight(to),
        &Ok(effects(1, "20%", reweighed(to))),
    );
    let zero = Weight::ZERO;
    check(
        idle(),
        Command::SetWeight(zero),
        &Ok(effects(1, "0%", reweighed(zero))),
    );
}

#[test]
fn the_row_of_rolled_back() {
    let raise = Command::SetWeight(percent("20%"));
    let kind = NoticeKind::Retried {
        weight: percent("5%"),
        by: by_alice(),
    };
    check(rolled_back(), Command::Retry, &Ok(effects(2, "5%", kind)));
    check(rolled_back(), Command::Rollback, &Ok(vec![]));
    check(rolled_back(), Command::SetWeight(Weight::ZERO), &Ok(vec![]));
    let rejected = Rejected {
        command: raise,
        phase: PhaseName::RolledBack,
    };
    check(rolled_back(), raise, &Err(rejected));
}

#[test]
fn commands_lead_from_phase_to_phase() {
    let mut rollout = idle();
    for (command, phase, weight) in [
        (Command::SetWeight(percent("20%")), PhaseName::Idle, "20%"),
        (Command::Rollback, PhaseName::RolledBack, "0%"),
        (
            Command::SetWeight(Weight::ZERO),
            PhaseName::RolledBack,
            "0%",
        ),
        (Command::Retry, PhaseName::Idle, "5%"),
    ] {
        assert!(rollout.handle(order(command), NOW).is_ok());
        assert_eq!(
            (rollout.phase.name(), rollout.weight()),
            (phase, percent(weight))
        );
    }
    assert_eq!(rollout.generation(), Generation(2));
}

#[test]
fn a_breach_rolls_back_once() {
    let mut rollout = idle();
    let by = Cause::Breach(breach());
    let kind = NoticeKind::RolledBack {
        from: percent("5%"),
        by: by.clone(),
    };
    assert_eq!(rollout.breach(breach(), NOW), effects(1, "0%", kind));
    assert_eq!(rollout.phase, Phase::RolledBack { at: NOW, by });
    assert_eq!(rollout.weight(), Weight::ZERO);
    assert_eq!(rollout.breach(breach(), NOW), vec![]);
}

#[test]
fn no_effects_take_no_memory() {
    let unchanged = rolled_back().handle(order(Command::Rollback), NOW).unwrap();
    assert_eq!(unchanged.capacity(), 0);
}

#[test]
fn the_commands_on_offer_are_those_that_change_something() {
    for rollout in [idle(), rolled_back()] {
        for command in [
            Command::Retry,
            Command::Rollback,
            Command::SetWeight(percent("7%")),
        ] {
            let offered = rollout.phase.name().commands().contains(&command.name());
            let result = rollout.clone().handle(order(command), NOW);
            let changes = result.is_ok_and(|effects| !effects.is_empty());
            assert_eq!(
                offered,
                changes,
                "{command:?} while {}",
                rollout.phase.name()
            );
        }
    }
}

#[test]
fn a_rejection_says_what_helps() {
    let raise = Command::SetWeight(percent("7%"));
    let rejected = rolled_back().handle(order(raise), NOW).unwrap_err();
    assert_eq!(
        rejected.to_string(),
        "this generation is rolled back and stays at 0%"
    );
    assert_eq!(rejected.hint(), "retry starts a new generation");
}

#[test]
fn a_notice_has_one_flat_form() {
    let kind = NoticeKind::RolledBack {
        from: percent("5%"),
        by: by_alice(),
    };
    let notice = Notice {
        at: NOW,
        generation: Generation(2),
        kind,
    };
    assert_eq!(
        serde_json::to_value(notice).unwrap(),
        serde_json::json!({
            "at": 5, "generation": 2, "kind": "rolled_back", "from": "5%",
            "by": { "kind": "command", "actor": "alice", "reason": "errors" },
        })
    );
}

#[test]
fn a_cause_is_one_sentence() {
    assert_eq!(by_alice().to_string(), "command by alice: errors");
    assert_eq!(
        Cause::Command {
            actor: None,
            reason: None
        }
        .to_string(),
        "command"
    );
    let sentence = "meltdown: canary failed 3 times in a row, limit 3";
    assert_eq!(Cause::Breach(breach()).to_string(), sentence);
}
