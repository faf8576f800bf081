//! Time for a worker, from a descriptor of the system.
//!
//! A runtime with timers looks at the clock and at its wheel whenever it goes to sleep and
//! wakes up: for every request of a service that has few. A worker needs one tick alone.

use std::io;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Ticks at a fixed interval. Those that nobody waits for are one.
#[derive(Debug)]
pub(crate) struct Ticks(Receiver);

impl Ticks {
    /// The first tick comes after one interval.
    ///
    /// # Errors
    ///
    /// If the system gives no timer, or no descriptor for it.
    pub(crate) fn every(interval: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let interval = Timespec::try_from(interval).map_err(io::Error::other)?;
        let setting = Itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        // It is read as a pipe is.
        Receiver::from_owned_fd_unchecked(timer).map(Self)
    }

    /// Waits for the next tick.
    ///
    /// # Errors
    ///
    /// If the timer cannot be read, which the system does not let happen.
    pub(crate) async fn tick(&mut self) -> io::Result<()> {
        // There is room for more than what comes, which is how many ticks there were: so the
        // runtime knows that there is nothing left, and does not ask.
        let mut count = [0; 2 * size_of::<u64>()];
        self.0.read(&mut count).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic_micros;

    #[test]
    fn ticks_come_at_their_interval_without_timers_of_the_runtime() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let begin = monotonic_micros();
            let mut ticks = Ticks::every(Duration::from_millis(5)).expect("a timer");
            for _ in 0..4 {
                ticks.tick().await.expect("ticks");
            }
            assert!(monotonic_micros() - begin >= 20_000);
        });
    }
}
