//! What becomes of requests that the canary has failed.

use crate::file::{Table, Value};
use crate::report::Report;
use crate::types::Shield;

/// The key, which is in `[route.rollout]`.
const KEY: &str = "shield";

/// `shield` of a route; the default without it.
pub(super) fn shield(route: &Table<'_>, report: &mut Report) -> Option<Shield> {
    // What is no table, and keys that are unknown, are said where the table is read.
    let Some(rollout) = route.get("rollout").filter(Value::is_table) else {
        return Some(Shield::default());
    };
    let entries = rollout.entries(report, "a table")?;
    let written = entries.iter().find(|(key, ..)| *key == KEY);
    match written {
        Some((.., value)) => value.choice(
            report,
            &[("idempotent", Shield::Idempotent), ("off", Shield::Off)],
        ),
        None => Some(Shield::default()),
    }
}
