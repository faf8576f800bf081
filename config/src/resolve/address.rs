//! Addresses to listen on, and networks to believe.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use ipnet::IpNet;

use super::tls;
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::types::{Listen, Networks};
use crate::unit::{Kind, Misfit};

const LISTEN_MAX: usize = 64;
const NETWORKS_MAX: usize = 1000;

const ADDRESS: Kind = Kind {
    what: "an address to listen on",
    example: "\"0.0.0.0:8080\", \":8080\" or \"[::1]:8080\"",
    units: &[":{}"],
};
const NETWORK: Kind = Kind {
    what: "a network",
    example: "\"10.0.0.0/8\" or \"::1\"",
    units: &[],
};

/// What is listened on, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Listener<A> {
    pub(super) address: A,
    /// `None` for a default.
    pub(super) written: Option<Range<usize>>,
    pub(super) key: String,
}

impl<A> Listener<A> {
    /// The same place for another form of the address.
    pub(super) fn map<B>(&self, form: impl FnOnce(&A) -> B) -> Listener<B> {
        Listener {
            address: form(&self.address),
            written: self.written.clone(),
            key: self.key.clone(),
        }
    }
}

/// `listen` of the top level.
pub(super) fn listen_addresses(
    root: &Table<'_>,
    certificates: &mut tls::Named,
    report: &mut Report,
) -> Option<Vec<Listener<Listen>>> {
    let value = root.require(report, "listen", "\"0.0.0.0:8080\"")?;
    let items = value.one_or_many(report, LISTEN_MAX)?;
    let read: Vec<_> = items
        .iter()
        .map(|item| listen(item, certificates, report))
        .collect();
    read.into_iter().collect()
}

/// An address, or a table that says how clients speak there.
fn listen(
    value: &Value<'_>,
    certificates: &mut tls::Named,
    report: &mut Report,
) -> Option<Listener<Listen>> {
    if !value.is_table() {
        let listener = listen_address(value, report)?;
        return Some(listener.map(|address| Listen {
            address: *address,
            tls: None,
            proxy_protocol: false,
        }));
    }
    let table = value.table(report, &keys::LISTEN)?;
    let address = table
        .require(report, "address", "\"0.0.0.0:8443\"")
        .and_then(|value| listen_address(&value, report));
    let tls = table.read(report, "tls", None, |value, report| {
        certificates.find(value, report).map(Some)
    });
    let proxy_protocol = table.read(report, "proxy_protocol", false, |value, report| {
        value.boolean(report)
    });
    let (tls, proxy_protocol) = (tls?, proxy_protocol?);
    Some(address?.map(|address| Listen {
        address: *address,
        tls,
        proxy_protocol,
    }))
}

/// One address.
pub(super) fn listen_address(
    value: &Value<'_>,
    report: &mut Report,
) -> Option<Listener<SocketAddr>> {
    let address = value.parse(report, &ADDRESS, socket_address)?;
    Some(Listener {
        address,
        written: Some(value.span.clone()),
        key: value.path.clone(),
    })
}

fn socket_address(text: &str) -> Result<SocketAddr, Misfit> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(Misfit::new("it is a URL").hint("leave the scheme out"));
    }
    if text.parse::<u16>().is_ok() {
        return Err(Misfit::new("it has no colon").hint(format!("write \":{text}\"")));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        let example = SocketAddr::new(ip, 8080);
        return Err(Misfit::new("it has no port").hint(format!("write \"{example}\"")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(Misfit::new("it has no port"));
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(Misfit::new("the port is not a number from 0 to 65535"));
    };
    if host.is_empty() {
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    if host == "localhost" {
        return Err(Misfit::new("it is a name").hint(format!("write \"127.0.0.1:{port}\"")));
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(Misfit::new("an IPv6 address needs brackets")
            .hint(format!("write \"[{host}]:{port}\"")));
    }
    Err(Misfit::new("the part before the port is not an IP address"))
}

/// Two listeners on one port cannot both be bound if their addresses are the same or one
/// of them is every address. `[::]` is every address of IPv4 too, but leaves those to
/// others that ask for them.
pub(super) fn check_collisions(listeners: &[Listener<SocketAddr>], report: &mut Report) {
    let collide = |left: SocketAddr, right: SocketAddr| {
        left.port() == right.port()
            && left.port() != 0
            && left.is_ipv4() == right.is_ipv4()
            && (left.ip() == right.ip()
                || left.ip().is_unspecified()
                || right.ip().is_unspecified())
    };
    for (index, listener) in listeners.iter().enumerate() {
        let Some(first) = listeners[..index]
            .iter()
            .find(|other| collide(other.address, listener.address))
        else {
            continue;
        };
        // A default has no place; then the other one is what was written.
        let (shown, other) = if listener.written.is_some() {
            (listener, first)
        } else {
            (first, listener)
        };
        let message = format!(
            "{} is already taken by `{}` ({})",
            shown.address, other.key, other.address
        );
        report.error(
            shown.written.clone().unwrap_or(0..0),
            &shown.key,
            Finding::new(message).hint("use another port"),
        );
    }
}

/// Networks: one or a list.
pub(super) fn networks(value: &Value<'_>, report: &mut Report) -> Option<Networks> {
    let items = value.one_or_many(report, NETWORKS_MAX)?;
    let read: Vec<_> = items.iter().map(|item| network(item, report)).collect();
    read.into_iter().collect::<Option<Vec<_>>>().map(Networks)
}

fn network(value: &Value<'_>, report: &mut Report) -> Option<IpNet> {
    let network = value.parse(report, &NETWORK, |text| {
        let text = text.trim();
        let parsed = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        match parsed {
            // Addresses are compared as IPv4 where they can be, so it would never match.
            Some(IpNet::V6(v6)) if v6.addr().to_ipv4_mapped().is_some() => {
                Err(Misfit::new("it is an IPv4 network written as IPv6").hint("write it as IPv4"))
            }
            Some(network) => Ok(network),
            None => Err(Misfit::new(
                "it is neither an IP address nor an address with a prefix length",
            )),
        }
    })?;
    if network.trunc() != network {
        let finding = Finding::new(format!("{network} has bits beyond its prefix length"));
        let finding = finding.allowed(format!("read as \"{}\"", network.trunc()));
        report.warning(value.span.clone(), &value.path, finding);
    }
    if network.prefix_len() == 0 {
        let finding = Finding::new(format!("{network} is everybody"))
            .hint("anybody can then say to be somebody else");
        report.warning(value.span.clone(), &value.path, finding);
    }
    Some(network.trunc())
}
