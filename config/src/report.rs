//! Collects what is wrong while a document is read, so that all of it is told at once.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use crate::source::Source;

/// More diagnostics than this help nobody, and a hostile file could have a million.
const DIAGNOSTICS_MAX: usize = 100;

/// What is wrong, before it has a place.
#[derive(Debug)]
pub(crate) struct Finding {
    message: String,
    allowed: Option<String>,
    hint: Option<String>,
}

impl Finding {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            allowed: None,
            hint: None,
        }
    }

    /// What the value may be; shown at the caret.
    pub(crate) fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }

    /// What to do about it; shown below.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The texts that a document was made of. Spans are offsets into the file, or, from
/// `flags_from` on, into the flags.
#[derive(Debug)]
pub(crate) struct Origins {
    file: Arc<Source>,
    flags: Arc<Source>,
    flags_from: usize,
}

impl Origins {
    pub(crate) fn new(file: Source, flags: Source) -> Self {
        let flags_from = flags_from(&file);
        Self {
            file: Arc::new(file),
            flags: Arc::new(flags),
            flags_from,
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        if span.start >= self.flags_from {
            let span = span.start - self.flags_from..span.end.saturating_sub(self.flags_from);
            Place::within(Arc::clone(&self.flags), span)
        } else {
            Place::within(Arc::clone(&self.file), span)
        }
    }

    /// The whole of what was given: the file, or the flags if there is no file.
    fn whole(&self) -> Place {
        let source = if self.file.name.is_empty() {
            &self.flags
        } else {
            &self.file
        };
        Place::whole(Arc::clone(source))
    }
}

/// Where the spans of the flags begin: behind every span that the file can have.
pub(crate) const fn flags_from(file: &Source) -> usize {
    file.text.len() + 1
}

/// What was found so far.
#[derive(Debug)]
pub(crate) struct Report {
    origins: Origins,
    found: Vec<(usize, Diagnostic)>,
    left_out: usize,
}

impl Report {
    pub(crate) const fn new(origins: Origins) -> Self {
        Self {
            origins,
            found: Vec::new(),
            left_out: 0,
        }
    }

    /// Whether there is a file, and not flags alone.
    pub(crate) fn has_file(&self) -> bool {
        !self.origins.file.name.is_empty()
    }

    pub(crate) fn error(&mut self, span: Range<usize>, key: &str, finding: Finding) {
        let start = span.start;
        let place = self.origins.place(span);
        self.push(start, Severity::Error, place, (key, finding));
    }

    pub(crate) fn warning(&mut self, span: Range<usize>, key: &str, finding: Finding) {
        let start = span.start;
        let place = self.origins.place(span);
        self.push(start, Severity::Warning, place, (key, finding));
    }

    /// An error of the whole configuration, such as something that is missing at the top.
    pub(crate) fn error_of_all(&mut self, key: &str, finding: Finding) {
        let place = self.origins.whole();
        self.push(0, Severity::Error, place, (key, finding));
    }

    /// Whether no further error would be shown.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= DIAGNOSTICS_MAX
            && self
                .found
                .iter()
                .all(|(_, item)| item.severity == Severity::Error)
    }

    /// Counts something that is not shown.
    pub(crate) const fn leave_out(&mut self) {
        self.left_out += 1;
    }

    fn push(
        &mut self,
        start: usize,
        severity: Severity,
        place: Place,
        (key, finding): (&str, Finding),
    ) {
        let full = self.found.len() >= DIAGNOSTICS_MAX;
        // An error always finds its place, or a flood of warnings could hide it.
        let replaced = if full && severity == Severity::Error {
            self.found
                .iter()
                .rposition(|(_, item)| item.severity == Severity::Warning)
        } else {
            None
        };
        if full {
            self.left_out += 1;
        }
        if let Some(index) = replaced {
            self.found.remove(index);
        } else if full {
            return;
        }
        let Finding {
            message,
            allowed,
            hint,
        } = finding;
        self.found.push((
            start,
            Diagnostic {
                severity,
                place,
                key: key.to_owned(),
                message,
                allowed,
                hint,
            },
        ));
    }

    /// Everything, in the order of the texts.
    pub(crate) fn finish(mut self) -> Diagnostics {
        self.found.sort_by_key(|(start, _)| *start);
        let mut items: Vec<Diagnostic> = self.found.into_iter().map(|(_, item)| item).collect();
        if self.left_out > 0 {
            let severity = if items.iter().any(|item| item.severity == Severity::Error) {
                Severity::Error
            } else {
                Severity::Warning
            };
            items.push(Diagnostic {
                severity,
                place: self.origins.whole(),
                key: String::new(),
                message: format!("{} more of the kind are not shown", self.left_out),
                allowed: None,
                hint: None,
            });
        }
        Diagnostics(items)
    }
}
