//! Files that are moved, that are full, and a ring that is.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::ring::{BYTES_MAX, Found, LINES_MAX, queue};
use super::*;

/// A directory of one test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("haldane-access-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("is made");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A writer to this output, with these lines waiting.
fn writer(path: &Path, lines: &[&str]) -> (Writer, Arc<AtomicU64>) {
    let dropped = Arc::new(AtomicU64::new(0));
    let (sender, waiting) = queue(Arc::clone(&dropped));
    for line in lines {
        let pushed = super::super::ring::push(&sender, waiting.level(), line.as_bytes().to_vec());
        assert!(pushed.is_some());
    }
    let output = Output::open(&AccessOutput::File(path.to_owned())).expect("opens");
    (Writer::new(output, waiting, Clock::start()), dropped)
}

#[test]
fn what_waits_is_written_to_the_end_of_the_file() {
    let directory = Directory::new("end");
    let path = directory.0.join("access.log");
    std::fs::write(&path, "before\n").expect("writes");
    let (writer, dropped) = writer(&path, &["one\n", "two\n"]);
    writer.run();
    assert_eq!(
        std::fs::read_to_string(&path).expect("is text"),
        "before\none\ntwo\n"
    );
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
}

#[test]
fn a_file_that_was_moved_or_removed_is_opened_anew() {
    let directory = Directory::new("moved");
    let (path, old) = (directory.0.join("access.log"), directory.0.join("old"));
    let mut output = Output::open(&AccessOutput::File(path.clone())).expect("opens");
    let mut write = |text: &str| {
        output.follow().expect("is there");
        output.file.write_all(text.as_bytes()).expect("writes");
    };
    let read = |path: &Path| std::fs::read_to_string(path).expect("is text");
    write("one\n");
    std::fs::rename(&path, &old).expect("moves");
    write("two\n");
    assert_eq!((read(&old), read(&path)), ("one\n".into(), "two\n".into()));
    std::fs::remove_file(&path).expect("removes");
    write("three\n");
    assert_eq!(read(&path), "three\n");
    // One that was truncated is the same file.
    File::create(&path).expect("truncates");
    write("four\n");
    assert_eq!(read(&path), "four\n");
}

#[test]
fn what_cannot_be_written_is_counted() {
    // Writing there fails with ENOSPC.
    let (writer, dropped) = writer(Path::new("/dev/full"), &["one\n", "two\n", "three\n"]);
    writer.run();
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn after_half_a_line_the_next_one_begins_anew() {
    let directory = Directory::new("torn");
    let path = directory.0.join("access.log");
    let (mut writer, dropped) = writer(&path, &[]);
    writer.batch = b"one\ntwo\nthree\n".to_vec();
    writer.output.file.write_all(b"one\ntw").expect("writes");
    writer.give_up(6, 3, &ErrorKind::StorageFull.into());
    assert_eq!(dropped.load(Ordering::Relaxed), 2, "the half and the rest");
    writer.batch = b"four\n".to_vec();
    writer.write(1);
    writer.batch = b"five\n".to_vec();
    writer.write(1);
    assert_eq!(
        std::fs::read_to_string(&path).expect("is text"),
        "one\ntw\nfour\nfive\n"
    );
}

#[test]
fn only_files_are_written_to() {
    let directory = Directory::new("kinds");
    let fifo = directory.0.join("fifo");
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    );
    made.expect("is made");
    for path in [fifo, directory.0.clone(), directory.0.join("no/such")] {
        let opened = Output::open(&AccessOutput::File(path.clone()));
        assert!(opened.is_err(), "{}", path.display());
    }
}

#[test]
fn a_full_ring_drops_and_counts() {
    for (length, room) in [(10, LINES_MAX), (BYTES_MAX / 4, 4), (BYTES_MAX + 1, 0)] {
        let dropped = Arc::new(AtomicU64::new(0));
        let (sender, lines) = queue(Arc::clone(&dropped));
        let push = || super::super::ring::push(&sender, lines.level(), vec![b'x'; length]);
        let taken = (0..room + 3).filter(|_| push().is_some()).count();
        assert_eq!(
            (taken, dropped.load(Ordering::Relaxed)),
            (room, 3),
            "{length}"
        );
        // What was taken out makes room again.
        let mut batch = Vec::new();
        assert_eq!(lines.take(&mut batch, 1), Found::Lines(room.min(1)));
        assert_eq!(push().is_some(), room > 0, "{length}");
        batch.clear();
        assert_eq!(lines.take(&mut batch, usize::MAX), Found::Lines(room));
        assert_eq!(batch.len(), room * length);
    }
}

#[test]
fn nothing_comes_when_nobody_can_send() {
    let (sender, lines) = queue(Arc::default());
    let mut batch = Vec::new();
    assert_eq!(lines.take(&mut batch, 100), Found::Lines(0));
    drop(sender);
    assert_eq!(lines.take(&mut batch, 100), Found::End);
}
