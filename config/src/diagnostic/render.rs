//! Diagnostics for people: the line, a caret under the cause, and what helps.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, Diagnostics, Severity};

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
        Some(excerpt) => group.element(
            Snippet::source(excerpt.line)
                .line_start(excerpt.number)
                .path(item.place.name())
                .annotation(
                    AnnotationKind::Primary
                        .span(excerpt.start..excerpt.end)
                        .label(item.allowed.as_deref()),
                ),
        ),
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
    line: &'a str,
    /// Its number in the file, from 1.
    number: usize,
    /// The marked bytes of the line.
    start: usize,
    end: usize,
}

/// Only the first line of the span: a table or a list may be a screen long. The renderer
/// is never given the whole file, so that many diagnostics cost what their lines cost.
fn excerpt(item: &Diagnostic) -> Option<Excerpt<'_>> {
    let span = item.place.span.as_ref()?;
    let (number, _) = item.place.position()?;
    let text = item.place.source.text.as_str();
    let from = text[..span.start]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let from = if text[from..].starts_with('\u{feff}') {
        from + '\u{feff}'.len_utf8()
    } else {
        from
    };
    let start = span.start.max(from);
    let to = text[start..]
        .find('\n')
        .map_or(text.len(), |length| start + length);
    let line = text[from..to].trim_end_matches('\r');
    let end = span.end.clamp(start, from + line.len().max(start - from));
    Some(Excerpt {
        line,
        number,
        start: (start - from).min(line.len()),
        end: (end - from).min(line.len()),
    })
}
