//! Room for requests under way, which the connections of a worker lend each other.
//!
//! What a request needs to remember while it waits is the most that a connection ever
//! needs, by far. A connection that waits for its next request has none of it, and
//! nothing is allocated for a request once as many rooms are there as requests at a time.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::handle;
use super::serve::{Next, Session};
use crate::h1::head::Head;

/// How many spare rooms a worker keeps.
const SPARE_MAX: usize = 256;

/// The spare rooms of one worker.
#[derive(Default)]
pub(crate) struct Rooms {
    spare: RefCell<Vec<Room>>,
}

/// What went in comes out again, with what becomes of the connection.
type Handled = (Box<Session>, Box<Head>, Next);

/// Room for one request at a time.
struct Room {
    door: Rc<Door>,
    /// Handles one request after another, and never ends: what is as large as this would
    /// have to be moved to begin anew.
    inside: Pin<Box<dyn Future<Output = ()>>>,
}

/// Through which a request gets into its room, and out of it.
#[derive(Default)]
struct Door {
    in_hand: Cell<Option<(Box<Session>, Box<Head>)>>,
    handled: Cell<Option<Handled>>,
}

/// Handles a request.
pub(crate) async fn handle(session: Box<Session>, head: Box<Head>) -> Handled {
    let worker = Rc::clone(&session.worker);
    let _under_way = worker.lobby.enter();
    let spare = worker.rooms.spare.borrow_mut().pop();
    let mut room = spare.unwrap_or_else(Room::new);
    room.door.in_hand.set(Some((session, head)));
    let handled = poll_fn(|cx| room.poll(cx)).await;
    let mut spare = worker.rooms.spare.borrow_mut();
    if spare.len() < SPARE_MAX {
        spare.push(room);
    }
    handled
}

impl Room {
    fn new() -> Self {
        let door = Rc::new(Door::default());
        Self {
            inside: Box::pin(live_in(Rc::clone(&door))),
            door,
        }
    }

    /// Ready when the request has been handled.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Handled> {
        // It goes on as far as it can, and never ends.
        let _pending = self.inside.as_mut().poll(cx);
        match self.door.handled.take() {
            Some(handled) => Poll::Ready(handled),
            None => Poll::Pending,
        }
    }
}

async fn live_in(door: Rc<Door>) {
    loop {
        let coming = poll_fn(|_| match door.in_hand.take() {
            Some(request) => Poll::Ready(request),
            None => Poll::Pending,
        });
        let (mut session, head) = coming.await;
        let next = handle::handle(&mut session, &head).await;
        door.handled.set(Some((session, head, next)));
    }
}
