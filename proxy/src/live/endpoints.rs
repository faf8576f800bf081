//! The addresses of a version as they are now, shared by workers and the control plane.
//!
//! The configuration names sockets, addresses and names. A name stands for all addresses
//! that it was last looked up to; the list of all of them is replaced as a whole, so that
//! workers read it without a lock. An address that stays keeps its [`Health`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use haldane_config::{RouteConfig, UpstreamAddress};
use haldane_decide::role::Role;

use super::Route;
use super::health::{Health, Standing};

/// More addresses of one name are not used: a version has at most a few hundred.
const ADDRESSES_MAX: usize = 256;

/// So many addresses of a version are shown one by one.
pub(crate) const SHOWN_MAX: usize = 64;

/// The addresses of a version.
pub(crate) struct Endpoints {
    configured: Vec<UpstreamAddress>,
    /// By configured address, what its name was last looked up to.
    answers: Mutex<Vec<Vec<SocketAddr>>>,
    list: Arc<ArcSwap<EndpointList>>,
}

/// In the order of the configuration, and under a name sorted.
pub(crate) type EndpointList = Vec<Arc<Endpoint>>;

/// One address.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) place: Place,
    /// The address in messages and metrics: `10.0.0.1:8080` or `unix:/run/app.sock`.
    pub(crate) shown: Arc<str>,
    /// As `Host` names it.
    pub(crate) authority: Arc<str>,
    pub(crate) health: Health,
}

/// Where connections go. Two addresses with one place are the same.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Place {
    pub(crate) socket: Socket,
    /// For TLS, the name that the certificate must have.
    pub(crate) server_name: Option<Arc<str>>,
}

/// What is connected to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Socket {
    Tcp(SocketAddr),
    Unix(Arc<Path>),
}

/// Where the versions of a route answer, by role.
pub(crate) type RouteEndpoints = [Option<Arc<Endpoints>>; 2];

/// The addresses of the versions of a route that takes the place of `before`. A version
/// that is configured with the same addresses goes on with them as they are.
pub(super) fn of_route(config: &RouteConfig, before: Option<&Route>) -> RouteEndpoints {
    Role::ALL.map(|role| {
        let configured = &config.version(role)?.upstream;
        let known = before.and_then(|before| before.endpoints(role));
        Some(match known {
            Some(known) if known.configured == *configured => Arc::clone(known),
            Some(_) | None => Arc::new(Endpoints::new(configured, known.map(|known| &**known))),
        })
    })
}

/// What became of looking a name up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// The list is another one.
    Replaced,
    /// Nothing is new.
    Same,
}

impl Endpoints {
    /// The addresses that the configuration gives. Names have none until they were looked
    /// up; what `before` knew about the same names and addresses is still known.
    pub(crate) fn new(configured: &[UpstreamAddress], before: Option<&Self>) -> Self {
        let known = |address: &UpstreamAddress| {
            let before = before?;
            let index = before.configured.iter().position(|one| one == address)?;
            before.answers().get(index).cloned()
        };
        let answers = configured.iter().map(|address| match literal(address) {
            Some(socket) => vec![socket],
            None => known(address).unwrap_or_default(),
        });
        let endpoints = Self {
            configured: configured.to_vec(),
            answers: Mutex::new(answers.collect()),
            list: Arc::new(ArcSwap::from_pointee(Vec::new())),
        };
        let old = before.map(|before| before.list.load_full());
        endpoints.rebuild(old.as_deref().map_or(&[], Vec::as_slice));
        endpoints
    }

    /// The list, for a cache of one's own.
    pub(crate) const fn list(&self) -> &Arc<ArcSwap<EndpointList>> {
        &self.list
    }

    /// The addresses as they are now.
    pub(crate) fn now(&self) -> Arc<EndpointList> {
        self.list.load_full()
    }

    /// The names that are to be looked up, with the index to tell the answer by.
    pub(crate) fn names(&self) -> impl Iterator<Item = (usize, Arc<str>, u16)> {
        let addresses = self.configured.iter().enumerate();
        addresses.filter_map(|(index, address)| match address {
            UpstreamAddress::Tcp { host, port, .. } if literal(address).is_none() => {
                Some((index, Arc::clone(host), *port))
            }
            UpstreamAddress::Tcp { .. } | UpstreamAddress::Unix(_) => None,
        })
    }

    /// Whether the name with this index stands for any address.
    pub(crate) fn has_answer(&self, index: usize) -> bool {
        self.answers()
            .get(index)
            .is_some_and(|answer| !answer.is_empty())
    }

    /// What the name with this index was looked up to; not without any address.
    pub(crate) fn resolved(&self, index: usize, mut found: Vec<SocketAddr>) -> Change {
        // In one order whatever order they come in: many servers rotate it.
        found.sort_unstable();
        found.dedup();
        found.truncate(ADDRESSES_MAX);
        match self.answers().get_mut(index) {
            Some(answer) if *answer != found && !found.is_empty() => *answer = found,
            Some(_) | None => return Change::Same,
        }
        let old = self.list.load_full();
        self.rebuild(&old);
        Change::Replaced
    }

    /// Whether a request that comes now would be sent to any address: false only if all
    /// of them are known to be bad.
    pub(crate) fn is_reachable(&self) -> bool {
        let list = self.list.load();
        list.iter()
            .any(|endpoint| endpoint.health.standing().is_usable())
    }

    fn rebuild(&self, old: &[Arc<Endpoint>]) {
        let mut known: HashMap<&Place, &Arc<Endpoint>> = old
            .iter()
            .map(|endpoint| (&endpoint.place, endpoint))
            .collect();
        let mut list: EndpointList = Vec::new();
        for (address, sockets) in self.configured.iter().zip(&*self.answers()) {
            for (place, authority) in places(address, sockets) {
                if list.iter().any(|endpoint| endpoint.place == place) {
                    continue;
                }
                list.push(match known.remove(&place) {
                    Some(endpoint) if endpoint.authority == authority => Arc::clone(endpoint),
                    Some(_) | None => Arc::new(Endpoint::new(place, authority)),
                });
            }
        }
        self.list.store(Arc::new(list));
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Vec<Vec<SocketAddr>>> {
        // Valid in any state.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    fn new(place: Place, authority: Arc<str>) -> Self {
        let shown = match &place.socket {
            Socket::Tcp(address) => address.to_string().into(),
            Socket::Unix(path) => format!("unix:{}", path.display()).into(),
        };
        Self {
            place,
            shown,
            authority,
            health: Health::default(),
        }
    }

    /// Whether it is to be shown as healthy.
    pub(crate) fn is_healthy(&self) -> bool {
        self.health.standing() == Standing::Healthy
    }
}

/// The socket of an address that is no name.
fn literal(address: &UpstreamAddress) -> Option<SocketAddr> {
    match address {
        UpstreamAddress::Tcp { host, port, .. } => {
            let ip = host.parse::<IpAddr>().ok()?;
            Some(SocketAddr::new(ip, *port))
        }
        UpstreamAddress::Unix(_) => None,
    }
}

fn places(address: &UpstreamAddress, sockets: &[SocketAddr]) -> Vec<(Place, Arc<str>)> {
    match address {
        UpstreamAddress::Tcp { host, tls, .. } => {
            let authority: Arc<str> = address.to_string().into();
            let place = |socket: &SocketAddr| Place {
                socket: Socket::Tcp(*socket),
                server_name: tls.then(|| Arc::clone(host)),
            };
            let sockets = sockets.iter();
            sockets
                .map(|socket| (place(socket), Arc::clone(&authority)))
                .collect()
        }
        UpstreamAddress::Unix(path) => {
            let place = Place {
                socket: Socket::Unix(Arc::clone(path)),
                server_name: None,
            };
            // A path is no host; this one every server knows.
            vec![(place, "localhost".into())]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::health::AddressFailure;

    fn tcp(host: &str, tls: bool) -> UpstreamAddress {
        UpstreamAddress::Tcp {
            host: host.into(),
            port: 80,
            tls,
        }
    }

    fn sockets(ips: &[&str]) -> Vec<SocketAddr> {
        let ips = ips.iter();
        ips.map(|ip| SocketAddr::new(ip.parse().unwrap(), 80))
            .collect()
    }

    fn shown(endpoints: &Endpoints) -> Vec<String> {
        let list = endpoints.now();
        list.iter()
            .map(|endpoint| endpoint.shown.to_string())
            .collect()
    }

    #[test]
    fn what_needs_no_name_is_there_at_once() {
        let configured = [
            tcp("10.0.0.1", false),
            UpstreamAddress::Unix(Path::new("/run/a").into()),
            tcp("a.test", false),
            tcp("::1", true),
        ];
        let endpoints = Endpoints::new(&configured, None);
        assert_eq!(
            shown(&endpoints),
            ["10.0.0.1:80", "unix:/run/a", "[::1]:80"]
        );
        let names: Vec<_> = endpoints.names().collect();
        assert_eq!(names, [(2, "a.test".into(), 80)]);
        let list = endpoints.now();
        let authorities: Vec<&str> = list.iter().map(|endpoint| &*endpoint.authority).collect();
        assert_eq!(authorities, ["10.0.0.1:80", "localhost", "[::1]:80"]);
        assert_eq!(list[2].place.server_name.as_deref(), Some("::1"));
    }

    #[test]
    fn a_name_without_an_answer_is_unreachable_until_it_has_one() {
        let endpoints = Endpoints::new(&[tcp("a.test", false)], None);
        assert!(!endpoints.is_reachable());
        assert_eq!(endpoints.resolved(0, Vec::new()), Change::Same);
        assert!(!endpoints.is_reachable());
        let found = sockets(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(endpoints.resolved(0, found), Change::Replaced);
        assert_eq!(shown(&endpoints), ["10.0.0.1:80", "10.0.0.2:80"]);
        assert!(endpoints.is_reachable());
    }

    #[test]
    fn an_address_that_stays_is_the_same_one() {
        let endpoints = Endpoints::new(&[tcp("a.test", false)], None);
        endpoints.resolved(0, sockets(&["10.0.0.1", "10.0.0.2"]));
        let before = endpoints.now();
        // Another order is no other answer.
        let turned = sockets(&["10.0.0.2", "10.0.0.1"]);
        assert_eq!(endpoints.resolved(0, turned), Change::Same);
        assert!(Arc::ptr_eq(&before, &endpoints.now()));
        // Nor is an answer without addresses one.
        assert_eq!(endpoints.resolved(0, Vec::new()), Change::Same);
        endpoints.resolved(0, sockets(&["10.0.0.2", "10.0.0.3"]));
        let after = endpoints.now();
        assert_eq!(shown(&endpoints), ["10.0.0.2:80", "10.0.0.3:80"]);
        assert!(Arc::ptr_eq(&before[1], &after[0]));
    }

    #[test]
    fn one_place_is_one_address_however_often_it_is_named() {
        let configured = [
            tcp("a.test", false),
            tcp("b.test", false),
            tcp("b.test", true),
        ];
        let endpoints = Endpoints::new(&configured, None);
        for index in 0..3 {
            endpoints.resolved(index, sockets(&["10.0.0.1"]));
        }
        // Under TLS the name makes a difference.
        assert_eq!(shown(&endpoints), ["10.0.0.1:80", "10.0.0.1:80"]);
        let list = endpoints.now();
        assert_eq!(list[0].place.server_name, None);
        assert_eq!(list[1].place.server_name.as_deref(), Some("b.test"));
    }

    #[test]
    fn what_was_known_is_known_after_a_change() {
        let before = Endpoints::new(&[tcp("a.test", false), tcp("10.0.0.9", false)], None);
        before.resolved(0, sockets(&["10.0.0.1"]));
        before.now()[0].health.note(AddressFailure::Connect, 7);
        let after = Endpoints::new(
            &[tcp("10.0.0.8", false), tcp("a.test", false)],
            Some(&before),
        );
        assert_eq!(shown(&after), ["10.0.0.8:80", "10.0.0.1:80"]);
        assert!(Arc::ptr_eq(&before.now()[0], &after.now()[1]));
    }

    #[test]
    fn a_name_with_too_many_addresses_has_the_first_ones() {
        let endpoints = Endpoints::new(&[tcp("a.test", false)], None);
        let many: Vec<SocketAddr> = (0..1000_u32)
            .map(|n| SocketAddr::from((n.to_be_bytes(), 80)))
            .collect();
        endpoints.resolved(0, many.clone());
        assert_eq!(endpoints.now().len(), ADDRESSES_MAX);
        assert_eq!(endpoints.now()[255].place.socket, Socket::Tcp(many[255]));
    }
}
