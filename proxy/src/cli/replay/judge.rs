//! Recorded requests through the gates.

use std::io::BufRead;
use std::time::Duration;

use haldane_decide::feed::{Feed, Row};
use haldane_decide::gate::{Breach, GateStatus, VerdictKind};
use haldane_decide::release::ReleaseSpec;
use haldane_decide::time::Timestamp;

use super::super::Exit;
use super::rows::{BadRow, Record, Rows};

/// When the rollout begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begin {
    /// Then.
    At(Timestamp),
    /// When its first request started, as the first row says that has a weight.
    Seen,
}

impl Begin {
    /// The time to begin with, before there are rows.
    pub(super) const fn first(self) -> Timestamp {
        match self {
            Self::At(start) => start,
            Self::Seen => Timestamp::from_micros(u64::MAX),
        }
    }

    /// The time that this row says, if it is the one.
    pub(super) fn next(&mut self, record: &Record) -> Option<Timestamp> {
        match self {
            Self::Seen if !record.weight.is_zero() => {
                *self = Self::At(record.started());
                Some(record.started())
            }
            Self::At(_) | Self::Seen => None,
        }
    }
}

/// What is said about a recorded rollout.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// Requests of the canary, up to the decision, and how many of them failed.
    pub(super) canary: (u64, u64),
    pub(super) rows: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// The gates say so at the end.
    Inconclusive(Vec<GateStatus>),
    /// No row has a weight.
    NoRollout,
    /// The gates say so at the end.
    Passed(Vec<GateStatus>),
    RolledBack {
        row: u64,
        at: Timestamp,
        /// Since the start of the rollout.
        after: Duration,
        breach: Box<Breach>,
    },
}

impl Verdict {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Inconclusive(_) | Self::NoRollout => Exit::Inconclusive,
            Self::Passed(_) => Exit::Done,
            Self::RolledBack { .. } => Exit::RolledBack,
        }
    }
}

impl Record {
    /// As the gates are fed.
    pub(super) const fn row(&self) -> Row {
        Row {
            at: self.at,
            latency: self.latency,
            role: self.role,
            status: self.status,
            key: self.key,
            weight: self.weight,
        }
    }
}

/// Feeds all rows, or those up to the decision.
pub(super) fn judge<R: BufRead>(
    rows: &mut Rows<R>,
    spec: &ReleaseSpec,
    mut begin: Begin,
) -> Result<Judged, BadRow> {
    let mut feed = Feed::new(spec.clone(), begin.first());
    let (mut start, mut has_rollout) = (begin.first(), false);
    let mut last: Option<Record> = None;
    while let Some(record) = rows.next()? {
        if let Some(seen) = begin.next(&record) {
            feed.begin_at(seen);
            start = seen;
        }
        has_rollout |= !record.weight.is_zero();
        last = Some(record);
        if let Some(decision) = feed.row(&record.row()) {
            let verdict = Verdict::RolledBack {
                row: record.row,
                at: decision.at,
                after: decision.at.since(start),
                breach: Box::new(decision.breach.clone()),
            };
            return Ok(Judged {
                verdict,
                canary: (decision.canary_requests, decision.canary_failures),
                rows: record.row,
            });
        }
    }
    let now = last.map_or(Timestamp::from_micros(0), |record| record.at);
    let said = feed.status(now).verdict;
    let verdict = match said.verdict {
        _ if !has_rollout => Verdict::NoRollout,
        VerdictKind::Pass => Verdict::Passed(said.gates),
        VerdictKind::Fail | VerdictKind::Inconclusive => Verdict::Inconclusive(said.gates),
    };
    Ok(Judged {
        verdict,
        canary: feed.canary(),
        rows: last.map_or(0, |record| record.row),
    })
}
