//! Diagnostics: format, levels, destination.

use std::io::{self, IsTerminal};

use haldane_config::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_LEVELS: &str = "info";

/// The form that was chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Sends diagnostics to stderr for the rest of the process, and says in which form.
///
/// A `RUST_LOG` that cannot be understood is replaced by the default and complained
/// about: a typo there must not silence a proxy.
pub(crate) fn start(format: LogFormat) -> Form {
    let form = match format {
        LogFormat::Auto if io::stderr().is_terminal() => Form::Text,
        LogFormat::Auto | LogFormat::Json => Form::Json,
        LogFormat::Text => Form::Text,
    };
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let asked = Some(asked.as_str()).filter(|text| !text.trim().is_empty());
    let (filter, mistake) = match asked.map(EnvFilter::try_new) {
        None => (EnvFilter::new(DEFAULT_LEVELS), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_LEVELS), Some(error)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    let installed = match form {
        Form::Json => builder.json().flatten_event(true).finish().try_init(),
        Form::Text => builder
            .with_ansi(colored(&io::stderr()))
            .finish()
            .try_init(),
    };
    // Only a second start in one process fails, and then the first goes on.
    drop(installed);
    if let Some(error) = mistake {
        tracing::warn!(%error, "RUST_LOG cannot be used, logging {DEFAULT_LEVELS}");
    }
    form
}

/// Whether a stream shows colours: a terminal does, unless `NO_COLOR` says otherwise.
pub(crate) fn colored(stream: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !unwanted && !dumb
}
