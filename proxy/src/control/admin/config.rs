//! Reload and check over the API.

use std::time::Duration;

use haldane_config::{Diagnostic, Severity};
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use serde::{Deserialize, Serialize};

use super::Hub;
use super::body;
use super::problem::Problem;
use super::reply::{Reply, json};
use crate::control::reload::{Failure, Report};
use crate::origin::Refusal;

/// The form of what is said about configurations.
const SCHEMA: &str = "haldane.config/1";

/// A file system that hangs must not hang whoever asks.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckBody {
    config: String,
}

#[derive(Serialize)]
struct View {
    schema: &'static str,
    /// Whether anything differs from what was in force.
    changed: bool,
    /// What differs, one sentence each.
    changes: Vec<String>,
    /// What differs and only a restart can change.
    needs_restart: Vec<&'static str>,
    /// What it would do to rollouts, one sentence each.
    rollouts: Vec<String>,
    warnings: Vec<DiagnosticView>,
}

/// A diagnostic as programs read it.
#[derive(Debug, Serialize)]
pub(super) struct DiagnosticView {
    severity: &'static str,
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    key: String,
    message: String,
    allowed: Option<String>,
    hint: Option<String>,
}

/// Puts in force what the file says.
pub(super) async fn reload(hub: &Hub, body: &[u8]) -> Result<Reply, Problem> {
    let who = body::parse_or_default(body)?;
    let reloader = hub.reloader.upgrade().ok_or_else(Problem::internal)?;
    let (actor, reason) = (who.actor.as_deref(), who.reason.as_deref());
    tracing::info!(actor, reason, "asked to reload");
    answer(tokio::time::timeout(TIMEOUT, reloader.reload()).await)
}

/// Says what would become of the file, or of the text in the body.
pub(super) async fn check(hub: &Hub, head: &Parts, body: &[u8]) -> Result<Reply, Problem> {
    let reloader = hub.reloader.upgrade().ok_or_else(Problem::internal)?;
    let text = match body {
        [] => None,
        toml if is_toml(head) => {
            let text = String::from_utf8(toml.to_vec());
            Some(text.map_err(|_| Problem::body("it is not UTF-8", "send it as UTF-8"))?)
        }
        json => Some(body::parse::<CheckBody>(json)?.config),
    };
    answer(tokio::time::timeout(TIMEOUT, reloader.check(text)).await)
}

/// Whether the body is a configuration as it stands in a file. Like JSON, a page of
/// another site cannot send this without being asked first.
pub(super) fn is_toml(head: &Parts) -> bool {
    let mut types = head.headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = value.to_str().unwrap_or_default().split(';').next();
    essence.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/toml"))
}

fn answer(
    result: Result<Result<Report, Failure>, tokio::time::error::Elapsed>,
) -> Result<Reply, Problem> {
    match result {
        Ok(Ok(report)) => json(&View::of(&report)),
        Ok(Err(failure)) => Err(failure.into()),
        Err(_) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "slow-files",
            "the configuration could not be read in time",
            format!("reading it took longer than {} seconds", TIMEOUT.as_secs()),
            "see whether the file system answers",
        )),
    }
}

impl View {
    fn of(report: &Report) -> Self {
        Self {
            schema: SCHEMA,
            changed: report.is_change(),
            changes: report.difference.sentences(),
            needs_restart: report.difference.restart.clone(),
            rollouts: report.rollouts.clone(),
            warnings: report.warnings.iter().map(DiagnosticView::of).collect(),
        }
    }
}

impl DiagnosticView {
    fn of(diagnostic: &Diagnostic) -> Self {
        let position = diagnostic.place.position();
        Self {
            severity: match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            file: diagnostic.place.name().to_owned(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            key: diagnostic.key.clone(),
            message: diagnostic.message.clone(),
            allowed: diagnostic.allowed.clone(),
            hint: diagnostic.hint.clone(),
        }
    }

    /// An error of the whole configuration.
    fn whole(key: &str, message: String) -> Self {
        Self {
            severity: "error",
            file: String::new(),
            line: None,
            column: None,
            key: key.to_owned(),
            message,
            allowed: None,
            hint: None,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Draining => Self::conflict(
                "haldane is about to end",
                "what starts next reads the configuration anew",
            ),
            Failure::Internal => Self::internal(),
            Failure::Refused(refusal) => refused(&refusal),
        }
    }
}

fn refused(refusal: &Refusal) -> Problem {
    let diagnostics = match refusal {
        Refusal::NoFile | Refusal::NotRegular(_) => {
            return Problem::conflict(
                refusal.to_string(),
                "there is nothing to reload: start haldane with a file",
            );
        }
        Refusal::Configuration(diagnostics) => {
            diagnostics.0.iter().map(DiagnosticView::of).collect()
        }
        Refusal::Listen(..) => vec![DiagnosticView::whole("listen", refusal.to_string())],
        Refusal::Access(_) => vec![DiagnosticView::whole("log", refusal.to_string())],
        Refusal::Tls(_) => vec![DiagnosticView::whole("tls", refusal.to_string())],
    };
    let first = refusal.to_string();
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "configuration",
        "the configuration cannot be used",
        first.lines().next().unwrap_or_default(),
        "nothing has changed; `diagnostics` says everything that is wrong",
    )
    .with_diagnostics(diagnostics)
}
