//! What became of requests, and which of it faults explain.

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::{case::Version, clock};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// A connection for one request.
    Close,
    /// Megabytes, read slowly.
    Download,
    /// Streams side by side on one connection.
    Http2,
    /// One after another on one connection.
    KeepAlive,
    /// A new connection under TLS.
    Tls,
    /// A body to the upstream.
    Upload,
    /// Bytes to and fro after an upgrade.
    WebSocket,
}

/// All kinds.
pub(crate) const ALL: &[Kind] = &[
    Kind::Close,
    Kind::Download,
    Kind::Http2,
    Kind::KeepAlive,
    Kind::Tls,
    Kind::Upload,
    Kind::WebSocket,
];

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered as it should be.
    Answered(Version),
    /// It was not, which a fault may explain.
    Failed(String),
    /// It was answered by something else; nothing explains that.
    Wrong(String),
}

/// A stretch of time, in nanoseconds, in which requests may fail.
#[derive(Debug)]
struct Window {
    fault: &'static str,
    from: u64,
    /// Open until it is known.
    to: Option<u64>,
    kinds: &'static [Kind],
}

/// A stretch of time in which nobody may be on the canary.
#[derive(Debug)]
struct Closed {
    from: u64,
    to: Option<u64>,
}

/// A request that failed.
#[derive(Debug)]
struct Failed {
    kind: Kind,
    begun: u64,
    ended: u64,
    why: String,
}

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    /// By the version that answered.
    pub(crate) answered: [u64; 2],
    /// How many failed.
    pub(crate) failed: u64,
    /// How many their client gave up on purpose.
    pub(crate) given_up: u64,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Book {
    counts: BTreeMap<Kind, Count>,
    failed: Vec<Failed>,
    /// Answers of the canary that came when it could not have got the request.
    late: u64,
    windows: Vec<Window>,
    closed: Vec<Closed>,
    violations: Vec<String>,
}

impl Book {
    /// Takes note of a request that was begun at `begun` and has ended now.
    pub(crate) fn record(&mut self, kind: Kind, begun: u64, outcome: Outcome) {
        let ended = clock::now_ns();
        let count = self.counts.entry(kind).or_default();
        match outcome {
            Outcome::Answered(version) => {
                count.answered[version.index()] += 1;
                if version == Version::Canary && self.is_closed(begun, ended) {
                    self.late += 1;
                }
            }
            Outcome::Failed(why) => {
                count.failed += 1;
                self.failed.push(Failed {
                    kind,
                    begun,
                    ended,
                    why,
                });
            }
            Outcome::Wrong(what) => self.violate(format!("{kind:?}: wrong answer: {what}")),
        }
    }

    /// A client has gone on purpose.
    pub(crate) fn give_up(&mut self, kind: Kind) {
        self.counts.entry(kind).or_default().given_up += 1;
    }

    /// From now on requests of these kinds may fail.
    pub(crate) fn open(&mut self, fault: &'static str, kinds: &'static [Kind]) -> usize {
        self.windows.push(Window {
            fault,
            from: clock::now_ns(),
            to: None,
            kinds,
        });
        self.windows.len() - 1
    }

    /// From now on they may not any more.
    pub(crate) fn close(&mut self, window: usize) {
        self.windows[window].to = Some(clock::now_ns());
    }

    /// Whoever asks from now on may not get the canary.
    pub(crate) fn canary_is_closed(&mut self) {
        self.closed.push(Closed {
            from: clock::now_ns(),
            to: None,
        });
    }

    /// From now on the canary may answer again.
    pub(crate) fn canary_may_open(&mut self) {
        if let Some(closed) = self.closed.last_mut() {
            closed.to.get_or_insert_with(clock::now_ns);
        }
    }

    /// Something that must not be.
    pub(crate) fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("haldane-bench: VIOLATION: {what}");
        self.violations.push(what);
    }

    /// What there was, by kind.
    pub(crate) const fn counts(&self) -> &BTreeMap<Kind, Count> {
        &self.counts
    }

    /// Failures that each fault explains.
    pub(crate) fn explained(&self) -> BTreeMap<&'static str, u64> {
        let mut explained = BTreeMap::new();
        for window in &self.windows {
            explained.entry(window.fault).or_default();
        }
        for failed in &self.failed {
            if let Some(window) = self.explanation(failed) {
                *explained.entry(window.fault).or_default() += 1;
            }
        }
        explained
    }

    /// Everything that must not be.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut all = self.violations.clone();
        let unexplained: Vec<&Failed> = self
            .failed
            .iter()
            .filter(|failed| self.explanation(failed).is_none())
            .collect();
        for failed in unexplained.iter().take(SHOWN_MAX) {
            let last = self
                .windows
                .iter()
                .rfind(|window| window.from < failed.ended);
            let fault = last.map_or("nothing", |window| window.fault);
            all.push(format!(
                "{:?} failed without a fault that explains it, after {fault}: {}",
                failed.kind, failed.why
            ));
        }
        if let Some(more) = unexplained.len().checked_sub(SHOWN_MAX + 1) {
            all.push(format!("and {} more", more + 1));
        }
        if self.late > 0 {
            let late = self.late;
            all.push(format!(
                "the canary answered {late} requests after a rollback"
            ));
        }
        all
    }

    fn is_closed(&self, begun: u64, ended: u64) -> bool {
        self.closed
            .iter()
            .any(|span| span.from < begun && span.to.is_none_or(|to| ended < to))
    }

    fn explanation(&self, failed: &Failed) -> Option<&Window> {
        self.windows.iter().find(|window| {
            window.kinds.contains(&failed.kind)
                && window.from <= failed.ended
                && window.to.is_none_or(|to| failed.begun <= to)
        })
    }
}

/// So many failures are shown.
const SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kinds_of_a_window_are_explained_and_only_within_it() {
        let mut book = Book::default();
        let failed = || Outcome::Failed("reset".to_owned());
        let before = clock::now_ns();
        book.record(Kind::Close, before, failed());
        let window = book.open("cut", &[Kind::Close]);
        book.record(Kind::Close, clock::now_ns(), failed());
        book.record(Kind::Tls, clock::now_ns(), failed());
        book.close(window);
        book.record(Kind::Close, before, failed());
        book.record(Kind::Close, clock::now_ns() + 1, failed());
        assert_eq!(book.explained(), BTreeMap::from([("cut", 2)]));
        assert_eq!(book.violations().len(), 3, "{:?}", book.violations());
    }

    #[test]
    fn the_canary_may_answer_what_was_begun_before_a_rollback() {
        let mut book = Book::default();
        let answered = || Outcome::Answered(Version::Canary);
        let before = clock::now_ns();
        book.canary_is_closed();
        book.record(Kind::Close, before, answered());
        assert_eq!(book.violations(), Vec::<String>::new());
        book.record(Kind::Close, clock::now_ns(), answered());
        assert_eq!(book.violations().len(), 1);
        let during = clock::now_ns();
        book.canary_may_open();
        book.record(Kind::Close, during, answered());
        assert_eq!(book.violations().len(), 1);
    }

    #[test]
    fn wrong_answers_are_never_explained() {
        let mut book = Book::default();
        book.open("cut", ALL);
        book.record(Kind::Close, clock::now_ns(), Outcome::Wrong("x".to_owned()));
        assert_eq!(book.violations().len(), 1);
    }
}
