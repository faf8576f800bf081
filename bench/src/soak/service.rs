//! The versions behind the proxy: they check what they are sent, and can be broken.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet, spawn_local},
};

use super::{
    book::Book,
    content::{Author, Content},
};
use crate::{case::Version, failure::Failure, message};

/// A version.
pub(crate) struct Service {
    version: Version,
    /// Stays the same over restarts.
    pub(crate) address: SocketAddr,
    shared: Rc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    version: Version,
    /// It answers everything with 500.
    fails: Cell<bool>,
    connections: RefCell<JoinSet<()>>,
    book: Rc<RefCell<Book>>,
}

impl Service {
    /// Starts one on a free port.
    pub(crate) async fn start(version: Version, book: &Rc<RefCell<Book>>) -> Result<Self, Failure> {
        let mut service = Self {
            version,
            address: ([127, 0, 0, 1], 0).into(),
            shared: Rc::new(Shared {
                version,
                fails: Cell::new(false),
                connections: RefCell::default(),
                book: Rc::clone(book),
            }),
            accepting: None,
        };
        service.restart().await?;
        Ok(service)
    }

    /// Listens again.
    pub(crate) async fn restart(&mut self) -> Result<(), Failure> {
        let doing = || Failure::io(format!("listen as {:?}", self.version));
        let listener = TcpListener::bind(self.address).await.map_err(doing())?;
        self.address = listener.local_addr().map_err(doing())?;
        let shared = Rc::clone(&self.shared);
        self.accepting = Some(spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serve(stream, Rc::clone(&shared));
                let mut connections = shared.connections.borrow_mut();
                while connections.try_join_next().is_some() {}
                connections.spawn_local(serving);
            }
        }));
        Ok(())
    }

    /// Ends all connections, in the middle of whatever they are at.
    pub(crate) fn cut(&self) {
        self.shared.connections.borrow_mut().abort_all();
    }

    /// Ends as a killed process does.
    pub(crate) async fn kill(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // Its listener is closed when it has ended.
            drop(accepting.await);
        }
        self.cut();
    }

    /// From now on it answers 500, or what it should.
    pub(crate) fn fail(&self, fails: bool) {
        self.shared.fails.set(fails);
    }
}

/// Serves a connection until it ends.
async fn serve(mut stream: TcpStream, shared: Rc<Shared>) {
    // What is cut is reset, and not ended in order.
    drop(stream.set_zero_linger());
    let mut input = Vec::new();
    loop {
        match request(&mut stream, &mut input, &shared).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

/// Answers one request. False if the connection is over.
async fn request(stream: &mut TcpStream, input: &mut Vec<u8>, shared: &Shared) -> io::Result<bool> {
    let end = loop {
        match message::head_end(input) {
            Some(end) => break end,
            None if stream.read_buf(input).await? == 0 => return Ok(false),
            None => {}
        }
    };
    let head = String::from_utf8_lossy(&input[..end]).into_owned();
    input.drain(..end);
    let Some(asked) = Asked::parse(&head) else {
        let line = head.lines().next().unwrap_or_default();
        let mut book = shared.book.borrow_mut();
        book.violate(format!("{:?} was asked {line:?}", shared.version));
        return Ok(false);
    };
    if asked.what == "ws" {
        return switch(stream, input).await;
    }
    if let Err(what) = take_body(stream, input, &head, &asked).await? {
        let mut book = shared.book.borrow_mut();
        book.violate(format!("a body for {:?}: {what}", shared.version));
        return Ok(false);
    }
    if asked.seed % 5 == 0 {
        tokio::time::sleep(Duration::from_millis(asked.seed % 20)).await;
    }
    answer(stream, shared, &asked).await?;
    Ok(true)
}

/// The request line: `/WHAT/SEED/LENGTH`.
struct Asked<'a> {
    what: &'a str,
    seed: u64,
    length: usize,
    has_body: bool,
}

impl<'a> Asked<'a> {
    fn parse(head: &'a str) -> Option<Self> {
        let mut words = head.lines().next()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let mut parts = target.strip_prefix('/')?.split('/');
        Some(Self {
            what: parts
                .next()
                .filter(|what| matches!(*what, "get" | "put" | "ws"))?,
            seed: parts.next()?.parse().ok()?,
            length: parts.next()?.parse().ok()?,
            has_body: method == "POST",
        })
    }
}

/// Reads the body, which has to be the client's; what is wrong with it, otherwise.
async fn take_body(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    head: &str,
    asked: &Asked<'_>,
) -> io::Result<Result<(), String>> {
    if !asked.has_body {
        return Ok(Ok(()));
    }
    let content = Content::new(Author::Client, asked.seed, asked.length);
    let fields = match message::fields(head.as_bytes()) {
        Ok(fields) => fields,
        Err(error) => return Ok(Err(error.to_owned())),
    };
    let body = if fields.encoded {
        super::exchange::read_chunks(stream, input).await?
    } else {
        let length = fields.content_length.unwrap_or_default();
        while input.len() < length {
            if stream.read_buf(input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        input.drain(..length).collect()
    };
    let is_whole = body.len() == asked.length && content.has(0, &body);
    Ok(is_whole.then_some(()).ok_or_else(|| {
        format!(
            "{} bytes for {} of {}",
            body.len(),
            asked.length,
            asked.seed
        )
    }))
}

async fn answer(stream: &mut TcpStream, shared: &Shared, asked: &Asked<'_>) -> io::Result<()> {
    let name = name_of(shared.version);
    if shared.fails.get() {
        let head = format!("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\nx-by: {name}\r\n\r\n");
        return stream.write_all(head.as_bytes()).await;
    }
    let length = if asked.has_body { 64 } else { asked.length };
    let content = Content::new(Author::Version(shared.version), asked.seed, length);
    let is_chunked = asked.seed % 2 == 1;
    let framing = if is_chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {length}")
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nx-by: {name}\r\nx-seed: {}\r\n{framing}\r\n\r\n",
        asked.seed
    );
    let mut out = head.into_bytes();
    let mut at = 0;
    while at < length {
        let bytes = content.bytes(at, PIECE);
        at += bytes.len();
        if is_chunked {
            out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        }
        out.extend_from_slice(&bytes);
        if is_chunked {
            out.extend_from_slice(b"\r\n");
        }
        stream.write_all(&out).await?;
        out.clear();
    }
    if is_chunked {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    stream.write_all(&out).await
}

/// Answers an upgrade (RFC 6455 §1.3, the key is always that of the example there), and sends
/// back what comes.
async fn switch(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    stream.write_all(ACCEPTED).await?;
    loop {
        if !input.is_empty() {
            stream.write_all(input).await?;
            input.clear();
        }
        if stream.read_buf(input).await? == 0 {
            return Ok(false);
        }
    }
}

/// What a version calls itself.
pub(crate) const fn name_of(version: Version) -> &'static str {
    match version {
        Version::Canary => "canary",
        Version::Stable => "stable",
    }
}

/// Bytes of a body that are written at once.
const PIECE: usize = 16 * 1024;

const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
    connection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
