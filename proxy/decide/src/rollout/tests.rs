//! Every cell of the transition table.

use std::fmt::Write;
use std::time::Duration;

use super::*;
use crate::gate::spec::{GateRule, GateSpec, Promise, RunLimit};
use crate::gate::{Estimate, Measure, Panel, VerdictKind, Waiting};
use crate::plan::{BuiltIn, Hold, Step, Terms};
use crate::release::change::{CanaryChange, Change};
use crate::tally::Tally;

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

const SECOND: Duration = Duration::from_secs(1);

/// Ten seconds at 5 %, then 50 % until promoted, then everything, watched for a while.
fn plan() -> Plan {
    let step = |weight, hold| Step {
        weight: percent(weight),
        hold,
    };
    let hold = Hold::For {
        time: 10 * SECOND,
        requests: 0,
    };
    let terms = Terms {
        watch: 200 * SECOND,
        max_hold: 100 * SECOND,
        ..Terms::default()
    };
    let steps = vec![
        step("5%", hold),
        step("50%", Hold::UntilPromoted),
        Step::FULL,
    ];
    Plan::new(steps, terms).unwrap()
}

fn fixed() -> Rollout {
    Rollout::new(percent("5%"), Plan::default())
}

fn planned() -> Rollout {
    Rollout::new(Weight::ZERO, plan())
}

fn progressing() -> Rollout {
    let mut rollout = planned();
    assert!(rollout.may_begin());
    assert_eq!(rollout.begin(NOW).len(), 2);
    rollout
}

fn after(mut rollout: Rollout, command: Command) -> Rollout {
    assert!(!rollout.handle(order(command), NOW).unwrap().is_empty());
    rollout
}

fn promoted() -> Rollout {
    after(progressing(), Command::Promote(Promotion::Full))
}

fn complete() -> Rollout {
    let mut rollout = promoted();
    assert!(!over(&mut rollout, 201, VerdictKind::Pass).is_empty());
    rollout
}

fn rolled_back() -> Rollout {
    after(progressing(), Command::Rollback)
}

/// Lets the time pass, in which the canary has so many requests.
fn pass(rollout: &mut Rollout, seconds: u32, requests: u64) {
    rollout.count(0, NOW);
    rollout.count(requests, NOW.after(seconds * SECOND));
}

fn gate(verdict: VerdictKind) -> Vec<GateStatus> {
    let spec = GateSpec {
        name: "meltdown".into(),
        rule: GateRule::ConsecutiveFailures {
            limit: RunLimit::Count(3),
        },
    };
    let panel = Panel::new(&[spec], &Promise::default(), &Tally::default(), NOW);
    let status = panel.status();
    status
        .into_iter()
        .map(|gate| GateStatus { verdict, ..gate })
        .collect()
}

fn over(rollout: &mut Rollout, seconds: u32, verdict: VerdictKind) -> Vec<Effect> {
    pass(rollout, seconds, 0);
    if rollout.awaits_gates() {
        rollout.advance(&gate(verdict), NOW)
    } else {
        Vec::new()
    }
}

type Outcome = Result<Vec<Effect>, Rejected>;
type Column = (&'static str, fn(&mut Rollout) -> Outcome);

fn give(rollout: &mut Rollout, command: Command) -> Outcome {
    rollout.handle(order(command), NOW)
}

/// Everything that can happen to a rollout.
const EVENTS: [Column; 20] = [
    ("pause", |it| give(it, Command::Pause)),
    ("resume", |it| give(it, Command::Resume)),
    ("promote", |it| {
        give(it, Command::Promote(Promotion::Next { from: None }))
    }),
    ("promote --full", |it| {
        give(it, Command::Promote(Promotion::Full))
    }),
    ("weight 1%", |it| {
        give(it, Command::SetWeight(percent("1%")))
    }),
    ("weight 60%", |it| {
        give(it, Command::SetWeight(percent("60%")))
    }),
    ("rollback", |it| give(it, Command::Rollback)),
    ("retry", |it| give(it, Command::Retry)),
    ("breach", |it| Ok(it.breach(breach(), NOW))),
    ("nothing stands against it", |it| {
        Ok(if it.may_begin() {
            it.begin(NOW)
        } else {
            Vec::new()
        })
    }),
    ("hold over, gates pass", |it| {
        Ok(over(it, 11, VerdictKind::Pass))
    }),
    ("hold over, inconclusive", |it| {
        Ok(over(it, 11, VerdictKind::Inconclusive))
    }),
    ("max_hold over, inconclusive", |it| {
        Ok(over(it, 111, VerdictKind::Inconclusive))
    }),
    ("watch over, nothing against it", |it| {
        Ok(over(it, 201, VerdictKind::Pass))
    }),
    ("watch over, inconclusive", |it| {
        Ok(over(it, 201, VerdictKind::Inconclusive))
    }),
    ("watch and max_hold over, inconclusive", |it| {
        Ok(over(it, 301, VerdictKind::Inconclusive))
    }),
    ("another canary", |it| {
        let change = with(CanaryChange::Replaced);
        Ok(it.reconfigure((percent("5%"), it.plan.clone()), change, NOW))
    }),
    ("canary removed", |it| {
        let change = with(CanaryChange::Removed);
        Ok(it.reconfigure((Weight::ZERO, it.plan.clone()), change, NOW))
    }),
    ("other steps", |it| {
        let mut steps = plan().steps().to_vec();
        steps.insert(
            0,
            Step {
                weight: percent("1%"),
                ..steps[0]
            },
        );
        let plan = Plan::new(steps, plan().terms).unwrap();
        Ok(it.reconfigure((Weight::ZERO, plan), Change::NOTHING, NOW))
    }),
    ("plan removed", |it| {
        Ok(it.reconfigure((percent("5%"), Plan::default()), Change::NOTHING, NOW))
    }),
];

const fn with(canary: CanaryChange) -> Change {
    Change {
        canary,
        ..Change::NOTHING
    }
}

/// Where a rollout stands, in as few words as possible.
fn place(rollout: &Rollout) -> String {
    let step = rollout.phase.position().map(|position| position.step);
    let step = match (rollout.phase.name(), step) {
        (PhaseName::Progressing | PhaseName::Paused, Some(step)) => format!(" {step}"),
        _ => String::new(),
    };
    let attempt = match rollout.generation.0 {
        1 => "",
        _ => ", next generation",
    };
    format!(
        "{}{step}, {}{attempt}",
        rollout.phase.name(),
        rollout.weight
    )
}

/// The table in the documents is what happens.
#[test]
fn every_cell_of_the_table() {
    let rows = [
        fixed(),
        planned(),
        progressing(),
        after(
            progressing(),
            Command::Promote(Promotion::Next { from: None }),
        ),
        after(progressing(), Command::Pause),
        promoted(),
        complete(),
        rolled_back(),
    ];
    let names = ["idle, no plan", "idle, plan"];
    let mut table = String::from("| event |");
    for (index, row) in rows.iter().enumerate() {
        let name = names
            .get(index)
            .map_or_else(|| place(row), |name| (*name).to_owned());
        write!(table, " {name} |").unwrap();
    }
    table.push_str("\n|---|---|---|---|---|---|---|---|---|\n");
    for (name, event) in EVENTS {
        write!(table, "| {name} |").unwrap();
        for row in &rows {
            let mut rollout = row.clone();
            let before = place(&rollout);
            let cell = match event(&mut rollout) {
                Err(_) => {
                    assert_eq!(place(&rollout), before, "{name} is rejected");
                    "rejected".to_owned()
                }
                Ok(_) if place(&rollout) == before => "–".to_owned(),
                Ok(effects) => {
                    assert_ne!(effects, [], "{name} while {before} is not told");
                    place(&rollout)
                }
            };
            write!(table, " {cell} |").unwrap();
        }
        table.push('\n');
    }
    let documents = include_str!("../../../ARCHITECTURE.md");
    assert!(
        documents.contains(&table),
        "ARCHITECTURE.md should have this table:\n{table}"
    );
}

#[test]
fn a_generation_walks_its_plan_to_the_end() {
    let mut rollout = progressing();
    let kinds = |effects: &[Effect]| -> Vec<String> {
        let kind = |effect: &Effect| match effect {
            Effect::Announce(notice) => serde_json::to_value(&notice.kind).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned(),
            Effect::Reweigh { weight, .. } => weight.to_string(),
        };
        effects.iter().map(kind).collect()
    };
    pass(&mut rollout, 9, 0);
    assert!(!rollout.awaits_gates());
    pass(&mut rollout, 1, 0);
    let waits = gate(VerdictKind::Inconclusive);
    assert_eq!(rollout.advance(&waits, NOW), []);
    let passes = gate(VerdictKind::Pass);
    assert_eq!(kinds(&rollout.advance(&passes, NOW)), ["50%", "progressed"]);
    assert!(rollout.awaits_gates());
    assert_eq!(kinds(&rollout.advance(&passes, NOW)), ["ready"]);
    assert_eq!(rollout.advance(&passes, NOW), [], "it is told once");
    let promote = Command::Promote(Promotion::Next { from: Some(2) });
    let effects = rollout.handle(order(promote), NOW).unwrap();
    assert_eq!(kinds(&effects), ["100%", "promoted"]);
    assert_eq!(rollout.handle(order(promote), NOW), Ok(vec![]));
    pass(&mut rollout, 199, 0);
    assert!(!rollout.awaits_gates());
    pass(&mut rollout, 1, 0);
    assert!(rollout.awaits_gates());
    assert_eq!(rollout.advance(&waits, NOW), []);
    assert_eq!(kinds(&rollout.advance(&passes, NOW)), ["completed"]);
    assert_eq!(rollout.weight(), Weight::FULL);
}

#[test]
fn a_rollout_that_was_watched_long_enough_waits_only_for_gates_that_have_something_to_say() {
    let says = |reason, evidence| {
        let status = gate(VerdictKind::Inconclusive).remove(0);
        vec![GateStatus {
            reason: Some(reason),
            evidence,
            ..status
        }]
    };
    for (gates, ends) in [
        (says(Waiting::Stable, 0.1), true),
        (says(Waiting::Stable, 1.0), false),
        (says(Waiting::Slower, 0.0), false),
        (says(Waiting::Evidence, 0.0), false),
        (gate(VerdictKind::Fail), false),
    ] {
        let mut rollout = promoted();
        pass(&mut rollout, 200, 0);
        let is_waiting = matches!(rollout.waiting(&gates), Some(walk::Waiting::Gates(_)));
        assert_eq!(is_waiting, !ends, "{gates:?}");
        assert_eq!(rollout.advance(&gates, NOW).is_empty(), !ends, "{gates:?}");
    }
}

#[test]
fn who_resumes_what_was_overdue_gives_it_time_again() {
    for (mut rollout, hold) in [(progressing(), 10), (promoted(), 200)] {
        let told = over(&mut rollout, hold + 100, VerdictKind::Inconclusive);
        assert_eq!(told.len(), 1, "it is paused");
        let mut rollout = after(rollout, Command::Resume);
        assert!(rollout.awaits_gates());
        assert_eq!(over(&mut rollout, 99, VerdictKind::Inconclusive), []);
        assert_eq!(over(&mut rollout, 1, VerdictKind::Inconclusive).len(), 1);
    }
}

#[test]
fn a_repeated_promotion_goes_one_step() {
    let mut rollout = progressing();
    let promote = Command::Promote(Promotion::Next { from: Some(1) });
    assert_eq!(rollout.handle(order(promote), NOW).unwrap().len(), 2);
    assert_eq!(rollout.handle(order(promote), NOW), Ok(vec![]));
    assert_eq!(place(&rollout), "progressing 2, 50%");
}

#[test]
fn a_pause_stops_the_clock_of_a_step() {
    let mut rollout = progressing();
    pass(&mut rollout, 6, 0);
    let mut rollout = after(rollout, Command::Pause);
    pass(&mut rollout, 1000, 0);
    let mut rollout = after(rollout, Command::Resume);
    pass(&mut rollout, 3, 0);
    assert!(!rollout.awaits_gates());
    pass(&mut rollout, 1, 0);
    assert!(rollout.awaits_gates());
}

#[test]
fn a_hold_is_over_when_time_and_requests_are() {
    let steps = vec![
        Step {
            weight: percent("5%"),
            hold: Hold::For {
                time: 10 * SECOND,
                requests: 100,
            },
        },
        Step::FULL,
    ];
    let plan = Plan::new(steps, plan().terms).unwrap();
    let mut rollout = Rollout::new(Weight::ZERO, plan);
    assert!(!rollout.begin(NOW).is_empty());
    pass(&mut rollout, 11, 99);
    assert!(!rollout.awaits_gates());
    let waiting = rollout.waiting(&[]).unwrap().to_string();
    assert_eq!(waiting, "its hold: 1 requests left");
    assert_eq!(rollout.clone().expire(NOW), []);
    let mut never = rollout.clone();
    pass(&mut never, 100, 0);
    assert!(!never.expire(NOW).is_empty(), "it waits for ever");
    assert_eq!(never.phase.name(), PhaseName::Paused);
    pass(&mut rollout, 0, 1);
    assert!(rollout.awaits_gates());
}

#[test]
fn a_freeze_stops_what_raises_and_nothing_else() {
    let mut rollout = progressing();
    rollout.freeze(Some("incident 42".into()));
    assert_eq!(over(&mut rollout, 11, VerdictKind::Pass), []);
    for command in [
        Command::Promote(Promotion::Full),
        Command::Promote(Promotion::Next { from: None }),
        Command::SetWeight(percent("6%")),
    ] {
        let rejected = rollout.handle(order(command), NOW).unwrap_err();
        let text = rejected.to_string();
        assert!(text.contains("frozen (incident 42)"), "{text}");
    }
    for command in [
        Command::SetWeight(percent("1%")),
        Command::Resume,
        Command::Pause,
        Command::Rollback,
    ] {
        assert!(!rollout.handle(order(command), NOW).unwrap().is_empty());
    }
    assert!(rollout.handle(order(Command::Retry), NOW).is_err());
    let mut planned = planned();
    planned.freeze(Some("incident 42".into()));
    assert!(!planned.may_begin());
    planned.freeze(None);
    assert!(planned.may_begin());
}

#[test]
fn nothing_begins_before_what_must_hold_does() {
    let mut rollout = planned();
    rollout.set_preconditions(Preconditions::Awaited("https://gate answers 503".into()));
    assert!(!rollout.may_begin());
    let promote = Command::Promote(Promotion::Full);
    let rejected = rollout.handle(order(promote), NOW).unwrap_err();
    assert!(rejected.to_string().contains("answers 503"), "{rejected}");
    rollout.set_preconditions(Preconditions::Met);
    assert!(rollout.may_begin());
}

#[test]
fn a_breach_does_what_the_plan_says_and_once() {
    for (on_breach, stands, told) in [
        (OnBreach::Rollback, "rolled back, 0%", 2),
        (OnBreach::Pause, "paused 1, 5%", 1),
        (OnBreach::Observe, "progressing 1, 5%", 1),
    ] {
        let mut rollout = progressing();
        rollout.plan.terms.on_breach = on_breach;
        assert_eq!(rollout.breach(breach(), NOW).len(), told);
        assert_eq!(place(&rollout), stands);
        if on_breach != OnBreach::Observe {
            assert_eq!(rollout.breach(breach(), NOW), []);
        }
    }
}

#[test]
fn a_step_without_traffic_is_reached_by_name_only() {
    let plan = Plan::new(BuiltIn::Switch.steps(), Terms::default()).unwrap();
    let mut rollout = Rollout::new(Weight::ZERO, plan);
    assert_eq!(rollout.reach(), CanaryReach::Closed);
    let effects = rollout.begin(NOW);
    let open = Effect::Reweigh {
        generation: Generation::FIRST,
        weight: Weight::ZERO,
        reach: CanaryReach::Forced,
    };
    assert_eq!(effects.first(), Some(&open));
    let back = after(rollout.clone(), Command::Rollback);
    assert_eq!(back.reach(), CanaryReach::Closed);
    let promote = Command::Promote(Promotion::Next { from: Some(1) });
    let rollout = after(rollout, promote);
    assert_eq!(place(&rollout), "promoted, 100%");
}

#[test]
fn a_weight_takes_the_rollout_off_its_plan_until_it_is_resumed() {
    let mut rollout = after(progressing(), Command::SetWeight(percent("30%")));
    assert_eq!(over(&mut rollout, 1000, VerdictKind::Pass), []);
    let mut rollout = after(rollout, Command::Resume);
    assert_eq!(place(&rollout), "progressing 1, 30%");
    assert_ne!(over(&mut rollout, 11, VerdictKind::Pass), []);
    assert_eq!(place(&rollout), "progressing 2, 50%");
}

#[test]
fn what_is_kept_of_a_position_follows_in_strides() {
    let mut rollout = progressing();
    pass(&mut rollout, 4, 7);
    let kept = rollout.phase_to_keep();
    assert_eq!(kept.position().unwrap().held, Duration::ZERO);
    pass(&mut rollout, 1, 7);
    assert_eq!(&rollout.phase_to_keep(), rollout.phase());
}

#[test]
fn no_effects_take_no_memory() {
    let unchanged = rolled_back().handle(order(Command::Rollback), NOW).unwrap();
    assert_eq!(unchanged.capacity(), 0);
}

#[test]
fn the_commands_on_offer_are_those_that_change_something() {
    let mut frozen = progressing();
    frozen.freeze(Some("incident".into()));
    for rollout in [
        fixed(),
        planned(),
        progressing(),
        frozen,
        after(progressing(), Command::Pause),
        promoted(),
        complete(),
        rolled_back(),
    ] {
        let offered = rollout.commands();
        for command in [
            Command::Pause,
            Command::Promote(Promotion::Full),
            Command::Resume,
            Command::Retry,
            Command::Rollback,
        ] {
            let result = rollout.clone().handle(order(command), NOW);
            let changes = result.is_ok_and(|effects| !effects.is_empty());
            assert_eq!(
                offered.contains(&command.name()),
                changes,
                "{command:?} while {}",
                place(&rollout)
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
