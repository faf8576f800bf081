//! All of a worker's connections that requests share, moved on in turns that are theirs together.
//!
//! With a task for each, the connection of a version with much traffic would nearly always be in
//! the queue already when one of its requests comes, and that of a version with little would be
//! put at its end: under load each of its requests and answers would wait for longer, and a
//! canary would be blamed for being one. Here whatever was handed to any of them before a turn
//! goes out in that turn. Those with few requests are first, since they hold the others up the
//! least: in no order, those few would be behind all of the many or before them, and the slowest
//! of them slower than the slowest of the many. The requests whose answers came in a turn go on
//! in no particular order.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The connections of one worker.
#[derive(Default)]
pub(crate) struct Together {
    members: RefCell<Members>,
    called: Arc<Called>,
    /// Room for those whose turn it is, and for those who are told at its end.
    due: RefCell<Vec<usize>>,
    told: RefCell<Vec<Waker>>,
}

#[derive(Default)]
struct Members {
    /// By place; nobody is where one has ended, or is being moved on.
    of: Vec<Option<Member>>,
    /// Places where one has ended.
    free: Vec<usize>,
}

/// A connection.
struct Member {
    /// So many are on it.
    requests: Rc<Cell<usize>>,
    /// It had more to do in its last turn than is done at once.
    was_cut: bool,
    /// Ready when it has ended.
    connection: Pin<Box<dyn Future<Output = ()>>>,
    caller: Arc<Caller>,
    /// The same.
    waker: Waker,
}

/// Who has something to do.
#[derive(Default)]
struct Called(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    /// Their places.
    places: Vec<usize>,
    /// The tasks of requests whose answers have come.
    answered: Vec<Waker>,
    /// It is a turn: the answered are told at its end.
    is_turn: bool,
    /// Of the task that moves them on.
    task: Option<Waker>,
}

/// Tells requests that their answers have come, in no particular order.
#[derive(Clone, Default)]
pub(crate) struct Announcer(Arc<Called>);

/// Waits for the answer to one request.
struct Awaiting {
    task: Waker,
    called: Arc<Called>,
}

/// Calls for one connection.
struct Caller {
    place: usize,
    /// It has called since its connection was moved on last.
    has_called: AtomicBool,
    called: Arc<Called>,
}

impl Together {
    /// Takes a connection with so many requests on it, which is moved on from now on.
    pub(crate) fn add(
        &self,
        requests: &Rc<Cell<usize>>,
        connection: impl Future<Output = ()> + 'static,
    ) {
        let mut members = self.members.borrow_mut();
        let place = members.free.pop().unwrap_or(members.of.len());
        let caller = Arc::new(Caller {
            place,
            has_called: AtomicBool::new(false),
            called: Arc::clone(&self.called),
        });
        let member = Member {
            requests: Rc::clone(requests),
            was_cut: false,
            connection: Box::pin(connection),
            waker: Waker::from(Arc::clone(&caller)),
            caller: Arc::clone(&caller),
        };
        match members.of.get_mut(place) {
            Some(free) => *free = Some(member),
            None => members.of.push(Some(member)),
        }
        drop(members);
        caller.wake();
    }

    /// Moves on all who have something to do, once. Never ready.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut due = std::mem::take(&mut *self.due.borrow_mut());
        {
            let mut calls = self.called.lock();
            if !calls
                .task
                .as_ref()
                .is_some_and(|task| task.will_wake(cx.waker()))
            {
                calls.task = Some(cx.waker().clone());
            }
            calls.is_turn = true;
            std::mem::swap(&mut calls.places, &mut due);
        }
        fastrand::shuffle(&mut due);
        {
            let members = self.members.borrow();
            due.sort_by_key(|place| members.rank(*place));
        }
        for place in due.drain(..) {
            self.move_on(place);
        }
        *self.due.borrow_mut() = due;
        self.tell();
        Poll::Pending
    }

    /// Ends a turn.
    fn tell(&self) {
        let mut told = std::mem::take(&mut *self.told.borrow_mut());
        {
            let mut calls = self.called.lock();
            calls.is_turn = false;
            std::mem::swap(&mut calls.answered, &mut told);
        }
        fastrand::shuffle(&mut told);
        told.drain(..).for_each(Waker::wake);
        *self.told.borrow_mut() = told;
    }

    /// For the requests on these connections.
    pub(crate) fn announcer(&self) -> Announcer {
        Announcer(Arc::clone(&self.called))
    }

    fn move_on(&self, place: usize) {
        // Taken out, so that whatever it does it may add another.
        let Some(mut member) = self.members.borrow_mut().of[place].take() else {
            return;
        };
        member.caller.has_called.store(false, Ordering::Release);
        let mut cx = Context::from_waker(&member.waker);
        // One that panics is gone, and no other.
        let moved = catch_unwind(AssertUnwindSafe(|| {
            member.connection.as_mut().poll(&mut cx)
        }));
        let mut members = self.members.borrow_mut();
        if matches!(moved, Ok(Poll::Pending)) {
            member.was_cut = member.caller.has_called.load(Ordering::Acquire);
            members.of[place] = Some(member);
        } else {
            members.free.push(place);
        }
    }
}

impl Members {
    /// Whoever has the lowest is first.
    fn rank(&self, place: usize) -> (bool, usize) {
        let member = self.of[place].as_ref();
        // Who was cut is before all others, or there might always be others before it.
        member.map_or((false, 0), |member| {
            (!member.was_cut, member.requests.get())
        })
    }
}

impl Called {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        // A panic under this lock leaves what is valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.has_called.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut calls = self.called.lock();
        calls.places.push(self.place);
        if let Some(task) = &calls.task {
            task.wake_by_ref();
        }
    }
}

impl Announcer {
    /// Wakes `task` at the end of the turn in which it is woken itself.
    pub(crate) fn waker(&self, task: &Waker) -> Waker {
        Waker::from(Arc::new(Awaiting {
            task: task.clone(),
            called: Arc::clone(&self.0),
        }))
    }
}

impl Wake for Awaiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        {
            let mut calls = self.called.lock();
            if calls.is_turn {
                calls.answered.push(self.task.clone());
                return;
            }
        }
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;

    /// A connection that says when it was moved on, and ends or panics when it is told to.
    #[derive(Clone, Default)]
    struct Told {
        wakers: Rc<RefCell<Vec<Waker>>>,
        requests: Rc<Cell<usize>>,
        /// It calls again before it is through.
        cut: Rc<Cell<bool>>,
        ends: Rc<Cell<bool>>,
        panics: Rc<Cell<bool>>,
    }

    impl Told {
        fn join(&self, together: &Together, name: char, turns: &Rc<RefCell<Vec<char>>>) {
            let (told, turns) = (self.clone(), Rc::clone(turns));
            together.add(
                &self.requests,
                poll_fn(move |cx| {
                    turns.borrow_mut().push(name);
                    told.wakers.borrow_mut().push(cx.waker().clone());
                    assert!(!told.panics.get(), "as it is told");
                    if told.cut.get() {
                        cx.waker().wake_by_ref();
                    }
                    if told.ends.get() {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }),
            );
        }

        fn call(&self) {
            let waker = self.wakers.borrow().last().cloned();
            waker.expect("was moved on before").wake();
        }
    }

    /// Counts how often the task was woken.
    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Who was moved on in one turn, in alphabetical order.
    fn turn(together: &Together, turns: &RefCell<Vec<char>>, waker: &Waker) -> String {
        assert!(together.poll(&mut Context::from_waker(waker)).is_pending());
        let mut moved = std::mem::take(&mut *turns.borrow_mut());
        moved.sort_unstable();
        moved.into_iter().collect()
    }

    #[test]
    fn all_who_have_called_are_moved_on_once_and_nobody_else() {
        let (together, turns) = (Together::default(), Rc::default());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let [a, b, c] = [(); 3].map(|()| Told::default());
        a.join(&together, 'a', &turns);
        b.join(&together, 'b', &turns);
        assert_eq!(turn(&together, &turns, &waker), "ab");
        assert_eq!(turn(&together, &turns, &waker), "");
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        c.join(&together, 'c', &turns);
        a.call();
        a.call();
        assert_eq!(woken.0.load(Ordering::SeqCst), 2, "for each of them once");
        assert_eq!(turn(&together, &turns, &waker), "ac");
        b.call();
        assert_eq!(turn(&together, &turns, &waker), "b");
    }

    #[test]
    fn who_has_ended_or_panicked_makes_room() {
        let (together, turns) = (Together::default(), Rc::default());
        let [a, b, c, d] = [(); 4].map(|()| Told::default());
        for (told, name) in [(&a, 'a'), (&b, 'b')] {
            told.join(&together, name, &turns);
        }
        assert_eq!(turn(&together, &turns, Waker::noop()), "ab");
        a.panics.set(true);
        a.call();
        b.call();
        assert_eq!(turn(&together, &turns, Waker::noop()), "ab");
        b.ends.set(true);
        b.call();
        a.call();
        assert_eq!(turn(&together, &turns, Waker::noop()), "b");
        c.join(&together, 'c', &turns);
        d.join(&together, 'd', &turns);
        assert_eq!(together.members.borrow().of.len(), 2);
        assert_eq!(turn(&together, &turns, Waker::noop()), "cd");
        // Whoever still calls for one that is gone does no harm.
        a.call();
        c.call();
        assert!(turn(&together, &turns, Waker::noop()).contains('c'));
    }

    #[test]
    fn those_with_few_requests_are_first_and_of_others_nobody_always() {
        let (together, turns) = (Together::default(), Rc::default());
        let told = [(); 3].map(|()| Told::default());
        for (told, name) in told.iter().zip('a'..) {
            told.join(&together, name, &turns);
        }
        told[0].requests.set(40);
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..64 {
            let _pending = together.poll(&mut Context::from_waker(Waker::noop()));
            orders.insert(turns.take().into_iter().collect::<String>());
            told.iter().for_each(Told::call);
        }
        assert_eq!(Vec::from_iter(orders), ["bca", "cba"]);
        told[1].requests.set(41);
        let _pending = together.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(turns.take(), ['c', 'a', 'b']);
    }

    #[test]
    fn who_has_not_come_to_an_end_is_first_the_next_time() {
        let (together, turns) = (Together::default(), Rc::default());
        let [many, few] = [(); 2].map(|()| Told::default());
        many.requests.set(40);
        many.cut.set(true);
        many.join(&together, 'm', &turns);
        few.join(&together, 'f', &turns);
        let waker = Waker::noop();
        let turn = || {
            let _pending = together.poll(&mut Context::from_waker(waker));
            turns.take().into_iter().collect::<String>()
        };
        assert_eq!(turn(), "fm");
        few.call();
        assert_eq!(turn(), "mf");
        many.cut.set(false);
        assert_eq!(turn(), "m");
        few.call();
        many.call();
        assert_eq!(turn(), "fm");
    }

    /// Says its name when it is woken.
    struct Named(char, Arc<Mutex<String>>);

    impl Wake for Named {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn who_is_answered_in_a_turn_is_told_at_its_end_in_no_order() {
        let together = Together::default();
        let told = Arc::new(Mutex::new(String::new()));
        let announcer = together.announcer();
        let waker = |name| announcer.waker(&Waker::from(Arc::new(Named(name, told.clone()))));
        waker('x').wake();
        assert_eq!(std::mem::take(&mut *told.lock().unwrap()), "x", "at once");
        let connection = Told::default();
        let wakers: Vec<_> = ('a'..='h').map(waker).collect();
        let (seen, before) = (Arc::clone(&told), connection.clone());
        together.add(
            &connection.requests,
            poll_fn(move |cx| {
                wakers.iter().for_each(Waker::wake_by_ref);
                assert_eq!(*seen.lock().unwrap(), "", "not yet");
                before.wakers.borrow_mut().push(cx.waker().clone());
                Poll::<()>::Pending
            }),
        );
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..8 {
            let _pending = together.poll(&mut Context::from_waker(Waker::noop()));
            let order = std::mem::take(&mut *told.lock().unwrap());
            let mut names: Vec<char> = order.chars().collect();
            names.sort_unstable();
            assert_eq!(names, ('a'..='h').collect::<Vec<_>>());
            orders.insert(order);
            connection.call();
        }
        assert!(orders.len() > 1, "{orders:?}");
    }
}
