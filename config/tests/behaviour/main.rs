//! What the crate does for its users: files that load, files that are refused and how.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "in the helpers of a test, that is how it fails"
)]

mod access;
mod diagnostics;
mod difference;
mod examples;
mod gates;
mod hostile;
mod notify;
mod outside;
mod overrides;
mod rules;
mod rules_of_gates;
mod rules_of_metrics;
mod rules_of_releases;
mod rules_of_targeting;
mod snapshots;
mod sockets;
mod state;
mod tls;
mod token;
mod upstreams;
