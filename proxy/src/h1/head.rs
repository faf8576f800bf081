//! A message head: one buffer, and where each part lies in it.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::field::{Kind, Kinds};

/// The most fields that a configuration may allow.
const FIELDS_MAX: usize = 1000;

/// How much of a head is accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub(crate) bytes: usize,
    /// Of these, what a request target may have.
    pub(crate) target: usize,
    pub(crate) fields: usize,
}

/// The version of HTTP that a message is in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Version {
    #[default]
    Http10,
    Http11,
    Http2,
}

/// Why bytes are no message head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HeadError {
    /// A line ends without CR: other parsers may see other lines.
    BareLineFeed,
    /// Not a header field.
    Field,
    /// Not a request or status line.
    StartLine,
    /// More fields than allowed.
    TooManyFields,
    /// More bytes than allowed.
    TooLarge,
    /// A request target is longer than it may be.
    TargetTooLong,
    /// An HTTP version other than 1.0 and 1.1.
    Version,
}

/// A parsed head. Reused from message to message to keep its memory.
#[derive(Debug, Default)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    fields: Vec<Field>,
    /// The kinds of the fields.
    kinds: Kinds,
    /// The method, or the reason phrase of a response.
    first: Span,
    /// The request target.
    target: Span,
    /// The protocol that an extended CONNECT asks for (RFC 8441).
    protocol: Span,
    /// In HTTP/2: something follows the head.
    pub(crate) is_open: bool,
    pub(crate) status: u16,
    pub(crate) version: Version,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    kind: Kind,
    name: Span,
    value: Span,
}

/// One field of a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldRef<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    /// All of it as it was read, if that is `name: value` and the end of a line.
    pub(crate) line: Option<&'a [u8]>,
}

impl Head {
    /// Reads a request head from the start of `input`. `None`: it is not complete yet.
    /// Otherwise the number of bytes that it takes.
    pub(crate) fn parse_request(
        &mut self,
        input: &[u8],
        limits: HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let window = &input[..input.len().min(limits.bytes)];
        let allowed = &mut fields[..limits.fields.min(FIELDS_MAX)];
        match request.parse_with_uninit_headers(window, allowed) {
            Ok(httparse::Status::Complete(_))
                if request.path.is_some_and(|path| path.len() > limits.target) =>
            {
                Err(HeadError::TargetTooLong)
            }
            Ok(httparse::Status::Complete(length)) => {
                let head = &window[..length];
                self.take(head, request.headers)?;
                self.first = span_in(head, request.method.unwrap_or_default().as_bytes());
                self.target = span_in(head, request.path.unwrap_or_default().as_bytes());
                self.version = version(request.version);
                Ok(Some(length))
            }
            Ok(httparse::Status::Partial) if window.len() < limits.bytes => Ok(None),
            Ok(httparse::Status::Partial) if request.version.is_none() => {
                Err(HeadError::TargetTooLong)
            }
            Ok(httparse::Status::Partial) => Err(HeadError::TooLarge),
            Err(error) => Err(HeadError::from(error)),
        }
    }

    /// Reads a response head from the start of `input`, as [`Head::parse_request`] does.
    pub(crate) fn parse_response(
        &mut self,
        input: &[u8],
        limits: HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let window = &input[..input.len().min(limits.bytes)];
        let allowed = &mut fields[..limits.fields.min(FIELDS_MAX)];
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut response, window, allowed) {
            Ok(httparse::Status::Complete(length)) => {
                let head = &window[..length];
                self.take(head, response.headers)?;
                self.first = span_in(head, response.reason.unwrap_or_default().as_bytes());
                self.status = response.code.unwrap_or_default();
                self.version = version(response.version);
                Ok(Some(length))
            }
            Ok(httparse::Status::Partial) if window.len() < limits.bytes => Ok(None),
            Ok(httparse::Status::Partial) => Err(HeadError::TooLarge),
            Err(error) => Err(HeadError::from(error)),
        }
    }

    fn take(&mut self, head: &[u8], fields: &[httparse::Header<'_>]) -> Result<(), HeadError> {
        if has_bare_line_feed(head) {
            return Err(HeadError::BareLineFeed);
        }
        self.clear();
        self.bytes.extend_from_slice(head);
        let (known, kinds) = (&mut self.fields, &mut self.kinds);
        known.extend(fields.iter().map(|field| Field {
            kind: kinds.note(Kind::of(field.name.as_bytes())),
            name: span_in(head, field.name.as_bytes()),
            value: span_in(head, field.value),
        }));
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.kinds = Kinds::default();
        (self.first, self.target) = (Span::default(), Span::default());
        self.protocol = Span::default();
        self.is_open = false;
        self.status = 0;
    }

    /// Begins a head that did not come as text. What it is made of is added next.
    pub(crate) fn compose(&mut self, version: Version) -> Composer<'_> {
        self.clear();
        self.version = version;
        Composer(self)
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &[u8] {
        self.slice(self.first)
    }

    /// The reason phrase of a response.
    pub(crate) fn reason(&self) -> &[u8] {
        self.slice(self.first)
    }

    /// The request target as it was sent.
    pub(crate) fn target(&self) -> &[u8] {
        self.slice(self.target)
    }

    /// The protocol that an extended CONNECT asks for; empty otherwise.
    pub(crate) fn protocol(&self) -> &[u8] {
        self.slice(self.protocol)
    }

    /// How many fields it has.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// All fields in their order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = FieldRef<'_>> {
        self.fields.iter().map(|field| FieldRef {
            kind: field.kind,
            name: self.slice(field.name),
            value: self.slice(field.value),
            line: self.line(*field),
        })
    }

    /// The values of all fields of a kind, in their order.
    pub(crate) fn values(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        let fields = match self.kinds.has(kind) {
            true => &self.fields[..],
            false => &[],
        };
        fields
            .iter()
            .filter(move |field| field.kind == kind)
            .map(|field| self.slice(field.value))
    }

    /// The value of the first field of this name.
    pub(crate) fn value_of(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// The whole line of a field, where it is written as haldane writes it.
    fn line(&self, Field { name, value, .. }: Field) -> Option<&[u8]> {
        let line = self
            .bytes
            .get(name.start as usize..value.end as usize + 2)?;
        let colon = line.get((name.end - name.start) as usize..)?;
        (value.start == name.end + 2 && colon.starts_with(b": ") && line.ends_with(b"\r\n"))
            .then_some(line)
    }

    fn slice(&self, span: Span) -> &[u8] {
        let range: Range<usize> = span.start as usize..span.end as usize;
        self.bytes.get(range).unwrap_or_default()
    }
}

/// A head that is put together part by part.
pub(crate) struct Composer<'a>(&'a mut Head);

impl Composer<'_> {
    pub(crate) fn request(&mut self, method: &[u8], target: &[u8], protocol: &[u8]) {
        self.0.first = self.push(method);
        self.0.target = self.push(target);
        self.0.protocol = self.push(protocol);
    }

    pub(crate) fn status(&mut self, status: u16) {
        self.0.status = status;
    }

    /// Whether something follows the head.
    pub(crate) fn open(&mut self, is_open: bool) {
        self.0.is_open = is_open;
    }

    pub(crate) fn field(&mut self, name: &[u8], value: &[u8]) {
        let field = Field {
            kind: self.0.kinds.note(Kind::of(name)),
            name: self.push(name),
            value: self.push(value),
        };
        self.0.fields.push(field);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a head is at most a megabyte"
    )]
    fn push(&mut self, part: &[u8]) -> Span {
        let start = self.0.bytes.len() as u32;
        self.0.bytes.extend_from_slice(part);
        Span {
            start,
            end: self.0.bytes.len() as u32,
        }
    }
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::HeaderName | httparse::Error::HeaderValue => Self::Field,
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            httparse::Error::Version => Self::Version,
            httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => {
                Self::StartLine
            }
        }
    }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(1) {
        Version::Http11
    } else {
        Version::Http10
    }
}

/// Where `part`, which the parser borrowed from `whole`, lies in it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a head is at most a megabyte"
)]
fn span_in(whole: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    if part.is_empty() || start > whole.len() {
        return Span::default();
    }
    Span {
        start: start as u32,
        end: (start + part.len()) as u32,
    }
}

/// The parser takes a line feed alone as the end of a line; RFC 9112 §2.2 allows
/// that, and it is how two parsers come to disagree about one message.
fn has_bare_line_feed(head: &[u8]) -> bool {
    let pairs = head.iter().zip(head.get(1..).unwrap_or_default());
    // To the end, without a branch: many bytes are looked at in one step.
    let within = pairs.fold(false, |found, (before, byte)| {
        found | ((*byte == b'\n') & (*before != b'\r'))
    });
    within || head.first() == Some(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 256,
        target: 200,
        fields: 4,
    };

    fn request(text: &str) -> Result<Option<usize>, HeadError> {
        Head::default().parse_request(text.as_bytes(), LIMITS)
    }

    #[test]
    fn a_request_keeps_its_parts() {
        let text = "GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Odd:  a b \r\n\r\nrest";
        let mut head = Head::default();
        assert_eq!(
            head.parse_request(text.as_bytes(), LIMITS),
            Ok(Some(text.len() - 4))
        );
        assert_eq!(
            (head.method(), head.target()),
            (&b"GET"[..], &b"/a?b=c"[..])
        );
        assert_eq!(head.version, Version::Http11);
        assert_eq!(head.value_of(b"x-odd"), Some(&b"a b"[..]));
        assert_eq!(head.values(Kind::Host).collect::<Vec<_>>(), [b"x"]);
    }

    #[test]
    fn what_is_not_a_head_is_refused() {
        for (text, error) in [
            ("GET / HTTP/1.1\nHost: x\r\n\r\n", HeadError::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n", HeadError::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: x\r\n\n", HeadError::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", HeadError::Field),
            (
                "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
                HeadError::Field,
            ),
            ("GET / HTTP/1.1\r\n: x\r\n\r\n", HeadError::Field),
            ("GET / HTTP/1.1\r\na: \0\r\n\r\n", HeadError::Field),
            ("GET / HTTP/2.0\r\n\r\n", HeadError::Version),
            ("GET  / HTTP/1.1\r\n\r\n", HeadError::StartLine),
            ("G@T / HTTP/1.1\r\n\r\n", HeadError::StartLine),
            (
                "GET / HTTP/1.1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\n\r\n",
                HeadError::TooManyFields,
            ),
        ] {
            assert_eq!(request(text), Err(error), "{text:?}");
        }
        assert_eq!(
            request(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(300))),
            Err(HeadError::TargetTooLong)
        );
        let longer = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200));
        assert_eq!(request(&longer), Err(HeadError::TargetTooLong));
        assert!(request(&longer.replacen("xx", "x", 1)).is_ok());
        assert_eq!(
            request(&format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(300))),
            Err(HeadError::TooLarge)
        );
    }

    #[test]
    fn half_a_head_is_waited_for() {
        let text = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(request(&text[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn a_response_keeps_its_parts() {
        let mut head = Head::default();
        let text = b"HTTP/1.0 503 Out of tea\r\nServer: x\r\n\r\n";
        assert_eq!(head.parse_response(text, LIMITS), Ok(Some(text.len())));
        assert_eq!(
            (head.status, head.reason(), head.version),
            (503, &b"Out of tea"[..], Version::Http10)
        );
    }
}
