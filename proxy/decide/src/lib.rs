//! Decisions of haldane, as pure functions of what the caller saw and when.
//!
//! Nothing in this crate reads a clock, spawns a thread, takes a lock, draws a
//! random number or does IO. Time is an argument; salts come in as numbers.
//!
//! [`release::Release`] is the only type that a proxy has to drive.

pub mod aftermath;
pub mod drill;
pub mod feed;
pub mod forecast;
pub mod gate;
pub mod generation;
pub mod ledger;
pub mod outcome;
pub mod plan;
pub mod refusal;
pub mod release;
pub mod role;
pub mod rollout;
pub mod snapshot;
pub mod split;
pub mod status;
pub mod tally;
pub mod time;
pub mod weight;
