//! Why a measurement ended without a result.

use std::{fmt, io};

/// Ends a run: its numbers would not mean anything.
#[derive(Debug)]
pub(crate) enum Failure {
    /// SIGINT or SIGTERM arrived.
    Interrupted,
    /// The operating system refused something.
    Io {
        /// What was being done, as a fragment that fits after "cannot".
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A program or a resource that the run needs is not there.
    Missing(String),
    /// A proxy did not start, or ended too early.
    Start {
        /// The name of the proxy.
        proxy: &'static str,
        /// What is known, with the end of its log.
        detail: String,
    },
    /// An answer, a request or a count was not what it has to be.
    Violation(String),
}

impl Failure {
    /// For `map_err`: `doing` is a fragment that fits after "cannot".
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// A broken expectation, in one sentence.
    pub(crate) fn violation(text: impl Into<String>) -> Self {
        Self::Violation(text.into())
    }

    /// Names the part of the run in which a violation happened.
    pub(crate) fn within(self, place: &str) -> Self {
        match self {
            Self::Violation(text) => Self::Violation(format!("{place}: {text}")),
            other => other,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Io { doing, source } => write!(f, "cannot {doing}: {source}"),
            Self::Missing(what) => write!(f, "MISSING: {what}"),
            Self::Start { proxy, detail } => write!(f, "cannot start {proxy}: {detail}"),
            Self::Violation(text) => write!(f, "VIOLATION: {text}"),
        }
    }
}

impl std::error::Error for Failure {}
