//! What haldane does for those who run it, seen from outside: real sockets, one file
//! for each behaviour.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in the helpers of a test, that is how it fails"
)]

/// The admin API: what it shows, what it changes, and whom it refuses.
mod admin;
/// The command line: what it prints, and what it ends with.
mod cli;
/// Where a message ends: what is ambiguous is refused, what breaks off never looks complete.
mod framing;
/// What is passed on, in both directions, and what is not.
mod headers;
/// The metrics: their form, and that their numbers are those of what was sent.
mod metrics;
/// Upstreams, clients and proxies to test with.
mod support;
