//! What is kept of the body of a request that may have to be sent once more.

use std::cell::{Cell, Ref, RefCell};

/// The beginning of a body, as far as it was read; nothing once that was too much.
#[derive(Debug)]
pub(crate) struct Replay {
    bytes: RefCell<Vec<u8>>,
    state: Cell<State>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// It is all that will be needed: what is read after it cannot be had again.
    Closed,
    /// What is read is kept, up to this many bytes in all.
    Keeping { most: usize },
    /// Something was read that is not there.
    Lost,
}

impl Replay {
    /// Keeps up to `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            bytes: RefCell::default(),
            state: Cell::new(State::Keeping { most }),
        }
    }

    /// This was read.
    pub(crate) fn keep(&self, data: &[u8]) {
        match self.state.get() {
            State::Keeping { most } if self.len() + data.len() <= most => {
                self.bytes.borrow_mut().extend_from_slice(data);
            }
            State::Closed | State::Keeping { .. } => self.lose(),
            State::Lost => {}
        }
    }

    /// From now on nothing more is kept.
    pub(crate) fn close(&self) {
        if !self.is_lost() {
            self.state.set(State::Closed);
        }
    }

    /// It is not needed any more, or cannot be had.
    pub(crate) fn lose(&self) {
        self.state.set(State::Lost);
        self.bytes.take();
    }

    /// Whether something was read that is not there.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.get() == State::Lost
    }

    /// How much there is.
    pub(crate) fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// What there is.
    pub(crate) fn bytes(&self) -> Ref<'_, Vec<u8>> {
        self.bytes.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_whole_or_not_at_all() {
        let replay = Replay::new(5);
        replay.keep(b"abc");
        replay.keep(b"de");
        assert_eq!(
            (replay.bytes().as_slice(), replay.is_lost()),
            (&b"abcde"[..], false)
        );
        replay.keep(b"f");
        assert!(replay.is_lost());
        assert_eq!(replay.bytes().capacity(), 0, "and nothing is held");
        replay.keep(b"g");
        assert_eq!(replay.len(), 0);
        replay.close();
        assert!(replay.is_lost());
    }

    #[test]
    fn what_comes_after_the_end_is_lost() {
        let replay = Replay::new(100);
        replay.keep(b"abc");
        replay.close();
        assert_eq!((replay.len(), replay.is_lost()), (3, false));
        replay.keep(b"d");
        assert!(replay.is_lost());
    }
}
