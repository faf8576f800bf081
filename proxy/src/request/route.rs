//! Host and path to route: the most specific match wins.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;

use haldane_config::{PathMatch, RouteMatch};

/// Routes by host, each with its paths from the most to the least specific.
pub(crate) struct Table<R> {
    exact: HashMap<Box<str>, Vec<Entry<R>>>,
    /// By the domain below which the host must lie, the longest first.
    wildcard: Vec<(Box<str>, Vec<Entry<R>>)>,
    any: Vec<Entry<R>>,
    all: Vec<Rc<R>>,
}

struct Entry<R> {
    path: PathMatch,
    route: Rc<R>,
}

/// Hosts are compared in lower case; a longer one than this names no route.
const HOST_BYTES_MAX: usize = 255;

impl<R> Table<R> {
    /// A table of these routes.
    pub(crate) fn new(routes: Vec<(RouteMatch, Rc<R>)>) -> Self {
        let mut table = Self {
            exact: HashMap::new(),
            wildcard: Vec::new(),
            any: Vec::new(),
            all: Vec::new(),
        };
        for (matches, route) in routes {
            table.all.push(Rc::clone(&route));
            let entry = Entry {
                path: matches.path,
                route,
            };
            match matches
                .host
                .as_deref()
                .map(|host| (host, host.strip_prefix("*.")))
            {
                None => table.any.push(entry),
                Some((host, None)) => table.exact.entry(host.into()).or_default().push(entry),
                Some((_, Some(domain))) => {
                    match table
                        .wildcard
                        .iter_mut()
                        .find(|(known, _)| **known == *domain)
                    {
                        Some((_, entries)) => entries.push(entry),
                        None => table.wildcard.push((domain.into(), vec![entry])),
                    }
                }
            }
        }
        table
            .wildcard
            .sort_by_key(|(domain, _)| Reverse(domain.len()));
        let wildcards = table.wildcard.iter_mut().map(|(_, entries)| entries);
        for entries in table
            .exact
            .values_mut()
            .chain(wildcards)
            .chain([&mut table.any])
        {
            entries.sort_by_key(|entry| Reverse(specificity(&entry.path)));
        }
        table
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
        first(&self.any, path)
    }

    fn by_host(&self, host: &str, path: &[u8]) -> Option<&Rc<R>> {
        let exact = self
            .exact
            .get(host)
            .and_then(|entries| first(entries, path));
        exact.or_else(|| {
            let below = |domain: &str| {
                host.strip_suffix(domain)
                    .is_some_and(|label| label.len() > 1 && label.ends_with('.'))
            };
            self.wildcard
                .iter()
                .filter(|(domain, _)| below(domain))
                .find_map(|(_, entries)| first(entries, path))
        })
    }
}

fn first<'a, R>(entries: &'a [Entry<R>], path: &[u8]) -> Option<&'a Rc<R>> {
    entries
        .iter()
        .find(|entry| entry.path.takes(path))
        .map(|entry| &entry.route)
}

/// Exact before prefix, longer before shorter, anything last.
fn specificity(pattern: &PathMatch) -> (u8, usize) {
    match pattern {
        PathMatch::Any => (0, 0),
        PathMatch::Exact(path) => (2, path.len()),
        PathMatch::Prefix(path) => (1, path.len()),
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
