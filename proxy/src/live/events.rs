//! What happened, in order: a bounded log that the admin API reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use haldane_decide::generation::Generation;
use haldane_decide::rollout::Notice;
use haldane_decide::time::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

mod severity;

pub use severity::Severity;

/// How many events are kept. A rollout has tens; older ones are in the logs.
const EVENTS_MAX: usize = 1024;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Counts up by one, from 1.
    pub seq: u64,
    /// How much it matters.
    pub severity: Severity,
    /// What it was.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened, to one route or to the whole process.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Happening {
    /// What came after a rollback.
    Aftermath(AftermathEvent),
    /// Something that concerns no single route.
    Process(ProcessEvent),
    /// One change of one route.
    Release(Box<ReleaseEvent>),
}

/// What came after a rollback. The release is where it was, and so is its entity tag.
#[derive(Clone, Debug, Serialize)]
pub struct AftermathEvent {
    /// When it was known.
    pub at: Timestamp,
    /// The route that was rolled back.
    pub route: Arc<str>,
    /// The generation that was rolled back.
    pub generation: Generation,
    /// Requests that were routed to the canary since the process started.
    pub canary_requests: u64,
    /// How long after the rollback. Seconds.
    pub seconds: f64,
    /// What it is.
    #[serde(flatten)]
    pub kind: AftermathKind,
}

/// Whether the canary has lost its traffic indeed.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AftermathKind {
    /// It is not known.
    RollbackUnverified {
        /// Why, in one sentence.
        why: String,
    },
    /// No request is in flight, none has come for a while, and stable can be reached.
    RollbackVerified,
}

/// Something that concerns no single route.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessEvent {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: ProcessEventKind,
}

/// What happened to the whole process.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProcessEventKind {
    /// No rollout starts or advances.
    Frozen {
        /// Who says so.
        actor: Option<String>,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// A configuration cannot be used, and the last good one stays in force.
    ReloadFailed {
        /// What is wrong with it, one line each.
        errors: Vec<String>,
    },
    /// Another configuration is in force.
    Reloaded {
        /// What differs, one sentence each.
        changes: Vec<String>,
    },
    /// Rollouts start and advance again.
    Unfrozen {
        /// Who says so.
        actor: Option<String>,
        /// Why, in their words.
        reason: Option<String>,
    },
}

/// One change of one route.
#[derive(Clone, Debug, Serialize)]
pub struct ReleaseEvent {
    /// The route that changed.
    pub route: Arc<str>,
    /// The canary that it is about, if there is or was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// The version in service.
    pub stable_version: Arc<str>,
    /// What changed, when, and by whom.
    #[serde(flatten)]
    pub notice: Notice,
    /// Requests that were routed to the canary since the process started, when the
    /// change had taken effect; for a new canary, those to the one before. Any that
    /// comes after is routed by the new weight.
    pub canary_requests: u64,
    /// How many of them had not ended.
    pub canary_in_flight: u64,
    /// For a breach: microseconds from the deciding outcome until the weight was zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_micros: Option<u64>,
}

/// The events of all routes and of the process.
#[derive(Debug, Default)]
pub struct EventLog {
    inner: Mutex<Inner>,
    /// The sequence number of the newest event, for those who wait.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    last_by_route: HashMap<Arc<str>, u64>,
    events: VecDeque<Event>,
}

impl EventLog {
    /// Appends an event and gives it the next sequence number.
    pub(crate) fn push(&self, what: Happening) {
        let mut inner = self.lock();
        inner.last += 1;
        let seq = inner.last;
        if let Happening::Release(event) = &what {
            inner.last_by_route.insert(Arc::clone(&event.route), seq);
        }
        if inner.events.len() == EVENTS_MAX {
            inner.events.pop_front();
        }
        let severity = Severity::of(&what);
        inner.events.push_back(Event {
            seq,
            severity,
            what,
        });
        drop(inner);
        self.newest
            .send_modify(|newest| *newest = (*newest).max(seq));
    }

    /// The sequence number of the newest event, to wait for the next one.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The events after `seq`, oldest first.
    #[must_use]
    pub fn since(&self, seq: u64) -> Vec<Event> {
        self.lock()
            .events
            .iter()
            .filter(|event| event.seq > seq)
            .cloned()
            .collect()
    }

    /// The sequence number of the newest event; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.lock().last
    }

    /// The sequence number of the newest event of a route; 0 before its first.
    #[must_use]
    pub fn last_of(&self, route: &str) -> u64 {
        self.lock().last_by_route.get(route).copied().unwrap_or(0)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
