//! The access log: `[log.access]`.

use std::path::PathBuf;

use crate::file::Value;
use crate::keys;
use crate::report::{Finding, Report};
use crate::types::{AccessAlways, AccessFormat, AccessOutput, AccessSpec};
use crate::unit::{Kind, Misfit};

const OUTPUT: Kind = Kind {
    what: "an output",
    example: "\"stdout\" or \"/var/log/haldane/access.log\"",
    units: &[],
};

/// What is always logged, as it is written.
#[derive(Clone, Copy)]
enum Always {
    Canary,
    Error,
}

/// `[log.access]`, which is there: every request as JSON to stdout unless it says otherwise.
pub(super) fn access(value: &Value<'_>, report: &mut Report) -> Option<AccessSpec> {
    let table = value.table(report, &keys::ACCESS)?;
    let formats = [
        ("json", AccessFormat::Json),
        ("combined", AccessFormat::Combined),
    ];
    let format = table.read(report, "format", AccessFormat::Json, |value, report| {
        value.choice(report, &formats)
    });
    let output = table.read(report, "output", AccessOutput::Stdout, |value, report| {
        value.parse(report, &OUTPUT, output)
    });
    let sample = table.read(report, "sample", 1.0, Value::fraction);
    let always = table.read(report, "always", AccessAlways::default(), always);
    let (sample, always) = (sample?, always?);
    if sample == 0.0
        && always == AccessAlways::default()
        && let Some(written) = table.get("sample")
    {
        let finding = Finding::new("nothing is ever logged: `sample` is 0, and `always` is empty");
        let finding = finding.hint("leave `log.access` out, or add `always = \"error\"`");
        report.warning(written.span.clone(), &written.path, finding);
    }
    Some(AccessSpec {
        format: format?,
        output: output?,
        sample,
        always,
    })
}

/// One word or a list of them; an empty list is none.
fn always(value: &Value<'_>, report: &mut Report) -> Option<AccessAlways> {
    let mut always = AccessAlways::default();
    if value.is_empty_list() {
        return Some(always);
    }
    let choices = [("error", Always::Error), ("canary", Always::Canary)];
    let items = value.one_or_many(report, choices.len())?;
    let read: Vec<_> = items
        .iter()
        .map(|item| item.choice(report, &choices))
        .collect();
    for word in read {
        match word? {
            Always::Canary => always.canary = true,
            Always::Error => always.error = true,
        }
    }
    Some(always)
}

/// A path has a slash, so that a misspelt word does not become a file.
fn output(text: &str) -> Result<AccessOutput, Misfit> {
    if text == "stdout" {
        Ok(AccessOutput::Stdout)
    } else if !text.contains('/') {
        let misfit = Misfit::new("it is neither \"stdout\" nor a path with a slash");
        Err(misfit.hint(format!(
            "write \"./{}\" for a file",
            crate::file::shortened(text)
        )))
    } else if text.contains('\0') {
        Err(Misfit::new("a path has no NUL"))
    } else if text.ends_with('/') {
        Err(Misfit::new("it names a directory").hint("add the name of a file"))
    } else {
        Ok(AccessOutput::File(PathBuf::from(text)))
    }
}
