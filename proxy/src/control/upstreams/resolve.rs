//! Looks names up, again and again: what a name stands for may change, and a failure
//! changes nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::live::Live;
use crate::live::endpoints::{Change, Endpoints};

/// A start waits no longer than this for names: what has no address by then is
/// answered 503 until it has one.
const FIRST_TIMEOUT: Duration = Duration::from_secs(3);

/// A name without any address is looked up this often, if not more often anyway.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What names are looked up with.
pub(crate) trait Lookup: Send + Sync + 'static {
    /// The addresses of a name, with the port.
    fn lookup(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// As the operating system does it.
#[derive(Clone, Copy)]
pub(crate) struct System;

impl Lookup for System {
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// Looks the names up that have no address yet, all at once and within a few seconds. To
/// be done before routes serve: else their first requests would find nobody.
pub(crate) async fn resolve_first(all: impl Iterator<Item = &Arc<Endpoints>>) {
    let mut lookups = JoinSet::new();
    for endpoints in all {
        for (index, host, port) in endpoints.names() {
            let mut name = Name::new(endpoints, index, host, port);
            if !name.has_address() {
                lookups.spawn(async move { name.refresh(&System).await });
            }
        }
    }
    let all = async { while lookups.join_next().await.is_some() {} };
    if timeout(FIRST_TIMEOUT, all).await.is_err() {
        tracing::warn!("not every name of an upstream could be looked up in time");
    }
}

/// A name of a version.
pub(super) struct Name {
    endpoints: Arc<Endpoints>,
    index: usize,
    host: Arc<str>,
    port: u16,
    /// The last lookup failed, and it was told.
    is_lost: bool,
}

impl Name {
    pub(super) fn new(endpoints: &Arc<Endpoints>, index: usize, host: Arc<str>, port: u16) -> Self {
        Self {
            endpoints: Arc::clone(endpoints),
            index,
            host,
            port,
            is_lost: false,
        }
    }

    /// Looks the name up for as long as this runs.
    pub(super) async fn keep_resolved(mut self, lookup: impl Lookup, live: Arc<Live>) {
        loop {
            // What was just looked up for the start need not be at once again.
            if !self.has_address() {
                self.refresh(&lookup).await;
            }
            let interval = Duration::from_micros(live.dns_refresh.load(Ordering::Relaxed));
            let interval = if self.has_address() {
                interval
            } else {
                interval.min(RETRY_INTERVAL)
            };
            // Not all names at the same moment.
            sleep(interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
            if self.has_address() {
                self.refresh(&lookup).await;
            }
        }
    }

    fn has_address(&self) -> bool {
        self.endpoints.has_answer(self.index)
    }

    /// Looks the name up once. A failure leaves everything as it is, and is told once.
    async fn refresh(&mut self, lookup: &impl Lookup) {
        let host = &*self.host;
        let problem = match lookup.lookup(host, self.port).await {
            Ok(found) if found.is_empty() => "it has no address".to_owned(),
            Ok(found) => {
                let had_address = self.has_address();
                let change = self.endpoints.resolved(self.index, found);
                if had_address && change == Change::Replaced {
                    tracing::info!(name = host, "the name has other addresses");
                }
                if std::mem::take(&mut self.is_lost) {
                    tracing::info!(name = host, "the name can be looked up again");
                }
                return;
            }
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut self.is_lost, true) {
            let kept = self.endpoints.has_answer(self.index);
            tracing::warn!(
                name = host,
                error = problem,
                kept,
                "the name cannot be looked up"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use haldane_config::UpstreamAddress;

    use super::*;

    /// Answers as it is told, and then with the last answer.
    struct Script(Mutex<VecDeque<Option<Vec<&'static str>>>>);

    impl Lookup for Script {
        async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            assert_eq!(host, "app.test");
            let answer = self.0.lock().unwrap().pop_front().flatten();
            let ips = answer.ok_or_else(|| io::Error::other("no server"))?;
            let ips = ips.iter();
            Ok(ips
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
                .collect())
        }
    }

    #[tokio::test]
    async fn names_are_followed_and_failures_are_not() {
        let configured = UpstreamAddress::Tcp {
            host: "app.test".into(),
            port: 80,
            tls: false,
        };
        let endpoints = Arc::new(Endpoints::new(&[configured], None));
        let (index, host, port) = endpoints.names().next().unwrap();
        let mut name = Name::new(&endpoints, index, host, port);
        let steps = [
            // A name that is not known yet is no reason not to start.
            (None, vec![], true),
            (Some(vec![]), vec![], true),
            (Some(vec!["10.0.0.1"]), vec!["10.0.0.1:80"], false),
            (
                Some(vec!["::1", "10.0.0.1"]),
                vec!["10.0.0.1:80", "[::1]:80"],
                false,
            ),
            // What fails keeps what was good.
            (None, vec!["10.0.0.1:80", "[::1]:80"], true),
            (Some(vec![]), vec!["10.0.0.1:80", "[::1]:80"], true),
            (Some(vec!["10.0.0.2"]), vec!["10.0.0.2:80"], false),
        ];
        let answers = steps.iter().map(|(answer, ..)| answer.clone());
        let lookup = Script(Mutex::new(answers.collect()));
        for (answer, expected, is_lost) in &steps {
            name.refresh(&lookup).await;
            let list = endpoints.now();
            let shown: Vec<&str> = list.iter().map(|endpoint| &*endpoint.shown).collect();
            assert_eq!((&shown, name.is_lost), (expected, *is_lost), "{answer:?}");
            assert_eq!(name.has_address(), !expected.is_empty());
        }
    }

    #[tokio::test]
    async fn the_operating_system_knows_this_host() {
        let found = System.lookup("localhost", 80).await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()));
    }
}
