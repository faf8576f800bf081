//! The addresses of a version, and this worker's connections to them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use haldane_config::{Ejection, UpstreamProtocol};
use rustls::ClientConfig;

use crate::buffers::Buffers;
use crate::clock::Micros;
use crate::h1::wire::Wire;
use crate::http2::together::Together;
use crate::live::endpoints::{Endpoint, EndpointList, Endpoints};
use crate::live::health::{AddressFailure, Standing};
use crate::peer::Peer;
use crate::tls::Reloaded;

mod choice;
pub(crate) mod connect;
pub(crate) mod dial;
pub(crate) mod http2;
pub(crate) mod pool;

use http2::{Multiplexed, Shared, StreamLease};
use pool::Pool;

/// One worker's view of a version.
pub(crate) struct Upstream {
    /// The version's name.
    pub(crate) version: Arc<str>,
    list: RefCell<Snapshot>,
    manner: Manner,
    means: Means,
}

/// What the connections of a worker share.
#[derive(Clone, Default)]
pub(crate) struct Means {
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) together: Rc<Together>,
}

/// How the addresses of a version are dealt with.
#[derive(Clone, Default)]
pub(crate) struct Manner {
    pub(crate) ejection: Option<Ejection>,
    pub(crate) protocol: UpstreamProtocol,
    /// For the addresses that are encrypted.
    pub(crate) tls: Option<Arc<Reloaded<ClientConfig>>>,
}

/// The addresses as this worker last saw them.
struct Snapshot {
    cache: Cache<Arc<ArcSwap<EndpointList>>, Arc<EndpointList>>,
    /// What `addresses` was made from.
    seen: Arc<EndpointList>,
    addresses: Rc<[Rc<Address>]>,
}

/// An address with this worker's connections to it.
pub(crate) struct Address {
    endpoint: Arc<Endpoint>,
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
    Own(Box<Wire>),
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
    address: Rc<Address>,
}

impl Upstream {
    pub(crate) fn new(
        version: &Arc<str>,
        endpoints: &Endpoints,
        manner: Manner,
        means: Means,
    ) -> Self {
        let mut cache = Cache::new(Arc::clone(endpoints.list()));
        let seen = Arc::clone(cache.load());
        let addresses = seen.iter().map(Address::new).collect();
        Self {
            version: Arc::clone(version),
            list: RefCell::new(Snapshot {
                cache,
                seen,
                addresses,
            }),
            manner,
            means,
        }
    }

    /// The address that the next request goes to; `None` if none is known to be well.
    pub(crate) fn choose(&self, now: Micros) -> Option<Rc<Address>> {
        choice::choose(&self.addresses(), now, &[])
    }

    /// A connection to an address that is there already, if one can be used; one that is
    /// shared is `apart` or not.
    pub(crate) fn check_out(
        &self,
        address: &Rc<Address>,
        now: Micros,
        apart: bool,
    ) -> Option<Opened> {
        let shared = match self.manner.protocol {
            UpstreamProtocol::Http1 => None,
            UpstreamProtocol::H2 => address.shared.find(apart),
        };
        let link = match shared {
            Some(connection) => Link::Shared(StreamLease::new(connection)),
            None => Link::Own(address.pool.take(now)?),
        };
        Some(Opened {
            link,
            reused: true,
            lease: Lease::new(address),
        })
    }

    /// Keeps a connection whose exchange was read and written to the end, for at
    /// most `keep` microseconds if the upstream said so.
    pub(crate) fn give_back(connection: Connection, now: Micros, keep: Option<Micros>) {
        let Connection { peer, lease, .. } = connection;
        if let Peer::H1(mut wire) = peer {
            wire.rest();
            // Of an address that is gone this is the last that is heard.
            lease.address.pool.give(wire, now, keep);
        }
    }

    /// What an exchange on this connection says about its address.
    pub(crate) fn tell(
        &self,
        connection: &Connection,
        result: Result<(), AddressFailure>,
        now: Micros,
    ) {
        let address = &connection.lease.address;
        match result {
            Ok(()) => address.endpoint.health.succeeded(now),
            Err(failure) => address.failed(failure, now, self.manner.ejection.as_ref()),
        }
    }

    /// Closes connections that have been idle for too long or were closed by the other
    /// end, and those to addresses that are gone.
    pub(crate) fn close_idle(&self, now: Micros) {
        for address in &*self.addresses() {
            address.pool.close_idle(now);
            address.shared.close_idle(now);
        }
    }

    /// The addresses as they are now. Those that stay keep their connections.
    fn addresses(&self) -> Rc<[Rc<Address>]> {
        let mut snapshot = self.list.borrow_mut();
        let Snapshot {
            cache,
            seen,
            addresses,
        } = &mut *snapshot;
        let now = cache.load();
        if !Arc::ptr_eq(now, seen) {
            *seen = Arc::clone(now);
            let kept = |endpoint: &Arc<Endpoint>| {
                let mut old = addresses.iter();
                let known = old.find(|address| Arc::ptr_eq(&address.endpoint, endpoint));
                known.map_or_else(|| Address::new(endpoint), Rc::clone)
            };
            *addresses = seen.iter().map(kept).collect();
        }
        Rc::clone(addresses)
    }
}

impl Address {
    fn new(endpoint: &Arc<Endpoint>) -> Rc<Self> {
        Rc::new(Self {
            endpoint: Arc::clone(endpoint),
            pool: Pool::default(),
            shared: Shared::default(),
            in_use: Cell::new(0),
        })
    }

    /// What a request in HTTP/2 names where its client named no host.
    pub(crate) fn authority(&self) -> &str {
        &self.endpoint.authority
    }

    /// As it is called in messages and metrics.
    pub(crate) fn shown(&self) -> Arc<str> {
        Arc::clone(&self.endpoint.shown)
    }

    /// Whether it is reached over TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.endpoint.place.server_name.is_some()
    }

    fn standing(&self) -> Standing {
        self.endpoint.health.standing()
    }

    fn share(&self, now: Micros) -> Micros {
        self.endpoint.health.share(now)
    }

    fn failed(&self, failure: AddressFailure, now: Micros, rule: Option<&Ejection>) {
        self.endpoint.health.failed(failure, now, rule);
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

    /// Where it leads.
    pub(crate) fn address(&self) -> Rc<Address> {
        Rc::clone(&self.lease.address)
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
    fn new(address: &Rc<Address>) -> Self {
        address.in_use.set(address.in_use.get() + 1);
        Self {
            address: Rc::clone(address),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let in_use = &self.address.in_use;
        in_use.set(in_use.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use haldane_config::UpstreamAddress;

    use super::*;

    fn shown(upstream: &Upstream) -> Vec<String> {
        let addresses = upstream.addresses();
        addresses
            .iter()
            .map(|address| address.endpoint.shown.to_string())
            .collect()
    }

    #[test]
    fn a_worker_follows_the_list_and_keeps_what_stays() {
        let name = UpstreamAddress::Tcp {
            host: "app.test".into(),
            port: 80,
            tls: false,
        };
        let endpoints = Endpoints::new(&[name], None);
        let resolve = |ips: &[[u8; 4]]| {
            let sockets = ips.iter().map(|ip| SocketAddr::from((*ip, 80)));
            endpoints.resolved(0, sockets.collect());
        };
        let upstream = Upstream::new(
            &"v1".into(),
            &endpoints,
            Manner::default(),
            Means::default(),
        );
        assert!(upstream.choose(1).is_none());
        resolve(&[[10, 0, 0, 1], [10, 0, 0, 2]]);
        assert_eq!(shown(&upstream), ["10.0.0.1:80", "10.0.0.2:80"]);
        let before = upstream.addresses();
        let in_use = Lease::new(&before[0]);
        resolve(&[[10, 0, 0, 2], [10, 0, 0, 3]]);
        assert_eq!(shown(&upstream), ["10.0.0.2:80", "10.0.0.3:80"]);
        let after = upstream.addresses();
        assert!(
            Rc::ptr_eq(&before[1], &after[0]),
            "its connections are kept"
        );
        // One that is gone lives until the last exchange with it has ended.
        let gone = Rc::downgrade(&before[0]);
        drop(before);
        assert!(gone.upgrade().is_some());
        drop(in_use);
        assert!(gone.upgrade().is_none(), "and its connections with it");
    }
}
