//! `state_dir`: where the state of releases is kept.

use std::path::PathBuf;

use crate::file::Value;
use crate::report::{Finding, Report};
use crate::unit::Kind;

const PATH: Kind = Kind {
    what: "a path",
    example: "\"/var/lib/haldane\"",
    units: &[],
};

/// A path that need not exist yet.
pub(super) fn path(value: &Value<'_>, report: &mut Report) -> Option<PathBuf> {
    let text = value.text(report, &PATH)?;
    if text.is_empty() || text.contains('\0') {
        let finding = Finding::new(format!("{} is no path", value.describe()));
        return value.reject(report, finding.allowed(PATH.expected()));
    }
    Some(PathBuf::from(text))
}
