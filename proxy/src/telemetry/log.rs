//! Diagnostics: format, levels, destination.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use haldane_config::LogFormat;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

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

/// What writes the lines.
type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// Where the lines can be given another form.
static LINES: OnceLock<reload::Handle<Lines, Registry>> = OnceLock::new();

/// Sends diagnostics to stderr for the rest of the process, and says in which form.
///
/// A `RUST_LOG` that cannot be understood is replaced by the default and complained
/// about: a typo there must not silence a proxy.
pub(crate) fn start(format: LogFormat) -> Form {
    let form = Form::of(format);
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let asked = Some(asked.as_str()).filter(|text| !text.trim().is_empty());
    let (filter, mistake) = match asked.map(EnvFilter::try_new) {
        None => (EnvFilter::new(DEFAULT_LEVELS), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_LEVELS), Some(error)),
    };
    let (lines, handle) = reload::Layer::new(lines(form));
    let subscriber = tracing_subscriber::registry().with(lines).with(filter);
    let installed = subscriber.try_init();
    if installed.is_ok() {
        // Nobody else sets it: it is installed once.
        drop(LINES.set(handle));
    }
    // Only a second start in one process fails, and then the first goes on.
    drop(installed);
    if let Some(error) = mistake {
        tracing::warn!(%error, "RUST_LOG cannot be used, logging {DEFAULT_LEVELS}");
    }
    form
}

/// Gives all lines from now on another form.
pub(crate) fn change(format: LogFormat) {
    let Some(handle) = LINES.get() else { return };
    // The other end lives as long as the process.
    drop(handle.reload(lines(Form::of(format))));
}

fn lines(form: Form) -> Lines {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false);
    match form {
        Form::Json => layer.json().flatten_event(true).boxed(),
        Form::Text => layer.with_ansi(colored(&io::stderr())).boxed(),
    }
}

impl Form {
    fn of(format: LogFormat) -> Self {
        match format {
            LogFormat::Auto if io::stderr().is_terminal() => Self::Text,
            LogFormat::Auto | LogFormat::Json => Self::Json,
            LogFormat::Text => Self::Text,
        }
    }
}

/// Whether a stream shows colours: a terminal does, unless `NO_COLOR` says otherwise.
pub(crate) fn colored(stream: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !unwanted && !dumb
}
