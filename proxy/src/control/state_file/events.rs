//! The file with what happened: a line for each event, as the admin API shows it.
//!
//! Lines are only ever appended. When the file is large, it becomes the older one of two,
//! and a new one begins. A line that was cut by a crash is dropped. A number that comes
//! again, after a crash or from two processes of which one went, takes the place of all from
//! the first such line on: what was written last is what went on.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::FILE_MODE;
use super::complaint::Complaint;
use crate::clock::Micros;
use crate::live::Live;
use crate::live::events::{EVENTS_MAX, Event, PastEvent};

/// The file that is appended to, and the one before.
const EVENTS: &str = "events.jsonl";
const OLDER: &str = "events.jsonl.old";

/// A larger file gets no more lines. A thousand events take about half of that.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// No more is read of a file, from its end.
const READ_BYTES_MAX: u64 = 4 * FILE_BYTES_MAX;

/// What earlier processes have written in `directory`, oldest first. What cannot be read is
/// left out, and said.
pub(crate) fn read(directory: &Path) -> Vec<PastEvent> {
    let mut events = VecDeque::new();
    for name in [OLDER, EVENTS] {
        let path = directory.join(name);
        let dropped = match tail_of(&path) {
            Ok(bytes) => parse(&bytes, &mut events),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "cannot read what happened before");
                continue;
            }
        };
        if dropped > 0 {
            let path = path.display();
            tracing::warn!(lines = dropped, %path, "what happened before is incomplete");
        }
    }
    events.into()
}

/// The last bytes of a file.
fn tail_of(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe of that name must not hold up the start.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(READ_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Adds the events of these lines. Returns how many lines are none.
pub(crate) fn parse(bytes: &[u8], events: &mut VecDeque<PastEvent>) -> usize {
    let mut dropped = 0;
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        // Without its end it may be a part only, even if it looks whole.
        let line = end.and_then(|end| std::str::from_utf8(&rest[..end]).ok());
        rest = end.map_or(&[], |end| &rest[end + 1..]);
        let Some(event) = line.and_then(PastEvent::parse) else {
            dropped += 1;
            continue;
        };
        while events.back().is_some_and(|last| last.seq >= event.seq) {
            events.pop_back();
        }
        events.push_back(event);
        if events.len() > EVENTS_MAX {
            events.pop_front();
        }
    }
    dropped
}

/// Appends what has happened in this process.
pub(super) struct EventsFile {
    directory: PathBuf,
    /// As long as nothing goes wrong.
    open: Option<(File, u64)>,
    /// The last event that is in the file.
    written: u64,
    complaint: Complaint,
}

impl EventsFile {
    /// A file in a directory that nobody else writes to.
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            open: None,
            written: 0,
            complaint: Complaint::default(),
        }
    }

    /// Appends what is new. When this returns, it is safe, unless that was impossible: then
    /// it is tried again the next time.
    pub(super) fn keep(&mut self, live: &Live) {
        let events = live.events.since(self.written);
        let Some(last) = events.last() else {
            return;
        };
        match self.append(&events) {
            Ok(()) => {
                self.written = last.seq;
                self.complaint.settle();
            }
            Err(error) => {
                self.open = None;
                self.complain(&error, live.clock.micros());
            }
        }
    }

    fn append(&mut self, events: &[Event]) -> io::Result<()> {
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        self.append_lines(&lines)
    }

    fn append_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let (mut file, mut len) = match self.open.take() {
            Some(open) => open,
            None => self.reopen()?,
        };
        if len > 0 && len + lines.len() as u64 > FILE_BYTES_MAX {
            fs::rename(self.directory.join(EVENTS), self.directory.join(OLDER))?;
            (file, len) = self.reopen()?;
        }
        file.write_all(lines)?;
        file.sync_data()?;
        if len == 0 {
            // The name of a new file too.
            File::open(&self.directory)?.sync_all()?;
        }
        self.open = Some((file, len + lines.len() as u64));
        Ok(())
    }

    /// Opens the file at the end of its last whole line.
    fn reopen(&self) -> io::Result<(File, u64)> {
        let path = self.directory.join(EVENTS);
        match fs::metadata(&path) {
            Ok(found) if !found.is_file() => return Err(io::Error::other("not a file")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(FILE_MODE)
            .open(path)?;
        let len = file.metadata()?.len();
        let start = len.saturating_sub(READ_BYTES_MAX);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&file).take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let end = end.map_or(0, |end| start + end as u64 + 1);
        if end < len {
            file.set_len(end)?;
        }
        file.seek(SeekFrom::Start(end))?;
        Ok((file, end))
    }

    fn complain(&mut self, error: &io::Error, now: Micros) {
        if self.complaint.is_due(now) {
            tracing::warn!(%error, "what happens is not kept: a restart would forget it");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &[u8]) -> (Vec<u64>, usize) {
        let mut events = VecDeque::new();
        let dropped = parse(text, &mut events);
        (events.iter().map(|event| event.seq).collect(), dropped)
    }

    fn line(seq: u64) -> String {
        format!("{{\"seq\":{seq},\"kind\":\"reloaded\",\"changes\":[]}}\n")
    }

    fn lines(seqs: &[u64]) -> String {
        seqs.iter().map(|seq| line(*seq)).collect()
    }

    #[test]
    fn a_line_that_was_cut_anywhere_is_dropped_and_no_other() {
        let text = lines(&[1, 2, 3]);
        let whole = lines(&[1, 2]).len();
        for len in whole + 1..text.len() {
            assert_eq!(parsed(&text.as_bytes()[..len]), (vec![1, 2], 1), "{len}");
        }
        assert_eq!(parsed(text.as_bytes()), (vec![1, 2, 3], 0));
        let broken = [&line(1), "{\"seq\":}\n", "\n", &line(4)].concat();
        assert_eq!(parsed(broken.as_bytes()), (vec![1, 4], 2));
    }

    #[test]
    fn numbers_that_come_again_take_the_place_of_what_was() {
        assert_eq!(parsed(lines(&[1, 2, 3, 2]).as_bytes()).0, [1, 2]);
        assert_eq!(parsed(lines(&[1, 900_000, 2, 3]).as_bytes()).0, [1, 2, 3]);
        let huge = lines(&[1]) + "{\"seq\":18446744073709551615}\n{\"seq\":0}\n";
        assert_eq!(parsed(huge.as_bytes()), (vec![1], 2));
    }

    #[test]
    fn what_nobody_else_could_read_is_no_event() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for odd in ["1e999", "\"\\ud800\"", &deep] {
            let odd = format!("{{\"seq\":2,\"odd\":{odd}}}\n");
            let text = [line(1), odd, line(3)].concat();
            assert_eq!(parsed(text.as_bytes()), (vec![1, 3], 1), "{text}");
        }
    }

    #[test]
    fn files_stay_small_and_the_last_events_are_there() {
        let name = format!("haldane-events-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let mut file = EventsFile::in_directory(&directory);
        let padding = " ".repeat(700);
        for seq in 1..=5000_u64 {
            let text = format!("{{\"seq\":{seq}{padding}}}\n");
            file.append_lines(text.as_bytes()).unwrap();
            if seq.is_multiple_of(1777) {
                // Another process, after one that was cut.
                let path = directory.join(EVENTS);
                let mut cut = OpenOptions::new().append(true).open(path).unwrap();
                cut.write_all(b"{\"seq\":99").unwrap();
                file = EventsFile::in_directory(&directory);
            }
        }
        for name in [EVENTS, OLDER] {
            let len = fs::metadata(directory.join(name)).unwrap().len();
            assert!(len <= FILE_BYTES_MAX, "{name}: {len}");
        }
        let events: Vec<u64> = read(&directory).iter().map(|event| event.seq).collect();
        assert_eq!(events, Vec::from_iter(5001 - EVENTS_MAX as u64..=5000));
        fs::remove_dir_all(&directory).unwrap();
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
        ) {
            let mut text = lines(&[1, 2, 3, 4]).into_bytes();
            let at = at.index(text.len());
            text.splice(at..at, bytes);
            let (seqs, _) = parsed(&text);
            prop_assert!(seqs.is_sorted());
        }
    }
}
