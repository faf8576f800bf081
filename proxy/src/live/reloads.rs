//! Whether the configuration that is in force is the one that should be.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use haldane_decide::time::Timestamp;
use tokio::sync::Notify;

/// How the last reload went.
#[derive(Debug)]
pub(crate) struct Reloads {
    successful: AtomicBool,
    /// In microseconds since the epoch.
    succeeded_at: AtomicU64,
    /// Somebody asks for a reload: a signal.
    pub(crate) asked: Notify,
}

impl Reloads {
    /// The configuration was loaded once, at the start.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            successful: AtomicBool::new(true),
            succeeded_at: AtomicU64::new(now.as_micros()),
            asked: Notify::new(),
        }
    }

    /// What the configuration says is in force.
    pub(crate) fn succeeded(&self, now: Timestamp) {
        self.succeeded_at.store(now.as_micros(), Ordering::Relaxed);
        self.successful.store(true, Ordering::Relaxed);
    }

    /// What the configuration says cannot be used.
    pub(crate) fn failed(&self) {
        self.successful.store(false, Ordering::Relaxed);
    }

    /// Whether the last reload succeeded.
    pub(crate) fn is_successful(&self) -> bool {
        self.successful.load(Ordering::Relaxed)
    }

    /// When the last one succeeded.
    pub(crate) fn succeeded_at(&self) -> Timestamp {
        Timestamp::from_micros(self.succeeded_at.load(Ordering::Relaxed))
    }
}
