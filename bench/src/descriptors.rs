//! The limit on open descriptors: raised as far as allowed, and known.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the largest run needs: 10 000 connections with both of their ends here, and some room.
const WANTED: u64 = 65_536;

/// Raises the limit to what is wanted or to what is allowed; returns the limit in force.
pub(crate) fn raise() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let hard = before.maximum.unwrap_or(u64::MAX);
    let wanted = Rlimit {
        current: Some(WANTED),
        maximum: Some(hard.max(WANTED)),
    };
    let allowed = Rlimit {
        current: Some(hard.min(WANTED)),
        maximum: before.maximum,
    };
    // Raising the hard limit needs a privilege; without it the hard limit is all there is.
    if setrlimit(Resource::Nofile, wanted).is_err() && setrlimit(Resource::Nofile, allowed).is_err()
    {
        return before.current.unwrap_or(u64::MAX);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
