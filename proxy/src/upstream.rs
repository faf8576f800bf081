//! The addresses of a version, and this worker's connections to them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use haldane_config::{UpstreamAddress, UpstreamProtocol, Version};
use rustls::ClientConfig;

use crate::buffers::Buffers;
use crate::clock::Micros;
use crate::h1::wire::Wire;
use crate::peer::Peer;
use crate::tls::Reloaded;

pub(crate) mod connect;
pub(crate) mod http2;
pub(crate) mod pool;

use http2::{Multiplexed, Shared, StreamLease};
use pool::Pool;

/// One worker's view of a version.
pub(crate) struct Upstream {
    /// The version's name.
    pub(crate) version: Arc<str>,
    addresses: Vec<Endpoint>,
    /// For the addresses that are encrypted.
    tls: Option<Arc<Reloaded<ClientConfig>>>,
    protocol: UpstreamProtocol,
    buffers: Rc<Buffers>,
}

struct Endpoint {
    address: UpstreamAddress,
    pool: Pool,
    shared: Shared,
    /// Exchanges of this worker that are under way.
    in_use: Cell<u32>,
}

/// A connection that may be used for an exchange.
pub(crate) struct Opened {
    pub(crate) link: Link,
    /// It has served an exchange before.
    pub(crate) reused: bool,
    lease: Lease,
}

/// What carries an exchange.
pub(crate) enum Link {
    /// A connection of its own.
    Own(Wire),
    /// A stream, to be opened on this connection.
    Shared(StreamLease),
}

/// A connection, or a stream of one, in use. Dropped it is closed;
/// [`Upstream::give_back`] keeps it.
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    /// It has served an exchange before.
    pub(crate) reused: bool,
    pub(crate) shared: Option<StreamLease>,
    lease: Lease,
}

/// Counts an exchange as under way for as long as it lives.
struct Lease {
    upstream: Rc<Upstream>,
    endpoint: usize,
}

impl Upstream {
    pub(crate) fn new(
        version: &Version,
        tls: Option<Arc<Reloaded<ClientConfig>>>,
        protocol: UpstreamProtocol,
        buffers: Rc<Buffers>,
    ) -> Self {
        let endpoint = |address: &UpstreamAddress| Endpoint {
            address: address.clone(),
            pool: Pool::default(),
            shared: Shared::default(),
            in_use: Cell::new(0),
        };
        Self {
            version: Arc::clone(&version.name),
            tls,
            protocol,
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

    /// A connection to an address that is there already, if one can be used.
    pub(crate) fn check_out(self: &Rc<Self>, endpoint: usize, now: Micros) -> Option<Opened> {
        let address = &self.addresses[endpoint];
        let shared = match self.protocol {
            UpstreamProtocol::Http1 => None,
            UpstreamProtocol::H2 => address.shared.find(),
        };
        let link = match shared {
            Some(connection) => Link::Shared(StreamLease::new(connection)),
            None => Link::Own(address.pool.take(now)?),
        };
        Some(Opened {
            link,
            reused: true,
            lease: Lease::new(self, endpoint),
        })
    }

    /// Keeps a connection whose exchange was read and written to the end, for at
    /// most `keep` microseconds if the upstream said so.
    pub(crate) fn give_back(connection: Connection, now: Micros, keep: Option<Micros>) {
        let Connection { peer, lease, .. } = connection;
        if let Peer::H1(mut wire) = peer {
            wire.rest();
            lease.upstream.addresses[lease.endpoint]
                .pool
                .give(wire, now, keep);
        }
    }

    /// Closes connections that have been idle for too long or were closed by the other end.
    pub(crate) fn close_idle(&self, now: Micros) {
        for endpoint in &self.addresses {
            endpoint.pool.close_idle(now);
            endpoint.shared.close_idle(now);
        }
    }

    /// What a request in HTTP/2 names where its client named no host.
    pub(crate) fn authority(&self, endpoint: usize) -> String {
        let address = &self.addresses[endpoint].address;
        if address.host.contains(':') {
            format!("[{}]:{}", address.host, address.port)
        } else {
            format!("{}:{}", address.host, address.port)
        }
    }

    /// Whether an address is reached over TLS.
    pub(crate) fn is_encrypted(&self, endpoint: usize) -> bool {
        self.addresses[endpoint].address.tls
    }
}

impl Opened {
    fn shared(lease: Lease, connection: Rc<Multiplexed>, reused: bool) -> Self {
        Self {
            link: Link::Shared(StreamLease::new(connection)),
            reused,
            lease,
        }
    }

    /// The exchange begins: `engage` sends its head, or gives nothing back if it cannot.
    pub(crate) fn engage<E>(
        self,
        engage: impl FnOnce(Link) -> Result<(Peer, Option<StreamLease>), E>,
    ) -> Result<Connection, E> {
        let (peer, shared) = engage(self.link)?;
        Ok(Connection {
            peer,
            reused: self.reused,
            shared,
            lease: self.lease,
        })
    }
}

impl Opened {
    /// Whether nothing has come and the other end has not closed, as the operating
    /// system knows at this moment. With streams the other end says what it refuses.
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.link {
            Link::Own(wire) => wire.is_quiet(),
            Link::Shared(_) => true,
        }
    }
}

impl Connection {
    /// Ends an exchange that is not complete, for the reason that the client gave.
    pub(crate) fn give_up(mut self, reason: Option<h2::Reason>) {
        if let Peer::H2(stream) = &mut self.peer
            && !stream.is_complete()
        {
            stream.reset(reason.unwrap_or(h2::Reason::CANCEL));
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
