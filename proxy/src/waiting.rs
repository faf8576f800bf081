//! Requests that wait for their response head, oldest first.
//!
//! A version that takes requests and never answers fails none of them for as long as its
//! timeouts last. So what waits is written down, for the worker to see who has waited for
//! too long: entering and leaving touch a few words, and a look costs what it finds.

use std::cell::RefCell;

use crate::clock::Micros;

/// What waits, in the order of its coming.
#[derive(Debug)]
pub(crate) struct Waiting<T>(RefCell<Places<T>>);

/// A place among those who wait. To be given back with [`Waiting::leave`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ticket(usize);

#[derive(Debug)]
struct Places<T> {
    places: Vec<Place<T>>,
    /// Empty places, through `next`.
    free: Option<usize>,
    first: Option<usize>,
    last: Option<usize>,
}

#[derive(Debug)]
struct Place<T> {
    stay: Stay<T>,
    previous: Option<usize>,
    next: Option<usize>,
}

#[derive(Debug)]
enum Stay<T> {
    Empty,
    /// It was found to have waited for too long, and that counts or does not.
    Overdue {
        counts: bool,
    },
    Waits {
        who: T,
        since: Micros,
    },
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(RefCell::new(Places {
            places: Vec::new(),
            free: None,
            first: None,
            last: None,
        }))
    }
}

impl<T> Waiting<T> {
    /// Takes a place. `since` is no earlier than that of those who came before.
    pub(crate) fn enter(&self, who: T, since: Micros) -> Ticket {
        let mut places = self.0.borrow_mut();
        let place = Place {
            stay: Stay::Waits { who, since },
            previous: places.last,
            next: None,
        };
        let index = match places.free {
            Some(index) => {
                places.free = places.places[index].next;
                places.places[index] = place;
                index
            }
            None => {
                places.places.push(place);
                places.places.len() - 1
            }
        };
        match places.last.replace(index) {
            Some(last) => places.places[last].next = Some(index),
            None => places.first = Some(index),
        }
        Ticket(index)
    }

    /// Gives a place back. True if it was called, and that counts.
    pub(crate) fn leave(&self, ticket: Ticket) -> bool {
        let mut places = self.0.borrow_mut();
        let Ticket(index) = ticket;
        let called = match places.places[index].stay {
            Stay::Waits { .. } => {
                places.unlink(index);
                false
            }
            Stay::Overdue { counts } => counts,
            Stay::Empty => return false,
        };
        let next = places.free.replace(index);
        let place = &mut places.places[index];
        place.stay = Stay::Empty;
        place.next = next;
        called
    }

    /// Calls the one who has waited longest, if that is since `before`, and keeps the place
    /// until its ticket is given back. Nobody is called twice.
    pub(crate) fn call(&self, before: Micros) -> Option<(T, Ticket)> {
        let mut places = self.0.borrow_mut();
        let index = places.first?;
        match places.places[index].stay {
            Stay::Waits { since, .. } if since <= before => {}
            Stay::Empty | Stay::Overdue { .. } | Stay::Waits { .. } => return None,
        }
        places.unlink(index);
        let overdue = Stay::Overdue { counts: false };
        match std::mem::replace(&mut places.places[index].stay, overdue) {
            Stay::Waits { who, .. } => Some((who, Ticket(index))),
            Stay::Empty | Stay::Overdue { .. } => None,
        }
    }

    /// That somebody was called counts.
    pub(crate) fn count(&self, ticket: Ticket) {
        self.0.borrow_mut().places[ticket.0].stay = Stay::Overdue { counts: true };
    }

    /// Whether the one in this place was called, and that counts.
    pub(crate) fn is_counted(&self, ticket: Ticket) -> bool {
        let places = self.0.borrow();
        matches!(places.places[ticket.0].stay, Stay::Overdue { counts: true })
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().first.is_none()
    }
}

impl<T> Places<T> {
    fn unlink(&mut self, index: usize) {
        let (previous, next) = (self.places[index].previous, self.places[index].next);
        match previous {
            Some(previous) => self.places[previous].next = next,
            None => self.first = next,
        }
        match next {
            Some(next) => self.places[next].previous = previous,
            None => self.last = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(waiting: &Waiting<u32>, before: Micros) -> Vec<u32> {
        std::iter::from_fn(|| waiting.call(before))
            .map(|(who, _)| who)
            .collect()
    }

    #[test]
    fn who_has_waited_for_too_long_is_called_once_and_in_order() {
        let waiting = Waiting::default();
        let tickets: Vec<Ticket> = (0..10)
            .map(|who| waiting.enter(who, 10 * u64::from(who)))
            .collect();
        assert!(!waiting.leave(tickets[0]));
        assert!(!waiting.leave(tickets[4]));
        assert_eq!(called(&waiting, 50), [1, 2, 3, 5]);
        assert_eq!(called(&waiting, 50), [0; 0]);
        assert!(!waiting.leave(tickets[9]));
        assert_eq!(called(&waiting, 1000), [6, 7, 8]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn places_are_used_again_but_not_before_they_are_given_back() {
        let waiting = Waiting::default();
        let first = waiting.enter(1, 0);
        let (_, ticket) = waiting.call(0).expect("waits");
        assert_eq!(ticket, first);
        assert!(!waiting.is_counted(first));
        waiting.count(ticket);
        assert!(waiting.is_counted(first));
        let second = waiting.enter(2, 1);
        assert_ne!(second, first);
        assert!(waiting.leave(first));
        let third = waiting.enter(3, 2);
        assert_eq!(third, first);
        assert!(!waiting.leave(second));
        assert_eq!(called(&waiting, 5), [3]);
        assert!(!waiting.leave(third));
        for round in 0..1000 {
            assert!(!waiting.leave(waiting.enter(round, 10)));
        }
        assert_eq!(waiting.0.borrow().places.len(), 2);
    }
}
