//! The thread that writes the access log: whole lines, to a file that may be moved away.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use haldane_config::AccessOutput;
use rustix::fs::OFlags;

use super::ring::{Found, Lines};
use crate::clock::{Clock, Micros};

/// How often it is looked for lines, unless there are many.
const LOOK: Duration = Duration::from_millis(50);

/// How often it is looked whether the file is still where it was, in microseconds.
const FILE_LOOK: Micros = 1_000_000;

/// What is written at once, about.
const BATCH_BYTES: usize = 64 * 1024;

/// Who may read the file: its owner and group. It says who asked for what.
const MODE: u32 = 0o640;

/// Where lines go.
pub(super) struct Output {
    file: File,
    /// Where the file is to be, if it has a place.
    place: Option<PathBuf>,
}

impl Output {
    /// Opens it, which waits for nobody.
    pub(super) fn open(output: &AccessOutput) -> io::Result<Self> {
        Ok(match output {
            AccessOutput::File(path) => Self {
                file: append_to(path)?,
                place: Some(path.clone()),
            },
            AccessOutput::Stdout => Self {
                file: File::from(io::stdout().as_fd().try_clone_to_owned()?),
                place: None,
            },
        })
    }

    /// Opens the file anew if another one, or none, is where it was.
    fn follow(&mut self) -> io::Result<()> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        let own = self.file.metadata()?;
        let is_same = |there: &Metadata| (there.dev(), there.ino()) == (own.dev(), own.ino());
        match std::fs::metadata(place) {
            Ok(there) if is_same(&there) => {}
            Ok(_) => self.file = append_to(place)?,
            Err(error) if error.kind() == ErrorKind::NotFound => self.file = append_to(place)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A pipe would wait for its reader, and then make the writer wait.
fn append_to(path: &Path) -> io::Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    let file = options.custom_flags(nonblocking).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() {
        return Ok(file);
    }
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        "it is no regular file",
    ))
}

/// What the thread has.
pub(super) struct Writer {
    output: Output,
    lines: Lines,
    clock: Clock,
    looked: Micros,
    batch: Vec<u8>,
    /// The last line was written in part.
    is_torn: bool,
    /// It was said that nothing can be written.
    failing: bool,
    /// It was said that the file cannot be opened anew.
    misplaced: bool,
}

impl Writer {
    pub(super) fn new(output: Output, lines: Lines, clock: Clock) -> Self {
        Self {
            output,
            lines,
            looked: clock.micros(),
            clock,
            batch: Vec::with_capacity(BATCH_BYTES),
            is_torn: false,
            failing: false,
            misplaced: false,
        }
    }

    /// Writes until nothing more will come.
    pub(super) fn run(mut self) {
        loop {
            self.look_at_file();
            self.batch.clear();
            match self.lines.take(&mut self.batch, BATCH_BYTES) {
                Found::End => return,
                Found::Lines(0) => std::thread::park_timeout(LOOK),
                Found::Lines(count) => {
                    self.write(count);
                    if self.batch.len() < BATCH_BYTES && !self.lines.is_closing() {
                        std::thread::park_timeout(LOOK);
                    }
                }
            }
        }
    }

    fn look_at_file(&mut self) {
        let now = self.clock.micros();
        if now.saturating_sub(self.looked) < FILE_LOOK {
            return;
        }
        self.looked = now;
        let followed = self.output.follow();
        let was_misplaced = std::mem::replace(&mut self.misplaced, followed.is_err());
        if let Err(error) = followed
            && !was_misplaced
        {
            tracing::error!(%error, "cannot open the access log anew: the old file is written on");
        }
    }

    fn write(&mut self, lines: usize) {
        if self.is_torn {
            self.batch.insert(0, b'\n');
        }
        let mut written = 0;
        while written < self.batch.len() {
            match self.output.file.write(&self.batch[written..]) {
                Ok(0) => return self.give_up(written, lines, &ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever gave this output has made it so: it takes more later.
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.lines.is_closing() => {
                    std::thread::park_timeout(LOOK);
                }
                Err(error) => return self.give_up(written, lines, &error),
            }
        }
        self.is_torn = false;
        if std::mem::take(&mut self.failing) {
            tracing::info!("the access log is written again");
        }
    }

    /// Counts what was not written.
    fn give_up(&mut self, written: usize, lines: usize, error: &io::Error) {
        let (done, left) = self.batch.split_at(written);
        let lost = left
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            .min(lines);
        if let Some(last) = done.last() {
            self.is_torn = *last != b'\n';
        }
        let dropped = &self.lines.level().dropped;
        dropped.fetch_add(lost as u64, Ordering::Relaxed);
        // Once, until it works again.
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%error, "cannot write the access log: its lines are lost, and counted");
        }
    }
}

#[cfg(test)]
mod tests;
