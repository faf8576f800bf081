//! Where the next requests of clients wait while many are under way already.
//!
//! A runtime wakes tasks in the order in which their sockets become readable. On a busy worker
//! with a thousand connections half of those are requests and half are answers, so that hundreds
//! of requests would be under way at once: each with a connection to its upstream, and all that
//! is remembered of it in no cache any more when its answer comes. Here answers go first: the
//! connections of waiting requests are woken a few at a time, in the order in which they came,
//! after whatever the runtime knew to be ready by then. So there are as many requests under way
//! as upstreams need time for, and the others wait where it costs nothing. An upstream that is
//! slow keeps nobody waiting: a turn without answers is a short one.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Up to so many requests under way of one worker, the next one begins when it comes.
const MANY: usize = 64;

/// So many of those who wait are let in at a time.
const TURN: usize = 32;

/// The lobby of one worker. What is in it is for its thread alone, though a [`Waker`] has to be
/// fit for others.
#[derive(Default)]
pub(crate) struct Lobby(Arc<Inside>);

#[derive(Default)]
struct Inside {
    under_way: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Bell>>,
    /// Of the task that lets in, while it has nothing to do.
    usher: Option<Waker>,
}

/// A connection that waits for its client's next request.
#[derive(Default)]
pub(crate) struct Guest {
    /// The task of the connection, and what it is woken by.
    called: Option<(Waker, Waker)>,
}

/// Wakes a connection whose next request has come: at once, or when it is let in.
struct Bell {
    task: Waker,
    lobby: Arc<Inside>,
}

/// A request under way.
pub(crate) struct UnderWay<'a>(&'a Inside);

impl Lobby {
    /// Counts a request until it is dropped.
    pub(crate) fn enter(&self) -> UnderWay<'_> {
        self.0.count(1);
        UnderWay(&self.0)
    }

    /// A task, and what wakes it in its turn.
    fn call(&self, task: &Waker) -> (Waker, Waker) {
        let bell = Bell {
            task: task.clone(),
            lobby: Arc::clone(&self.0),
        };
        (task.clone(), Waker::from(Arc::new(bell)))
    }

    /// Lets in who waits, for as long as the worker runs.
    pub(crate) async fn usher(&self) {
        let mut turn = Vec::with_capacity(TURN);
        loop {
            poll_fn(|cx| self.0.poll_turn(cx, &mut turn)).await;
            turn.drain(..)
                .for_each(|bell: Arc<Bell>| bell.task.wake_by_ref());
            if !self.0.queue().waiting.is_empty() {
                // The runtime looks at the sockets before it comes back to whoever yields.
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Guest {
    /// What wakes the connection when its next request comes. The task is woken directly
    /// for everything else.
    pub(crate) fn bell(&mut self, lobby: &Lobby, task: &Waker) -> &Waker {
        let called = self.called.get_or_insert_with(|| lobby.call(task));
        if !called.0.will_wake(task) {
            *called = lobby.call(task);
        }
        &called.1
    }
}

impl Inside {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic under this lock leaves what is valid.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the worker counts, so that nobody else's count gets lost.
    fn count(&self, change: isize) {
        let now = self.under_way.load(Ordering::Relaxed);
        let now = now.saturating_add_signed(change);
        self.under_way.store(now, Ordering::Relaxed);
    }

    /// Ready when there is somebody to let in.
    fn poll_turn(&self, cx: &Context<'_>, turn: &mut Vec<Arc<Bell>>) -> Poll<()> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            queue.usher = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = queue.waiting.len().min(TURN);
        turn.extend(queue.waiting.drain(..count));
        Poll::Ready(())
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if self.lobby.under_way.load(Ordering::Relaxed) < MANY {
            return self.task.wake_by_ref();
        }
        let lobby = Arc::clone(&self.lobby);
        let usher = {
            let mut queue = lobby.queue();
            queue.waiting.push_back(self);
            queue.usher.take()
        };
        if let Some(usher) = usher {
            usher.wake();
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.count(-1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use super::*;

    const NOBODY: [usize; 0] = [];

    /// Says its number when it is woken.
    struct Numbered(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Numbered {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    /// Guests whose requests come one after another, with who was woken.
    fn guests(lobby: &Lobby, count: usize) -> (Vec<Guest>, Arc<Mutex<Vec<usize>>>) {
        let woken = Arc::new(Mutex::new(Vec::new()));
        let come = |number| {
            let mut guest = Guest::default();
            let task = Waker::from(Arc::new(Numbered(number, Arc::clone(&woken))));
            guest.bell(lobby, &task).wake_by_ref();
            guest
        };
        ((0..count).map(come).collect(), woken)
    }

    fn taken(woken: &Mutex<Vec<usize>>) -> Vec<usize> {
        std::mem::take(&mut *woken.lock().unwrap())
    }

    #[test]
    fn while_few_are_under_way_the_next_begins_at_once() {
        let lobby = Lobby::default();
        let _under_way: Vec<_> = (1..MANY).map(|_| lobby.enter()).collect();
        let (_guests, woken) = guests(&lobby, 3);
        assert_eq!(taken(&woken), [0, 1, 2]);
        let last = lobby.enter();
        let (_guests, woken) = guests(&lobby, 3);
        assert_eq!(taken(&woken), NOBODY);
        drop(last);
        let (_guests, woken) = guests(&lobby, 3);
        assert_eq!(taken(&woken), [0, 1, 2]);
    }

    #[test]
    fn while_many_are_under_way_all_are_let_in_turn_by_turn_in_their_order() {
        let lobby = Lobby::default();
        let _under_way: Vec<_> = (0..MANY).map(|_| lobby.enter()).collect();
        let mut usher = pin!(lobby.usher());
        let mut turn = |task: &Waker| {
            let polled = usher.as_mut().poll(&mut Context::from_waker(task));
            assert!(polled.is_pending(), "never ends");
        };
        let called = Arc::new(Mutex::new(Vec::new()));
        let task = Waker::from(Arc::new(Numbered(0, Arc::clone(&called))));
        turn(&task);
        let (_guests, woken) = guests(&lobby, 2 * TURN + 5);
        assert_eq!(taken(&called), [0], "once, by the first");
        assert_eq!(taken(&woken), NOBODY);
        for (from, to) in [(0, TURN), (TURN, 2 * TURN)] {
            turn(&task);
            assert_eq!(taken(&woken), (from..to).collect::<Vec<_>>());
            assert_eq!(taken(&called), [0], "others are left");
        }
        turn(&task);
        assert_eq!(taken(&woken), (2 * TURN..2 * TURN + 5).collect::<Vec<_>>());
        assert_eq!(taken(&called), NOBODY, "nobody is left");
        let (_guests, woken) = guests(&lobby, 1);
        assert_eq!(taken(&called), [0]);
        turn(&task);
        assert_eq!(taken(&woken), [0]);
    }

    #[test]
    fn a_bell_is_for_the_task_that_waits_now() {
        let lobby = Lobby::default();
        let mut guest = Guest::default();
        let woken = Arc::new(Mutex::new(Vec::new()));
        for number in [0, 1, 1, 2] {
            let task = Waker::from(Arc::new(Numbered(number, Arc::clone(&woken))));
            guest.bell(&lobby, &task).wake_by_ref();
            assert_eq!(taken(&woken), [number]);
        }
    }
}
