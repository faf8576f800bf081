//! Generation and weight in one atomic word: a rollback is one store.
//!
//! ## Why a canary request is counted before it is routed for good
//!
//! A worker that read the word just before a rollback stored zero may use what it
//! read. That is sound (the request was routed before the decision), but nobody
//! could tell it from a request that was routed afterwards. So a worker that picks
//! the canary first counts the request as started, then reads the word again; and
//! whoever stores a word reads the counts after the store. With a sequentially
//! consistent fence between the two steps on both sides, either the worker sees
//! the new word or the other side sees the count. Hence every request that ever
//! reaches the canary in a generation is among the `canary_requests` of the event
//! that ended it. Only requests to the canary pay for the fence.
//!
//! ## Why a generation also ends a tenure
//!
//! When the configuration gets another canary, the next generation is stored for it
//! before the routes are replaced. A worker that still holds the old ones would send a
//! request of the new generation to the old canary, which may have been rolled back. So
//! the `Tenure` of the old canary is ended before the word is stored: whoever reads
//! the new generation sees that too.

use haldane_decide::role::Role;
use haldane_decide::rollout::CanaryReach;
use haldane_decide::weight::Weight;

use super::shard::Shard;
use crate::sync::{AtomicU64, Ordering, fence};

/// What requests are split by at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Setting {
    /// Which attempt at a release this is.
    pub generation: u32,
    /// The canary's share.
    pub weight: Weight,
    /// Who gets the canary at weight zero.
    pub reach: CanaryReach,
}

/// The word that every request reads. Written only under the route's release lock.
#[derive(Debug)]
pub(crate) struct LiveWeight(AtomicU64);

impl LiveWeight {
    pub(crate) fn new(setting: Setting) -> Self {
        Self(AtomicU64::new(pack(setting)))
    }

    /// The current setting.
    pub(crate) fn load(&self) -> Setting {
        unpack(self.0.load(Ordering::Acquire))
    }

    /// Replaces the setting. Counts of started requests that are read after this
    /// contain every request that was routed by an earlier setting.
    pub(crate) fn store(&self, setting: Setting) {
        self.0.store(pack(setting), Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Picks a role under the current setting and counts the request as started.
    ///
    /// `choose` must depend on the setting only: it is asked again when the setting
    /// changes between the choice and its confirmation.
    pub(crate) fn pick(&self, shard: &Shard, choose: impl Fn(Setting) -> Role) -> Routed {
        let mut setting = self.load();
        loop {
            let role = choose(setting);
            let counts = shard.of(role);
            counts.start();
            let confirmed = match role {
                Role::Canary => self.confirm(),
                Role::Stable => setting,
            };
            if confirmed == setting {
                return Routed {
                    role,
                    generation: setting.generation,
                    weight: setting.weight,
                };
            }
            counts.unstart();
            setting = confirmed;
        }
    }

    /// The setting again, after a request was counted as started under an earlier one.
    fn confirm(&self) -> Setting {
        fence(Ordering::SeqCst);
        self.load()
    }
}

/// Up to which generation a canary may get requests. Without an end at first.
#[derive(Debug)]
pub(crate) struct Tenure(AtomicU64);

/// More than any generation.
const NO_END: u64 = u64::MAX;

impl Default for Tenure {
    fn default() -> Self {
        Self(AtomicU64::new(NO_END))
    }
}

impl Tenure {
    /// Makes this generation the last one. Only the first call has an effect.
    pub(crate) fn end(&self, generation: u32) {
        if !self.is_over() {
            self.0.store(u64::from(generation), Ordering::Release);
        }
    }

    /// Whether it has been ended.
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) != NO_END
    }

    /// Whether requests of this generation, which was read from the word, may go to
    /// the canary.
    pub(crate) fn includes(&self, generation: u32) -> bool {
        u64::from(generation) <= self.0.load(Ordering::Acquire)
    }
}

/// Where a request was sent, in which generation, and under which weight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Routed {
    pub(crate) role: Role,
    pub(crate) generation: u32,
    pub(crate) weight: Weight,
}

/// Set in the word if the canary may be asked for by name at weight zero. A weight takes
/// the lowest 20 bits.
const FORCED: u64 = 1 << 31;

fn pack(setting: Setting) -> u64 {
    let reach = match setting.reach {
        CanaryReach::Closed => 0,
        CanaryReach::Forced => FORCED,
    };
    let weight = u64::from(setting.weight.parts_per_million());
    u64::from(setting.generation) << 32 | reach | weight
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of the word"
)]
fn unpack(word: u64) -> Setting {
    let parts = (word & !FORCED) as u32;
    let weight = Weight::from_parts_per_million(parts).unwrap_or(Weight::ZERO);
    Setting {
        generation: (word >> 32) as u32,
        weight,
        reach: if word & FORCED == 0 {
            CanaryReach::Closed
        } else {
            CanaryReach::Forced
        },
    }
}
