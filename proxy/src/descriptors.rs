//! How many descriptors the process may have open: as many as it is allowed to, and whether
//! that is enough for what the configuration allows.

use haldane_config::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For what is neither a client nor for one: listeners, event queues, files, the admin API and
/// connections that are kept for later.
const BESIDE: u64 = 128;

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
