//! Paths of one host to routes, found in the logarithm of their number.

use std::rc::Rc;

use haldane_config::PathMatch;

/// Which route takes which path.
pub(super) struct Paths<R> {
    /// By path.
    exact: Vec<(Box<[u8]>, Rc<R>)>,
    /// By what the paths begin with.
    prefixes: Vec<Prefix<R>>,
    any: Option<Rc<R>>,
}

struct Prefix<R> {
    begin: Box<[u8]>,
    route: Rc<R>,
    /// The longest other one that this one begins with.
    within: Option<usize>,
}

impl<R> Paths<R> {
    /// Of two patterns that are the same the first one counts.
    pub(super) fn new(routes: Vec<(PathMatch, Rc<R>)>) -> Self {
        let (mut exact, mut begins, mut any) = (Vec::new(), Vec::new(), None);
        for (pattern, route) in routes {
            match pattern {
                PathMatch::Any => any = any.or(Some(route)),
                PathMatch::Exact(path) => exact.push((path.into_bytes().into(), route)),
                PathMatch::Prefix(begin) => begins.push((begin.into_bytes().into(), route)),
            }
        }
        for sorted in [&mut exact, &mut begins] {
            sorted.sort_by(|(left, _): &(Box<[u8]>, _), (right, _)| left.cmp(right));
            sorted.dedup_by(|(later, _), (first, _)| later == first);
        }
        let mut prefixes: Vec<Prefix<R>> = Vec::with_capacity(begins.len());
        for (begin, route) in begins {
            // In this order everything that it can be within came before, one within the other.
            let mut within = prefixes.len().checked_sub(1);
            while let Some(at) = within
                && !begin.starts_with(&prefixes[at].begin)
            {
                within = prefixes[at].within;
            }
            prefixes.push(Prefix {
                begin,
                route,
                within,
            });
        }
        Self {
            exact,
            prefixes,
            any,
        }
    }

    /// The route with the most specific pattern that takes this path: exact before prefix,
    /// longer before shorter, anything last.
    pub(super) fn find(&self, path: &[u8]) -> Option<&Rc<R>> {
        if let Ok(at) = self
            .exact
            .binary_search_by(|(known, _)| (**known).cmp(path))
        {
            return Some(&self.exact[at].1);
        }
        // What the path begins with is sorted before it, and so is nothing in between that
        // does not begin with the same.
        let after = self.prefixes.partition_point(|known| *known.begin <= *path);
        let mut candidate = after.checked_sub(1);
        while let Some(at) = candidate {
            let known = &self.prefixes[at];
            if known.takes(path) {
                return Some(&known.route);
            }
            candidate = known.within;
        }
        self.any.as_ref()
    }
}

impl<R> Prefix<R> {
    /// As [`PathMatch::takes`].
    fn takes(&self, path: &[u8]) -> bool {
        path.strip_prefix(&*self.begin)
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }
}

/// Domains from the one with the most labels to the one with the fewest, below which a host lies.
pub(super) fn domains_above(host: &str) -> impl Iterator<Item = &str> {
    // A label has at least one character.
    host.match_indices('.')
        .filter(|(dot, _)| *dot > 0)
        .map(|(dot, _)| &host[dot + 1..])
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;

    /// Exact before prefix, longer before shorter, anything last.
    fn specificity(pattern: &PathMatch) -> (u8, usize) {
        match pattern {
            PathMatch::Any => (0, 0),
            PathMatch::Exact(path) => (2, path.len()),
            PathMatch::Prefix(path) => (1, path.len()),
        }
    }

    /// Looks at each.
    fn reference(patterns: &[PathMatch], path: &[u8]) -> Option<usize> {
        let takes = |at: &usize| patterns[*at].takes(path);
        (0..patterns.len())
            .filter(takes)
            .min_by_key(|at| Reverse(specificity(&patterns[*at])))
    }

    proptest! {
        #[test]
        fn what_is_found_is_the_most_specific(
            patterns in prop::collection::vec((0..3_u8, "(/[ab]{0,2}){0,4}"), 0..40),
            paths in prop::collection::vec("(/[abc]{0,3}){1,5}", 1..40),
        ) {
            let patterns: Vec<PathMatch> = patterns
                .into_iter()
                .map(|(kind, path)| match kind {
                    0 if path.is_empty() => PathMatch::Any,
                    1 => PathMatch::Exact(path),
                    _ => PathMatch::Prefix(path),
                })
                .collect();
            let routes = patterns.iter().cloned().enumerate();
            let table = Paths::new(routes.map(|(at, pattern)| (pattern, Rc::new(at))).collect());
            for path in paths {
                let found = table.find(path.as_bytes()).map(|at| **at);
                prop_assert_eq!(found, reference(&patterns, path.as_bytes()), "{}", path);
            }
        }
    }

    #[test]
    fn a_host_lies_below_its_domains() {
        let above = |host| domains_above(host).collect::<Vec<_>>();
        assert_eq!(above("a.b.example"), ["b.example", "example"]);
        assert_eq!(above("example"), [""; 0]);
        assert_eq!(above(".example"), [""; 0]);
        assert_eq!(above("a..b"), [".b", "b"]);
    }
}
