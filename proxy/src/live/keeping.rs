//! What of releases outlives the process, and how much of it is safe already.
//!
//! Whoever changes a release hands the state of all in ([`Keeping::hand_in`]); one
//! thread writes the latest that was handed in. Nobody waits for it but commands,
//! whose replies say whether the change is safe.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use haldane_config::{RouteConfig, Version};
use haldane_decide::generation::Generation;
use haldane_decide::ledger::Exposed;
use haldane_decide::snapshot::{CanaryIdentity, Snapshot};
use haldane_decide::split::Salt;
use haldane_decide::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Live;
use super::freeze::Position;

/// How many routes are remembered that are not there any more.
const ABSENT_MAX: usize = 256;

/// What is kept, by the names of routes.
pub(crate) type Book = BTreeMap<String, Entry>;

/// What is kept of one route.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Entry {
    /// The secret that the salts of generations are derived from.
    #[serde(with = "hexadecimal")]
    pub(crate) salt: u128,
    /// Which canary this is about.
    pub(crate) canary: CanaryIdentity,
    /// Where its release stands.
    pub(crate) release: Snapshot,
    /// When its generation had its first traffic.
    #[serde(default)]
    pub(crate) began: Option<Timestamp>,
    /// How many were on the canary in this generation.
    #[serde(default)]
    pub(crate) exposed: Exposed,
    /// When the last process began that had the route.
    pub(crate) seen: Timestamp,
}

/// How a route begins.
#[derive(Debug)]
pub(crate) enum Start {
    /// What was kept cannot be read: this is why.
    Distrusted(Arc<str>),
    /// Nothing is known of it.
    Fresh,
    /// Its canary is the one that is known.
    Resumed { salt: Salt, from: Box<Snapshot> },
    /// It has another canary than the one that is known.
    Succeeded { salt: Salt, last: Generation },
    /// It has no canary any more, or not yet again.
    WithoutCanary { salt: Salt, last: Generation },
}

/// What was kept by an earlier process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// It cannot be used: this is why.
    Damaged(Arc<str>),
    /// There is nothing.
    Nothing,
    /// This; and whether rollouts were frozen.
    Whole(Book, Position),
}

/// What is to be kept, and how far that is.
pub(crate) struct Keeping {
    /// Nobody asked for it otherwise.
    wanted: bool,
    damage: Option<Arc<str>>,
    /// Whether rollouts were frozen in the process before.
    found_freeze: Arc<Position>,
    /// As it was found.
    found: Book,
    book: Mutex<Book>,
    desk: Mutex<Desk>,
    handed_in: Condvar,
    progress: watch::Sender<Progress>,
    failures: AtomicU64,
}

/// Where the latest state lies until it is written.
#[derive(Default)]
struct Desk {
    latest: Option<Sheet>,
    /// What was handed in last, to see whether there is anything new.
    last: Option<(Book, Arc<Position>, u64)>,
    tickets: u64,
    closed: bool,
}

/// The state of all releases at one moment.
#[derive(Clone)]
pub(crate) struct Sheet {
    pub(crate) book: Book,
    pub(crate) freeze: Arc<Position>,
    ticket: u64,
    /// Every event up to this number is in it.
    covers: u64,
}

/// How far the writing is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    tried: u64,
    written: u64,
    /// Every event up to this number is safe; `None` before the first state is.
    covered: Option<u64>,
    /// Why the last attempt failed.
    pub(crate) error: Option<Arc<str>>,
}

impl Keeping {
    /// What begins with what was found; `None` if nothing is to be kept.
    pub(crate) fn new(found: Option<Found>) -> Self {
        let wanted = found.is_some();
        let (damage, book, freeze) = match found {
            Some(Found::Damaged(reason)) => (Some(reason), Book::new(), Position::default()),
            Some(Found::Whole(book, freeze)) => (None, book, freeze),
            Some(Found::Nothing) | None => (None, Book::new(), Position::default()),
        };
        Self {
            wanted,
            damage,
            found_freeze: Arc::new(freeze),
            found: book.clone(),
            book: Mutex::new(book),
            desk: Mutex::default(),
            handed_in: Condvar::new(),
            progress: watch::Sender::default(),
            failures: AtomicU64::new(0),
        }
    }

    /// Whether anything is to be kept.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Why what an earlier process kept could not be used.
    pub(crate) const fn damage(&self) -> Option<&Arc<str>> {
        self.damage.as_ref()
    }

    /// Whether rollouts were frozen in the process before.
    pub(crate) fn found_freeze(&self) -> Arc<Position> {
        Arc::clone(&self.found_freeze)
    }

    /// The generation that an earlier process has left of a route.
    pub(crate) fn found_generation(&self, route: &str) -> Option<Generation> {
        self.found.get(route).map(|entry| entry.release.generation)
    }

    /// How a route with this configuration begins.
    pub(crate) fn start_of(&self, config: &RouteConfig) -> Start {
        let canary = config.canary.as_ref().map(Version::canary_identity);
        let book = lock(&self.book);
        let Some(entry) = book.get(&*config.name) else {
            let damage = self.damage.clone().filter(|_| canary.is_some());
            return damage.map_or(Start::Fresh, Start::Distrusted);
        };
        let salt = Salt::from_bits(entry.salt);
        let last = entry.release.generation;
        match canary {
            None => Start::WithoutCanary { salt, last },
            Some(canary) if canary == entry.canary => Start::Resumed {
                salt,
                from: Box::new(entry.release.clone()),
            },
            Some(_) => Start::Succeeded { salt, last },
        }
    }

    /// How many were on the canary of a route, and in which generation, when the last
    /// process kept it.
    pub(crate) fn exposed(&self, route: &str) -> Option<(Generation, Exposed)> {
        let entry = self.found.get(route)?;
        Some((entry.release.generation, entry.exposed))
    }

    /// What the last process kept of a route.
    pub(crate) fn found(&self, route: &str) -> Option<&Entry> {
        self.found.get(route)
    }

    /// Hands the state of all releases in to be written. Returns a ticket to wait with;
    /// `None` if nothing is kept, or by another process now.
    pub(crate) fn hand_in(&self, live: &Live) -> Option<u64> {
        if !self.wanted {
            return None;
        }
        // Held while the releases are looked at: of two who hand in at the same time, the
        // one who looked last must also be the one who is written last.
        let mut desk = lock(&self.desk);
        if desk.closed {
            return None;
        }
        // Before the releases: what happens in between is then in the state, and not claimed.
        let covers = live.events.last();
        let book = self.updated_book(live);
        let new = (book, live.freeze.position(), covers);
        if desk.last.as_ref() != Some(&new) {
            desk.tickets += 1;
            desk.latest = Some(Sheet {
                book: new.0.clone(),
                freeze: Arc::clone(&new.1),
                ticket: desk.tickets,
                covers,
            });
            desk.last = Some(new);
            self.handed_in.notify_one();
        }
        Some(desk.tickets)
    }

    fn updated_book(&self, live: &Live) -> Book {
        let mut book = lock(&self.book);
        let seen = live.clock.at(0);
        for route in live.routes().iter() {
            if let Some(entry) = route.to_keep(seen) {
                book.insert(route.config.name.to_string(), entry);
            }
        }
        forget_oldest(&mut book, seen);
        book.clone()
    }

    /// Waits until what the ticket stands for is safe, or was tried in vain, for at most
    /// this long. True if it is safe.
    pub(crate) async fn is_safe(&self, ticket: Option<u64>, at_most: Duration) -> bool {
        let Some(ticket) = ticket else {
            return false;
        };
        let mut progress = self.progress.subscribe();
        let tried = progress.wait_for(|progress| progress.tried >= ticket);
        match tokio::time::timeout(at_most, tried).await {
            Ok(Ok(progress)) => progress.written >= ticket,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Whether every change of the route is safe.
    pub(crate) fn has_route(&self, route: &str, live: &Live) -> bool {
        let covered = self.progress.borrow().covered;
        covered.is_some_and(|covered| live.events.last_of(route) <= covered)
    }

    /// The number of the last event up to which all are safe.
    pub(crate) fn covered(&self) -> Option<u64> {
        self.progress.borrow().covered
    }

    /// Why the latest state is not safe, if it could not be made so.
    pub(crate) fn error(&self) -> Option<Arc<str>> {
        self.progress.borrow().error.clone()
    }

    /// How often writing failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// For the writer: the latest state, as soon as there is one or at most after this
    /// long. `None` at the end.
    pub(crate) fn latest(&self, at_most: Option<Duration>) -> Option<Sheet> {
        let mut desk = lock(&self.desk);
        let idle = |desk: &mut Desk| desk.latest.is_none() && !desk.closed;
        desk = match at_most {
            None => self.handed_in.wait_while(desk, idle),
            Some(at_most) => self
                .handed_in
                .wait_timeout_while(desk, at_most, idle)
                .map(|(desk, _)| desk)
                .map_err(|error| PoisonError::new(error.into_inner().0)),
        }
        .unwrap_or_else(PoisonError::into_inner);
        desk.latest.take()
    }

    /// For the writer: whether nothing more will come.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.desk).closed
    }

    /// For the writer: this is safe.
    pub(crate) fn wrote(&self, sheet: &Sheet) {
        self.progress.send_modify(|progress| {
            progress.tried = progress.tried.max(sheet.ticket);
            progress.written = progress.written.max(sheet.ticket);
            progress.covered = Some(sheet.covers);
            progress.error = None;
        });
    }

    /// For the writer: this could not be made safe.
    pub(crate) fn failed(&self, sheet: &Sheet, error: Arc<str>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.progress.send_modify(|progress| {
            progress.tried = progress.tried.max(sheet.ticket);
            progress.error = Some(error);
        });
    }

    /// What of this another process has written since this one has read. The rest is
    /// where this one began: what it has done since is later.
    pub(crate) fn news(&self, mut now: Book) -> Book {
        // Whom the canary has had is no step of its release.
        let is_known = |found: &Entry, entry: &Entry| {
            let exposed = entry.exposed;
            *entry
                == Entry {
                    exposed,
                    ..found.clone()
                }
        };
        now.retain(|name, entry| {
            !self
                .found
                .get(name)
                .is_some_and(|found| is_known(found, entry))
        });
        now
    }

    /// What another process kept in the meantime, of routes that are not here.
    pub(crate) fn remember(&self, found: Book) {
        let mut book = lock(&self.book);
        for (name, entry) in found {
            book.entry(name).or_insert(entry);
        }
    }

    /// Nothing more is handed in. What was is still written; then the directory is free
    /// for another process.
    pub(crate) fn close(&self) {
        lock(&self.desk).closed = true;
        self.handed_in.notify_one();
    }
}

/// Keeps [`ABSENT_MAX`] of those that this process has not.
fn forget_oldest(book: &mut Book, now: Timestamp) {
    let mut absent: Vec<(Timestamp, String)> = book
        .iter()
        .filter(|(_, entry)| entry.seen != now)
        .map(|(name, entry)| (entry.seen, name.clone()))
        .collect();
    absent.sort();
    let surplus = absent.len().saturating_sub(ABSENT_MAX);
    for (_, name) in absent.drain(..surplus) {
        book.remove(&name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under these locks leaves an earlier state, and the next replaces it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 128 bits as 32 digits: JSON numbers are not read that far by everybody.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bits: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{bits:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use haldane_decide::rollout::Phase;
    use haldane_decide::weight::Weight;

    use super::*;

    fn entry(seen: u64) -> Entry {
        Entry {
            salt: 1,
            canary: CanaryIdentity {
                version: "v2".to_owned(),
                upstreams: Vec::new(),
            },
            release: Snapshot {
                generation: Generation::FIRST,
                weight: Weight::ZERO,
                phase: Phase::Idle,
            },
            began: None,
            exposed: Exposed::default(),
            seen: Timestamp::from_micros(seen),
        }
    }

    #[test]
    fn the_routes_that_are_gone_for_longest_are_forgotten_and_no_others() {
        let mut book: Book = (0..400)
            .map(|index| (format!("gone-{index}"), entry(index)))
            .collect();
        book.extend((0..300).map(|index| (format!("here-{index}"), entry(1000))));
        forget_oldest(&mut book, Timestamp::from_micros(1000));
        assert_eq!(book.len(), ABSENT_MAX + 300);
        assert!(!book.contains_key("gone-143") && book.contains_key("gone-144"));
        assert!(book.contains_key("here-0"));
    }
}
