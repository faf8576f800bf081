//! What the gates cost: a success, a failure, a second, in nanoseconds.
//!
//! Successes are counted as a worker does it: in counters of its own, compared with the rungs
//! of the ladder. Failures go to the release under one lock. Nothing of the proxy around it.

use std::{
    hint::black_box,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use haldane_decide::{
    gate::{
        Baseline, LadderLimits,
        bet::{Block, BlockBet, ERROR_LANES, ShareBet, TAIL_LANES},
        spec::{LatencyMetric, Promise, default_gates},
    },
    outcome::{ErrorClass, Evidence, FailureReason, Outcome},
    release::{Release, ReleaseSpec},
    role::Role,
    rollout::{Command, Order},
    split::SplitKey,
    tally::Tally,
    time::Timestamp,
    weight::Weight,
};
use rustix::time::{ClockId, clock_gettime};

/// A worker's counts, on a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    successes: AtomicU64,
    timed: AtomicU64,
    rungs: [AtomicU64; 12],
}

/// A release with a canary at 5 %, and what it is told.
struct Rollout {
    release: Release,
    tally: Tally,
    /// Microseconds.
    now: u64,
    random: u64,
}

impl Shard {
    fn succeed(&self, limits: &LadderLimits, role: Role, micros: u64) {
        bump(&self.successes);
        bump(&self.timed);
        if let Some(rung) = limits.highest_exceeded(role, micros) {
            bump(&self.rungs[rung]);
        }
    }
}

impl Rollout {
    fn new() -> Self {
        let spec = ReleaseSpec {
            weight: Weight::ZERO,
            gates: default_gates(),
            promise: Promise::default(),
            ..ReleaseSpec::default()
        };
        let (tally, now) = (Tally::default(), Timestamp::from_micros(START));
        let mut release = Release::new(spec, &tally, now);
        let mut fresh = |_: LatencyMetric, baseline: &mut Baseline| {
            for micros in (1000..101_000).step_by(10) {
                baseline.add(micros, 1);
            }
        };
        drop(release.absorb(&tally, &mut fresh, now));
        let weight = Weight::from_parts_per_million(50_000).unwrap_or(Weight::ZERO);
        let order = Order {
            command: Command::SetWeight(weight),
            actor: None,
            reason: None,
        };
        let _effects = release.command(order, &tally, now);
        Self {
            release,
            tally,
            now: START,
            random: 1,
        }
    }

    fn limits(&self) -> LadderLimits {
        let none = LadderLimits {
            metric: LatencyMetric::Ttfb,
            rungs: [[u64::MAX; 12]; 2],
        };
        self.release.latency_limits().ladders()[0].unwrap_or(none)
    }

    /// One failure in a thousand requests, a canary's as often as the weight says.
    fn fail(&mut self, is_sticky: bool) {
        self.now += 1000;
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let key = SplitKey::from_random(self.random ^ (self.random >> 29));
        let role = key.role(self.release.weight());
        for (role, successes) in [(Role::Stable, 949), (Role::Canary, 50)] {
            self.tally.of_mut(role).successes += successes;
            self.tally.of_mut(role).timed += successes;
        }
        self.tally.of_mut(role).failures += 1;
        let outcome = Outcome {
            role,
            evidence: Evidence::Failure(FailureReason::Status),
            key: is_sticky.then_some(key),
            weight: self.release.weight(),
            class: Some(ErrorClass::of_status(503)),
            request: None,
        };
        let now = Timestamp::from_micros(self.now);
        black_box(self.release.observe(&outcome, &self.tally, now));
    }

    /// So many microseconds later, with a thousand requests of which some were slow.
    fn pass(&mut self, micros: u64) {
        self.now += micros;
        for (role, successes) in [(Role::Stable, 950), (Role::Canary, 50)] {
            let counts = self.tally.of_mut(role);
            counts.successes += successes;
            counts.timed += successes;
            counts.rungs[0][0] += successes * 4 / 10;
            counts.rungs[0][2] += successes / 10;
        }
        let now = Timestamp::from_micros(self.now);
        let mut fresh = |_: LatencyMetric, _: &mut Baseline| {};
        black_box(self.release.absorb(&self.tally, &mut fresh, now));
    }
}

fn bets(criterion: &mut Criterion) {
    let mut bet = ShareBet::new(&ERROR_LANES);
    bet.set_share(0.05);
    bet.release(0.5);
    let mut turn = 0_u32;
    criterion.bench_function("bet on a failure, 8 lanes", |bencher| {
        bencher.iter(|| {
            turn = turn.wrapping_add(1);
            bet.release(1e-6);
            bet.update(if turn.is_multiple_of(20) { 1.0 } else { 0.0 });
            black_box(bet.evidence())
        });
    });
    let mut rungs: Vec<BlockBet> = (0..7).map(|_| BlockBet::new(&TAIL_LANES)).collect();
    for rung in &mut rungs {
        rung.set_share(0.05);
    }
    let block = Block {
        canary: 50,
        stable: 950,
        canary_exceeding: 1,
        stable_exceeding: 19,
    };
    criterion.bench_function("close a block, 7 rungs", |bencher| {
        bencher.iter(|| {
            rungs
                .iter_mut()
                .map(|rung| rung.close(1e-6, black_box(block)))
                .sum::<f64>()
        });
    });
}

fn release(criterion: &mut Criterion) {
    let mut rollout = Rollout::new();
    criterion.bench_function("failure, each request split", |bencher| {
        bencher.iter(|| rollout.fail(false));
    });
    let mut rollout = Rollout::new();
    criterion.bench_function("failure, users sticky", |bencher| {
        bencher.iter(|| rollout.fail(true));
    });
    for (name, micros) in [
        ("absorb, nothing due", 1),
        ("absorb, a second over", 1_000_000),
    ] {
        let mut rollout = Rollout::new();
        criterion.bench_function(name, |bencher| bencher.iter(|| rollout.pass(micros)));
    }
}

/// Each thread counts in its own shard; one request in a thousand fails.
fn threads(criterion: &mut Criterion) {
    for count in [1_usize, 2] {
        let shards: Vec<Shard> = (0..count).map(|_| Shard::default()).collect();
        let rollout = Mutex::new(Rollout::new());
        let limits = rollout
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .limits();
        for (name, failing) in [("success", u64::MAX), ("request, 0.1 % fail", 1000)] {
            criterion.bench_function(&format!("{name}, {count} thread(s)"), |bencher| {
                bencher.iter_custom(|rounds| {
                    let work = |shard: &Shard| {
                        for round in 1..=rounds {
                            if round.is_multiple_of(failing) {
                                rollout
                                    .lock()
                                    .unwrap_or_else(PoisonError::into_inner)
                                    .fail(false);
                            } else {
                                let micros = black_box(round & 0xFFFF);
                                shard.succeed(black_box(&limits), Role::Stable, micros);
                            }
                        }
                    };
                    let begin = now();
                    thread::scope(|scope| {
                        for shard in &shards {
                            scope.spawn(move || work(shard));
                        }
                    });
                    now() - begin
                });
            });
        }
    }
}

fn bump(counter: &AtomicU64) {
    // A shard has one writer.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Release);
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// In microseconds.
const START: u64 = 1_000_000_000;

criterion_group!(benches, bets, release, threads);
criterion_main!(benches);
