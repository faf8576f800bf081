//! Bad days by the thousand, and healthy rollouts that must not be rolled back.
//!
//! `HALDANE_SEED=…` replays one day, `HALDANE_SEEDS=…` sets how many there are.

#[cfg(test)]
#[path = "simulation/generator.rs"]
mod generator;
#[cfg(test)]
#[path = "simulation/healthy.rs"]
mod healthy;
#[cfg(test)]
#[path = "simulation/hostile.rs"]
mod hostile;
#[cfg(test)]
#[path = "simulation/seen.rs"]
mod seen;
#[cfg(test)]
#[path = "simulation/standard.rs"]
mod standard;
#[cfg(test)]
#[path = "simulation/walk.rs"]
mod walk;
