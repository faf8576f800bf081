//! When an address is left alone: after failures of its own, or when it says so itself.

use std::sync::Arc;
use std::time::Duration;

use super::{count, duration_within, read};
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::types::{Ejection, HealthCheck};
use crate::unit::{Kind, Misfit};

const PATH_BYTES_MAX: usize = 1024;

const PATH: Kind = Kind {
    what: "a path to ask for",
    example: "\"/healthz\"",
    units: &[],
};

/// `[route.ejection]`, or `ejection = "off"`.
pub(super) fn ejection(route: &Table<'_>, report: &mut Report) -> Option<Option<Ejection>> {
    let table = match route.get("ejection") {
        Some(value) if value.is_text() => return value.choice(report, &[("off", None)]),
        Some(value) => Some(value.table(report, &keys::EJECTION)?),
        None => None,
    };
    let range = (Duration::from_millis(100), Duration::from_secs(3600));
    let failures = read(table.as_ref(), report, ("failures", 5), counted);
    let time = read(
        table.as_ref(),
        report,
        ("time", Duration::from_secs(10)),
        duration_within(range),
    );
    let max = read(
        table.as_ref(),
        report,
        ("max", Duration::from_secs(300)),
        duration_within(range),
    );
    let (failures, time, max) = (failures?, time?, max?);
    if let Some(table) = &table
        && max < time
    {
        let written = table.get("max").or_else(|| table.get("time"));
        let finding = Finding::new("`max` is shorter than `time`");
        return written?.reject(
            report,
            finding
                .hint("an address is ejected for `time` at first, and never for longer than `max`"),
        );
    }
    Some(Some(Ejection {
        failures,
        time,
        max,
    }))
}

/// `[route.health]`; none without it.
pub(super) fn checks(route: &Table<'_>, report: &mut Report) -> Option<Option<HealthCheck>> {
    let Some(value) = route.get("health") else {
        return Some(None);
    };
    let table = value.table(report, &keys::HEALTH)?;
    let path = table
        .require(report, "path", "\"/healthz\"")
        .and_then(|value| value.parse(report, &PATH, path));
    let interval = read(
        Some(&table),
        report,
        ("interval", Duration::from_secs(5)),
        duration_within((Duration::from_millis(100), Duration::from_secs(3600))),
    );
    let timeout = read(
        Some(&table),
        report,
        ("timeout", Duration::from_secs(1)),
        duration_within((Duration::from_millis(1), Duration::from_secs(60))),
    );
    let unhealthy_after = read(Some(&table), report, ("unhealthy_after", 3), counted);
    let healthy_after = read(Some(&table), report, ("healthy_after", 2), counted);
    Some(Some(HealthCheck {
        path: path?,
        interval: interval?,
        timeout: timeout?,
        unhealthy_after: unhealthy_after?,
        healthy_after: healthy_after?,
    }))
}

/// How often in a row.
fn counted(value: &Value<'_>, report: &mut Report) -> Option<u32> {
    count(1..=1000)(value, report).and_then(|number| u32::try_from(number).ok())
}

/// A path with a query, as it stands in a request.
fn path(text: &str) -> Result<Arc<str>, Misfit> {
    if !text.starts_with('/') {
        Err(Misfit::new("it does not begin with \"/\""))
    } else if text.len() > PATH_BYTES_MAX {
        Err(Misfit::new(format!(
            "it is longer than {PATH_BYTES_MAX} bytes"
        )))
    } else if text.contains('#') {
        Err(Misfit::new("a request has no \"#\""))
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(Misfit::new("it has spaces or letters outside ASCII")
            .hint("write them percent-encoded: \"%20\""))
    } else {
        Ok(text.into())
    }
}
