//! A gate: told every outcome, answers with a verdict.
//!
//! Gates compare the canary with stable, by evidence that may be looked at after every
//! response (see [`bet`]), and act by one promise for all of them together (`panel`).

pub mod bet;
pub mod numbers;
pub mod restart;
pub mod spec;

mod advance;
mod baseline;
mod blame;
mod burn;
mod classes;
mod errors;
mod keys;
mod latency;
mod limit;
mod outside;
mod panel;
mod recent;
mod signal;
mod tape;
mod verdict;
mod whole;

pub(crate) use advance::LANES as NO_WORSE_LANES;
pub(crate) use latency::{Place, RATE_STAKES, Rung, SHARE_STAKES, rungs_of};
pub(crate) use tape::{Kept, Tape};

pub(crate) use panel::{BLOCK, HARD_BLOCK, Manner, Panel, Shares, rate_limits_of};

pub use baseline::Baseline;
pub use latency::{LadderLimits, LatencyLimits};
pub use outside::{ANSWERS_TO_ROLL_BACK, Answer, INTERVALS_FRESH};
pub use panel::{FreshLatencies, GateStatus, Waiting};
pub use verdict::{Breach, Estimate, Measure, VerdictKind};
