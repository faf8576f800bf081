//! One exchange in HTTP/1.1, checked byte by byte.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    content::{Author, Content},
    service::name_of,
};
use crate::{case::Version, message};

/// A client's connection.
pub(crate) struct Connection<S> {
    stream: S,
    input: Vec<u8>,
    /// It has served a request before.
    pub(crate) is_used: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Names the request.
    pub(crate) seed: u64,
    /// Who asks.
    pub(crate) user: u64,
    /// Of the answer, or of the body that is sent.
    pub(crate) length: usize,
    /// How a body is sent, if one is.
    pub(crate) body: Option<Framing>,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// In chunks.
    Chunked,
    /// With its length.
    Length,
}

/// A right answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Who gave it.
    pub(crate) version: Version,
    /// Whether the connection may be used again.
    pub(crate) keep_alive: bool,
}

/// Why there is no right answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection broke. `untouched`: before anything of an answer came.
    Broken { untouched: bool, error: io::Error },
    /// It was answered with an error: by haldane, or by a version that is to fail.
    Refused(String),
    /// The answer is not what was asked for.
    Wrong(String),
}

impl Request {
    /// Its head.
    pub(crate) fn head(&self) -> String {
        let Self {
            seed, user, length, ..
        } = self;
        let (method, what, framing) = match self.body {
            None => ("GET", "get", String::new()),
            Some(Framing::Chunked) => ("POST", "put", "transfer-encoding: chunked\r\n".to_owned()),
            Some(Framing::Length) => ("POST", "put", format!("content-length: {length}\r\n")),
        };
        format!(
            "{method} /{what}/{seed}/{length} HTTP/1.1\r\nhost: soak\r\nx-user: {user}\r\n{framing}\r\n"
        )
    }

    /// The body of the right answer of a version.
    pub(crate) fn expected(&self, version: Version) -> Content {
        let length = if self.body.is_some() { 64 } else { self.length };
        Content::new(Author::Version(version), self.seed, length)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self {
            stream,
            input: Vec::new(),
            is_used: false,
        }
    }

    /// What carries it.
    pub(crate) const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Answer, Trouble> {
        self.send(request).await.map_err(|error| Trouble::Broken {
            untouched: self.input.is_empty(),
            error,
        })?;
        self.answer(request).await
    }

    /// Reads the whole answer to a request that was sent.
    pub(crate) async fn answer(&mut self, request: &Request) -> Result<Answer, Trouble> {
        let head = self.read_head().await.map_err(|error| Trouble::Broken {
            untouched: self.input.is_empty(),
            error,
        })?;
        self.is_used = true;
        let fields = message::fields(head.as_bytes());
        let fields = fields.map_err(|error| Trouble::Wrong(error.to_owned()))?;
        let broken = |error| Trouble::Broken {
            untouched: false,
            error,
        };
        let body = if fields.encoded {
            read_chunks(&mut self.stream, &mut self.input).await
        } else {
            self.read_body(fields.content_length.unwrap_or_default())
                .await
        };
        let version = judge(request, &head, &body.map_err(broken)?)?;
        if !self.input.is_empty() {
            return Err(Trouble::Wrong("bytes follow an answer".to_owned()));
        }
        Ok(Answer {
            version,
            keep_alive: !fields.close,
        })
    }

    /// Asks for WebSocket; who has agreed.
    pub(crate) async fn upgrade(&mut self, request: &Request) -> Result<Version, Trouble> {
        let Request { seed, user, .. } = request;
        let head = format!(
            "GET /ws/{seed}/0 HTTP/1.1\r\nhost: soak\r\nx-user: {user}\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let broken = |error| Trouble::Broken {
            untouched: false,
            error,
        };
        self.stream
            .write_all(head.as_bytes())
            .await
            .map_err(broken)?;
        let head = self.read_head().await.map_err(broken)?;
        if !head.starts_with("HTTP/1.1 101 ") {
            let line = head.lines().next().unwrap_or_default();
            return Err(Trouble::Refused(line.to_owned()));
        }
        let told = head
            .lines()
            .filter_map(|line| line.strip_prefix("x-haldane-version: "));
        let told: Vec<&str> = told.collect();
        let version = Version::ALL
            .into_iter()
            .find(|version| told == [name_of(*version)]);
        version.ok_or_else(|| Trouble::Wrong(format!("nobody's: {head:?}")))
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        self.stream.write_all(request.head().as_bytes()).await?;
        let Some(framing) = request.body else {
            return self.stream.flush().await;
        };
        let content = Content::new(Author::Client, request.seed, request.length);
        let mut at = 0;
        while at < request.length {
            let bytes = content.bytes(at, PIECE);
            at += bytes.len();
            let bytes = match framing {
                Framing::Chunked => {
                    let size = format!("{:x}\r\n", bytes.len());
                    [size.as_bytes(), &bytes, b"\r\n"].concat()
                }
                Framing::Length => bytes,
            };
            self.stream.write_all(&bytes).await?;
        }
        if framing == Framing::Chunked {
            self.stream.write_all(b"0\r\n\r\n").await?;
        }
        self.stream.flush().await
    }

    /// The head of a final answer.
    pub(crate) async fn read_head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = message::head_end(&self.input) {
                let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end);
                return Ok(head);
            }
            fill(&mut self.stream, &mut self.input).await?;
        }
    }

    /// So many bytes.
    pub(crate) async fn read_body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.input.len() < length {
            fill(&mut self.stream, &mut self.input).await?;
        }
        Ok(self.input.drain(..length).collect())
    }
}

/// Who has answered, if the answer is right.
fn judge(request: &Request, head: &str, body: &[u8]) -> Result<Version, Trouble> {
    let field = |name: &str| {
        let mut lines = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines.find(|(own, _)| *own == name).map(|(_, value)| value)
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    judge_fields(request, status.unwrap_or_default(), field, body)
}

/// [`judge`] for fields of any form.
pub(crate) fn judge_fields<'a>(
    request: &Request,
    status: u16,
    field: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
) -> Result<Version, Trouble> {
    if status != 200 {
        let code = field("x-haldane-error").unwrap_or("none of haldane");
        return Err(Trouble::Refused(format!("{status} ({code})")));
    }
    let by = field("x-by");
    let version = Version::ALL
        .into_iter()
        .find(|version| Some(name_of(*version)) == by);
    let version = version.ok_or_else(|| Trouble::Wrong(format!("{by:?} has answered")))?;
    let told = field("x-haldane-version");
    if told != by {
        return Err(Trouble::Wrong(format!("{by:?} has answered as {told:?}")));
    }
    let expected = request.expected(version);
    if body.len() != expected.length || !expected.has(0, body) {
        let length = body.len();
        return Err(Trouble::Wrong(format!(
            "{length} bytes of {by:?} for {request:?}"
        )));
    }
    Ok(version)
}

/// The data of a chunked body without extensions and trailers.
pub(crate) async fn read_chunks<S>(stream: &mut S, input: &mut Vec<u8>) -> io::Result<Vec<u8>>
where
    S: AsyncRead + Unpin,
{
    let mut data = Vec::new();
    loop {
        let end = loop {
            match input.windows(2).position(|two| two == b"\r\n") {
                Some(end) => break end,
                None => fill(stream, input).await?,
            }
        };
        let size = std::str::from_utf8(&input[..end]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or(io::ErrorKind::InvalidData)?;
        while input.len() < end + 2 + size + 2 {
            fill(stream, input).await?;
        }
        if !input[end + 2 + size..].starts_with(b"\r\n") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        data.extend_from_slice(&input[end + 2..end + 2 + size]);
        input.drain(..end + 2 + size + 2);
        if size == 0 {
            return Ok(data);
        }
    }
}

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(input).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Bytes of a body that are written at once.
const PIECE: usize = 16 * 1024;
