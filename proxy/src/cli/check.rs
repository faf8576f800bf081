//! `haldane check`: what `run` would say about a configuration.

use std::io;
use std::path::PathBuf;

use haldane_config::{Config, advice};
use haldane_decide::forecast::Traffic;

use hyper::Method;
use serde::Deserialize;

use super::Exit;
use super::client::{Client, Failure};
use super::output::{Style, say};
use super::reach;
use super::settings::{DEFAULT_FILE, Flags, show};
use super::traffic::{per_second, share};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration [default: haldane.toml]
    #[arg(env = "HALDANE_CONFIG")]
    file: Option<PathBuf>,
    /// Requests per second of a route: warns where its gates cannot decide with so many
    #[arg(long, value_name = "N", value_parser = per_second)]
    rps: Option<f64>,
    /// The share of stable's requests that fail
    #[arg(long, value_name = "SHARE", requires = "rps", value_parser = share)]
    error_rate: Option<f64>,
    /// Also say what the file would do to the haldane that runs, and to its rollouts
    #[arg(long)]
    against_running: bool,
    /// Also connect to every upstream, and to whatever is told or asked outside
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Args {
    fn traffic(&self) -> Option<Traffic> {
        let default = Traffic::default();
        Some(Traffic {
            requests_per_second: self.rps?,
            failure_rate: self.error_rate.unwrap_or(default.failure_rate),
            ..default
        })
    }
}

/// What a running haldane says about a file.
#[derive(Deserialize)]
struct Checked {
    changes: Vec<String>,
    needs_restart: Vec<String>,
    rollouts: Vec<String>,
}

/// Asks the running haldane what the file would do to it.
pub(crate) async fn against_running(args: &Args, client: &Client) -> Result<Exit, Failure> {
    let file = args.file.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Failure::Request(format!("cannot read {}: {error}", file.display())))?;
    let body = serde_json::json!({ "config": text });
    let reply = client.send(Method::POST, "/v1/config/check", &body).await?;
    let checked: Checked = reply.read()?;
    if checked.changes.is_empty() {
        say("nothing differs from what runs");
    }
    for change in &checked.changes {
        say(change);
    }
    for rollout in &checked.rollouts {
        say(rollout);
    }
    if !checked.needs_restart.is_empty() {
        say(format_args!(
            "needs a restart: {}",
            checked.needs_restart.join(", ")
        ));
    }
    Ok(Exit::Done)
}

impl Args {
    /// Whether the running haldane is asked too.
    pub(crate) const fn asks_running(&self) -> bool {
        self.against_running
    }
}

pub(crate) async fn check(args: &Args, token_file: Option<&std::path::Path>) -> Exit {
    let file = args.file.as_deref();
    let origin = args.flags.origin(file, token_file);
    let Some(loaded) = args.flags.loaded(file, token_file) else {
        return Exit::Configuration;
    };
    let config = &loaded.config;
    show(&advice(config, &origin.name(), args.traffic().as_ref()));
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    let routes = if names.len() == 1 { "route" } else { "routes" };
    say(format_args!(
        "{} is valid: {} {routes} ({})",
        origin.name(),
        names.len(),
        names.join(", ")
    ));
    if args.live && !is_there(config).await {
        return Exit::Precondition;
    }
    Exit::Done
}

/// Whether everything that the configuration names takes connections; says what does.
async fn is_there(config: &Config) -> bool {
    let mut checks = Vec::new();
    for route in &config.routes {
        checks.extend(reach::versions(route).await);
    }
    checks.extend(reach::remotes(config).await);
    let style = Style::of(&io::stdout());
    for check in &checks {
        check.say(style);
    }
    checks.iter().all(|check| check.ok)
}
