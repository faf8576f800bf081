//! Does what a configuration names take connections?

use std::net::ToSocketAddrs;
use std::time::Duration;

use haldane_config::{Config, RouteConfig, UpstreamAddress};
use serde::Serialize;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::output::{Style, say};

/// What cannot be connected to in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// One thing that must hold.
#[derive(Serialize)]
pub(super) struct Check {
    /// Whose it is; `None` if it is of no route alone.
    route: Option<String>,
    /// What was looked at.
    check: String,
    pub(super) ok: bool,
    detail: String,
}

impl Check {
    /// What came of looking at something: `Ok` or `Err` with the details.
    pub(super) fn new(
        route: Option<&str>,
        check: impl Into<String>,
        result: Result<String, String>,
    ) -> Self {
        Self {
            route: route.map(str::to_owned),
            check: check.into(),
            ok: result.is_ok(),
            detail: result.unwrap_or_else(|error| error),
        }
    }

    /// Says it in a line.
    pub(super) fn say(&self, style: Style) {
        let mark = if self.ok {
            style.verdict("pass", "ok  ")
        } else {
            style.bad("FAIL")
        };
        let (check, detail) = (&self.check, &self.detail);
        match &self.route {
            Some(route) => say(format_args!("{mark}  route {route}: {check}: {detail}")),
            None => say(format_args!("{mark}  {check}: {detail}")),
        }
    }
}

/// Connects to each address of both versions of a route.
pub(super) async fn versions(route: &RouteConfig) -> Vec<Check> {
    let mut checks = Vec::new();
    for (role, version) in [
        ("stable", Some(&route.stable)),
        ("canary", route.canary.as_ref()),
    ] {
        let Some(version) = version else {
            continue;
        };
        for address in &version.upstream {
            let what = format!("{role} {address}");
            checks.push(Check::new(Some(&route.name), what, reach(address).await));
        }
    }
    checks
}

/// Connects to everything that is told or asked and is no upstream: targets of notices,
/// questions before the first step, gates outside.
pub(super) async fn remotes(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for remote in config.remotes() {
        let what = format!("remote {}", remote.url.first());
        let result = match remote.url_now() {
            Ok(url) => within_time(tcp(&url.host, url.port)).await,
            Err(unusable) => Err(unusable.to_string()),
        };
        checks.push(Check::new(None, what, result));
    }
    checks
}

async fn reach(address: &UpstreamAddress) -> Result<String, String> {
    match address {
        UpstreamAddress::Tcp { host, port, .. } => within_time(tcp(host, *port)).await,
        UpstreamAddress::Unix(path) => {
            let connect = async { UnixStream::connect(path).await.map(drop) };
            within_time(async { connect.await.map_err(|error| error.to_string()) }).await
        }
    }
}

async fn within_time(connect: impl Future<Output = Result<(), String>>) -> Result<String, String> {
    match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(connected) => connected.map(|()| "takes connections".to_owned()),
        Err(_) => Err(format!("no connection in {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

async fn tcp(host: &str, port: u16) -> Result<(), String> {
    let place = (host.to_owned(), port);
    let found = tokio::task::spawn_blocking(move || place.to_socket_addrs()).await;
    let found = found.map_err(|error| error.to_string())?;
    let found: Vec<_> = found.map_err(|error| error.to_string())?.collect();
    let connected = TcpStream::connect(&*found).await;
    connected.map(drop).map_err(|error| error.to_string())
}
