//! Load of every kind for as long as a test wants, and what came of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How clients behave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Mode {
    /// They connect whenever they want.
    Free,
    /// They use the connections they have for as long as they may, and open no others.
    Leaving,
    /// They stop with the request they are at.
    Stopping,
}

/// What the clients of a test share.
pub(super) struct Load {
    mode: AtomicU8,
    outcome: Mutex<Outcome>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What came of all requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Successes by kind of client.
    pub(super) successes: BTreeMap<&'static str, u64>,
    pub(super) failures: Vec<String>,
}

impl Load {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            mode: AtomicU8::new(Mode::Free as u8),
            outcome: Mutex::default(),
            threads: Mutex::default(),
        })
    }

    /// Runs a client on a thread of its own.
    pub(super) fn run(self: &Arc<Self>, client: impl FnOnce(&Self) + Send + 'static) {
        let load = Arc::clone(self);
        let thread = std::thread::spawn(move || client(&load));
        self.threads.lock().unwrap().push(thread);
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Whether a client may open a connection.
    pub(super) fn may_connect(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == Mode::Free as u8
    }

    /// Whether a client may send another request on a connection it has.
    pub(super) fn may_ask(&self) -> bool {
        self.mode.load(Ordering::Relaxed) != Mode::Stopping as u8
    }

    pub(super) fn success(&self, kind: &'static str) {
        *self
            .outcome
            .lock()
            .unwrap()
            .successes
            .entry(kind)
            .or_default() += 1;
    }

    pub(super) fn failure(&self, what: String) {
        self.outcome.lock().unwrap().failures.push(what);
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.outcome.lock().unwrap().clone()
    }

    /// Waits for all clients.
    pub(super) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        for thread in threads {
            thread.join().expect("a client does not panic");
        }
    }
}
