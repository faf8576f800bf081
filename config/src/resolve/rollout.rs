//! What is promised about a rollout.

use haldane_decide::gate::spec::{Exposure, Promise};

use super::read;
use crate::file::{Table, Value};
use crate::keys;
use crate::report::Report;
use crate::types::LedgerDetail;
use crate::unit::{self, CHANCE};

/// More of anything is never reached.
const BUDGET_MAX: u64 = 1_000_000_000_000;

/// `[route.rollout]`: what is promised, and what is told of those who were on the canary;
/// the defaults without it.
pub(super) fn rollout(route: &Table<'_>, report: &mut Report) -> Option<(Promise, LedgerDetail)> {
    let table = match route.get("rollout") {
        Some(value) => Some(value.table(report, &keys::ROLLOUT)?),
        None => None,
    };
    let table = table.as_ref();
    let default = Promise::default();
    let false_rollback = read(
        table,
        report,
        ("false_rollback", default.false_rollback),
        chance((0.2, "20%")),
    );
    let false_advance = read(
        table,
        report,
        ("false_advance", default.false_advance),
        chance((0.5, "50%")),
    );
    let exposure = read(table, report, ("exposure", default.exposure), exposure);
    let choices = [
        ("counts", LedgerDetail::Counts),
        ("keys", LedgerDetail::Keys),
    ];
    let ledger = ("ledger", LedgerDetail::default());
    let ledger = read(table, report, ledger, |value, report| {
        value.choice(report, &choices)
    });
    let promise = Promise {
        false_rollback: false_rollback?,
        false_advance: false_advance?,
        exposure: exposure?,
        ..default
    };
    Some((promise, ledger?))
}

/// A probability of at most this, which is also given as it is written.
fn chance(most: (f64, &'static str)) -> impl Fn(&Value<'_>, &mut Report) -> Option<f64> {
    move |value, report| value.parse(report, &CHANCE, |text| unit::chance(text, most))
}

fn exposure(value: &Value<'_>, report: &mut Report) -> Option<Exposure> {
    let table = value.table(report, &keys::EXPOSURE)?;
    let mut budget = |key| {
        table.read(report, key, None, |value, report| {
            value.integer(report, 1..=BUDGET_MAX).map(Some)
        })
    };
    let (failed_requests, affected_users) = (budget("failed_requests"), budget("affected_users"));
    Some(Exposure {
        failed_requests: failed_requests?,
        affected_users: affected_users?,
    })
}
