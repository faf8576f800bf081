//! What is sent and answered: bytes that say who made them, for which request, and where they stand.

use crate::case::Version;

/// Who made a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// Whoever asks.
    Client,
    /// Whoever answers.
    Version(Version),
}

/// A body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    word: u64,
    /// In bytes.
    pub(crate) length: usize,
}

impl Content {
    /// The body that this author makes for the request of this number.
    pub(crate) fn new(author: Author, seed: u64, length: usize) -> Self {
        let salt = match author {
            Author::Client => 1,
            Author::Version(Version::Stable) => 2,
            Author::Version(Version::Canary) => 3,
        };
        // An odd factor makes all bytes depend on the number.
        let word = (seed << 2 | salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { word, length }
    }

    /// The bytes from `at` on, at most `most`.
    pub(crate) fn bytes(&self, at: usize, most: usize) -> Vec<u8> {
        let end = self.length.min(at.saturating_add(most));
        (at..end).map(|index| self.byte(index)).collect()
    }

    /// Whether `bytes` stand at this place of it.
    pub(crate) fn has(&self, at: usize, bytes: &[u8]) -> bool {
        at + bytes.len() <= self.length
            && bytes
                .iter()
                .zip(at..)
                .all(|(byte, index)| *byte == self.byte(index))
    }

    fn byte(&self, index: usize) -> u8 {
        let [low, ..] = (index >> 3).to_le_bytes();
        self.word.to_le_bytes()[index % 8] ^ low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_others_are_told_apart() {
        let of = |author, seed| Content::new(author, seed, 1000);
        let own = of(Author::Version(Version::Stable), 7);
        let bytes = own.bytes(0, 1000);
        assert!(own.has(0, &bytes) && own.has(500, &bytes[500..]));
        for other in [
            of(Author::Version(Version::Canary), 7),
            of(Author::Client, 7),
            of(Author::Version(Version::Stable), 8),
        ] {
            assert!(!other.has(0, &bytes[..8]));
        }
        assert!(!own.has(1, &bytes[..8]) && !own.has(8, &bytes[..8]));
        assert!(!own.has(0, &[bytes, vec![0]].concat()));
    }
}
