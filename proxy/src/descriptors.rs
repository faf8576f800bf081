//! How many descriptors the process may have open: as many as it is allowed to, whether
//! that is enough for what the configuration allows, and some that clients cannot take.

use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use haldane_config::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For what is neither a client nor for one: listeners, event queues, files, the admin API and
/// connections that are kept for later.
const BESIDE: u64 = 128;

/// Descriptors of one listener that are kept for when there are no others.
const RESERVED: usize = 8;

/// Open files that are good for nothing but to be closed: who needs a descriptor when
/// clients have all of them closes one first.
pub(crate) struct Reserve(Mutex<Vec<File>>);

impl Reserve {
    /// As full as it can be now.
    pub(crate) fn new() -> Self {
        let reserve = Self(Mutex::default());
        reserve.refill();
        reserve
    }

    /// Makes room for one descriptor; `false` if nothing is left to give.
    pub(crate) fn give(&self) -> bool {
        self.lock().pop().is_some()
    }

    /// Takes back what it has given, as far as it can now.
    pub(crate) fn refill(&self) {
        let mut files = self.lock();
        while files.len() < RESERVED
            && let Ok(file) = File::open("/dev/null")
        {
            files.push(file);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Raises the limit of this process to what it may raise it to by itself.
pub(crate) fn raise() {
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: allowed.maximum,
        maximum: allowed.maximum,
    };
    if allowed.current != allowed.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

/// Says so if clients may have more connections than there are descriptors for them.
pub(crate) fn compare(limits: &Limits) {
    let Some(allowed) = getrlimit(Resource::Nofile).current else {
        return;
    };
    let needed = needed(limits.connections);
    if needed > allowed {
        let connections = limits.connections;
        tracing::warn!(
            connections,
            needed,
            allowed,
            "limits.connections is more than there are descriptors for: lower it, or let the process have more open files"
        );
    }
}

/// Each client may need a connection to an upstream.
fn needed(connections: usize) -> u64 {
    let connections = u64::try_from(connections).unwrap_or(u64::MAX);
    connections.saturating_mul(2).saturating_add(BESIDE)
}
