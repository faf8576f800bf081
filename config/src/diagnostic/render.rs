//! Diagnostics for people: the line, a caret under the cause, and what helps.

use std::borrow::Cow;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, Diagnostics, Severity, boundary_before};

/// When diagnostics are coloured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Style {
    Colored,
    Plain,
}

impl Diagnostics {
    /// All of them as text with line and caret, an empty line between two; with ANSI
    /// colours if `color`. Ends without a newline; empty if there is nothing to say.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let style = if color { Style::Colored } else { Style::Plain };
        let parts: Vec<String> = self.0.iter().map(|item| render_one(item, style)).collect();
        parts.join("\n\n")
    }
}

fn render_one(item: &Diagnostic, style: Style) -> String {
    let renderer = match style {
        Style::Colored => Renderer::styled(),
        Style::Plain => Renderer::plain(),
    };
    let level = match item.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(item.message.as_str()));
    let excerpt = excerpt(item);
    group = match &excerpt {
        Some(excerpt) => {
            let mark = AnnotationKind::Primary
                .span(excerpt.start..excerpt.end)
                .label(item.allowed.as_deref());
            let snippet = Snippet::source(excerpt.line.as_ref()).line_start(excerpt.number);
            // The renderer counts columns itself, but not those that were cut off.
            match excerpt.cut_column {
                Some(column) => {
                    let origin = Origin::path(item.place.name());
                    group
                        .element(origin.line(excerpt.number).char_column(column))
                        .element(snippet.annotation(mark))
                }
                None => group.element(snippet.path(item.place.name()).annotation(mark)),
            }
        }
        None => {
            let group = group.element(Origin::path(item.place.name()));
            match &item.allowed {
                Some(allowed) => group.element(Level::NOTE.message(allowed.as_str())),
                None => group,
            }
        }
    };
    // A key at the top level stands on the shown line; a nested one needs its path.
    if item.key.contains(['.', '[']) {
        group = group.element(Level::NOTE.message(format!("the key is `{}`", item.key)));
    }
    if let Some(hint) = &item.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// The line that a diagnostic shows.
struct Excerpt<'a> {
    line: Cow<'a, str>,
    /// Its number in the file, from 1.
    number: usize,
    /// The marked bytes of `line`.
    start: usize,
    end: usize,
    /// The column in the file, if `line` is not all of the line.
    cut_column: Option<usize>,
}

/// Only the first line of the span: a table or a list may be a screen long. The renderer
/// is never given the whole file, so that many diagnostics cost what their lines cost.
fn excerpt(item: &Diagnostic) -> Option<Excerpt<'_>> {
    let span = item.place.span.as_ref()?;
    let (number, column) = item.place.position()?;
    let text = item.place.source.text.as_str();
    let mut from = text[..span.start]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    if text[from..].starts_with('\u{feff}') {
        from += '\u{feff}'.len_utf8();
    }
    let first = span.start.max(from);
    let to = text[first..]
        .find('\n')
        .map_or(text.len(), |length| first + length);
    let line = text[from..to].trim_end_matches('\r');
    let start = (first - from).min(line.len());
    let end = span.end.clamp(first, to).saturating_sub(from);
    let end = end.min(line.len());
    if line.len() <= LINE_BYTES_MAX {
        let (line, cut_column) = (Cow::Borrowed(line), None);
        return Some(Excerpt {
            line,
            number,
            start,
            end,
            cut_column,
        });
    }
    let left = boundary_before(line, start.saturating_sub(AROUND_BYTES));
    let right = boundary_before(line, start + 2 * AROUND_BYTES);
    let dots = if left > 0 { "…" } else { "" };
    let more = if right < line.len() { "…" } else { "" };
    Some(Excerpt {
        line: Cow::Owned(format!("{dots}{}{more}", &line[left..right])),
        number,
        start: start - left + dots.len(),
        end: end.min(right) - left + dots.len(),
        cut_column: Some(column),
    })
}

/// Lines longer than this are cut around what is marked: nobody reads them, and drawing
/// them takes long.
const LINE_BYTES_MAX: usize = 1000;
const AROUND_BYTES: usize = 60;
