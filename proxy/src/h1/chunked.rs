//! The chunked coding (RFC 9112 §7.1), read strictly and written.

use super::extension::Extension;
use super::field::Kind;

/// A chunk size has at most this many digits: 2^60 bytes.
const DIGITS_MAX: u8 = 15;

/// Chunk extensions are read and dropped; nobody needs more than this in one chunk, or in
/// all chunks of a body: many small ones are work without a body.
const EXTENSION_BYTES_MAX: u16 = 1024;
const EXTENSIONS_BYTES_MAX: u16 = 16 * 1024;

/// Trailer sections are short by nature: a status and a checksum.
const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// Bytes that are not the chunked coding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ChunkError;

/// Where the reader is.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    state: State,
    /// Bytes that extensions may still have.
    extensions_left: u16,
    /// The trailer section as it comes in, line by line.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// In the digits of a size.
    Size {
        size: u64,
        digits: u8,
    },
    /// In the extensions, up to their CR.
    Extensions {
        size: u64,
        left: u16,
        at: Extension,
    },
    /// After the CR of a size line.
    SizeLineFeed {
        size: u64,
    },
    /// In the data of a chunk.
    Data {
        left: u64,
    },
    /// After the data of a chunk.
    DataCarriageReturn,
    DataLineFeed,
    /// In the trailer section.
    Trailers,
    Done,
}

/// What lies at the start of the input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    /// This many bytes of framing come first.
    pub(crate) framing: usize,
    /// Then this many bytes of data.
    pub(crate) data: usize,
}

impl ChunkReader {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Size { size: 0, digits: 0 },
            extensions_left: EXTENSIONS_BYTES_MAX,
            trailers: Vec::new(),
        }
    }

    /// Whether the last chunk and the trailer section were read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer fields that may be passed on, each with its line end.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Finds the next data in `input`. The caller drops the framing, uses any part
    /// of the data and says how much with [`ChunkReader::used`].
    pub(crate) fn next(&mut self, input: &[u8]) -> Result<Piece, ChunkError> {
        let mut framing = 0;
        while let Some(byte) = input.get(framing) {
            self.state = match self.state {
                State::Data { left } => {
                    let here = input.len() - framing;
                    let data = usize::try_from(left).unwrap_or(usize::MAX).min(here);
                    return Ok(Piece { framing, data });
                }
                State::Done => break,
                State::Trailers => {
                    framing += self.read_trailers(&input[framing..])?;
                    if self.is_done() {
                        break;
                    }
                    continue;
                }
                State::Size { .. } | State::Extensions { .. } | State::SizeLineFeed { .. } => {
                    self.in_size_line(*byte)?
                }
                State::DataCarriageReturn if *byte == b'\r' => State::DataLineFeed,
                State::DataLineFeed if *byte == b'\n' => State::Size { size: 0, digits: 0 },
                State::DataCarriageReturn | State::DataLineFeed => return Err(ChunkError),
            };
            framing += 1;
        }
        Ok(Piece { framing, data: 0 })
    }

    /// The caller has used this many bytes of the data of the last piece.
    pub(crate) fn used(&mut self, bytes: usize) {
        if let State::Data { left } = self.state {
            let left = left.saturating_sub(bytes as u64);
            self.state = if left == 0 {
                State::DataCarriageReturn
            } else {
                State::Data { left }
            };
        }
    }

    fn in_size_line(&mut self, byte: u8) -> Result<State, ChunkError> {
        match (self.state, byte) {
            (State::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == DIGITS_MAX {
                    return Err(ChunkError);
                }
                let digit = char::from(byte).to_digit(16).ok_or(ChunkError)?;
                Ok(State::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                })
            }
            (State::Size { digits: 0, .. }, _) => Err(ChunkError),
            (State::Size { size, .. }, b'\r') => Ok(State::SizeLineFeed { size }),
            (State::Size { size, .. }, _) => Ok(State::Extensions {
                size,
                left: EXTENSION_BYTES_MAX,
                at: Extension::begin(byte).ok_or(ChunkError)?,
            }),
            (State::Extensions { size, at, .. }, b'\r') if at.may_end() => {
                Ok(State::SizeLineFeed { size })
            }
            (State::Extensions { size, left, at }, _) if left > 0 => {
                self.extensions_left = self.extensions_left.checked_sub(1).ok_or(ChunkError)?;
                Ok(State::Extensions {
                    size,
                    left: left - 1,
                    at: at.next(byte).ok_or(ChunkError)?,
                })
            }
            (State::SizeLineFeed { size: 0 }, b'\n') => Ok(State::Trailers),
            (State::SizeLineFeed { size }, b'\n') => Ok(State::Data { left: size }),
            _ => Err(ChunkError),
        }
    }

    /// Collects the trailer section up to its empty line; returns the bytes taken.
    fn read_trailers(&mut self, input: &[u8]) -> Result<usize, ChunkError> {
        for (index, byte) in input.iter().enumerate() {
            if self.trailers.len() == TRAILER_BYTES_MAX {
                return Err(ChunkError);
            }
            self.trailers.push(*byte);
            if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                self.keep_passable_trailers()?;
                self.state = State::Done;
                return Ok(index + 1);
            }
        }
        Ok(input.len())
    }

    fn keep_passable_trailers(&mut self) -> Result<(), ChunkError> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let section = std::mem::take(&mut self.trailers);
        let Ok(httparse::Status::Complete((length, fields))) =
            httparse::parse_headers(&section, &mut fields)
        else {
            return Err(ChunkError);
        };
        // A line feed alone would let the parser end earlier than we did.
        if length != section.len() {
            return Err(ChunkError);
        }
        for field in fields
            .iter()
            .filter(|field| Kind::may_trail(field.name.as_bytes()))
        {
            self.trailers.extend_from_slice(field.name.as_bytes());
            self.trailers.extend_from_slice(b": ");
            self.trailers.extend_from_slice(field.value);
            self.trailers.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

/// Appends the line that opens a chunk of this many bytes.
pub(crate) fn write_size(out: &mut Vec<u8>, bytes: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - bytes.leading_zeros()).div_ceil(4).max(1);
    out.extend(
        (0..digits)
            .rev()
            .map(|digit| DIGITS[bytes >> (4 * digit) & 0xf]),
    );
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk with these trailer lines.
pub(crate) fn write_end(out: &mut Vec<u8>, trailers: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `input` in steps of `step` bytes: the data, the trailers, and what is left over.
    fn read(input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, usize), ChunkError> {
        let (mut reader, mut data, mut at, mut end) = (ChunkReader::new(), Vec::new(), 0, 0);
        while !reader.is_done() {
            let piece = reader.next(&input[at..end])?;
            at += piece.framing;
            data.extend_from_slice(&input[at..at + piece.data]);
            reader.used(piece.data);
            at += piece.data;
            if piece.data == 0 && !reader.is_done() {
                if end == input.len() {
                    return Err(ChunkError);
                }
                end = (end + step).min(input.len());
            }
        }
        Ok((data, reader.trailers().to_vec(), input.len() - at))
    }

    #[test]
    fn any_partition_reads_the_same() {
        let input =
            b"5\r\nhello\r\n00B;a=\"b\"\r\n world, you\r\n0\r\nX-Sum: 1\r\nHost: no\r\n\r\nNEXT";
        for step in 1..input.len() {
            let (data, trailers, left) = read(input, step).expect("well-formed");
            assert_eq!(data, b"hello world, you");
            assert_eq!(trailers, b"X-Sum: 1\r\n");
            assert_eq!(left, 4);
        }
    }

    #[test]
    fn what_is_not_the_coding_is_refused() {
        for input in [
            "\r\n",
            "g\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "5;\n\r\nhello\r\n0\r\n\r\n",
            "5;\0\r\nhello\r\n0\r\n\r\n",
            "5;a\r\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
            "5;\r\nhello\r\n0\r\n\r\n",
            "5;a=\r\nhello\r\n0\r\n\r\n",
            "5;a=\"b\r\nhello\r\n0\r\n\r\n",
            "5;a b\r\nhello\r\n0\r\n\r\n",
            "fffffffffffffffff\r\n",
            "0000000000000005\r\nhello\r\n0\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\na: b\n\r\n\r\n",
            "0\r\n folded: b\r\n\r\n",
        ] {
            assert_eq!(read(input.as_bytes(), 1), Err(ChunkError), "{input:?}");
            assert_eq!(
                read(input.as_bytes(), input.len()),
                Err(ChunkError),
                "{input:?}"
            );
        }
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(2000));
        assert_eq!(read(long.as_bytes(), 64), Err(ChunkError));
        // Little in each chunk, and too much in all.
        let many = format!("1;{}\r\na\r\n", "x".repeat(1000)).repeat(17) + "0\r\n\r\n";
        assert_eq!(read(many.as_bytes(), 64), Err(ChunkError));
        let fewer = format!("1;{}\r\na\r\n", "x".repeat(1000)).repeat(16) + "0\r\n\r\n";
        assert!(read(fewer.as_bytes(), 64).is_ok());
        let long = format!("0\r\na: {}\r\n\r\n", "x".repeat(20_000));
        assert_eq!(read(long.as_bytes(), 64), Err(ChunkError));
    }

    #[test]
    fn sizes_are_written_in_hexadecimal() {
        for size in [1_usize, 9, 15, 16, 255, 256, 4095, 65_536, 1 << 30] {
            let mut out = Vec::new();
            write_size(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").into_bytes());
        }
    }
}
