//! Host and path to route: the most specific match wins.

mod paths;

use std::collections::HashMap;
use std::rc::Rc;

use haldane_config::{PathMatch, RouteMatch};
use paths::{Paths, domains_above};

/// Routes by host.
pub(crate) struct Table<R> {
    exact: HashMap<Box<str>, Paths<R>>,
    /// By the domain below which the host must lie.
    wildcard: HashMap<Box<str>, Paths<R>>,
    any: Paths<R>,
    all: Vec<Rc<R>>,
}

/// Patterns of a host, and their routes, before they are put in order.
type Patterns<R> = Vec<(PathMatch, Rc<R>)>;

/// Hosts are compared in lower case; a longer one than this names no route.
const HOST_BYTES_MAX: usize = 255;

impl<R> Table<R> {
    /// A table of these routes.
    pub(crate) fn new(routes: Vec<(RouteMatch, Rc<R>)>) -> Self {
        let all = routes.iter().map(|(_, route)| Rc::clone(route)).collect();
        let mut exact: HashMap<Box<str>, Patterns<R>> = HashMap::new();
        let mut wildcard: HashMap<Box<str>, Patterns<R>> = HashMap::new();
        let mut any = Patterns::new();
        for (matches, route) in routes {
            let patterns = match matches.host.as_deref() {
                None => &mut any,
                Some(host) => match host.strip_prefix("*.") {
                    Some(domain) => wildcard.entry(domain.into()).or_default(),
                    None => exact.entry(host.into()).or_default(),
                },
            };
            patterns.push((matches.path, route));
        }
        let ordered = |hosts: HashMap<Box<str>, Patterns<R>>| {
            let hosts = hosts.into_iter();
            hosts
                .map(|(host, patterns)| (host, Paths::new(patterns)))
                .collect()
        };
        Self {
            exact: ordered(exact),
            wildcard: ordered(wildcard),
            any: Paths::new(any),
            all,
        }
    }

    /// All routes.
    pub(crate) fn routes(&self) -> &[Rc<R>] {
        &self.all
    }

    /// The route that takes this host (with or without port) and path.
    pub(crate) fn find(&self, host: &[u8], path: &[u8]) -> Option<&Rc<R>> {
        if !(self.exact.is_empty() && self.wildcard.is_empty()) {
            let mut lower = [0; HOST_BYTES_MAX];
            if let Some(route) =
                lower_case(without_port(host), &mut lower).and_then(|host| self.by_host(host, path))
            {
                return Some(route);
            }
        }
        self.any.find(path)
    }

    fn by_host(&self, host: &str, path: &[u8]) -> Option<&Rc<R>> {
        let exact = self.exact.get(host).and_then(|paths| paths.find(path));
        exact.or_else(|| {
            if self.wildcard.is_empty() {
                return None;
            }
            domains_above(host)
                .filter_map(|domain| self.wildcard.get(domain))
                .find_map(|paths| paths.find(path))
        })
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(colon) if host[colon] == b':' => &host[..colon],
        _ => host,
    }
}

fn lower_case<'a>(host: &[u8], buffer: &'a mut [u8]) -> Option<&'a str> {
    let lower = buffer.get_mut(..host.len())?;
    lower.copy_from_slice(host);
    lower.make_ascii_lowercase();
    // A trailing dot names the same host.
    let lower = lower.strip_suffix(b".").unwrap_or(lower);
    std::str::from_utf8(lower).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_match_wins() {
        let matches = |host: Option<&str>, path| RouteMatch {
            host: host.map(str::to_owned),
            path,
        };
        let prefix = |path: &str| PathMatch::Prefix(path.to_owned());
        let table = Table::new(vec![
            (matches(None, PathMatch::Any), Rc::new("any")),
            (matches(None, prefix("/api")), Rc::new("api")),
            (matches(None, prefix("/api/v2")), Rc::new("v2")),
            (
                matches(None, PathMatch::Exact("/api/v2".to_owned())),
                Rc::new("v2 itself"),
            ),
            (
                matches(Some("shop.example.com"), prefix("/checkout")),
                Rc::new("checkout"),
            ),
            (
                matches(Some("*.example.com"), PathMatch::Any),
                Rc::new("example"),
            ),
            (
                matches(Some("*.b.example.com"), PathMatch::Any),
                Rc::new("b"),
            ),
            (matches(Some("[::1]"), PathMatch::Any), Rc::new("six")),
        ]);
        for (host, path, expected) in [
            ("x", "/", "any"),
            ("x", "/api", "api"),
            ("x", "/api/", "api"),
            ("x", "/apis", "any"),
            ("x", "/api/v2", "v2 itself"),
            ("x", "/api/v2/z", "v2"),
            ("SHOP.example.com:8080", "/checkout/1", "checkout"),
            ("shop.example.com.", "/checkout", "checkout"),
            ("shop.example.com", "/other", "example"),
            ("a.b.example.com", "/", "b"),
            ("b.example.com", "/", "example"),
            ("example.com", "/", "any"),
            ("[::1]:80", "/", "six"),
            ("[::1]", "/", "six"),
            ("", "/", "any"),
            (&"x".repeat(300), "/", "any"),
        ] {
            assert_eq!(
                table
                    .find(host.as_bytes(), path.as_bytes())
                    .map(|route| **route),
                Some(expected),
                "{host}{path}"
            );
        }
    }
}
