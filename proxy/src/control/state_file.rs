//! The state directory: what is read from it, and who may write to it.
//!
//! `state.json` is replaced as a whole: written beside, flushed, renamed over, and the
//! directory flushed. So at every instant it is one complete state, and what was
//! reported as written is there after a crash of the process or of the machine.
//!
//! Every process reads at its start; one writes: the one that holds `lock`. A process
//! that comes while another still has it waits, and before its first write follows
//! what the other has done in the meantime (see `Release::follow`).

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::live::keeping::{Found, Sheet};

mod complaint;
pub(crate) mod events;
pub(crate) mod evidence;
pub(crate) mod format;
pub(crate) mod writer;

/// The file with the state.
const STATE: &str = "state.json";

/// What is added to the name of a file where the next one is written, before it takes the
/// place of the last.
const NEXT: &str = ".new";

/// Held by the process that writes.
const LOCK: &str = "lock";

/// Damaged files that are kept for whoever wants to look into them.
const DAMAGED_MAX: usize = 5;

/// A larger file is not haldane's: a thousand routes take less than a megabyte.
const STATE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Salts are secret, and so is a directory that haldane makes for them.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// What an earlier process kept in `directory`.
pub(crate) fn read(directory: &Path) -> Found {
    let path = directory.join(STATE);
    let bytes = match read_file(&path, STATE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => {
            return Found::Damaged(format!("cannot read {}: {error}", path.display()).into());
        }
    };
    match format::STATE.decode(&bytes) {
        Ok((book, freeze)) => Found::Whole(book, freeze),
        Err(reason) => Found::Damaged(format!("cannot use {}: {reason}", path.display()).into()),
    }
}

fn read_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // A pipe of that name must not hold up the start.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    let mut limited = File::open(path)?.take(bytes_max + 1);
    limited.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

/// A state directory that nobody else writes to.
struct Directory {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Directory {
    /// Takes the lock. `None` if another process has it.
    fn acquire(path: &Path) -> io::Result<Option<Self>> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self {
                path: path.to_owned(),
                _lock: lock,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Makes this the state. When it returns, the state is safe.
    fn write(&self, sheet: &Sheet) -> io::Result<()> {
        let bytes = format::STATE.encode(&sheet.book, &sheet.freeze)?;
        self.replace(STATE, &bytes)
    }

    /// Puts a file in the place of the one of this name. When it returns, that is safe.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let next = self.path.join([name, NEXT].concat());
        // What a crash left there may have another mode, or another owner's eyes on it.
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(FILE_MODE)
            .open(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }

    /// Keeps a damaged state under another name. It also stays where it is, until a
    /// whole one takes its place: without it a crash would look like a first start.
    fn set_aside(&self, clock: Clock) -> io::Result<PathBuf> {
        let state = self.path.join(STATE);
        let aside = self
            .path
            .join(format!("{STATE}.damaged-{}", clock.now().as_micros()));
        if fs::hard_link(&state, &aside).is_err() {
            fs::copy(&state, &aside)?;
        }
        self.forget_oldest_damaged()?;
        Ok(aside)
    }

    fn forget_oldest_damaged(&self) -> io::Result<()> {
        let prefix = format!("{STATE}.damaged-");
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if name.to_string_lossy().starts_with(&prefix) {
                found.push(name);
            }
        }
        // Their names sort by their time for the next centuries.
        found.sort();
        let surplus = found.len().saturating_sub(DAMAGED_MAX);
        for name in found.drain(..surplus) {
            fs::remove_file(self.path.join(name))?;
        }
        Ok(())
    }
}

/// An error of the directory in words that name it.
fn describe(path: &Path, error: &io::Error) -> Arc<str> {
    format!("cannot keep state in {}: {error}", path.display()).into()
}
