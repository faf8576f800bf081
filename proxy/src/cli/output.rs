//! What verbs print: results to stdout, everything else to stderr, colours where they are seen.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::telemetry::log::colored;

/// Whether a result was lost, on a full disk for example.
static LOST: AtomicBool = AtomicBool::new(false);

/// Prints a line to stdout. A reader that has left is not an error of ours.
pub(crate) fn say(line: impl fmt::Display) {
    if let Err(error) = writeln!(io::stdout().lock(), "{line}")
        && error.kind() != io::ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        complain(format_args!("cannot print: {error}"));
    }
}

/// Whether nobody reads stdout any more: the other end of a pipe is closed.
pub(crate) fn is_unread() -> bool {
    let stdout = io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let answered = poll(&mut asked, Some(&Timespec::default()));
    answered.is_ok() && asked[0].revents().contains(PollFlags::ERR)
}

/// A text of others without what a terminal would obey: control characters and those that
/// change the direction of writing are replaced.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if text.contains(is_harmful) {
        Cow::Owned(text.replace(is_harmful, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether a result could not be printed: then nothing has succeeded.
pub(crate) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
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

    /// For names and what matters.
    pub(crate) fn strong(self, text: impl fmt::Display) -> String {
        self.paint("1", text)
    }

    /// In the colour of a verdict.
    pub(crate) fn verdict(self, verdict: &str, text: impl fmt::Display) -> String {
        match verdict {
            "fail" => self.bad(text),
            "pass" => self.paint("32", text),
            _ => self.paint("33", text),
        }
    }

    fn paint(self, code: &str, text: impl fmt::Display) -> String {
        match self {
            Self::Colored => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_string(),
        }
    }
}

/// The form of a result.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Form {
    /// json is a contract, text is not
    #[arg(short, long = "output", value_enum, value_name = "FORM", default_value_t = FormName::Text)]
    output: FormName,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum FormName {
    Json,
    Text,
}

impl Form {
    /// Whether the reply of the API is the result.
    pub(crate) fn is_json(self) -> bool {
        self.output == FormName::Json
    }
}
