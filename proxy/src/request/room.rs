//! Room for requests under way, which the connections of a worker lend each other.
//!
//! What a request needs to remember while it waits is the most that a connection ever
//! needs, by far. A connection that waits for its next request has none of it, and
//! nothing is allocated for a request once as many rooms are there as requests at a time.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::handle;
use super::serve::{Next, Session};
use crate::h1::head::Head;

/// How many spare rooms a worker keeps.
const SPARE_MAX: usize = 256;

/// The spare rooms of one worker.
#[derive(Default)]
pub(crate) struct Rooms {
    spare: RefCell<Vec<Box<dyn Room>>>,
}

/// What went in comes out again, with what becomes of the connection.
type Handled = (Box<Session>, Box<Head>, Next);

/// Room for one request at a time.
trait Room {
    fn enter(&mut self, session: Box<Session>, head: Box<Head>);

    /// Ready when the request has been handled.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Handled>;
}

/// What begins the handling of a request.
type Begin<F> = fn(Box<Session>, Box<Head>) -> F;

/// The room that a future of this type takes.
struct RoomFor<F> {
    begin: Begin<F>,
    running: Pin<Box<Option<F>>>,
}

/// Handles a request.
pub(crate) async fn handle(session: Box<Session>, head: Box<Head>) -> Handled {
    let worker = Rc::clone(&session.worker);
    let spare = worker.rooms.spare.borrow_mut().pop();
    let mut room = spare.unwrap_or_else(|| room_for(handle_and_return));
    room.enter(session, head);
    let handled = poll_fn(|cx| room.poll(cx)).await;
    let mut spare = worker.rooms.spare.borrow_mut();
    if spare.len() < SPARE_MAX {
        spare.push(room);
    }
    handled
}

async fn handle_and_return(mut session: Box<Session>, head: Box<Head>) -> Handled {
    let next = handle::handle(&mut session, &head).await;
    (session, head, next)
}

fn room_for<F: Future<Output = Handled> + 'static>(begin: Begin<F>) -> Box<dyn Room> {
    Box::new(RoomFor {
        begin,
        running: Box::pin(None),
    })
}

impl<F: Future<Output = Handled>> Room for RoomFor<F> {
    fn enter(&mut self, session: Box<Session>, head: Box<Head>) {
        self.running.set(Some((self.begin)(session, head)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Handled> {
        let Some(running) = self.running.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let handled = ready!(running.poll(cx));
        self.running.set(None);
        Poll::Ready(handled)
    }
}
