//! Who may read, who may command.
//!
//! ## Against what
//!
//! Browsers are the way in for strangers: any page may make its visitor's browser
//! send requests to 127.0.0.1. Three things keep it out. It cannot send JSON across
//! origins without being asked first, and nobody here answers that question; its
//! `Origin` is foreign; and if it makes its own name point to this listener (DNS
//! rebinding), which makes it the same origin, then the `Host` is that name.
//!
//! | the listener is | `Host` may be |
//! |---|---|
//! | on a loopback address | `localhost` or a loopback address, with the listener's port |
//! | on any other | an IP address or `localhost`; a name only together with the token |
//! | a Unix socket | anything: the permissions of its file say who may connect |
//!
//! A rebinding page has a name and no token. Behind port forwarding and in a
//! container the port and the address are not the listener's, hence neither is
//! compared there. Such a listener always has a token.
//!
//! A Unix socket may be forwarded to a port of this machine, and then pages reach it:
//! a request with an `Origin` must be for `localhost` or an IP address there.
//!
//! With a token, everything but GET needs it. That includes the question who is on
//! the canary: whoever could ask it for many keys could choose keys that all are.
//!
//! It is needed for one thing that is read with GET, too: the tap, which says what single
//! clients have asked for. Counts and states are about versions; paths are about people.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use haldane_config::{AdminAddress, Secret};
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use subtle::ConstantTimeEq;

use super::problem::{Problem, quoted};

/// What the admin listener demands of a request.
pub(super) struct Access {
    address: AdminAddress,
    /// May be replaced at any time.
    token: Arc<ArcSwapOption<Secret>>,
}

impl Access {
    /// For a listener that is bound to `address`.
    pub(super) const fn new(address: AdminAddress, token: Arc<ArcSwapOption<Secret>>) -> Self {
        Self { address, token }
    }

    /// The `Host` names this listener, and no other site's page sent this.
    pub(super) fn check_sender(&self, head: &Parts) -> Result<(), Problem> {
        let host = self.check_host(head)?;
        for origin in head.headers.get_all(ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let own = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"))
                .is_some_and(|authority| {
                    authority.eq_ignore_ascii_case(host) && self.may_be_origin(authority)
                });
            if !own {
                return Err(Problem::forbidden(
                    "origin",
                    "another site may not use the admin API",
                    format!("the Origin is \"{}\"", quoted(origin)),
                    "requests that are not made by a page carry no Origin",
                ));
            }
        }
        Ok(())
    }

    /// Metrics on a loopback listener are for this machine only; on any other they
    /// are for whoever can reach it, by whichever name.
    pub(super) fn check_scraper(&self, head: &Parts) -> Result<(), Problem> {
        if self.is_loopback() {
            self.check_sender(head)
        } else {
            Ok(())
        }
    }

    /// The request carries the token, if there is one.
    pub(super) fn check_token(&self, head: &Parts) -> Result<(), Problem> {
        if self.token.load().is_none() || self.bears_token(head) {
            Ok(())
        } else {
            Err(Problem::unauthorized())
        }
    }

    fn check_host<'a>(&self, head: &'a Parts) -> Result<&'a str, Problem> {
        let mut hosts = head.headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            (None, _) | (_, Some(_)) => {
                let hint = "send exactly one Host";
                return Err(Problem::bad(
                    "host",
                    "the Host is missing or ambiguous",
                    "a request has exactly one Host field",
                    hint,
                ));
            }
        };
        // A target in absolute form names a host too (RFC 9112 §3.2.2).
        let target = head.uri.authority();
        let names_this = host
            .parse()
            .is_ok_and(|authority| self.is_named_by(&authority, head))
            && target.is_none_or(|authority| self.is_named_by(authority, head));
        if names_this {
            return Ok(host);
        }
        let hint = match &self.address {
            AdminAddress::Tcp(address) if self.is_loopback() => format!(
                "use http://{address} or http://localhost:{}",
                address.port()
            ),
            AdminAddress::Tcp(_) => "use an IP address, or send the token".to_owned(),
            AdminAddress::Unix(_) => "use http://localhost".to_owned(),
        };
        Err(Problem::forbidden(
            "host",
            "the Host does not name this listener",
            format!("the Host is \"{}\"", quoted(host)),
            hint,
        ))
    }

    fn is_named_by(&self, authority: &Authority, head: &Parts) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let literal = literal_in(authority);
        let localhost = authority.host().eq_ignore_ascii_case("localhost");
        match &self.address {
            AdminAddress::Tcp(address) if self.is_loopback() => {
                let loopback = literal.is_some_and(|address| address.to_canonical().is_loopback());
                let port = authority.port_u16().unwrap_or(80);
                (localhost || loopback) && port == address.port()
            }
            AdminAddress::Tcp(_) => localhost || literal.is_some() || self.bears_token(head),
            AdminAddress::Unix(_) => true,
        }
    }

    /// Whether a page from there can be this listener's own.
    fn may_be_origin(&self, authority: &str) -> bool {
        match &self.address {
            AdminAddress::Tcp(_) => true,
            AdminAddress::Unix(_) => authority.parse().is_ok_and(|authority: Authority| {
                authority.host().eq_ignore_ascii_case("localhost")
                    || literal_in(&authority).is_some()
            }),
        }
    }

    fn is_loopback(&self) -> bool {
        match &self.address {
            AdminAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            AdminAddress::Unix(_) => true,
        }
    }

    fn bears_token(&self, head: &Parts) -> bool {
        let token = self.token.load();
        let Some(Secret(token)) = token.as_deref() else {
            return false;
        };
        let mut fields = head.headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return false;
        };
        let field = field.as_bytes();
        let Some((scheme, given)) = field.split_at_checked("Bearer ".len()) else {
            return false;
        };
        // In constant time: how much of a guess was right must not be measurable.
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(token.as_bytes()))
    }
}

/// The IP address that an authority names.
fn literal_in(authority: &Authority) -> Option<IpAddr> {
    let host = authority.host();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    literal.parse().ok()
}

#[cfg(test)]
mod tests;
