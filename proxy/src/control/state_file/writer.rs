//! The thread that writes the state: a slow disk delays nothing but replies.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::complaint::Complaint;
use super::events::{self, EventsFile};
use super::evidence::Evidence;
use super::{Directory, describe, read};
use crate::live::Live;
use crate::live::keeping::{Found, Sheet};

/// After a failure the next attempt comes after this long, then twice as long, …
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// … up to this. What is handed in meanwhile is tried at once.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A running writer.
pub(crate) struct Writer {
    live: Arc<Live>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Begins to keep the state in `directory`.
    ///
    /// # Errors
    ///
    /// If the operating system gives no thread.
    pub(crate) fn start(directory: PathBuf, live: &Arc<Live>) -> io::Result<Self> {
        let desk = Desk {
            events: EventsFile::in_directory(&directory),
            path: directory,
            live: Arc::clone(live),
            directory: None,
            complaint: Complaint::default(),
            evidence: Evidence::default(),
        };
        let thread = std::thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || desk.work())?;
        let live = Arc::clone(live);
        Ok(Self { live, thread })
    }

    /// Writes the last state and ends, within `at_most`. A disk that does not answer is
    /// left behind: the process ends anyway.
    pub(crate) async fn finish(self, at_most: Duration) {
        let keeping = &self.live.keeping;
        // Where another process has taken over, it is the one that writes.
        if !keeping.is_closed() {
            let ticket = keeping.hand_in(&self.live);
            keeping.close();
            if !keeping.is_safe(ticket, at_most).await {
                tracing::error!("the last state could not be kept");
            }
        }
        let ended = async {
            while !self.thread.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(at_most, ended).await.is_ok() && self.thread.join().is_err() {
            tracing::error!("the writer of the state panicked");
        }
    }
}

struct Desk {
    path: PathBuf,
    live: Arc<Live>,
    /// Once it is ours.
    directory: Option<Directory>,
    complaint: Complaint,
    evidence: Evidence,
    events: EventsFile,
}

impl Desk {
    fn work(mut self) {
        let live = Arc::clone(&self.live);
        let mut unwritten: Option<Sheet> = None;
        let mut backoff = BACKOFF_MIN;
        loop {
            let pause = match (&unwritten, &self.directory) {
                (Some(_), _) => Some(backoff),
                (None, Some(_)) => Some(self.evidence.pause(&live)),
                (None, None) => None,
            };
            unwritten = live.keeping.latest(pause).or(unwritten);
            let is_over = live.keeping.is_closed();
            let Some(sheet) = unwritten.take() else {
                self.keep_evidence(is_over);
                if is_over {
                    return;
                }
                continue;
            };
            match self.write(sheet) {
                Ok(written) => {
                    if self.complaint.settle() {
                        tracing::info!(directory = %self.path.display(), "state is kept again");
                    }
                    live.keeping.wrote(&written);
                    self.evidence.follow_state(&written.book, &live);
                    backoff = BACKOFF_MIN;
                }
                Err((sheet, error)) => {
                    self.complain(&error);
                    live.keeping.failed(&sheet, error);
                    unwritten = Some(sheet);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    if is_over {
                        return;
                    }
                }
            }
        }
    }

    /// Writes a state, or a later one if taking the directory over has made it stale.
    fn write(&mut self, mut sheet: Sheet) -> Result<Sheet, (Sheet, Arc<str>)> {
        let directory = match self.directory.take() {
            Some(directory) => directory,
            None => match self.take_over() {
                Ok(directory) => {
                    self.live.keeping.hand_in(&self.live);
                    sheet = self
                        .live
                        .keeping
                        .latest(Some(Duration::ZERO))
                        .unwrap_or(sheet);
                    directory
                }
                Err(error) => return Err((sheet, error)),
            },
        };
        // First what happened, then where it has led: no number is ever given twice.
        self.events.keep(&self.live);
        let result = directory.write(&sheet);
        self.directory = Some(directory);
        match result {
            Ok(()) => Ok(sheet),
            Err(error) => Err((sheet, describe(&self.path, &error))),
        }
    }

    /// Takes the lock, and follows what was done under it since this process has read.
    fn take_over(&self) -> Result<Directory, Arc<str>> {
        let acquired = Directory::acquire(&self.path);
        let Some(directory) = acquired.map_err(|error| describe(&self.path, &error))? else {
            let path = self.path.display();
            return Err(format!("another process keeps its state in {path}").into());
        };
        // Another process may have gone on with it since this one has read.
        self.live.events.go_on_after(events::read(&self.path));
        match read(&self.path) {
            Found::Nothing => {}
            Found::Whole(book, freeze) => {
                self.live.follow_freeze(freeze);
                let news = self.live.keeping.news(book);
                self.live.follow_kept(&news);
                self.live.keeping.remember(news);
            }
            Found::Damaged(reason) => {
                let aside = directory.set_aside(self.live.clock);
                let aside = aside.map_err(|error| describe(&self.path, &error))?;
                tracing::warn!(%reason, aside = %aside.display(), "the damaged state is kept aside");
            }
        }
        Ok(directory)
    }

    fn keep_evidence(&mut self, is_over: bool) {
        match &self.directory {
            Some(directory) if is_over => self.evidence.keep_now(directory, &self.live),
            Some(directory) => self.evidence.keep(directory, &self.live),
            None => {}
        }
    }

    fn complain(&mut self, error: &str) {
        if self.complaint.is_due(self.live.clock.micros()) {
            let failures = self.live.keeping.failures();
            tracing::error!(
                error,
                failures,
                "state is not kept: a restart would lose what changes now"
            );
        }
    }
}
