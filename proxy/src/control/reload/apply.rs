//! Puts a configuration in force: first everything that can fail, then all at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use haldane_config::{AdminAddress, Config, Difference, Listen};

use super::Running;
use crate::clock::{Micros, micros};
use crate::control::notify;
use crate::descriptors;
use crate::listeners::{self, Listener};
use crate::live::Live;
use crate::live::endpoints::RouteEndpoints;
use crate::live::settings::Settings;
use crate::notify_socket;
use crate::origin::Refusal;
use crate::telemetry::log;
use crate::tls::Tls;

/// Workers have closed a listener long before this time is over.
const CLOSING: Micros = 2_000_000;

impl Running {
    /// Puts `config` in force, with the TLS and the addresses that were made for it. What
    /// differs now.
    ///
    /// # Errors
    ///
    /// If an address cannot be listened on, or the access log not be written. Then
    /// nothing has changed.
    pub(super) fn apply(
        &mut self,
        config: Config,
        tls: Tls,
        endpoints: Vec<RouteEndpoints>,
        live: &Arc<Live>,
    ) -> Result<Difference, Refusal> {
        let difference = Difference::between(&self.config, &config);
        if difference.is_empty() {
            return Ok(difference);
        }
        let now = live.clock.micros();
        let own = self.addresses(now);
        let listeners = self.listeners_for(&config.listen, &own, live.workers)?;
        if self.config.hand_over.is_some() {
            let known = self.listeners.borrow();
            let is_new = |new: &&Arc<Listener>| !known.iter().any(|old| Arc::ptr_eq(old, new));
            for new in listeners.iter().filter(is_new) {
                let address = AdminAddress::Tcp(new.configured);
                new.hold()
                    .map_err(|error| Refusal::Listen(address, error))?;
            }
        }
        let exchange = self.surfaces.prepare(&config, &own)?;
        let access = live
            .access
            .open(config.log.access.as_ref(), live.clock)
            .map_err(Refusal::Access)?;

        // From here on nothing fails, and nothing waits.
        notify_socket::reloading();
        for ((listener, tls), listen) in listeners.iter().zip(&tls.listeners).zip(&config.listen) {
            listener.tls.store(tls.clone());
            listener
                .proxy_protocol
                .store(listen.proxy_protocol, Ordering::Relaxed);
        }
        for old in self.listeners.borrow().iter() {
            if !listeners.iter().any(|listener| Arc::ptr_eq(listener, old)) {
                self.left.push((now, old.address));
                old.release();
            }
        }
        if difference.keys.contains(&"limits") {
            descriptors::compare(&config.limits);
        }
        live.settings.store(Arc::new(Settings::of(&config)));
        live.access.current.store(access);
        live.dns_refresh
            .store(micros(config.dns_refresh), Ordering::Relaxed);
        live.adopt_routes(&config.routes, &tls.versions, endpoints);
        live.tls.store(Arc::new(tls));
        notify::follow(&config.notify, live);
        self.listeners.send_replace(listeners);
        self.surfaces.exchange(exchange, &config);
        if difference.keys.contains(&"log") {
            log::change(config.log.format);
        }
        // What needs a restart stays as it is, and is told again with the next reload.
        let (workers, hand_over) = (self.config.workers, self.config.hand_over.take());
        self.config = Config {
            workers,
            hand_over,
            ..config
        };
        notify_socket::ready();
        Ok(difference)
    }

    /// Everything that this process listens on, or may still be closing.
    fn addresses(&mut self, now: Micros) -> Vec<SocketAddr> {
        self.left.retain(|(at, _)| at.saturating_add(CLOSING) > now);
        let listeners = self.listeners.borrow();
        let data = listeners.iter().map(|listener| listener.address);
        let left = self.left.iter().map(|(_, address)| *address);
        data.chain(self.surfaces.addresses()).chain(left).collect()
    }

    /// The listeners that there are and stay, and new ones for the rest, in order.
    fn listeners_for(
        &self,
        listen: &[Listen],
        own: &[SocketAddr],
        workers: usize,
    ) -> Result<Vec<Arc<Listener>>, Refusal> {
        let mut left: Vec<_> = self.listeners.borrow().clone();
        let kept = listen.iter().map(|Listen { address, .. }| {
            // One that is configured like this before one that happens to be there:
            // with port 0 these are two.
            let configured = |listener: &Arc<Listener>| listener.configured == *address;
            let there = |listener: &Arc<Listener>| listener.address == *address;
            let index = left.iter().position(configured);
            let index = index.or_else(|| left.iter().position(there))?;
            Some(left.remove(index))
        });
        let kept: Vec<_> = kept.collect();
        let wanted = kept.into_iter().zip(listen).map(|(kept, listen)| {
            let address = listen.address;
            kept.map_or_else(
                || {
                    let bound = listeners::bind(address, workers, own);
                    bound
                        .map(Arc::new)
                        .map_err(|error| Refusal::Listen(AdminAddress::Tcp(address), error))
                },
                Ok,
            )
        });
        wanted.collect()
    }
}
