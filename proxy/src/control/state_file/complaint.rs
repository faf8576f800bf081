//! A failure that goes on is told again and again, but not each time.

use crate::clock::Micros;

/// How often.
const REMINDER: Micros = 60_000_000;

/// When a failure was told last, if nothing has succeeded since.
#[derive(Debug, Default)]
pub(super) struct Complaint(Option<Micros>);

impl Complaint {
    /// It has failed again: whether that is to be told now.
    pub(super) fn is_due(&mut self, now: Micros) -> bool {
        let is_due = self
            .0
            .is_none_or(|last| now.saturating_sub(last) >= REMINDER);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }

    /// It has succeeded. Whether a failure was told before.
    pub(super) fn settle(&mut self) -> bool {
        self.0.take().is_some()
    }
}
