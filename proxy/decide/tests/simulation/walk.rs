//! Rollouts through plans, commands, reloads, restarts, freezes and clock steps, with what
//! must hold after each step.

use std::time::Duration;

use haldane_decide::gate::spec::{GateRule, GateSpec, Promise, RunLimit};
use haldane_decide::generation::Generation;
use haldane_decide::outcome::{Evidence, FailureReason, Outcome};
use haldane_decide::plan::{Advance, BuiltIn, Hold, OnBreach, Plan, Step, Terms};
use haldane_decide::release::change::{CanaryChange, Change};
use haldane_decide::release::{Release, ReleaseSpec};
use haldane_decide::role::Role;
use haldane_decide::rollout::{
    CanaryReach, Cause, Command, Effect, NoticeKind, Order, Phase, PhaseName, Preconditions,
    Promotion,
};
use haldane_decide::tally::Tally;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use crate::generator::{Generator, seeds};

const SEEDS: u64 = 10_000;
const STEPS: u64 = 80;

#[test]
fn a_rollout_keeps_its_promises_whatever_happens() {
    let seeds = seeds(SEEDS);
    let is_sweep = seeds.end - seeds.start >= SEEDS;
    let mut reached = [0_u64; PhaseName::ALL.len()];
    for seed in seeds {
        let mut walk = Walk::new(seed);
        for step in 0..STEPS {
            walk.step(step);
            let phase = walk.release.phase().name();
            let index = PhaseName::ALL.iter().position(|name| *name == phase);
            reached[index.expect("all names are there")] += 1;
        }
    }
    // A simulation in which nothing happens proves nothing.
    if is_sweep {
        for (name, count) in PhaseName::ALL.iter().zip(reached) {
            assert!(count > 1000, "only {count} times {name}");
        }
    }
}

#[derive(Clone, Debug)]
enum Action {
    Absorb(Duration),
    Fails(u64),
    Freeze(bool),
    Jump(Duration),
    Order(Command),
    Preconditions,
    Reload(Reload),
    Restart,
    Succeeds(u64),
}

#[derive(Clone, Copy, Debug)]
enum Reload {
    Canary,
    Nothing,
    Plan,
    Removed,
}

struct Walk {
    seed: u64,
    generator: Generator,
    release: Release,
    spec: ReleaseSpec,
    tally: Tally,
    now: Timestamp,
    has_canary: bool,
    frozen: bool,
    /// Since when the present step lasts, without pauses, at most.
    entered: Timestamp,
    rolled_back: Option<Generation>,
}

fn weight(parts: u64) -> Weight {
    Weight::from_parts_per_million(u32::try_from(parts).unwrap()).unwrap()
}

fn draw_plan(generator: &mut Generator) -> Plan {
    let on_breach = [OnBreach::Rollback, OnBreach::Pause, OnBreach::Observe];
    let terms = Terms {
        advance: [Advance::Auto, Advance::Auto, Advance::Manual][generator.index(3)],
        on_breach: on_breach[[0, 0, 0, 1, 2][generator.index(5)]],
        watch: Duration::from_secs(generator.below(60)),
        max_hold: Duration::from_secs(10 + generator.below(100)),
    };
    if generator.below(8) == 0 {
        return Plan::fixed(terms);
    }
    if generator.below(8) == 0 {
        return Plan::new(BuiltIn::Switch.steps(), terms).unwrap();
    }
    let mut parts = generator.below(50_000);
    let mut steps = Vec::new();
    for _ in 0..1 + generator.below(4) {
        let hold = match generator.below(6) {
            0 => Hold::UntilPromoted,
            _ => Hold::For {
                time: Duration::from_secs(1 + generator.below(20)),
                requests: generator.below(3) * 50,
            },
        };
        let weight = weight(parts.min(999_999));
        steps.push(Step { weight, hold });
        parts += 1 + generator.below(400_000);
        if parts >= 999_999 {
            break;
        }
    }
    steps.push(Step::FULL);
    Plan::new(steps, terms).unwrap()
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut generator = Generator::new(seed ^ 0x77a1_4b2d);
        let limit = 2 + generator.below(6);
        let rule = GateRule::ConsecutiveFailures {
            limit: RunLimit::Count(u32::try_from(limit).unwrap()),
        };
        let spec = ReleaseSpec {
            weight: weight(generator.below(500_000)),
            plan: draw_plan(&mut generator),
            has_preconditions: generator.below(3) == 0,
            gates: vec![GateSpec {
                name: "meltdown".into(),
                rule,
            }],
            promise: Promise::default(),
        };
        let (tally, now) = (Tally::default(), Timestamp::from_micros(1 << 40));
        Self {
            seed,
            release: Release::new(spec.clone(), &tally, now),
            generator,
            spec,
            tally,
            now,
            has_canary: true,
            frozen: false,
            entered: now,
            rolled_back: None,
        }
    }

    fn draw(&mut self) -> Action {
        let generator = &mut self.generator;
        let next = Promotion::Next { from: None };
        match generator.below(100) {
            0..45 => Action::Absorb(Duration::from_millis(generator.below(12_000))),
            45..60 => Action::Succeeds(generator.below(200)),
            60..66 => Action::Fails(1 + generator.below(3)),
            66 => Action::Fails(20),
            67..71 => Action::Freeze(generator.below(3) == 0),
            71 => Action::Jump(Duration::from_secs(1 << generator.below(20))),
            72..76 => Action::Order(Command::Promote(next)),
            76 => Action::Order(Command::Promote(Promotion::Full)),
            77..80 => Action::Order(Command::Pause),
            80..85 => Action::Order(Command::Resume),
            85..87 => Action::Order(Command::SetWeight(weight(generator.below(1_000_001)))),
            87 => Action::Order(Command::Rollback),
            88..91 => Action::Order(Command::Retry),
            91..94 => Action::Preconditions,
            94 => Action::Reload(Reload::Canary),
            95 => Action::Reload(Reload::Plan),
            96 => Action::Reload(Reload::Removed),
            97 => Action::Reload(Reload::Nothing),
            _ => Action::Restart,
        }
    }

    fn step(&mut self, step: u64) {
        let action = self.draw();
        let context = format!("HALDANE_SEED={} step {step}: {action:?}", self.seed);
        let before = self.release.clone();
        let effects = self.act(&action);
        self.check(&action, &before, &effects, &context);
    }

    fn act(&mut self, action: &Action) -> Vec<Effect> {
        match action {
            Action::Absorb(time) => {
                self.now = self.now.after(*time);
                self.absorb()
            }
            Action::Fails(count) => {
                let mut effects = Vec::new();
                for _ in 0..*count {
                    self.tally.of_mut(Role::Canary).failures += 1;
                    let outcome = Outcome {
                        role: Role::Canary,
                        evidence: Evidence::Failure(FailureReason::Status),
                        key: None,
                        weight: self.release.weight(),
                        class: None,
                        request: None,
                    };
                    effects.extend(self.release.observe(&outcome, &self.tally, self.now));
                }
                effects
            }
            Action::Freeze(frozen) => {
                self.frozen = *frozen;
                self.tell();
                Vec::new()
            }
            // A clock that has jumped is told as time that has passed.
            Action::Jump(time) => {
                self.now = self.now.after(*time);
                Vec::new()
            }
            Action::Order(_) if !self.has_canary => Vec::new(),
            Action::Order(command) => {
                let order = Order {
                    command: *command,
                    actor: None,
                    reason: None,
                };
                let result = self.release.command(order, &self.tally, self.now);
                result.unwrap_or_default()
            }
            Action::Preconditions => {
                let generation = self.release.generation();
                self.release
                    .tell_preconditions(generation, Preconditions::Met);
                Vec::new()
            }
            Action::Reload(reload) => self.reload(*reload),
            Action::Restart => {
                let kept = serde_json::to_vec(&self.release.snapshot()).unwrap();
                let kept = serde_json::from_slice(&kept).unwrap();
                let evidence = self.release.evidence_to_keep(self.now);
                self.tally = Tally::default();
                self.release = Release::resume(self.spec.clone(), kept, &self.tally, self.now);
                // It may also be lost.
                if let Some(evidence) = evidence.filter(|_| self.generator.below(2) == 0) {
                    let bytes = evidence.into_bytes();
                    let recalled = self.release.recall(&bytes, self.now);
                    self.tally = recalled.expect("it was just written");
                }
                self.tell();
                Vec::new()
            }
            Action::Succeeds(count) => {
                self.tally.of_mut(Role::Canary).successes += count;
                self.tally.of_mut(Role::Stable).successes += count * 20;
                self.absorb()
            }
        }
    }

    fn tell(&mut self) {
        let why = self.frozen.then(|| "incident".into());
        self.release.tell_freeze(why);
    }

    fn absorb(&mut self) -> Vec<Effect> {
        self.release.absorb(&self.tally, &mut |_, _| {}, self.now)
    }

    fn reload(&mut self, reload: Reload) -> Vec<Effect> {
        let canary = match reload {
            Reload::Canary => CanaryChange::Replaced,
            Reload::Removed if self.has_canary => CanaryChange::Removed,
            Reload::Nothing | Reload::Plan | Reload::Removed => CanaryChange::Same,
        };
        match reload {
            Reload::Plan => self.spec.plan = draw_plan(&mut self.generator),
            Reload::Canary => self.has_canary = true,
            Reload::Removed => self.has_canary = false,
            Reload::Nothing => {}
        }
        let change = Change {
            canary,
            ..Change::NOTHING
        };
        let spec = self.spec.clone();
        self.release
            .reconfigure(spec, change, &self.tally, self.now)
    }

    fn check(&mut self, action: &Action, before: &Release, effects: &[Effect], context: &str) {
        let (was, from) = (before.generation(), before.weight());
        let (generation, weight) = (self.release.generation(), self.release.weight());
        let phase = self.release.phase().clone();
        assert!(generation >= was, "{context}: the generation fell");
        if self.rolled_back == Some(generation) {
            assert_eq!(weight, Weight::ZERO, "{context}: it came back");
            assert_eq!(phase.name(), PhaseName::RolledBack, "{context}");
        }
        if matches!(phase, Phase::RolledBack { .. }) {
            assert_eq!(weight, Weight::ZERO, "{context}");
            assert_eq!(self.release.reach(), CanaryReach::Closed, "{context}");
            self.rolled_back = Some(generation);
        }
        self.check_told(before, effects, context);
        let is_by_person = matches!(action, Action::Order(_));
        if weight > from && !is_by_person {
            let walks = matches!(action, Action::Absorb(_) | Action::Succeeds(_));
            let begins = generation != was && self.spec.plan.is_fixed();
            assert!(walks || begins, "{context}: raised from {from} to {weight}");
        }
        if weight < from && !is_by_person {
            let rolled_back = matches!(phase, Phase::RolledBack { .. });
            let is_gone = generation != was || !self.has_canary;
            assert!(rolled_back || is_gone, "{context}: lowered");
        }
        if self.frozen && weight > from {
            let begins = generation != was && self.spec.plan.is_fixed();
            assert!(begins, "{context}: raised while frozen");
        }
        if matches!(action, Action::Restart) {
            assert_eq!((generation, weight), (was, from), "{context}");
        }
        self.check_step(before, effects, context);
        self.check_status(context);
    }

    /// Whoever is told everything knows the weight, and who may get the canary.
    fn check_told(&self, before: &Release, effects: &[Effect], context: &str) {
        let mut known = (before.generation(), before.weight(), before.reach());
        for effect in effects {
            if let Effect::Reweigh {
                generation,
                weight,
                reach,
            } = effect
            {
                known = (*generation, *weight, *reach);
            }
        }
        let now = (
            self.release.generation(),
            self.release.weight(),
            self.release.reach(),
        );
        assert_eq!(known, now, "{context}: the caller was not told");
    }

    /// No step ends by itself before its hold, or without every gate passing.
    fn check_step(&mut self, before: &Release, effects: &[Effect], context: &str) {
        for effect in effects {
            let Effect::Announce(notice) = effect else {
                continue;
            };
            let by_plan = if let NoticeKind::Progressed { by, .. }
            | NoticeKind::Promoted { by, .. } = &notice.kind
            {
                *by == Cause::Plan
            } else {
                false
            };
            if by_plan && let Phase::Progressing { position } = before.phase() {
                let step = self.spec.plan.step(position.step);
                if let Some(Step {
                    hold: Hold::For { time, .. },
                    ..
                }) = step
                {
                    let lasted = self.now.since(self.entered);
                    assert!(lasted >= *time, "{context}: after {lasted:?}");
                }
                let until = step.map(|step| step.hold) == Some(Hold::UntilPromoted);
                assert!(!until, "{context}: nobody has promoted");
            }
        }
        let step = |release: &Release| {
            let position = release.phase().position();
            (release.generation(), position.map(|position| position.step))
        };
        if step(before) != step(&self.release) {
            self.entered = self.now;
        }
    }

    fn check_status(&mut self, context: &str) {
        if self.generator.below(16) != 0 {
            return;
        }
        let status = self.release.status(self.now);
        let json = serde_json::to_value(&status).expect("a status is plain data");
        assert!(json["commands"].is_array(), "{context}");
        // What is offered works, and what is not changes nothing.
        for command in [
            Command::Pause,
            Command::Promote(Promotion::Full),
            Command::Resume,
            Command::Retry,
            Command::Rollback,
        ] {
            let order = Order {
                command,
                actor: None,
                reason: None,
            };
            let mut other = self.release.clone();
            let result = other.command(order, &self.tally, self.now);
            let changes = result.is_ok_and(|effects| !effects.is_empty());
            let is_offered = status.commands.contains(&command.name());
            assert_eq!(is_offered, changes, "{context}: {command:?}");
        }
    }
}
