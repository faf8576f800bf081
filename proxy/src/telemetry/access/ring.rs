//! The bounded queue between workers and the thread that writes.
//!
//! It has room for so many lines and for so many bytes. What finds no room is dropped and
//! counted: a worker never waits for a disk. The writer looks for itself several times a
//! second and is woken only when the queue fills up, so that most lines cost no system call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::writer::{Output, Writer};
use crate::clock::Clock;

/// How many lines wait at most.
pub(super) const LINES_MAX: usize = 16_384;

/// How many bytes wait at most, in all lines.
pub(super) const BYTES_MAX: usize = 8 * 1024 * 1024;

/// From here on the writer is woken.
const BYTES_WAKING: usize = 256 * 1024;

/// How long the end of the process waits for what is still to be written.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the end looks whether all is written.
const CLOSE_LOOK: Duration = Duration::from_millis(5);

/// The end that workers use.
pub(super) struct Ring {
    lines: SyncSender<Vec<u8>>,
    level: Arc<Level>,
    writer: JoinHandle<()>,
}

/// What both ends know.
#[derive(Debug)]
pub(super) struct Level {
    /// Bytes that wait.
    bytes: AtomicUsize,
    /// Nothing more will come.
    closing: AtomicBool,
    /// Lines that were lost.
    pub(super) dropped: Arc<AtomicU64>,
}

/// The end of the writer.
pub(super) struct Lines {
    receiver: Receiver<Vec<u8>>,
    level: Arc<Level>,
}

/// What the writer finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// Nothing, and nothing will come.
    End,
    /// So many lines.
    Lines(usize),
}

impl Ring {
    /// Starts the thread that writes to `output`.
    pub(super) fn start(output: Output, dropped: Arc<AtomicU64>, clock: Clock) -> io::Result<Self> {
        let (lines, waiting) = queue(dropped);
        let level = Arc::clone(&waiting.level);
        let writer = Writer::new(output, waiting, clock);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            lines,
            level,
            writer,
        })
    }

    /// Queues a line, or drops and counts it.
    pub(super) fn push(&self, line: Vec<u8>) {
        let before = push(&self.lines, &self.level, line);
        if before.is_none_or(|before| before >= BYTES_WAKING) {
            self.writer.thread().unpark();
        }
    }

    /// Lets the writer write what waits and end, and waits for that, but not for ever.
    pub(super) async fn close(&self) {
        self.level.closing.store(true, Ordering::Release);
        self.writer.thread().unpark();
        let ended = async {
            while !self.writer.is_finished() {
                tokio::time::sleep(CLOSE_LOOK).await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, ended).await.is_err() {
            tracing::warn!("the end of the access log could not be written in time");
        }
    }
}

/// Both ends of an empty queue.
pub(super) fn queue(dropped: Arc<AtomicU64>) -> (SyncSender<Vec<u8>>, Lines) {
    let (sender, receiver) = sync_channel(LINES_MAX);
    let level = Arc::new(Level {
        bytes: AtomicUsize::new(0),
        closing: AtomicBool::new(false),
        dropped,
    });
    (sender, Lines { receiver, level })
}

/// How many bytes waited before this line; `None` if it was dropped.
pub(super) fn push(sender: &SyncSender<Vec<u8>>, level: &Level, line: Vec<u8>) -> Option<usize> {
    let length = line.len();
    let before = level.bytes.fetch_add(length, Ordering::Relaxed);
    if before + length > BYTES_MAX || sender.try_send(line).is_err() {
        level.bytes.fetch_sub(length, Ordering::Relaxed);
        level.dropped.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    Some(before)
}

impl Lines {
    /// Takes lines that wait, up to about this many bytes.
    pub(super) fn take(&self, batch: &mut Vec<u8>, bytes_max: usize) -> Found {
        // Before the queue is looked at: what came before the end is still taken.
        let closing = self.is_closing();
        let mut taken = 0;
        while batch.len() < bytes_max {
            match self.receiver.try_recv() {
                Ok(line) => {
                    self.level.bytes.fetch_sub(line.len(), Ordering::Relaxed);
                    batch.extend_from_slice(&line);
                    taken += 1;
                }
                Err(TryRecvError::Empty) if taken == 0 && closing => return Found::End,
                Err(TryRecvError::Disconnected) if taken == 0 => return Found::End,
                Err(_) => break,
            }
        }
        Found::Lines(taken)
    }

    /// Whether nothing more will come.
    pub(super) fn is_closing(&self) -> bool {
        self.level.closing.load(Ordering::Acquire)
    }

    /// What both ends know.
    pub(super) fn level(&self) -> &Arc<Level> {
        &self.level
    }
}
