//! How a canary gets its traffic, and what is promised about that.

use std::time::Duration;

use haldane_decide::gate::spec::{Exposure, Promise};
use haldane_decide::plan::Plan;

use super::{duration_within, plan, read, remote};
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::types::{LedgerDetail, PreHook};
use crate::unit::{self, CHANCE};

/// More are no question that anybody waits for.
const HOOKS_MAX: usize = 16;

/// How long a complete rollout may wait for its canary to be made stable, unless said.
const EXPIRES: Duration = Duration::from_secs(30 * 24 * 3600);

/// The longest that anybody may want.
const EXPIRES_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// More of anything is never reached.
const BUDGET_MAX: u64 = 1_000_000_000_000;

/// What `[route.rollout]` says: how the canary gets its traffic, what is promised, and what
/// is told of those who were on the canary.
pub(super) struct Rollout {
    pub(super) plan: Plan,
    pub(super) promise: Promise,
    pub(super) ledger: LedgerDetail,
    pub(super) pre: Vec<PreHook>,
    pub(super) expires: Duration,
}

/// `[route.rollout]`; no plan and the default promise without it.
pub(super) fn rollout(route: &Table<'_>, report: &mut Report) -> Option<Rollout> {
    let table = match route.get("rollout") {
        Some(value) => Some(value.table(report, &keys::ROLLOUT)?),
        None => None,
    };
    let table = table.as_ref();
    let plan = plan::plan(route, table, report);
    let promise = promise(table, report);
    let ledger = ledger(table, report);
    let pre = pre(table, report);
    let expires = read(
        table,
        report,
        ("expires", EXPIRES),
        duration_within((Duration::from_secs(1), EXPIRES_MAX)),
    );
    let (plan, promise) = (plan?, promise?);
    let promise = if plan.is_fixed() {
        promise
    } else {
        Promise {
            steps: plan.count().saturating_sub(1),
            horizon: plan.horizon(),
            ..promise
        }
    };
    let pre = pre?;
    if let (true, Some(table), false) = (plan.is_fixed(), table, pre.is_empty()) {
        let finding = Finding::new("`pre` is asked before the first step, and there are none");
        let finding = finding.hint("add `plan = \"standard\"` or `steps`");
        table.reject_key(report, "pre", finding);
        return None;
    }
    Some(Rollout {
        plan,
        promise,
        ledger: ledger?,
        pre,
        expires: expires?,
    })
}

/// Who is asked before the first step; nobody by default.
fn pre(table: Option<&Table<'_>>, report: &mut Report) -> Option<Vec<PreHook>> {
    let Some(value) = table.and_then(|table| table.get("pre")) else {
        return Some(Vec::new());
    };
    let items = value.one_or_many(report, HOOKS_MAX)?;
    let read: Vec<_> = items.iter().map(|item| hook(item, report)).collect();
    read.into_iter().collect()
}

fn hook(value: &Value<'_>, report: &mut Report) -> Option<PreHook> {
    let table = value.table(report, &keys::PRE)?;
    let remote = remote::remote(&table, report);
    let range = (Duration::from_millis(1), Duration::from_secs(600));
    let default = ("timeout", Duration::from_secs(10));
    let timeout = read(Some(&table), report, default, duration_within(range));
    Some(PreHook {
        remote: remote?,
        timeout: timeout?,
    })
}

fn ledger(table: Option<&Table<'_>>, report: &mut Report) -> Option<LedgerDetail> {
    let choices = [
        ("counts", LedgerDetail::Counts),
        ("keys", LedgerDetail::Keys),
    ];
    let default = ("ledger", LedgerDetail::default());
    read(table, report, default, |value, report| {
        value.choice(report, &choices)
    })
}

fn promise(table: Option<&Table<'_>>, report: &mut Report) -> Option<Promise> {
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
    Some(Promise {
        false_rollback: false_rollback?,
        false_advance: false_advance?,
        exposure: exposure?,
        ..default
    })
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
