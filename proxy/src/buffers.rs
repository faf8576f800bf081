//! Buffers that the busy connections of a worker lend each other.
//!
//! A connection that waits for its client holds no buffer, so ten thousand idle
//! connections cost their sockets and tasks only.

use std::cell::RefCell;

/// A head and 16 KiB of body fit, so that they take one read; bigger bodies change to [`LARGE`].
pub(crate) const SMALL: usize = 32 * 1024;

/// One read of a large body. Bigger ones were not faster and fall out of the cache.
pub(crate) const LARGE: usize = 128 * 1024;

/// How many spare buffers of each size a worker keeps.
const SPARE_SMALL_MAX: usize = 256;
const SPARE_LARGE_MAX: usize = 32;

/// The spare buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
    output: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// A buffer of [`SMALL`] bytes to read into.
    pub(crate) fn take_small(&self) -> Vec<u8> {
        self.small
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| vec![0; SMALL])
    }

    /// A buffer of [`LARGE`] bytes to read into.
    pub(crate) fn take_large(&self) -> Vec<u8> {
        self.large
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| vec![0; LARGE])
    }

    /// Takes back a buffer to read into.
    pub(crate) fn give(&self, buffer: Vec<u8>) {
        let (spares, most) = match buffer.len() {
            SMALL => (&self.small, SPARE_SMALL_MAX),
            LARGE => (&self.large, SPARE_LARGE_MAX),
            _ => return,
        };
        let mut spares = spares.borrow_mut();
        if spares.len() < most {
            spares.push(buffer);
        }
    }

    /// An empty buffer to write into.
    pub(crate) fn take_output(&self) -> Vec<u8> {
        self.output
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(SMALL))
    }

    /// Takes back a buffer to write into, unless a rare large message has grown it.
    pub(crate) fn give_output(&self, mut buffer: Vec<u8>) {
        let mut spares = self.output.borrow_mut();
        if buffer.capacity() >= SMALL
            && buffer.capacity() <= LARGE
            && spares.len() < SPARE_SMALL_MAX
        {
            buffer.clear();
            spares.push(buffer);
        }
    }
}
