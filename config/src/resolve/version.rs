//! The two versions of a route and where they run.

use std::net::Ipv6Addr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{names, provenance, tls};
use crate::file::{Value, quoted};
use crate::keys::Keys;
use crate::report::{Finding, Report};
use crate::types::{ClientTls, Provenance, UpstreamAddress, Version};
use crate::unit::{Kind, Misfit};

const UPSTREAMS_MAX: usize = 256;
const VERSION_BYTES_MAX: usize = 128;
/// What an address of a Unix socket holds besides the NUL at its end (`unix(7)`).
const SOCKET_PATH_BYTES_MAX: usize = 107;

const URL: Kind = Kind {
    what: "the URL of an upstream",
    example: "\"http://10.0.0.1:8080\", \"https://api.example.com\" or \"unix:/run/app.sock\"",
    units: &["http://127.0.0.1:{}"],
};
const VERSION: Kind = Kind {
    what: "the name of a version",
    example: "\"v1.42.0\"",
    units: &["{}"],
};

/// A version, and where its name was written.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) version: Version,
    pub(super) place: Range<usize>,
}

/// A URL, or a table with `keys`. Its name is the role's unless it is written.
pub(super) fn version(
    value: &Value<'_>,
    report: &mut Report,
    (role, keys): (&'static str, &'static Keys),
) -> Option<Named> {
    if value.is_text() {
        let version = Version {
            name: role.into(),
            upstream: vec![upstream(value, report)?],
            tls: ClientTls::default(),
            provenance: Provenance::default(),
        };
        return Some(Named {
            version,
            place: value.span.clone(),
        });
    }
    if !value.is_table() {
        return value.parse(report, &URL, |_| Err(Misfit::new("it is no text")));
    }
    let table = value.table(report, keys)?;
    let name = match table.get("version") {
        Some(written) => written
            .parse(report, &VERSION, version_name)
            .map(|name| (name, written.span.clone())),
        None => Some((role.into(), value.span.clone())),
    };
    let upstream = table
        .require(report, "upstream", "\"http://127.0.0.1:3000\"")
        .and_then(|value| upstreams(&value, report));
    let tls = tls::client(&table, report);
    let provenance = provenance::provenance(&table, report);
    if let Some(upstream) = &upstream
        && !upstream.iter().any(UpstreamAddress::is_tls)
    {
        tls::reject_useless(&table, report);
    }
    let (name, place) = name?;
    Some(Named {
        version: Version {
            name,
            upstream: upstream?,
            tls: tls?,
            provenance: provenance?,
        },
        place,
    })
}

fn version_name(text: &str) -> Result<Arc<str>, Misfit> {
    if text.is_empty() {
        Err(Misfit::new("it is empty"))
    } else if text.len() > VERSION_BYTES_MAX {
        Err(Misfit::new(format!(
            "it is longer than {VERSION_BYTES_MAX} bytes"
        )))
    } else if text.trim() != text {
        Err(Misfit::new("it begins or ends with a space"))
    } else if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        Ok(text.into())
    } else {
        Err(Misfit::new("it travels in a header: printable ASCII only"))
    }
}

fn upstreams(value: &Value<'_>, report: &mut Report) -> Option<Vec<UpstreamAddress>> {
    let items = value.one_or_many(report, UPSTREAMS_MAX)?;
    let read: Vec<_> = items.iter().map(|item| upstream(item, report)).collect();
    for (index, item) in items.iter().enumerate() {
        if read[index].is_some() && read[..index].contains(&read[index]) {
            item.reject::<()>(report, Finding::new("this upstream is already in the list"));
        }
    }
    read.into_iter().collect()
}

fn upstream(value: &Value<'_>, report: &mut Report) -> Option<UpstreamAddress> {
    value.parse(report, &URL, url)
}

fn url(text: &str) -> Result<UpstreamAddress, Misfit> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Misfit::new("it has no scheme")
            .hint(format!("write {}", quoted(&format!("http://{text}")))));
    };
    let tls = scheme.eq_ignore_ascii_case("https");
    if !tls && !scheme.eq_ignore_ascii_case("http") {
        return Err(Misfit::new("the scheme is neither \"http\" nor \"https\""));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if !tail.is_empty() {
        let misfit = Misfit::new("an upstream has no path or query: the client's are used");
        return Err(misfit.hint(format!(
            "write {}",
            quoted(&format!("{scheme}://{authority}"))
        )));
    }
    if authority.contains('@') {
        return Err(Misfit::new("an upstream has no user or password"));
    }
    let (host, port) = split_port(authority, if tls { 443 } else { 80 })?;
    Ok(UpstreamAddress::Tcp {
        host: host.into(),
        port,
        tls,
    })
}

/// The path of a Unix socket.
fn unix(path: &str) -> Result<UpstreamAddress, Misfit> {
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(
            Misfit::new("the path of a Unix socket begins with one \"/\"")
                .hint("write \"unix:/run/app.sock\""),
        );
    }
    if path.ends_with('/') {
        return Err(Misfit::new("it is the path of a directory"));
    }
    if path.len() > SOCKET_PATH_BYTES_MAX {
        return Err(Misfit::new(format!(
            "the path of a Unix socket has at most {SOCKET_PATH_BYTES_MAX} bytes"
        )));
    }
    if path.chars().any(char::is_control) {
        return Err(Misfit::new("the path has control characters"));
    }
    Ok(UpstreamAddress::Unix(Path::new(path).into()))
}

/// The host, without brackets, and the port of an authority.
pub(super) fn split_port(authority: &str, default: u16) -> Result<(String, u16), Misfit> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return Err(Misfit::new("there is no \"]\" after the IPv6 address"));
        };
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| Misfit::new("there is no IPv6 address in the brackets"))?;
        (address.to_string(), port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        if port.matches(':').count() > 1 {
            return Err(
                Misfit::new("an IPv6 address needs brackets").hint("write \"http://[::1]:8080\"")
            );
        }
        (names::host(host)?, port)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default,
        None => return Err(Misfit::new("after the address comes \":\" and a port")),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().unwrap_or(0)
        }
        Some(_) => 0,
    };
    if port == 0 {
        return Err(Misfit::new("the port is not a number from 1 to 65535"));
    }
    Ok((host, port))
}
