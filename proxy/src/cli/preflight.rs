//! `haldane preflight`: could a rollout begin with this configuration?
//!
//! The configuration is checked, the addresses of both versions and whatever is told or asked
//! outside are connected to, and the gates of every route are tried with a canary that only
//! fails. Nothing is changed and no request is sent.

use std::path::{Path, PathBuf};

use haldane_config::RouteConfig;
use serde::Serialize;

use super::Exit;
use super::client::Failure;
use super::output::{Form, Style, say};
use super::reach::{self, Check};
use super::settings::Flags;
use crate::clock::Clock;
use crate::live::drill::drill;
use crate::live::spec_of;

/// The form of the result. Raised when a field changes its meaning.
const SCHEMA: &str = "haldane.preflight/1";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration [default: haldane.toml]
    #[arg(env = "HALDANE_CONFIG")]
    file: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    /// Whether everything holds.
    ok: bool,
    checks: Vec<Check>,
}

pub(crate) async fn preflight(args: &Args, token_file: Option<&Path>) -> Result<Exit, Failure> {
    let file = args.file.as_deref();
    let Some(loaded) = args.flags.loaded(file, token_file) else {
        return Ok(Exit::Configuration);
    };
    let mut checks = Vec::new();
    for route in &loaded.config.routes {
        checks.extend(of_route(route).await);
    }
    checks.extend(reach::remotes(&loaded.config).await);
    let report = Report {
        schema: SCHEMA,
        ok: checks.iter().all(|check| check.ok),
        checks,
    };
    print(args.form, &report);
    Ok(if report.ok {
        Exit::Done
    } else {
        Exit::Precondition
    })
}

async fn of_route(route: &RouteConfig) -> Vec<Check> {
    let mut checks = reach::versions(route).await;
    let name = Some(&*route.name);
    if route.canary.is_none() {
        let missing = Err("there is none".to_owned());
        checks.push(Check::new(name, "canary", missing));
    }
    let report = drill(&spec_of(route), 0, Clock::start());
    let result = if report.is_good() {
        Ok(report.sentence)
    } else {
        Err(report.sentence)
    };
    checks.push(Check::new(name, "gates", result));
    checks
}

fn print(form: Form, report: &Report) {
    if form.is_json() {
        if let Ok(text) = serde_json::to_string(report) {
            say(text);
        }
        return;
    }
    let style = Style::of(&std::io::stdout());
    for check in &report.checks {
        check.say(style);
    }
    say(if report.ok {
        "a rollout can begin"
    } else {
        "a rollout cannot begin"
    });
}
