//! When the control plane looks at what it looks at regularly.
//!
//! All of it at the same instants, and from a descriptor of the system: a process with little
//! to do sleeps for as long as it can, and takes the processor from those who serve as seldom
//! as it can. Timers of the runtime would wake it up twice for each.

use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::sync::watch;

use crate::ticks::Ticks;

/// What is looked at most often is looked at with every beat.
pub(crate) const BEAT: Duration = Duration::from_millis(100);

/// How many beats there were.
#[derive(Clone, Debug)]
pub(crate) struct Beats(watch::Receiver<u64>);

impl Beats {
    /// Begins to count.
    ///
    /// # Errors
    ///
    /// If the system gives no timer, or no descriptor for it.
    pub(crate) fn start() -> io::Result<Self> {
        let mut ticks = Ticks::every(BEAT)?;
        let (count, beats) = watch::channel(0);
        tokio::spawn(async move {
            while !count.is_closed() {
                if let Err(error) = ticks.tick().await {
                    tracing::error!(%error, "the control plane has lost its timer");
                    return;
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(beats))
    }

    /// Now, and with every beat whose number is a multiple of `period`.
    pub(crate) fn every(&self, period: u64) -> Looks {
        Looks {
            beats: self.0.clone(),
            period,
            next: 0,
        }
    }
}

/// When something is looked at.
#[derive(Debug)]
pub(crate) struct Looks {
    beats: watch::Receiver<u64>,
    period: u64,
    next: u64,
}

impl Looks {
    /// Waits until it is time. What was missed is not made up for.
    pub(crate) async fn due(&mut self) {
        let next = self.next;
        let Ok(count) = self
            .beats
            .wait_for(|count| *count >= next)
            .await
            .map(|count| *count)
        else {
            // Nobody counts any more, and it was said.
            return pending().await;
        };
        self.next = (count / self.period + 1) * self.period;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_due(looks: &mut Looks) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(looks.due()).poll(&mut context).is_ready()
    }

    #[test]
    fn what_begins_at_different_times_is_looked_at_together() {
        let (count, beats) = watch::channel(0);
        let beats = Beats(beats);
        let (mut often, mut seldom) = (beats.every(1), beats.every(5));
        assert!(is_due(&mut often) && is_due(&mut seldom));
        let mut late = None;
        for beat in 1..=30_u64 {
            count.send_replace(beat);
            assert!(is_due(&mut often) && !is_due(&mut often), "{beat}");
            assert_eq!(is_due(&mut seldom), beat % 5 == 0, "{beat}");
            if beat == 7 {
                late = Some(beats.every(5));
            }
            if let Some(late) = &mut late {
                assert_eq!(is_due(late), beat == 7 || beat % 5 == 0, "{beat}");
            }
        }
        count.send_replace(43);
        assert!(is_due(&mut seldom) && !is_due(&mut seldom));
        count.send_replace(45);
        assert!(is_due(&mut seldom));
    }
}
