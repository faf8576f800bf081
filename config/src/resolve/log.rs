//! What haldane says about itself and about requests: `[log]`.

use super::access::access;
use super::read;
use crate::file::Table;
use crate::report::Report;
use crate::types::{Log, LogFormat};

/// `[log]`; diagnostics only without it.
pub(super) fn log(table: Option<&Table<'_>>, report: &mut Report) -> Option<Log> {
    let choices = [
        ("auto", LogFormat::Auto),
        ("json", LogFormat::Json),
        ("text", LogFormat::Text),
    ];
    let format = read(
        table,
        report,
        ("format", LogFormat::Auto),
        |value, report| value.choice(report, &choices),
    );
    let access = read(table, report, ("access", None), |value, report| {
        access(value, report).map(Some)
    });
    Some(Log {
        format: format?,
        access: access?,
    })
}
