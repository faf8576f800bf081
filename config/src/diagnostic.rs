//! A violation: where in the file, what was found, what is allowed, what helps.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::source::Source;

mod render;

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// One thing that is wrong, or looks wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// Whether it prevents a start.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// The key it is about, such as `route[1].timeouts.connect`; empty for the whole file.
    pub key: String,
    /// What was found and why it is wrong.
    pub message: String,
    /// What is allowed there, if that is not in the message.
    pub allowed: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Whether a diagnostic prevents a start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but probably not as meant.
    Warning,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A stretch of a source, or the whole of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    source: Arc<Source>,
    span: Option<Range<usize>>,
}

impl Place {
    /// All of `source`.
    pub(crate) const fn whole(source: Arc<Source>) -> Self {
        Self { source, span: None }
    }

    /// The bytes `span` of `source`; cut to what the text has.
    pub(crate) fn within(source: Arc<Source>, span: Range<usize>) -> Self {
        let text = &source.text;
        let start = boundary_before(text, span.start);
        let end = boundary_before(text, span.end).max(start);
        Self {
            source,
            span: Some(start..end),
        }
    }

    /// The name of the file, or `command line`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// Line and column, both from 1, the column in characters; `None` for the whole file.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        let start = self.span.as_ref()?.start;
        let before = &self.source.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        // A byte order mark takes no column on anybody's screen.
        let column = before[line_start..]
            .chars()
            .filter(|&c| c != '\u{feff}')
            .count()
            + 1;
        Some((
            before.bytes().filter(|&byte| byte == b'\n').count() + 1,
            column,
        ))
    }
}

/// The last boundary of a character of `text` at or before `at`.
fn boundary_before(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Diagnostics {
    /// How many of them prevent a start.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.0
            .iter()
            .filter(|item| item.severity == Severity::Error)
            .count()
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Diagnostic {
    /// One line: `file:line:column: error: key: message (allowed; hint)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.place.name())?;
        if let Some((line, column)) = self.place.position() {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}: ", self.severity.as_str())?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match (&self.allowed, &self.hint) {
            (Some(allowed), Some(hint)) => write!(f, " ({allowed}; {hint})"),
            (Some(text), None) | (None, Some(text)) => write!(f, " ({text})"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Diagnostics {
    /// One line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
