//! The access log that is in force, if there is one, and what was lost of all there were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use haldane_config::AccessSpec;

use crate::clock::Clock;
use crate::telemetry::access::{AccessError, AccessLog};

/// Where requests are logged.
#[derive(Default)]
pub(crate) struct Access {
    /// Replaced as a whole. Only lent to requests: the writer of a log that was replaced
    /// ends when nobody has it any more, and a session may last for days.
    pub(crate) current: Arc<ArcSwapOption<AccessLog>>,
    dropped: Arc<AtomicU64>,
}

impl Access {
    /// What is to be put in force for a configuration. If it goes where the present one
    /// does, it takes over from that.
    ///
    /// # Errors
    ///
    /// If it cannot be written to.
    pub(crate) fn open(
        &self,
        spec: Option<&AccessSpec>,
        clock: Clock,
    ) -> Result<Option<Arc<AccessLog>>, AccessError> {
        let Some(spec) = spec else { return Ok(None) };
        let before = self.current.load();
        AccessLog::open(spec, before.as_ref(), &self.dropped, clock).map(Some)
    }

    /// How many lines were lost since the process started.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what was logged, for as long as that goes on.
    pub(crate) async fn close(&self) {
        if let Some(access) = self.current.load_full() {
            access.close().await;
        }
    }
}
