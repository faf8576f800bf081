//! What to do when a connection cannot be accepted: go on, whatever it was.

use std::io;
use std::time::Duration;

/// How long accepting rests when the process has run out of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A broken connection is skipped; running out of descriptors is waited out.
pub(crate) async fn recover(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset => {}
        _ => {
            tracing::warn!(%error, "cannot accept, trying again");
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
        }
    }
}
