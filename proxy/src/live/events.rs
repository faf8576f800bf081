//! What happened, in order: a bounded log that the admin API reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use haldane_decide::generation::Generation;
use haldane_decide::rollout::Notice;
use haldane_decide::time::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

mod past;
mod severity;

pub(crate) use past::{PastEvent, Recorded};
pub use severity::Severity;

/// How many events are kept. A rollout has tens; older ones are in the logs.
pub(crate) const EVENTS_MAX: usize = 1024;

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
    /// Somebody who is asked before the first step has said yes.
    Agreement(AgreementEvent),
    /// What came after a rollback.
    Aftermath(AftermathEvent),
    /// Something that concerns no single route.
    Process(ProcessEvent),
    /// One change of one route.
    Release(Box<ReleaseEvent>),
}

/// Somebody who is asked before the first step has said yes. The release is where it was.
#[derive(Clone, Debug, Serialize)]
pub struct AgreementEvent {
    /// When all had said yes.
    pub at: Timestamp,
    /// The route that may begin.
    pub route: Arc<str>,
    /// The generation that may begin.
    pub generation: Generation,
    /// Always `agreed`.
    pub kind: &'static str,
    /// Who: scheme, host and port.
    pub actor: String,
    /// The status of the answer.
    pub status: u16,
    /// The beginning of what was answered; `None` if nothing was.
    pub reason: Option<String>,
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
    /// Which commit or build that is, if the configuration says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha: Option<Arc<str>>,
    /// The version in service.
    pub stable_version: Arc<str>,
    /// Which commit or build that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable_sha: Option<Arc<str>>,
    /// What changed, when, and by whom.
    #[serde(flatten)]
    pub notice: Notice,
    /// Why, in one sentence, where there is a cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
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

/// The events of all routes and of the process. Numbers and what can be read go on from one
/// process to the next, if they are kept.
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
    /// Of earlier processes, oldest first.
    past: VecDeque<PastEvent>,
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
        let severity = Severity::of(&what);
        inner.events.push_back(Event {
            seq,
            severity,
            what,
        });
        inner.forget_oldest();
        self.announce(inner);
    }

    /// The sequence number of the newest event, to wait for the next one.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Goes on after what earlier processes have written, oldest first. What has happened in
    /// this one stays, and hides what has the same number.
    pub(crate) fn go_on_after(&self, past: Vec<PastEvent>) {
        let mut inner = self.lock();
        let own = inner.events.front().map_or(u64::MAX, |event| event.seq);
        for event in &past {
            inner.last = inner.last.max(event.seq);
            if let Some(route) = &event.route {
                let last = inner.last_by_route.entry(Arc::clone(route)).or_default();
                *last = event.seq.max(*last);
            }
        }
        inner.past = past.into_iter().filter(|event| event.seq < own).collect();
        inner.forget_oldest();
        self.announce(inner);
    }

    /// Numbers up to this one are taken.
    pub(crate) fn skip_to(&self, seq: u64) {
        let mut inner = self.lock();
        inner.last = inner.last.max(seq);
        self.announce(inner);
    }

    /// The events after `seq`, also those of earlier processes, oldest first.
    pub(crate) fn recorded_since(&self, seq: u64) -> Vec<Recorded> {
        let inner = self.lock();
        let past = inner.past.iter().cloned().map(Recorded::Past);
        let all = past.chain(inner.events.iter().cloned().map(Recorded::Now));
        all.filter(|event| event.seq() > seq).collect()
    }

    /// The events of this process after `seq`, oldest first.
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

    /// Wakes those who wait for events.
    fn announce(&self, inner: std::sync::MutexGuard<'_, Inner>) {
        let last = inner.last;
        drop(inner);
        self.newest
            .send_modify(|newest| *newest = (*newest).max(last));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_oldest(&mut self) {
        while self.past.len() + self.events.len() > EVENTS_MAX {
            if self.past.pop_front().is_none() {
                self.events.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(seqs: impl IntoIterator<Item = u64>) -> Vec<PastEvent> {
        let lines = seqs.into_iter().map(|seq| {
            let text = format!("{{\"seq\":{seq},\"route\":\"a\",\"odd\":0.10}}");
            PastEvent::parse(&text).unwrap()
        });
        lines.collect()
    }

    fn reload() -> Happening {
        Happening::Process(ProcessEvent {
            at: Timestamp::from_micros(7),
            kind: ProcessEventKind::Reloaded {
                changes: Vec::new(),
            },
        })
    }

    fn numbers(log: &EventLog, since: u64) -> Vec<u64> {
        let recorded = log.recorded_since(since);
        recorded.iter().map(Recorded::seq).collect()
    }

    #[test]
    fn numbers_go_on_and_what_was_can_be_read() {
        let log = EventLog::default();
        log.go_on_after(past([3, 4, 9]));
        assert_eq!((log.last(), log.last_of("a"), log.last_of("b")), (9, 9, 0));
        log.push(reload());
        assert_eq!(numbers(&log, 3), [4, 9, 10]);
        let own: Vec<u64> = log.since(0).iter().map(|event| event.seq).collect();
        assert_eq!(own, [10]);
        let text = serde_json::to_string(&log.recorded_since(4)).unwrap();
        let expected = "[{\"seq\":9,\"route\":\"a\",\"odd\":0.10},\
            {\"seq\":10,\"severity\":\"info\",\"at\":7,\"kind\":\"reloaded\",\"changes\":[]}]";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_another_process_has_written_meanwhile_comes_before_what_happened_here() {
        let log = EventLog::default();
        log.go_on_after(past([1, 2]));
        log.skip_to(4);
        log.push(reload());
        log.go_on_after(past([1, 2, 3, 4, 5, 6]));
        assert_eq!(numbers(&log, 0), [1, 2, 3, 4, 5]);
        // No number is given twice.
        log.push(reload());
        assert_eq!(numbers(&log, 4), [5, 7]);
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let log = EventLog::default();
        log.go_on_after(past(1..=EVENTS_MAX as u64));
        log.push(reload());
        log.push(reload());
        let kept = numbers(&log, 0);
        assert_eq!((kept.len(), kept[0]), (EVENTS_MAX, 3));
        for _ in 0..2 * EVENTS_MAX {
            log.push(reload());
        }
        let kept = numbers(&log, 0);
        assert_eq!(kept.len(), EVENTS_MAX);
        assert_eq!(kept.last(), Some(&log.last()));
    }
}
