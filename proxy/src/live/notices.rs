//! What others are to be told: a bounded queue for each, which nobody waits for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use haldane_config::{NotifyEvent, NotifyTarget, RemoteUrl};
use hyper::body::Bytes;
use tokio::sync::{Notify, watch};

/// How many notices wait for one target. A rollout has tens.
const WAITING_MAX: usize = 64;

/// Everybody who is told, and up to where.
pub(crate) struct Notices {
    /// In the names of this process's notices: unlike that of any other process.
    process: u64,
    /// The number of the last event that was put into the queues.
    announced: Mutex<u64>,
    outboxes: ArcSwap<Vec<Arc<Outbox>>>,
    /// Told whenever a queue has become empty.
    settled: Arc<Notify>,
}

/// What is to be told to one target.
pub(crate) struct Outbox {
    target: ArcSwap<NotifyTarget>,
    queue: Mutex<Queue>,
    stage: watch::Sender<Stage>,
    /// Told whenever something was put in.
    filled: Notify,
    settled: Arc<Notify>,
    counts: Arc<Counts>,
}

/// One notice, in the form that its target wants.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// The same for every attempt and every target, and for no other notice ever.
    pub(crate) id: Arc<str>,
    pub(crate) event: NotifyEvent,
    pub(crate) body: Bytes,
}

/// How long a target is waited for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Stage {
    /// As long as it takes.
    Open,
    /// The process ends: everything is tried once more.
    Closing,
    /// The target is gone: what waits is dropped.
    Gone,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// The target has it.
    Delivered,
    /// It was not tried often enough, or not at all: there were too many, the target is
    /// gone, or the process has ended.
    Dropped,
    /// The target refused it, or could not be reached often enough.
    Failed,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Notice>,
    is_sending: bool,
}

#[derive(Default)]
struct Counts([AtomicU64; 3]);

impl Default for Notices {
    fn default() -> Self {
        Self {
            process: process_id(),
            announced: Mutex::default(),
            outboxes: ArcSwap::default(),
            settled: Arc::default(),
        }
    }
}

/// 64 bits that no other process has.
#[expect(
    clippy::expect_used,
    reason = "no operating system that runs this fails to give random bytes"
)]
fn process_id() -> u64 {
    getrandom::u64().expect("the operating system gives random bytes")
}

impl Notices {
    /// The name of the notice of this event.
    pub(crate) fn id(&self, seq: u64) -> Arc<str> {
        format!("{:016x}-{seq}", self.process).into()
    }

    /// Everybody who is told, in the order of the configuration.
    pub(crate) fn outboxes(&self) -> Arc<Vec<Arc<Outbox>>> {
        self.outboxes.load_full()
    }

    /// Moves the last event that was announced on to what `announce` makes of it. One at a
    /// time.
    pub(crate) fn advance(&self, announce: impl FnOnce(u64) -> u64) {
        let mut announced = lock(&self.announced);
        *announced = announce(*announced);
    }

    /// Announces nothing from here on: another process does. What waits is still told.
    pub(crate) fn retire(&self) {
        *lock(&self.announced) = u64::MAX;
    }

    /// Tells these from now on. Who was told before keeps what waits, under the same URL
    /// and in the same form. The new ones, which nobody sends to yet.
    pub(crate) fn follow(&self, targets: &[NotifyTarget]) -> Vec<Arc<Outbox>> {
        let mut before = self.outboxes().to_vec();
        let mut new = Vec::new();
        let outboxes = targets.iter().map(|target| {
            let known = before.iter().position(|outbox| outbox.is_for(target));
            if let Some(index) = known {
                let outbox = before.remove(index);
                outbox.target.store(Arc::new(target.clone()));
                return outbox;
            }
            let outbox = Arc::new(self.outbox(target));
            new.push(Arc::clone(&outbox));
            outbox
        });
        let outboxes = outboxes.collect();
        self.outboxes.store(Arc::new(outboxes));
        for gone in before {
            gone.enter(Stage::Gone);
        }
        new
    }

    fn outbox(&self, target: &NotifyTarget) -> Outbox {
        let outboxes = self.outboxes();
        let host = host_of(target);
        // What is counted for a host goes on.
        let mut same = outboxes.iter().filter(|outbox| outbox.host() == host);
        Outbox {
            target: ArcSwap::from_pointee(target.clone()),
            queue: Mutex::default(),
            stage: watch::Sender::new(Stage::Open),
            filled: Notify::new(),
            settled: Arc::clone(&self.settled),
            counts: same
                .next()
                .map_or_else(Arc::default, |outbox| Arc::clone(&outbox.counts)),
        }
    }

    /// How many notices have had this fate, by host.
    pub(crate) fn counts(&self, fate: Fate) -> Vec<(String, u64)> {
        let mut counts: Vec<(String, u64)> = Vec::new();
        let mut counted: Vec<Arc<Counts>> = Vec::new();
        for outbox in self.outboxes().iter() {
            if counted
                .iter()
                .any(|other| Arc::ptr_eq(other, &outbox.counts))
            {
                continue;
            }
            counted.push(Arc::clone(&outbox.counts));
            let count = outbox.counts.0[fate as usize].load(Ordering::Relaxed);
            let host = outbox.host();
            match counts.iter_mut().find(|(known, _)| *known == host) {
                Some((_, sum)) => *sum += count,
                None => counts.push((host, count)),
            }
        }
        counts
    }

    /// Waits until everything has been told. Nothing is tried more than once from here on.
    pub(crate) async fn settle(&self) {
        for outbox in self.outboxes().iter() {
            outbox.enter(Stage::Closing);
        }
        while self.waiting() > 0 {
            self.settled.notified().await;
        }
    }

    /// How many notices nobody has got yet.
    pub(crate) fn waiting(&self) -> usize {
        let outboxes = self.outboxes();
        outboxes.iter().map(|outbox| outbox.waiting()).sum()
    }
}

impl Outbox {
    /// Who is told, and how.
    pub(crate) fn target(&self) -> Arc<NotifyTarget> {
        self.target.load_full()
    }

    /// Host and port, as configured: what may be shown of the target.
    pub(crate) fn host(&self) -> String {
        host_of(&self.target())
    }

    /// Appends a notice. If there are too many, the oldest is dropped.
    pub(crate) fn put(&self, notice: Notice) {
        let mut queue = lock(&self.queue);
        let dropped = if queue.waiting.len() >= WAITING_MAX {
            queue.waiting.pop_front()
        } else {
            None
        };
        queue.waiting.push_back(notice);
        drop(queue);
        self.filled.notify_one();
        if let Some(dropped) = dropped {
            self.count(Fate::Dropped);
            let (target, event) = (self.host(), dropped.event.as_str());
            tracing::warn!(
                target,
                event,
                id = &*dropped.id,
                "a notice was dropped: too many wait"
            );
        }
    }

    /// The next notice to send, as soon as there is one. `None` when the target is gone.
    pub(crate) async fn next(&self) -> Option<Notice> {
        let mut stage = self.stage.subscribe();
        loop {
            if *stage.borrow_and_update() == Stage::Gone {
                for _ in std::mem::take(&mut lock(&self.queue).waiting) {
                    self.count(Fate::Dropped);
                }
                return None;
            }
            if let Some(notice) = self.take() {
                return Some(notice);
            }
            tokio::select! {
                () = self.filled.notified() => {}
                // The sender is this outbox.
                _ = stage.changed() => {}
            }
        }
    }

    fn take(&self) -> Option<Notice> {
        let mut queue = lock(&self.queue);
        let notice = queue.waiting.pop_front();
        queue.is_sending = notice.is_some();
        notice
    }

    /// What became of the notice that was taken last.
    pub(crate) fn done(&self, fate: Fate) {
        self.count(fate);
        let mut queue = lock(&self.queue);
        queue.is_sending = false;
        let is_empty = queue.waiting.is_empty();
        drop(queue);
        if is_empty {
            self.settled.notify_one();
        }
    }

    /// How long the target is waited for.
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Returns when the target is not waited for as long as it takes.
    pub(crate) async fn hurried(&self) {
        let mut stage = self.stage.subscribe();
        // The sender is this outbox.
        drop(stage.wait_for(|stage| *stage != Stage::Open).await);
    }

    fn enter(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let is_later = *now < stage;
            *now = stage.max(*now);
            is_later
        });
    }

    fn waiting(&self) -> usize {
        let queue = lock(&self.queue);
        queue.waiting.len() + usize::from(queue.is_sending)
    }

    fn is_for(&self, target: &NotifyTarget) -> bool {
        let known = self.target();
        let same_url = match (&known.remote.url, &target.remote.url) {
            // Whatever is in it by now.
            (RemoteUrl::File { path, .. }, RemoteUrl::File { path: other, .. }) => path == other,
            (one, other) => one == other,
        };
        same_url && known.format == target.format
    }

    fn count(&self, fate: Fate) {
        self.counts.0[fate as usize].fetch_add(1, Ordering::Relaxed);
    }
}

fn host_of(target: &NotifyTarget) -> String {
    target.remote.url.first().authority()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
