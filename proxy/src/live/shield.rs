//! Stable answers in the place of a canary that has failed, or was rolled back.

use std::sync::atomic::Ordering;

use haldane_decide::role::Role;

use super::Route;
use super::choice::Bearing;
use super::evidence::Subject;
use super::weight::Routed;

impl Route {
    /// A request that the canary has failed goes to stable, where it is counted as started.
    pub(crate) fn stand_in(&self, worker: usize, failed: &Subject) -> Subject {
        self.shard(worker, Role::Stable).start();
        self.lasting.shielded.fetch_add(1, Ordering::Relaxed);
        Subject {
            routed: Routed {
                role: Role::Stable,
                ..failed.routed
            },
            key: None,
            request: None,
            bearing: Bearing::None,
        }
    }

    /// How many requests that the canary had failed have gone to stable.
    pub(crate) fn shielded(&self) -> u64 {
        self.lasting.shielded.load(Ordering::Relaxed)
    }

    /// Whether this was the last generation that was rolled back.
    pub(crate) fn was_rolled_back(&self, generation: u32) -> bool {
        self.last_rolled_back() == generation
    }

    /// The last generation that was rolled back; 0 before the first.
    pub(crate) fn last_rolled_back(&self) -> u32 {
        self.lasting.rolled_back.load(Ordering::Relaxed)
    }
}
