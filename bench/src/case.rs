//! What is requested and what has to come back.

use clap::ValueEnum;

use crate::{grpc, h2::hpack, websocket};

/// The kinds of load, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Answers of 128 B on keep-alive connections.
    Get,
    /// Answers of 16 KiB on keep-alive connections.
    Get16k,
    /// Requests of 16 KiB, answers of 128 B, on keep-alive connections.
    Post16k,
    /// Answers of 1 MiB on keep-alive connections.
    Get1m,
    /// Answers of 128 B, a new connection for each.
    Close,
    /// Answers of 128 B over TLS, on keep-alive connections.
    Tls,
    /// Answers of 128 B over TLS and HTTP/2.
    TlsH2,
    /// Answers of 128 B over TLS, a new connection with a full handshake for each.
    TlsClose,
    /// Answers of 128 B over HTTP/2 without TLS; HTTP/1.1 to the upstreams.
    H2c,
    /// Unary calls of 128 B, answered by 128 B, over HTTP/2 on both sides.
    Grpc,
    /// Messages of 128 B on WebSockets, each answered by one of 128 B.
    Ws,
}

/// How clients speak to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge where there is no TLS.
    Http2,
    /// Messages on a connection that was upgraded from HTTP/1.1.
    WebSocket,
}

/// Which upstream answered; the first byte of every answer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Has 95 % of the users.
    Stable,
    /// Has 5 % of the users.
    Canary,
}

/// One load: its requests, and the answer that each of them must get.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Its name on the command line.
    pub(crate) kind: Kind,
    /// The request heads, one for each user: of HTTP/1.1, or blocks of HPACK that use what
    /// `firsts` have left in the table.
    pub(crate) heads: Vec<Vec<u8>>,
    /// For HTTP/2: the heads of the first request on a connection.
    pub(crate) firsts: Vec<Vec<u8>>,
    /// The body that follows each of them, or the message on a WebSocket; may be empty.
    pub(crate) body: Vec<u8>,
    /// The request line of HTTP/1.1, which has to reach the upstream unchanged.
    pub(crate) request_line: Vec<u8>,
    /// The length of each answer's body.
    pub(crate) answer_len: usize,
    /// How many requests are under way on one connection.
    pub(crate) streams: usize,
}

impl Kind {
    /// What it is called on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Get16k => "get16k",
            Self::Post16k => "post16k",
            Self::Get1m => "get1m",
            Self::Close => "close",
            Self::Tls => "tls",
            Self::TlsH2 => "tls-h2",
            Self::TlsClose => "tls-close",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Ws => "ws",
        }
    }

    /// One line for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Get => "GET, 128 B",
            Self::Get16k => "GET, 16 KiB",
            Self::Post16k => "POST, 16 KiB",
            Self::Get1m => "GET, 1 MiB",
            Self::Close => "GET, 128 B, a connection per request",
            Self::Tls => "GET, 128 B, TLS",
            Self::TlsH2 => "GET, 128 B, HTTP/2 over TLS",
            Self::TlsClose => "GET, 128 B, a TLS handshake per request",
            Self::H2c => "GET, 128 B, HTTP/2 to HTTP/1.1",
            Self::Grpc => "gRPC, unary, 128 B",
            Self::Ws => "WebSocket, a message of 128 B there and back",
        }
    }

    /// How clients speak.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::TlsH2 | Self::H2c | Self::Grpc => Protocol::Http2,
            Self::Ws => Protocol::WebSocket,
            Self::Get
            | Self::Get16k
            | Self::Post16k
            | Self::Get1m
            | Self::Close
            | Self::Tls
            | Self::TlsClose => Protocol::Http1,
        }
    }

    /// Whether clients speak TLS.
    pub(crate) fn tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsH2 | Self::TlsClose)
    }

    /// Whether each request has a connection of its own.
    pub(crate) fn closes(self) -> bool {
        matches!(self, Self::Close | Self::TlsClose)
    }

    fn streams(self) -> usize {
        match self.protocol() {
            Protocol::Http2 => STREAMS,
            Protocol::Http1 | Protocol::WebSocket => 1,
        }
    }
}

impl Version {
    /// Both, in the order of [`Version::index`].
    pub(crate) const ALL: [Self; 2] = [Self::Stable, Self::Canary];

    /// Its place in arrays of two.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stable => 0,
            Self::Canary => 1,
        }
    }

    /// What its answers begin with.
    pub(crate) fn mark(self) -> u8 {
        match self {
            Self::Stable => b'S',
            Self::Canary => b'C',
        }
    }

    /// The version whose answers begin with this byte.
    pub(crate) fn of_mark(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.mark() == byte)
    }
}

impl Case {
    /// Prepares all requests of a kind of load, so that the run itself formats nothing.
    pub(crate) fn new(kind: Kind) -> Self {
        Self::on_path(kind, &path(kind))
    }

    /// The same on another path.
    pub(crate) fn on_path(kind: Kind, path: &str) -> Self {
        let (method, body_len, answer_len) = match kind {
            Kind::Get16k => ("GET", 0, 16 << 10),
            Kind::Post16k => ("POST", 16 << 10, 128),
            Kind::Get1m => ("GET", 0, 1 << 20),
            Kind::Grpc => ("POST", 128, 128),
            Kind::Ws => ("GET", 128, 128),
            Kind::Get | Kind::Close | Kind::Tls | Kind::TlsH2 | Kind::TlsClose | Kind::H2c => {
                ("GET", 0, 128)
            }
        };
        let request_line = format!("{method} {path} HTTP/1.1\r\n");
        let users = (0..USERS).map(|user| format!("{:016x}", user_key(user)));
        let (mut heads, mut firsts) = (Vec::new(), Vec::new());
        for user in users {
            if kind.protocol() == Protocol::Http2 {
                let (first, later) = blocks(kind, path, &user);
                firsts.push(first);
                heads.push(later);
            } else {
                heads.push(head(kind, &request_line, &user, body_len));
            }
        }
        let body = framed(REQUEST_MARK, body_len);
        let body = match kind {
            Kind::Grpc => grpc::message(&body),
            Kind::Ws => websocket::masked(&body),
            _ => body,
        };
        Self {
            kind,
            heads,
            firsts,
            body,
            request_line: request_line.into_bytes(),
            answer_len,
            streams: kind.streams(),
        }
    }

    /// The same with so many requests under way on one connection, which must be of HTTP/2.
    pub(crate) fn with_streams(self, streams: usize) -> Self {
        Self { streams, ..self }
    }

    /// The whole answer of one version: of HTTP/1.1, or what follows its head elsewhere.
    pub(crate) fn answer(&self, version: Version) -> Vec<u8> {
        let len = self.answer_len;
        let body = framed(version.mark(), len);
        match self.kind {
            Kind::Grpc => return grpc::message(&body),
            Kind::Ws => return websocket::unmasked(&body),
            _ => {}
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {len}\r\n\r\n"
        );
        let mut answer = head.into_bytes();
        answer.extend_from_slice(&body);
        answer
    }
}

/// The path of a kind of load.
fn path(kind: Kind) -> String {
    match kind {
        Kind::Grpc => format!("{GRPC_SERVICE}Echo"),
        _ => format!("/{}", kind.name()),
    }
}

fn head(kind: Kind, request_line: &str, user: &str, body_len: usize) -> Vec<u8> {
    let more = match (kind, body_len) {
        (Kind::Ws, _) => websocket::ASKED.to_owned(),
        (Kind::Close | Kind::TlsClose, _) => "connection: close\r\n".to_owned(),
        (_, 0) => String::new(),
        (_, len) => format!("content-length: {len}\r\n"),
    };
    format!("{request_line}host: bench\r\nx-user: {user}\r\n{more}\r\n").into_bytes()
}

/// The block of the first request on a connection, and that of all others. As real clients do,
/// what stays the same is put into the table once, so that it costs one byte later on.
fn blocks(kind: Kind, path: &str, user: &str) -> (Vec<u8>, Vec<u8>) {
    let method = if kind == Kind::Grpc { 0x83 } else { 0x82 };
    let scheme = if kind.tls() { 0x87 } else { 0x86 };
    let fields: &[(&str, &str)] = match kind {
        Kind::Grpc => &[
            (":path", path),
            (":authority", "bench"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ],
        _ => &[(":path", path), (":authority", "bench")],
    };
    let (mut first, mut later) = (vec![method, scheme], vec![method, scheme]);
    for (at, (name, value)) in fields.iter().enumerate() {
        hpack::kept(name.as_bytes(), value.as_bytes(), &mut first);
        // The newest entry has the lowest index; the last one is that of the user.
        later.push(0x80 | (hpack::DYNAMIC + (fields.len() - at) as u8));
    }
    hpack::kept(b"x-user", user.as_bytes(), &mut first);
    hpack::named(hpack::DYNAMIC, user.as_bytes(), &mut later);
    (first, later)
}

/// A body of `len` bytes whose ends can be recognised.
fn framed(mark: u8, len: usize) -> Vec<u8> {
    let mut body = vec![b'.'; len];
    if let Some(last) = body.last_mut() {
        *last = END_MARK;
    }
    if let Some(first) = body.first_mut() {
        *first = mark;
    }
    body
}

/// Keys that look like real ones: SplitMix64 (Steele, Lea and Flood 2014) of the user's number.
fn user_key(user: usize) -> u64 {
    let mut bits = (user as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// How many users take turns: 5 % of them are 26, enough to see a wrong share.
pub(crate) const USERS: usize = 512;

/// Requests under way on one HTTP/2 connection.
const STREAMS: usize = 4;

/// What the paths of calls begin with.
pub(crate) const GRPC_SERVICE: &str = "/bench.Echo/";

/// What every request body begins with.
pub(crate) const REQUEST_MARK: u8 = b'R';

/// What every body ends with.
pub(crate) const END_MARK: u8 = b'E';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    #[test]
    fn answers_and_requests_are_framed_as_they_say() {
        let http1 = |kind: &&Kind| kind.protocol() == Protocol::Http1;
        for kind in Kind::value_variants().iter().filter(http1) {
            let case = Case::new(*kind);
            for version in Version::ALL {
                let answer = case.answer(version);
                let end = message::head_end(&answer).unwrap();
                let body = &answer[end..];
                assert_eq!(
                    message::fields(&answer[..end]).unwrap().content_length,
                    Some(body.len())
                );
                assert_eq!(Version::of_mark(body[0]), Some(version));
                assert_eq!(body.last(), Some(&END_MARK));
            }
            let head = &case.heads[0];
            let fields = message::fields(head).unwrap();
            assert_eq!(message::head_end(head), Some(head.len()));
            assert_eq!(fields.content_length.unwrap_or(0), case.body.len());
            assert_eq!(fields.close, kind.closes());
        }
    }

    #[test]
    fn later_blocks_say_the_same_as_first_ones() {
        let http2 = |kind: &&Kind| kind.protocol() == Protocol::Http2;
        for kind in Kind::value_variants().iter().filter(http2) {
            let case = Case::new(*kind);
            let mut decoder = hpack::Decoder::new();
            let mut fields = |block: &[u8]| {
                let mut fields = Vec::new();
                decoder
                    .decode(block, |name, value| {
                        fields.push((name.to_vec(), value.to_vec()));
                    })
                    .unwrap();
                fields
            };
            let first = fields(&case.firsts[7]);
            assert!(first.contains(&(b":authority".to_vec(), b"bench".to_vec())));
            assert_eq!(fields(&case.heads[7]), first);
            assert_ne!(fields(&case.heads[8]), first);
        }
    }

    #[test]
    fn users_have_different_keys() {
        let mut keys: Vec<u64> = (0..USERS).map(user_key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), USERS);
    }
}
