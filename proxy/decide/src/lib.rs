//! Decisions of haldane, as pure functions of what the caller saw and when.
//!
//! Nothing in this crate reads a clock, spawns a thread, takes a lock, draws a
//! random number or does IO. Time is an argument; salts come in as numbers.

pub mod gate;
pub mod outcome;
pub mod role;
pub mod split;
pub mod tally;
pub mod time;
pub mod weight;
