//! HTTP/1.1 on a socket, read strictly: what is not exactly as it should be is seen.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::eventually::PATIENCE;

/// A socket, and what was read from it and not used yet.
pub(crate) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
}

/// A message head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// The first line.
    pub(crate) start: String,
    /// Names as they were written, and values without the whitespace around them.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// All bytes, with the empty line.
    pub(crate) raw: Vec<u8>,
}

/// What followed a head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    /// The data of each chunk, if it came in chunks.
    pub(crate) chunks: Vec<usize>,
}

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
}

/// Why a message did not come, or not to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Broken {
    /// The connection was closed before the first byte.
    Closed,
    /// The connection was closed within the message.
    Cut,
    /// What came is not HTTP/1.1.
    Malformed(String),
    /// The connection was reset.
    Reset,
    /// Nothing came for too long.
    Silent,
}

impl Wire {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connects");
        Self::new(stream)
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("sets TCP_NODELAY");
        let wire = Self {
            stream,
            input: Vec::new(),
        };
        wire.patience(PATIENCE);
        wire
    }

    /// How long a read or a write may take.
    pub(crate) fn patience(&self, patience: Duration) {
        self.stream
            .set_read_timeout(Some(patience))
            .and_then(|()| self.stream.set_write_timeout(Some(patience)))
            .expect("sets a timeout");
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes all of it; false if the other end does not take it.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&self) {
        // The other end may be gone already, which is as good.
        self.stream.shutdown(Shutdown::Write).ok();
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("sets SO_LINGER");
    }

    /// Reads once more. False at the end of the stream.
    fn fill(&mut self) -> Result<bool, Broken> {
        let mut buffer = [0; 16 * 1024];
        loop {
            return match self.stream.read(&mut buffer) {
                Ok(0) => Ok(false),
                Ok(read) => {
                    self.input.extend_from_slice(&buffer[..read]);
                    Ok(true)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(Broken::from(&error)),
            };
        }
    }

    /// Reads until `enough` says how many bytes to take.
    fn take_when(&mut self, enough: impl Fn(&[u8]) -> Option<usize>) -> Result<Vec<u8>, Broken> {
        loop {
            if let Some(length) = enough(&self.input) {
                return Ok(self.input.drain(..length).collect());
            }
            if !self.fill()? {
                return Err(if self.input.is_empty() {
                    Broken::Closed
                } else {
                    Broken::Cut
                });
            }
        }
    }

    /// Reads exactly this many bytes.
    pub(crate) fn read(&mut self, bytes: usize) -> Result<Vec<u8>, Broken> {
        self.take_when(|input| (input.len() >= bytes).then_some(bytes))
    }

    /// Reads a line, without its end.
    pub(crate) fn line(&mut self) -> Result<String, Broken> {
        let line = self.take_when(|input| find(input, b"\r\n").map(|at| at + 2))?;
        text(&line[..line.len() - 2])
    }

    /// Reads a head.
    pub(crate) fn head(&mut self) -> Result<Head, Broken> {
        let raw = self.take_when(|input| find(input, b"\r\n\r\n").map(|at| at + 4))?;
        Head::parse(raw)
    }

    /// Reads a body; with what came of it, and how it ended.
    pub(crate) fn body(&mut self, framing: Framing) -> (Body, Result<(), Broken>) {
        let mut body = Body::default();
        let result = match framing {
            Framing::Chunked => self.chunks(&mut body),
            Framing::Length(length) => self.length(&mut body, length),
            Framing::UntilClose => self.rest(&mut body),
        };
        (body, result.map_err(Broken::within))
    }

    fn length(&mut self, body: &mut Body, length: usize) -> Result<(), Broken> {
        while body.bytes.len() < length {
            if self.input.is_empty() && !self.fill()? {
                return Err(Broken::Cut);
            }
            let taken = self.input.len().min(length - body.bytes.len());
            body.bytes.extend(self.input.drain(..taken));
        }
        Ok(())
    }

    fn rest(&mut self, body: &mut Body) -> Result<(), Broken> {
        loop {
            body.bytes.append(&mut self.input);
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    fn chunks(&mut self, body: &mut Body) -> Result<(), Broken> {
        while let Some(data) = self.chunk()? {
            body.chunks.push(data.len());
            body.bytes.extend_from_slice(&data);
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            body.trailers.push(field(line.as_bytes())?);
        }
    }

    /// Reads one chunk; `None` is the last, whose trailers come next.
    pub(crate) fn chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16)
            .map_err(|_| Broken::Malformed(format!("chunk size {line:?}")))?;
        if size == 0 {
            return Ok(None);
        }
        let mut data = self.read(size + 2)?;
        if !data.ends_with(b"\r\n") {
            return Err(Broken::Malformed("chunk without its end".to_owned()));
        }
        data.truncate(size);
        Ok(Some(data))
    }

    /// Whether a byte has come that was not read yet, within this time.
    pub(crate) fn has_more(&mut self, within: Duration) -> bool {
        if self.input.is_empty() {
            self.patience(within);
            let more = self.fill();
            self.patience(PATIENCE);
            return more == Ok(true);
        }
        true
    }

    /// Reads to the end of the connection: how it ended. What comes is thrown away.
    pub(crate) fn end(&mut self) -> Broken {
        loop {
            self.input.clear();
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Broken::Closed,
                Err(broken) => return broken,
            }
        }
    }
}

impl Head {
    fn parse(raw: Vec<u8>) -> Result<Self, Broken> {
        let mut lines = raw[..raw.len() - 4]
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = text(lines.next().unwrap_or_default())?;
        let fields = lines.map(field).collect::<Result<_, _>>()?;
        Ok(Self { start, fields, raw })
    }

    /// All values of a field, in their order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The value of a field that must not be there more than once.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times", all.len());
        all.pop()
    }

    /// The words of the first line.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    /// How the length of a body after this head is told, if it is told.
    pub(crate) fn framing(&self) -> Result<Option<Framing>, Broken> {
        let wrong = |what: String| Err(Broken::Malformed(what));
        match (
            &self.all("transfer-encoding")[..],
            &self.all("content-length")[..],
        ) {
            ([], []) => Ok(None),
            ([coding], []) if coding == "chunked" => Ok(Some(Framing::Chunked)),
            ([], [length]) => match length.parse() {
                Ok(length) => Ok(Some(Framing::Length(length))),
                Err(_) => wrong(format!("content-length {length:?}")),
            },
            (codings, lengths) => wrong(format!("framing {codings:?} {lengths:?}")),
        }
    }
}

impl Broken {
    fn within(self) -> Self {
        match self {
            Self::Closed => Self::Cut,
            other => other,
        }
    }
}

impl From<&io::Error> for Broken {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Reset,
        }
    }
}

fn find(input: &[u8], what: &[u8]) -> Option<usize> {
    input.windows(what.len()).position(|window| window == what)
}

fn text(bytes: &[u8]) -> Result<String, Broken> {
    String::from_utf8(bytes.to_vec())
        .ok()
        .filter(|text| !text.contains(['\r', '\n']))
        .ok_or_else(|| Broken::Malformed(String::from_utf8_lossy(bytes).into_owned()))
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), Broken> {
    let wrong = || Broken::Malformed(format!("field {:?}", String::from_utf8_lossy(line)));
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or_else(wrong)?;
    let name = text(&line[..colon])?;
    let value = &line[colon + 1..];
    if name.is_empty() || name.contains([' ', '\t']) || value.contains(&b'\r') {
        return Err(wrong());
    }
    Ok((name, value.trim_ascii().to_vec()))
}
