//! The addresses of a version, and this worker's connections to them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use haldane_config::{UpstreamAddress, Version};
use rustls::ClientConfig;

use crate::buffers::Buffers;
use crate::clock::Micros;
use crate::h1::wire::Wire;
use crate::tls::Reloaded;

pub(crate) mod connect;
pub(crate) mod pool;

use pool::Pool;

/// One worker's view of a version.
pub(crate) struct Upstream {
    /// The version's name.
    pub(crate) version: Arc<str>,
    addresses: Vec<Endpoint>,
    /// For the addresses that are encrypted.
    tls: Option<Arc<Reloaded<ClientConfig>>>,
    buffers: Rc<Buffers>,
}

struct Endpoint {
    address: UpstreamAddress,
    pool: Pool,
    /// Connections of this worker that are in use.
    in_use: Cell<u32>,
}

/// A connection in use. Dropped it is closed; [`Upstream::give_back`] keeps it.
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    /// It has served an exchange before.
    pub(crate) reused: bool,
    lease: Lease,
}

/// Counts a connection as in use for as long as it lives.
struct Lease {
    upstream: Rc<Upstream>,
    endpoint: usize,
}

impl Upstream {
    pub(crate) fn new(
        version: &Version,
        tls: Option<Arc<Reloaded<ClientConfig>>>,
        buffers: Rc<Buffers>,
    ) -> Self {
        let endpoint = |address: &UpstreamAddress| Endpoint {
            address: address.clone(),
            pool: Pool::default(),
            in_use: Cell::new(0),
        };
        Self {
            version: Arc::clone(&version.name),
            tls,
            addresses: version.upstream.iter().map(endpoint).collect(),
            buffers,
        }
    }

    /// The less used of two random addresses (the power of two choices).
    pub(crate) fn choose(&self) -> usize {
        let count = self.addresses.len();
        if count < 2 {
            return 0;
        }
        let one = fastrand::usize(..count);
        let other = (one + fastrand::usize(1..count)) % count;
        if self.addresses[one].in_use <= self.addresses[other].in_use {
            one
        } else {
            other
        }
    }

    /// An idle connection to an address, if there is one that still lives.
    pub(crate) fn check_out(self: &Rc<Self>, endpoint: usize, now: Micros) -> Option<Connection> {
        let wire = self.addresses[endpoint].pool.take(now)?;
        Some(Connection {
            wire,
            reused: true,
            lease: Lease::new(self, endpoint),
        })
    }

    /// Keeps a connection whose exchange was read and written to the end, for at
    /// most `keep` microseconds if the upstream said so.
    pub(crate) fn give_back(connection: Connection, now: Micros, keep: Option<Micros>) {
        let Connection {
            mut wire, lease, ..
        } = connection;
        wire.rest();
        lease.upstream.addresses[lease.endpoint]
            .pool
            .give(wire, now, keep);
    }

    /// Closes connections that have been idle for too long or were closed by the other end.
    pub(crate) fn close_idle(&self, now: Micros) {
        for endpoint in &self.addresses {
            endpoint.pool.close_idle(now);
        }
    }
}

impl Lease {
    fn new(upstream: &Rc<Upstream>, endpoint: usize) -> Self {
        let in_use = &upstream.addresses[endpoint].in_use;
        in_use.set(in_use.get() + 1);
        Self {
            upstream: Rc::clone(upstream),
            endpoint,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let in_use = &self.upstream.addresses[self.endpoint].in_use;
        in_use.set(in_use.get().saturating_sub(1));
    }
}
