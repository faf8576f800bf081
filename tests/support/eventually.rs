//! Waits for what must come, with a deadline. The only place that sleeps.

use std::time::{Duration, Instant};

/// Longer than anything takes that works, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// The time, to measure how long something took.
#[expect(
    clippy::disallowed_methods,
    reason = "a test watches from outside: it has a clock of its own"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// If it does not within [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    some(what, || condition().then_some(()));
}

/// Waits until `look` finds something.
///
/// # Panics
///
/// If it does not within [`PATIENCE`].
#[track_caller]
pub(crate) fn some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now() < deadline, "never happened: {what}");
        std::thread::sleep(POLL);
    }
}

/// Lets time go by: what takes long, or comes at a steady rate, must be made so.
pub(crate) fn elapse(during: Duration) {
    std::thread::sleep(during);
}
