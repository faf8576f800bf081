//! A gate: told every outcome, answers with a verdict.

pub mod spec;
