//! Deadlines without a timer per request: a connection writes down two moments, and
//! one tick of its worker looks through all of them.
//!
//! ## Why not a timer for each timeout
//!
//! Nearly every timeout of a proxy is set and never fires. Setting and clearing a
//! runtime timer costs more than forwarding a header; storing an integer does not.
//! The price is that a deadline is met up to one [`TICK`] late.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::{Micros, micros};

/// How often a worker looks at its deadlines.
pub(crate) const TICK: Duration = Duration::from_millis(50);

const NEVER: Micros = Micros::MAX;

/// All deadlines of a worker.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// The time as last told.
    now: Cell<Micros>,
    watches: RefCell<Vec<Rc<Watch>>>,
}

/// The deadlines of one connection, and the task that waits for them.
#[derive(Debug)]
pub(crate) struct Watch {
    client: Cell<Micros>,
    upstream: Cell<Micros>,
    /// The connection is to hear of a drain: nothing is in progress, so that it may be
    /// closed, or it can tell its client without ending anything.
    idle: Cell<bool>,
    /// It waits for a version that may be recalled.
    alert: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    index: Cell<usize>,
}

/// A registered watch. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Guard {
    deadlines: Rc<Deadlines>,
    watch: Rc<Watch>,
}

/// Whom a connection waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Party {
    Client,
    Upstream,
}

impl Deadlines {
    /// Registers a connection, with no deadline.
    pub(crate) fn register(self: &Rc<Self>) -> Guard {
        let mut watches = self.watches.borrow_mut();
        let watch = Rc::new(Watch {
            client: Cell::new(NEVER),
            upstream: Cell::new(NEVER),
            idle: Cell::new(false),
            alert: Cell::new(false),
            waker: RefCell::new(None),
            index: Cell::new(watches.len()),
        });
        watches.push(Rc::clone(&watch));
        Guard {
            deadlines: Rc::clone(self),
            watch,
        }
    }

    /// Moves time on. Whoever has read the clock tells it: the more recent it is, the
    /// less a deadline that is set in between can come early.
    pub(crate) fn advance(&self, now: Micros) {
        self.now.set(now.max(self.now.get()));
    }

    /// Moves time on, and wakes every connection with a deadline that has passed.
    pub(crate) fn tick(&self, now: Micros) {
        self.advance(now);
        for watch in &*self.watches.borrow() {
            if watch.client.get() <= now || watch.upstream.get() <= now {
                watch.wake();
            }
        }
    }

    /// Wakes every idle connection, so that it sees the drain.
    pub(crate) fn wake_idle(&self) {
        self.wake(|watch| watch.idle.get());
    }

    /// Wakes every connection that waits for a version that may be recalled.
    pub(crate) fn wake_alert(&self) {
        self.wake(|watch| watch.alert.get());
    }

    fn wake(&self, is_meant: impl Fn(&Watch) -> bool) {
        let watches = self.watches.borrow();
        for watch in watches.iter().filter(|watch| is_meant(watch)) {
            watch.wake();
        }
    }

    /// The time as last told: at most a tick old, unless the worker was kept from running.
    pub(crate) fn now(&self) -> Micros {
        self.now.get()
    }
}

impl Watch {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Guard {
    /// The time as last told.
    pub(crate) fn now(&self) -> Micros {
        self.deadlines.now()
    }

    /// Sets the deadline for a party: `timeout` and a tick from the time as last told.
    pub(crate) fn arm(&self, party: Party, timeout: Duration) {
        let deadline = self
            .deadlines
            .now()
            .saturating_add(micros(timeout))
            .saturating_add(micros(TICK));
        self.cell(party).set(deadline);
    }

    /// Sets the deadline for a party, which is the only one waited for from now on.
    pub(crate) fn arm_only(&self, party: Party, timeout: Duration) {
        self.disarm_all();
        self.arm(party, timeout);
    }

    /// What `future` gives; `None` if it is not ready within `timeout`, which is for
    /// the party that is waited for.
    pub(crate) async fn within<F: Future>(
        &self,
        party: Party,
        timeout: Duration,
        future: F,
    ) -> Option<F::Output> {
        self.arm(party, timeout);
        let mut future = pin!(future);
        let output = poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if self.is_over(party) {
                return Poll::Ready(None);
            }
            self.wait(cx);
            Poll::Pending
        })
        .await;
        self.disarm(party);
        output
    }

    /// Takes both deadlines away.
    pub(crate) fn disarm_all(&self) {
        self.disarm(Party::Client);
        self.disarm(Party::Upstream);
    }

    /// Takes the deadline for a party away.
    pub(crate) fn disarm(&self, party: Party) {
        self.cell(party).set(NEVER);
    }

    /// Whether a deadline is set for a party.
    pub(crate) fn is_armed(&self, party: Party) -> bool {
        self.cell(party).get() != NEVER
    }

    /// Whether the deadline for a party has passed.
    pub(crate) fn is_over(&self, party: Party) -> bool {
        self.cell(party).get() <= self.deadlines.now()
    }

    /// Says whether the connection may be closed at any time.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.watch.idle.set(idle);
    }

    /// Says whether the connection waits for a version that may be recalled.
    pub(crate) fn set_alert(&self, alert: bool) {
        self.watch.alert.set(alert);
    }

    /// The task to wake at a deadline. To be called before waiting.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        let mut waker = self.watch.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    fn cell(&self, party: Party) -> &Cell<Micros> {
        match party {
            Party::Client => &self.watch.client,
            Party::Upstream => &self.watch.upstream,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let index = self.watch.index.get();
        let mut watches = self.deadlines.watches.borrow_mut();
        watches.swap_remove(index);
        if let Some(moved) = watches.get(index) {
            moved.index.set(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_what_is_over_is_woken() {
        let deadlines = Rc::new(Deadlines::default());
        let (early, late, gone) = (
            deadlines.register(),
            deadlines.register(),
            deadlines.register(),
        );
        let counts: [Arc<Count>; 2] = Default::default();
        for (guard, count, seconds) in [(&early, &counts[0], 1), (&late, &counts[1], 5)] {
            guard.arm(Party::Upstream, Duration::from_secs(seconds));
            guard.wait(&Context::from_waker(&Arc::clone(count).into()));
        }
        drop(gone);
        deadlines.tick(500_000);
        assert!(!early.is_over(Party::Upstream));
        deadlines.tick(2_000_000);
        assert!(early.is_over(Party::Upstream) && !early.is_over(Party::Client));
        assert!(!late.is_over(Party::Upstream));
        assert_eq!(
            counts
                .each_ref()
                .map(|count| count.0.load(Ordering::Relaxed)),
            [1, 0]
        );
        drop(early);
        late.disarm(Party::Upstream);
        deadlines.tick(9_000_000);
        assert!(!late.is_over(Party::Upstream));
        assert_eq!(deadlines.watches.borrow().len(), 1);
    }

    #[test]
    fn who_waits_for_what_may_be_recalled_is_woken_while_it_does() {
        let deadlines = Rc::new(Deadlines::default());
        let guards = [deadlines.register(), deadlines.register()];
        let counts: [Arc<Count>; 2] = Default::default();
        guards[1].set_alert(true);
        for _ in 0..2 {
            for (guard, count) in guards.iter().zip(&counts) {
                guard.wait(&Context::from_waker(&Arc::clone(count).into()));
            }
            deadlines.wake_alert();
            guards[1].set_alert(false);
        }
        let woken = counts
            .each_ref()
            .map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(woken, [0, 1]);
    }
}
