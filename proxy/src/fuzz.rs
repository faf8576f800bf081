//! What the targets in `proxy/fuzz` need of the code that is private to this crate.
//!
//! Only forwards: what must hold is said there. Exists under `--cfg fuzzing` alone.

pub mod admin;
pub mod bodies;
pub mod frames;
pub mod http;
pub mod kept;
pub mod outside;
pub mod records;
pub mod wire;
