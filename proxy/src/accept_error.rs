//! What to do when a connection cannot be accepted: go on, whatever it was.

use std::io;
use std::time::Duration;

/// How long accepting rests when the process has run out of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How accepting on one listener goes.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    /// The process is out of something, and that was said.
    exhausted: bool,
}

impl Accepting {
    /// A connection was accepted.
    pub(crate) fn succeeded(&mut self) {
        if std::mem::take(&mut self.exhausted) {
            tracing::info!("accepting again");
        }
    }

    /// A broken connection is skipped; running out of descriptors is waited out, for as long
    /// as is returned, and said once for as long as it lasts.
    #[must_use]
    pub(crate) fn failed(&mut self, error: &io::Error) -> Option<Duration> {
        match error.kind() {
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset => None,
            _ => {
                if !std::mem::replace(&mut self.exhausted, true) {
                    tracing::warn!(%error, "cannot accept, trying again");
                }
                Some(EXHAUSTED_PAUSE)
            }
        }
    }
}

/// Waits for as long, where the runtime has timers.
pub(crate) async fn pause(pause: Option<Duration>) {
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    }
}
