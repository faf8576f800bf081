//! The only reader of time: wall time anchored once, then monotonic.

use std::time::{Duration, Instant, SystemTime};

use haldane_decide::time::Timestamp;

/// A point in time for measuring: microseconds since the clock was started.
pub type Micros = u64;

/// Tells the time. Copies agree with each other and never go back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Instant,
    base: Timestamp,
}

impl Clock {
    /// Reads wall time, for the first and last time.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the reader of time that the ban names"
    )]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            anchor: Instant::now(),
            base: Timestamp::from_micros(micros(since_epoch.unwrap_or_default())),
        }
    }

    /// Monotonic time in microseconds since the clock was started.
    #[must_use]
    pub fn micros(&self) -> Micros {
        micros(self.anchor.elapsed())
    }

    /// The time now, as decisions and messages are told it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(self.micros())
    }

    /// The timestamp of a moment that [`Clock::micros`] returned.
    #[must_use]
    pub const fn at(&self, moment: Micros) -> Timestamp {
        Timestamp::from_micros(self.base.as_micros() + moment)
    }

    /// The moment of a timestamp; the first one if it was before.
    #[must_use]
    pub const fn moment_of(&self, timestamp: Timestamp) -> Micros {
        timestamp.as_micros().saturating_sub(self.base.as_micros())
    }
}

/// The system's monotonic clock in microseconds, for programs that read it too.
#[must_use]
pub fn monotonic_micros() -> Micros {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let rest = u64::try_from(time.tv_nsec).unwrap_or_default() / 1000;
    seconds * 1_000_000 + rest
}

/// A duration in whole microseconds; the longest representable one if it does not fit.
#[must_use]
pub fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
