//! `haldane preflight`: could a rollout begin with this configuration?
//!
//! The configuration is checked, the addresses of both versions are connected to, and the
//! gates of every route are tried with a canary that only fails. Nothing is changed and no
//! request is sent.

use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use haldane_config::{RouteConfig, UpstreamAddress, Version};
use serde::Serialize;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Exit;
use super::client::Failure;
use super::output::{Form, Style, say};
use super::settings::Flags;
use crate::clock::Clock;
use crate::live::drill::drill;
use crate::live::spec_of;

/// The form of the result. Raised when a field changes its meaning.
const SCHEMA: &str = "haldane.preflight/1";

/// A version that cannot be connected to in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

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

/// One thing that must hold.
#[derive(Serialize)]
struct Check {
    route: String,
    /// What was looked at.
    check: String,
    ok: bool,
    detail: String,
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
    let mut checks = Vec::new();
    let mut note = |check: String, result: Result<String, String>| {
        checks.push(Check {
            route: route.name.to_string(),
            check,
            ok: result.is_ok(),
            detail: result.unwrap_or_else(|error| error),
        });
    };
    for (role, version) in [
        ("stable", Some(&route.stable)),
        ("canary", route.canary.as_ref()),
    ] {
        let Some(version) = version else {
            note(role.to_owned(), Err("there is none".to_owned()));
            continue;
        };
        for (address, result) in reach(version).await {
            note(format!("{role} {address}"), result);
        }
    }
    let report = drill(&spec_of(route), 0, Clock::start());
    let result = if report.is_good() {
        Ok(report.sentence)
    } else {
        Err(report.sentence)
    };
    note("gates".to_owned(), result);
    checks
}

/// Whether each address of a version takes connections.
async fn reach(version: &Version) -> Vec<(String, Result<String, String>)> {
    let mut results = Vec::new();
    for address in &version.upstream {
        let connected = timeout(CONNECT_TIMEOUT, connect(address));
        let result = match connected.await {
            Ok(Ok(())) => Ok("takes connections".to_owned()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(format!("no connection in {} s", CONNECT_TIMEOUT.as_secs())),
        };
        results.push((address.to_string(), result));
    }
    results
}

async fn connect(address: &UpstreamAddress) -> Result<(), String> {
    let connected = match address {
        UpstreamAddress::Tcp { host, port, .. } => {
            let place = (host.to_string(), *port);
            let found = tokio::task::spawn_blocking(move || place.to_socket_addrs()).await;
            let found = found.map_err(|error| error.to_string())?;
            let found: Vec<_> = found.map_err(|error| error.to_string())?.collect();
            TcpStream::connect(&*found).await.map(drop)
        }
        UpstreamAddress::Unix(path) => UnixStream::connect(path).await.map(drop),
    };
    connected.map_err(|error| error.to_string())
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
        let mark = if check.ok {
            style.verdict("pass", "ok  ")
        } else {
            style.bad("FAIL")
        };
        say(format_args!(
            "{mark}  route {}: {}: {}",
            check.route, check.check, check.detail
        ));
    }
    say(if report.ok {
        "a rollout can begin"
    } else {
        "a rollout cannot begin"
    });
}
