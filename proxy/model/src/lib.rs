//! The word and the shards of `proxy/src/live`, compiled with loom's atomics, and
//! what must hold of them under every interleaving.
//!
//! The files are included, not copied: `crate::sync` is loom here and the standard
//! library in haldane.

use haldane_decide::role::Role;
use haldane_decide::rollout::CanaryReach;
use haldane_decide::tally::Tally;
use haldane_decide::weight::Weight;
use loom::sync::Arc;
use loom::thread;

#[path = "../../src/live/histogram.rs"]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "a model needs a part of the file only")
)]
mod histogram;
#[path = "../../src/live/shard.rs"]
#[expect(dead_code, reason = "a model needs a part of the file only")]
mod shard;
#[path = "../../src/live/weight.rs"]
#[expect(unreachable_pub, reason = "the file is public in haldane")]
mod weight;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
}

use shard::Shard;
use weight::{LiveWeight, Setting, Tenure};

const BEFORE: Setting = Setting {
    generation: 1,
    weight: Weight::FULL,
    reach: CanaryReach::Closed,
};
/// What a reload with another canary begins after [`AFTER`].
const NEXT: Setting = Setting {
    generation: 2,
    weight: Weight::FULL,
    reach: CanaryReach::Closed,
};
const AFTER: Setting = Setting {
    generation: 1,
    weight: Weight::ZERO,
    reach: CanaryReach::Closed,
};

fn choose(setting: Setting) -> Role {
    if setting.weight.is_zero() {
        Role::Stable
    } else {
        Role::Canary
    }
}

/// A worker routes a request while another thread rolls back: if the request goes to
/// the canary, whoever rolled back has counted it; and what is routed after the
/// rollback was seen goes to stable.
///
/// # Panics
///
/// If it does not hold.
pub fn a_rollback_counts_every_request_that_reaches_the_canary() {
    let shared = Arc::new((LiveWeight::new(BEFORE), Shard::default()));
    let worker = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (word, shard) = &*shared;
            let first = word.pick(shard, choose).role;
            let second = word.pick(shard, choose).role;
            assert!(
                first == Role::Canary || second == Role::Stable,
                "the canary came back"
            );
            u64::from(first == Role::Canary) + u64::from(second == Role::Canary)
        })
    };
    let decider = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (word, shard) = &*shared;
            word.store(AFTER);
            shard.of(Role::Canary).started()
        })
    };
    let counted = decider.join().unwrap_or(0);
    let reached = worker.join().unwrap_or(u64::MAX);
    assert!(
        reached <= counted,
        "{reached} reached the canary, {counted} were counted"
    );
    let (word, shard) = &*shared;
    assert_eq!(shard.of(Role::Canary).started(), reached);
    assert_eq!(word.pick(shard, choose).role, Role::Stable);
}

/// A worker that still holds the old routes splits a request while a reload begins the
/// next generation with another canary: the old canary, which is rolled back, gets none.
///
/// # Panics
///
/// If it does not hold.
pub fn a_canary_that_was_replaced_gets_no_request_of_the_next_generation() {
    let shared = Arc::new((LiveWeight::new(BEFORE), Shard::default(), Tenure::default()));
    let worker = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (word, shard, tenure) = &*shared;
            let routed = word.pick(shard, |setting| {
                if tenure.includes(setting.generation) {
                    choose(setting)
                } else {
                    Role::Stable
                }
            });
            assert!(
                routed.role == Role::Stable || routed.generation == BEFORE.generation,
                "the old canary came back"
            );
            assert!(routed.generation == BEFORE.generation || tenure.is_over());
            u64::from(routed.role == Role::Canary)
        })
    };
    let decider = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (word, shard, tenure) = &*shared;
            word.store(AFTER);
            let counted = shard.of(Role::Canary).started();
            tenure.end(BEFORE.generation);
            word.store(NEXT);
            counted
        })
    };
    let counted = decider.join().unwrap_or(0);
    let reached = worker.join().unwrap_or(u64::MAX);
    assert!(reached <= counted, "a request that nobody counted");
}

/// A reader that sees a later count sees the earlier ones: a success that came before
/// a failure is never missing from a tally that has the failure.
///
/// # Panics
///
/// If it does not hold.
pub fn a_tally_is_never_ahead_of_what_it_depends_on() {
    let shard = Arc::new(Shard::default());
    let worker = {
        let shard = Arc::clone(&shard);
        thread::spawn(move || {
            let counts = shard.of(Role::Canary);
            counts.start();
            counts.success();
            counts.timed();
            counts.start();
            counts.failure();
        })
    };
    // Threads of their own: loom explores less of what the model's main thread does.
    let reader = thread::spawn(move || {
        let mut tally = Tally::default();
        shard.read_evidence(&mut tally);
        let seen = tally.of(Role::Canary);
        assert!(
            seen.failures == 0 || seen.successes == 1,
            "a failure without the success before it"
        );
        assert!(seen.timed <= seen.successes, "a part without the whole");
        assert!(seen.requests() <= shard.of(Role::Canary).started());
    });
    assert!(worker.join().is_ok() && reader.join().is_ok());
}
