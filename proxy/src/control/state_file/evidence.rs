//! The file with the evidence, beside the one with the state.
//!
//! It is replaced as a whole every few seconds, if there is anything new. What a crash loses
//! is what was seen since. Nothing depends on both files being of the same moment: evidence
//! says which generation and weight it is of, and is not used for others.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use haldane_decide::generation::Generation;
use haldane_decide::release::evidence::EvidenceMark;
use haldane_decide::weight::Weight;

use super::complaint::Complaint;
use super::{Directory, format, read_file};
use crate::clock::Micros;
use crate::live::Live;
use crate::live::freeze::Position;
use crate::live::keeping::{Book, Entry};
use crate::live::recall::{EvidenceBook, FoundEvidence, News};

/// The file.
const EVIDENCE: &str = "evidence.json";

/// No more of it is written, and no more read.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// How often it is written at most.
const INTERVAL: Micros = 2_000_000;

/// Where writing takes long it is done less often: at most this part of the time.
const PART_OF_TIME: u64 = 20;

/// How soon after a change of the state it is written again, so that the two do not stay
/// apart for long. Not at once: who changes the state waits for this disk.
const AFTER_STATE: Micros = 200_000;

/// What an earlier process kept in `directory`.
pub(crate) fn read(directory: &Path) -> FoundEvidence {
    let path = directory.join(EVIDENCE);
    let bytes = match read_file(&path, BYTES_MAX as u64 * 2) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return FoundEvidence::Nothing,
        Err(error) => {
            let reason = format!("cannot read {}: {error}", path.display());
            return FoundEvidence::Damaged(reason.into());
        }
    };
    match format::EVIDENCE.decode(&bytes) {
        Ok((book, _)) => FoundEvidence::Whole(book),
        Err(reason) => {
            let reason = format!("cannot use {}: {reason}", path.display());
            FoundEvidence::Damaged(reason.into())
        }
    }
}

/// What was written last, and when it is to be written next.
#[derive(Default)]
pub(super) struct Evidence {
    due: Micros,
    book: EvidenceBook,
    marks: BTreeMap<String, EvidenceMark>,
    /// Where releases stood in the state that was written last.
    stood: BTreeMap<String, (Generation, Weight)>,
    complaint: Complaint,
}

impl Evidence {
    /// How long it is until something is to be written.
    pub(super) fn pause(&self, live: &Live) -> Duration {
        Duration::from_micros(self.due.saturating_sub(live.clock.micros()))
    }

    /// This state was written. If releases stand elsewhere in it, what is kept here is of
    /// another one.
    pub(super) fn follow_state(&mut self, book: &Book, live: &Live) {
        let stand = |(name, entry): (&String, &Entry)| {
            let release = &entry.release;
            (name.clone(), (release.generation, release.weight))
        };
        let now = book.iter().map(stand).collect();
        if self.stood != now {
            self.stood = now;
            self.due = self.due.min(live.clock.micros() + AFTER_STATE);
        }
    }

    /// Writes what is new, if it is time.
    pub(super) fn keep(&mut self, directory: &Directory, live: &Live) {
        if self.pause(live).is_zero() {
            self.keep_now(directory, live);
        }
    }

    /// Writes what is new.
    pub(super) fn keep_now(&mut self, directory: &Directory, live: &Live) {
        let begun = live.clock.micros();
        let written = if self.look(live) {
            let bytes = format::EVIDENCE.encode(&self.book, &Position::default());
            bytes.and_then(|bytes| directory.replace(EVIDENCE, &bytes))
        } else {
            Ok(())
        };
        match written {
            Ok(()) => {
                self.complaint.settle();
            }
            Err(error) => {
                // Next time all of it is new.
                self.marks.clear();
                self.complain(&error, live.clock.micros());
            }
        }
        let now = live.clock.micros();
        let took = now.saturating_sub(begun);
        self.due = now + INTERVAL.max(took.saturating_mul(PART_OF_TIME));
    }

    /// Looks at all routes. True if there is anything new.
    fn look(&mut self, live: &Live) -> bool {
        let mut before = std::mem::take(&mut self.book);
        let mut marks = std::mem::take(&mut self.marks);
        let (count, mut room, mut changed) = (marks.len(), BYTES_MAX, before.len() != marks.len());
        for route in live.routes().iter() {
            let name = &*route.config.name;
            let known = marks.remove_entry(name).zip(before.remove(name));
            let known_as = known.as_ref().map(|((_, mark), entry)| (mark, &**entry));
            let (mark, entry) = match route.evidence_to_keep(known_as, live.clock) {
                News::Evidence(fresh) => {
                    changed = true;
                    fresh.into_entry()
                }
                News::Nothing => continue,
                News::Same => match known {
                    Some(((_, mark), entry)) => (mark, entry),
                    None => continue,
                },
            };
            // Whoever finds no room begins anew after a restart.
            if let Some(left) = room.checked_sub(entry.len() + name.len()) {
                room = left;
                self.marks.insert(name.to_owned(), mark);
                self.book.insert(name.to_owned(), entry);
            }
        }
        changed || self.marks.len() != count
    }

    fn complain(&mut self, error: &io::Error, now: Micros) {
        if self.complaint.is_due(now) {
            tracing::warn!(%error, "evidence is not kept: after a restart it would begin anew");
        }
    }
}
