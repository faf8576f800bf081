//! How long a message body is (RFC 9112 §6.3), and where it ends.

use super::chunked::{ChunkError, ChunkReader, Piece};
use super::field::Kind;
use super::head::{Head, Version};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// By the last chunk.
    Chunked,
    /// There is no body.
    Empty,
    /// After this many bytes.
    Length(u64),
    /// By the end of the connection; responses only.
    UntilClose,
}

/// A head whose framing fields are ambiguous or wrong. Never repaired, always refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FramingError {
    /// Content-Length is repeated, or not a number.
    ContentLength,
    /// Both Content-Length and Transfer-Encoding.
    Both,
    /// A transfer coding other than exactly `chunked`, or in HTTP/1.0.
    TransferEncoding,
}

impl Framing {
    /// The framing of a request. In HTTP/2 a body of unknown length is `Chunked`: that
    /// is what it becomes in HTTP/1.1.
    pub(crate) fn of_request(head: &Head) -> Result<Self, FramingError> {
        let told = Self::from_fields(head)?;
        if head.version == Version::Http2 && !head.is_open {
            // An upstream would wait for what was announced, and take the next request for it
            // (RFC 9113 §8.1.1).
            return match told {
                None | Some(Self::Length(0)) => Ok(Self::Empty),
                Some(_) => Err(FramingError::ContentLength),
            };
        }
        let untold = if head.is_open {
            Self::Chunked
        } else {
            Self::Empty
        };
        Ok(told.unwrap_or(untold))
    }

    /// The framing of the response with this head to a request with this method.
    pub(crate) fn of_response(head: &Head, method: &[u8]) -> Result<Self, FramingError> {
        let told = Self::from_fields(head)?;
        if method == b"HEAD" || matches!(head.status, 100..=199 | 204 | 304) {
            return Ok(Self::Empty);
        }
        let untold = match (head.version, head.is_open) {
            (Version::Http2, true) => Self::Chunked,
            (Version::Http2, false) => Self::Length(0),
            (Version::Http10 | Version::Http11, _) => Self::UntilClose,
        };
        Ok(told.unwrap_or(untold))
    }

    fn from_fields(head: &Head) -> Result<Option<Self>, FramingError> {
        let mut codings = head.values(Kind::TransferEncoding);
        let mut lengths = head.values(Kind::ContentLength);
        match (codings.next(), lengths.next()) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(FramingError::Both),
            (Some(coding), None) => {
                let plain = coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
                if plain && head.version == Version::Http11 {
                    Ok(Some(Self::Chunked))
                } else {
                    Err(FramingError::TransferEncoding)
                }
            }
            (None, Some(length)) => match (parse_length(length), lengths.next()) {
                (Some(length), None) => Ok(Some(Self::Length(length))),
                _ => Err(FramingError::ContentLength),
            },
        }
    }
}

/// Digits only: no sign, no space, no list, nothing that overflows.
fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Finds the data of a body in what comes in.
#[derive(Debug)]
pub(crate) enum BodyReader {
    /// Between chunks or in them.
    Chunked(Box<ChunkReader>),
    /// This many bytes are still to come; none means that the body is complete.
    Length(u64),
    /// Until the connection ends.
    UntilClose,
}

impl BodyReader {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self::Chunked(Box::new(ChunkReader::new())),
            Framing::Empty => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Finds the next data in `input`; see [`ChunkReader::next`].
    pub(crate) fn next(&mut self, input: &[u8]) -> Result<Piece, ChunkError> {
        match self {
            Self::Chunked(reader) => reader.next(input),
            Self::Length(left) => {
                let data = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                Ok(Piece { framing: 0, data })
            }
            Self::UntilClose => Ok(Piece {
                framing: 0,
                data: input.len(),
            }),
        }
    }

    /// The caller has used this many bytes of the data.
    pub(crate) fn used(&mut self, bytes: usize) {
        match self {
            Self::Chunked(reader) => reader.used(bytes),
            Self::Length(left) => *left = left.saturating_sub(bytes as u64),
            Self::UntilClose => {}
        }
    }

    /// Whether nothing more belongs to this body.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Chunked(reader) => reader.is_done(),
            Self::Length(left) => *left == 0,
            Self::UntilClose => false,
        }
    }

    /// The connection ended: whether that completes the body.
    pub(crate) fn ends_at_close(&mut self) -> bool {
        if matches!(self, Self::UntilClose) {
            *self = Self::Length(0);
        }
        self.is_done()
    }

    /// The trailer lines that may be passed on, once the body is complete.
    pub(crate) fn trailers(&self) -> &[u8] {
        match self {
            Self::Chunked(reader) => reader.trailers(),
            Self::Length(_) | Self::UntilClose => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::head::HeadLimits;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 4096,
        target: 4096,
        fields: 16,
    };

    fn request(version: &str, fields: &str) -> Result<Framing, FramingError> {
        let mut head = Head::default();
        let text = format!("POST / HTTP/{version}\r\n{fields}\r\n");
        head.parse_request(text.as_bytes(), LIMITS)
            .expect("parses")
            .expect("complete");
        Framing::of_request(&head)
    }

    #[test]
    fn a_request_has_one_length() {
        assert_eq!(request("1.1", ""), Ok(Framing::Empty));
        assert_eq!(
            request("1.1", "Content-Length: 12\r\n"),
            Ok(Framing::Length(12))
        );
        assert_eq!(
            request("1.1", "Transfer-Encoding: Chunked\r\n"),
            Ok(Framing::Chunked)
        );
    }

    #[test]
    fn a_request_that_has_ended_announces_no_body() {
        let ended = |lengths: &[&str]| {
            let mut head = Head::default();
            let mut composer = head.compose(Version::Http2);
            composer.request(b"POST", b"/", b"");
            composer.open(false);
            for length in lengths {
                composer.field(b"content-length", length.as_bytes());
            }
            Framing::of_request(&head)
        };
        assert_eq!(ended(&[]), Ok(Framing::Empty));
        assert_eq!(ended(&["0"]), Ok(Framing::Empty));
        assert_eq!(ended(&["5"]), Err(FramingError::ContentLength));
        assert_eq!(ended(&["0", "0"]), Err(FramingError::ContentLength));
    }

    #[test]
    fn an_ambiguous_request_is_refused() {
        for length in [
            "+1",
            "-1",
            "0x1",
            "1,1",
            "1, 1",
            "1 1",
            "",
            "18446744073709551616",
            "１",
        ] {
            assert_eq!(
                request("1.1", &format!("Content-Length: {length}\r\n")),
                Err(FramingError::ContentLength),
                "{length}"
            );
        }
        assert_eq!(
            request("1.1", "Content-Length: 1\r\nContent-Length: 1\r\n"),
            Err(FramingError::ContentLength)
        );
        for coding in [
            "chunked, chunked",
            "gzip, chunked",
            "identity",
            "xchunked",
            "chunked;q=1",
            "\"chunked\"",
            "",
        ] {
            assert_eq!(
                request("1.1", &format!("Transfer-Encoding: {coding}\r\n")),
                Err(FramingError::TransferEncoding),
                "{coding}"
            );
        }
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(request("1.1", twice), Err(FramingError::TransferEncoding));
        assert_eq!(
            request("1.0", "Transfer-Encoding: chunked\r\n"),
            Err(FramingError::TransferEncoding)
        );
        for both in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: x\r\nContent-Length: 1\r\n",
        ] {
            assert_eq!(request("1.1", both), Err(FramingError::Both));
        }
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_claim() {
        let of = |status: u16, method: &str, fields: &str| {
            let mut head = Head::default();
            let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
            head.parse_response(text.as_bytes(), LIMITS)
                .expect("parses")
                .expect("complete");
            Framing::of_response(&head, method.as_bytes())
        };
        assert_eq!(of(200, "HEAD", "Content-Length: 5\r\n"), Ok(Framing::Empty));
        assert_eq!(of(204, "GET", "Content-Length: 5\r\n"), Ok(Framing::Empty));
        assert_eq!(
            of(304, "GET", "Transfer-Encoding: chunked\r\n"),
            Ok(Framing::Empty)
        );
        assert_eq!(of(103, "GET", ""), Ok(Framing::Empty));
        assert_eq!(
            of(200, "GET", "Content-Length: 5\r\n"),
            Ok(Framing::Length(5))
        );
        assert_eq!(of(200, "GET", ""), Ok(Framing::UntilClose));
        assert_eq!(
            of(
                200,
                "GET",
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
            ),
            Err(FramingError::Both)
        );
    }
}
