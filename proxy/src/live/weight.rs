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

use haldane_decide::role::Role;
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

/// Where a request was sent, and in which generation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Routed {
    pub(crate) role: Role,
    pub(crate) generation: u32,
}

fn pack(setting: Setting) -> u64 {
    u64::from(setting.generation) << 32 | u64::from(setting.weight.parts_per_million())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of the word"
)]
fn unpack(word: u64) -> Setting {
    let weight = Weight::from_parts_per_million(word as u32).unwrap_or(Weight::ZERO);
    Setting {
        generation: (word >> 32) as u32,
        weight,
    }
}
