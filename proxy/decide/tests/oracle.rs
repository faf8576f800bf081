//! The reference says what is right: the same numbers after every step, the same decision
//! on the same row.
//!
//! `oracle/reference/` is the reference, `oracle/generate.py` writes what it computes.

#[cfg(test)]
#[path = "oracle/agreement.rs"]
mod agreement;
#[cfg(test)]
#[path = "oracle/engine.rs"]
mod engine;
#[cfg(test)]
#[path = "simulation/generator.rs"]
#[expect(dead_code, reason = "traces are made of integers only")]
mod generator;
#[cfg(test)]
#[path = "oracle/primitives.rs"]
mod primitives;
#[cfg(test)]
#[path = "oracle/trace.rs"]
mod trace;
