//! What verbs print: results to stdout, everything else to stderr, colours where they are seen.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use crate::telemetry::log::colored;

/// Prints a line to stdout. A reader that has left is not an error of ours.
pub(crate) fn say(line: impl fmt::Display) {
    drop(writeln!(io::stdout().lock(), "{line}"));
}

/// Prints a line to stderr.
pub(crate) fn tell(line: impl fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Prints what went wrong to stderr.
pub(crate) fn complain(message: impl fmt::Display) {
    let style = Style::of(&io::stderr());
    tell(format_args!("{}: {message}", style.bad("error")));
}

/// Whether a stream shows colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Style {
    Colored,
    Plain,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` says otherwise.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        if colored(stream) {
            Self::Colored
        } else {
            Self::Plain
        }
    }

    /// Whether there are colours.
    pub(crate) fn is_colored(self) -> bool {
        self == Self::Colored
    }

    /// For what is wrong.
    pub(crate) fn bad(self, text: impl fmt::Display) -> String {
        self.paint("1;31", text)
    }

    fn paint(self, code: &str, text: impl fmt::Display) -> String {
        match self {
            Self::Colored => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_string(),
        }
    }
}
