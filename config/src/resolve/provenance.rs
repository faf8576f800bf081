//! Where a version comes from: `owner`, `sha`, `commit_time`.

use std::sync::Arc;

use crate::file::Table;
use crate::report::Report;
use crate::types::Provenance;
use crate::unit::{Kind, MOMENT, Misfit, moment};

/// More is no name.
const BYTES_MAX: usize = 128;

const OWNER: Kind = Kind {
    what: "the name of an owner",
    example: "\"team-checkout\"",
    units: &["{}"],
};
const SHA: Kind = Kind {
    what: "the name of a commit or build",
    example: "\"5f1c9e2\"",
    units: &["{}"],
};

/// What the table of a version says of that; nothing need be.
pub(super) fn provenance(table: &Table<'_>, report: &mut Report) -> Option<Provenance> {
    let owner = table.read(report, "owner", None, |value, report| {
        value.parse(report, &OWNER, owner).map(Some)
    });
    let sha = table.read(report, "sha", None, |value, report| {
        value.parse(report, &SHA, sha).map(Some)
    });
    let commit_time = table.read(report, "commit_time", None, |value, report| {
        value.parse(report, &MOMENT, moment).map(Some)
    });
    Some(Provenance {
        owner: owner?,
        sha: sha?,
        commit_time: commit_time?,
    })
}

fn owner(text: &str) -> Result<Arc<str>, Misfit> {
    if text.trim() != text {
        return Err(Misfit::new("it begins or ends with a space"));
    }
    if text.chars().any(char::is_control) {
        return Err(Misfit::new("it has control characters"));
    }
    sized(text)
}

fn sha(text: &str) -> Result<Arc<str>, Misfit> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Misfit::new("printable ASCII without spaces only"));
    }
    sized(text)
}

fn sized(text: &str) -> Result<Arc<str>, Misfit> {
    if text.is_empty() {
        return Err(Misfit::new("it is empty"));
    }
    if text.len() > BYTES_MAX {
        return Err(Misfit::new(format!("it is longer than {BYTES_MAX} bytes")));
    }
    Ok(text.into())
}
