//! What the clients of the demo saw.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use haldane_decide::role::Role;
use hdrhistogram::Histogram;

use crate::live::histogram::empty_histogram;

/// What all clients saw so far.
#[derive(Debug, Default)]
pub(super) struct Stats(Mutex<Seen>);

/// What came back for one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) user: u32,
    /// Microseconds since the epoch, taken before the first byte was sent.
    pub(super) sent_at: u64,
    /// Until the last byte.
    pub(super) micros: u64,
    pub(super) kind: AnswerKind,
}

/// Who answered, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum AnswerKind {
    /// Nobody, or the proxy itself.
    Proxy,
    /// A version.
    Version {
        role: Role,
        status: u16,
        /// Whether the fault of the canary shows in it.
        spoilt: bool,
    },
}

/// The numbers themselves.
#[derive(Debug)]
pub(super) struct Seen {
    /// Requests that have ended.
    pub(super) requests: u64,
    /// Of them answered by stable and by the canary.
    pub(super) by_role: [u64; 2],
    /// Answers that say that the server failed.
    pub(super) errors: u64,
    /// Who got one.
    pub(super) users_with_errors: HashSet<u32>,
    /// Answers in which the fault of the canary shows.
    pub(super) spoilt: u64,
    /// Who got one.
    pub(super) users_with_spoilt: HashSet<u32>,
    /// Requests without an answer, or with one that the proxy made itself.
    pub(super) proxy_errors: u64,
    /// When each request was sent that stable, or the canary, answered.
    pub(super) sent_at: [Vec<u64>; 2],
    /// Since the last call of [`Stats::recent`]. Microseconds, by role.
    times: [Histogram<u64>; 2],
}

/// What clients saw since the last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent {
    pub(super) by_role: [u64; 2],
    /// 99 of 100 answers took at most so long, in seconds; by role.
    pub(super) p99: [Option<f64>; 2],
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            requests: 0,
            by_role: [0; 2],
            errors: 0,
            users_with_errors: HashSet::new(),
            spoilt: 0,
            users_with_spoilt: HashSet::new(),
            proxy_errors: 0,
            sent_at: [Vec::new(), Vec::new()],
            times: [empty_histogram(), empty_histogram()],
        }
    }
}

impl Stats {
    /// Counts an answer.
    pub(super) fn count(&self, answer: Answer) {
        let mut seen = self.seen();
        seen.requests += 1;
        let AnswerKind::Version {
            role,
            status,
            spoilt,
        } = answer.kind
        else {
            seen.proxy_errors += 1;
            return;
        };
        let index = role.index();
        seen.by_role[index] += 1;
        seen.sent_at[index].push(answer.sent_at);
        seen.times[index].saturating_record(answer.micros);
        if status >= 500 {
            seen.errors += 1;
            seen.users_with_errors.insert(answer.user);
        }
        if spoilt {
            seen.spoilt += 1;
            seen.users_with_spoilt.insert(answer.user);
        }
    }

    /// Everything so far.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came since the last call.
    pub(super) fn recent(&self) -> Recent {
        let mut seen = self.seen();
        let p99 = |times: &Histogram<u64>| {
            let micros = times.value_at_quantile(0.99);
            (!times.is_empty()).then(|| std::time::Duration::from_micros(micros).as_secs_f64())
        };
        let recent = Recent {
            by_role: [0, 1].map(|role: usize| seen.times[role].len()),
            p99: [0, 1].map(|role: usize| p99(&seen.times[role])),
        };
        seen.times.iter_mut().for_each(Histogram::reset);
        recent
    }
}

impl Seen {
    /// Requests that a role answered although they were sent after `moment`.
    pub(super) fn sent_after(&self, role: Role, moment: u64) -> u64 {
        let sent_at = &self.sent_at[role.index()];
        count(sent_at.iter().filter(|&&at| at > moment))
    }
}

/// How many there are, in the type of counts.
pub(super) fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |sum, _| sum + 1)
}
