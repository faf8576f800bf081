//! Both ends of an exchange in either version of HTTP, with one view of what they see.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderMap;

use crate::support::client::Client;
use crate::support::http2::{self, H2Client, wait};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::{Authority, Directory};
use crate::support::tls_front::{HTTP1, HTTP2, connect, front};
use crate::support::upstream::{Connection, Upstream};
use crate::support::wire::{Body, Framing};

/// What a client speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Below {
    H1,
    /// With prior knowledge.
    H2,
    /// By ALPN.
    H2Tls,
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Above {
    H1,
    /// It was asked for HTTP/2 and chose otherwise.
    H1Tls,
    H2,
    H2Tls,
}

/// A message as either end sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    /// Method and target, or the status.
    pub(super) start: String,
    /// Only of a request.
    pub(super) host: String,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Fields,
    pub(super) interim: Vec<(u16, Fields)>,
}

/// Names in lower case with their values.
pub(super) type Fields = Vec<(String, String)>;

/// A message to be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) fields: Fields,
    /// `None`: the head is all there is.
    pub(super) body: Option<Vec<u8>>,
    /// The length is told before; else there may be trailers.
    pub(super) with_length: bool,
    pub(super) trailers: Fields,
    pub(super) interim: Vec<(u16, Fields)>,
}

/// haldane between a client and an upstream.
pub(super) struct Pair {
    pub(super) below: Below,
    pub(super) above: Above,
    _proxy: Proxy,
    log: Arc<Mutex<Vec<Seen>>>,
    client: Speaker,
    _upstreams: (Option<Upstream>, Option<H2Upstream>),
    _directory: Directory,
}

enum Speaker {
    H1(Client),
    H2(H2Client),
}

/// Calls `check` for every client with every upstream, which answers by `answer`.
#[track_caller]
pub(super) fn each(answer: fn(&Seen) -> Told, check: impl Fn(&mut Pair)) {
    each_with(|setup| setup, answer, check);
}

/// The same where the configuration is made more of.
#[track_caller]
pub(super) fn each_with(
    configure: fn(Setup) -> Setup,
    answer: fn(&Seen) -> Told,
    check: impl Fn(&mut Pair),
) {
    for below in [Below::H1, Below::H2, Below::H2Tls] {
        for above in [Above::H1, Above::H1Tls, Above::H2, Above::H2Tls] {
            eprintln!("{below:?} to {above:?}");
            check(&mut Pair::start((below, above), answer, configure));
        }
    }
}

pub(super) fn fields(list: &[(&str, &str)]) -> Fields {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    list.iter().map(owned).collect()
}

impl Pair {
    fn start(
        (below, above): (Below, Above),
        answer: fn(&Seen) -> Told,
        configure: fn(Setup) -> Setup,
    ) -> Self {
        let (authority, directory) = (Authority::new(), Directory::new("pair"));
        directory.write_pair("edge", &authority.issue("localhost"));
        std::fs::write(directory.0.join("ca.crt"), authority.pem()).unwrap();
        let log = Arc::<Mutex<Vec<Seen>>>::default();
        let kept = Arc::clone(&log);
        let (mut one, mut other) = (None, None);
        let inner = if matches!(above, Above::H1 | Above::H1Tls) {
            let script = move |connection| serve_h1(connection, &kept, answer);
            one.insert(Upstream::scripted(script)).address
        } else {
            let script = move |call| serve_h2(call, Arc::clone(&kept), answer);
            other.insert(H2Upstream::scripted(script)).address
        };
        let url = match above {
            Above::H1 | Above::H2 => format!("http://{inner}"),
            Above::H1Tls => front(&authority, &[HTTP1], inner),
            Above::H2Tls => front(&authority, &[HTTP2], inner),
        };
        let mut setup = configure(Setup::stable_at(&url));
        if above != Above::H1 {
            setup = setup.upstreams_in_h2();
        }
        if url.starts_with("https:") {
            let believed = format!("{url}\", ca = \"{}\" }}", directory.path("ca.crt"));
            setup = setup.with(&format!("{url}\" }}"), &believed);
        }
        if below == Below::H2Tls {
            let listen = "listen = [{ address = \"127.0.0.1:0\", tls = \"edge\" }]\nadmin";
            setup = setup.with("listen = \"127.0.0.1:0\"\nadmin", listen);
            let pair = (directory.path("edge.crt"), directory.path("edge.key"));
            setup = setup.table(&format!(
                "[tls.edge]\ncert = \"{}\"\nkey = \"{}\"",
                pair.0, pair.1
            ));
        }
        let proxy = setup.start();
        let client = match below {
            Below::H1 => Speaker::H1(proxy.client()),
            Below::H2 => Speaker::H2(H2Client::connect(proxy.address)),
            Below::H2Tls => {
                let stream = connect(&authority, &[HTTP2, HTTP1], proxy.address);
                let (_, tls) = stream.get_ref();
                assert_eq!(tls.alpn_protocol(), Some(HTTP2));
                Speaker::H2(H2Client::over(stream, &h2::client::Builder::new()))
            }
        };
        Self {
            below,
            above,
            _proxy: proxy,
            log,
            client,
            _upstreams: (one, other),
            _directory: directory,
        }
    }

    /// Whether what the upstream gets is HTTP/2.
    pub(super) fn above_is_h2(&self) -> bool {
        matches!(self.above, Above::H2 | Above::H2Tls)
    }

    /// Sends a request and reads the answer, which must be complete.
    #[track_caller]
    pub(super) fn ask(&mut self, method: &str, path: &str, told: &Told) -> Seen {
        match &mut self.client {
            Speaker::H1(client) => ask_h1(client, method, path, told),
            Speaker::H2(client) => ask_h2(client, method, path, told),
        }
    }

    /// What came to the upstream since this was last called: one request.
    #[track_caller]
    pub(super) fn arrived(&self) -> Seen {
        let mut seen = std::mem::take(&mut *self.log.lock().unwrap());
        assert_eq!(seen.len(), 1, "requests at the upstream");
        seen.remove(0)
    }
}

impl Seen {
    /// All values of a field, in their order.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let these = self.fields.iter().filter(|(known, _)| known == name);
        these.map(|(_, value)| value.as_str()).collect()
    }
}

fn of_text(list: &[(String, Vec<u8>)]) -> Fields {
    let lower = |(name, value): &(String, Vec<u8>)| {
        let value = String::from_utf8_lossy(value).into_owned();
        (name.to_ascii_lowercase(), value)
    };
    list.iter().map(lower).collect()
}

fn of_map(map: &HeaderMap) -> Fields {
    let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter()
        .map(|(name, field)| (name.to_string(), value(field)))
        .collect()
}

fn to_map(list: &Fields) -> HeaderMap {
    let parse = |(name, value): &(String, String)| {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, value.parse().unwrap())
    };
    let mut map = HeaderMap::new();
    for (name, value) in list.iter().map(parse) {
        map.append(name, value);
    }
    map
}

fn lines(list: &Fields) -> String {
    let line = |(name, value): &(String, String)| format!("{name}: {value}\r\n");
    list.iter().map(line).collect()
}

/// A message in HTTP/1.1, its first line given.
fn text(start: &str, told: &Told) -> Vec<u8> {
    let mut bytes = format!("{start}\r\n{}", lines(&told.fields)).into_bytes();
    match &told.body {
        None => bytes.extend(b"\r\n"),
        Some(body) if told.with_length => {
            bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(body);
        }
        Some(body) => {
            bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
            for chunk in body.chunks(1000) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(format!("0\r\n{}\r\n", lines(&told.trailers)).bytes());
        }
    }
    bytes
}

fn serve_h1(mut connection: Connection, log: &Mutex<Vec<Seen>>, answer: fn(&Seen) -> Told) {
    while let Some(head) = connection.head() {
        let mut seen = Seen {
            start: format!("{} {}", head.word(0), head.word(1)),
            host: head.one("host").unwrap_or_default(),
            fields: of_text(&head.fields),
            ..Seen::default()
        };
        seen.fields.retain(|(name, _)| name != "host");
        let told = answer(&seen);
        for (status, fields) in &told.interim {
            let early = format!("HTTP/1.1 {status} X\r\n{}\r\n", lines(fields));
            connection.wire.write(early);
        }
        let framing = head.framing().unwrap().unwrap_or(Framing::Length(0));
        let (body, end) = connection.wire.body(framing);
        assert_eq!(end, Ok(()));
        let is_get = head.word(0) != "HEAD";
        (seen.body, seen.trailers) = (body.bytes, of_text(&body.trailers));
        log.lock().unwrap().push(seen);
        let mut bytes = text(&format!("HTTP/1.1 {} X", told.status), &told);
        if !is_get {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            bytes.truncate(end.unwrap() + 4);
        }
        connection.wire.write(bytes);
    }
}

async fn serve_h2(mut call: Call, log: Arc<Mutex<Vec<Seen>>>, answer: fn(&Seen) -> Told) {
    let mut seen = Seen {
        start: format!("{} {}", call.parts.method, call.path()),
        host: call
            .parts
            .uri
            .authority()
            .map_or("", |a| a.as_str())
            .to_owned(),
        fields: of_map(&call.parts.headers),
        ..Seen::default()
    };
    let mut told = answer(&seen);
    for (status, fields) in &told.interim {
        let mut early = http::Response::new(());
        *early.status_mut() = (*status).try_into().unwrap();
        *early.headers_mut() = to_map(fields);
        call.respond.send_informational(early).unwrap();
    }
    let (body, end) = http2::read(&mut call.body).await;
    (seen.body, seen.trailers) = (body, of_map(&end.unwrap()));
    log.lock().unwrap().push(seen);
    if let Some(body) = told.body.as_ref().filter(|_| told.with_length) {
        let length = ("content-length".to_owned(), body.len().to_string());
        told.fields.push(length);
    }
    let body = told.body.take().filter(|_| call.parts.method != "HEAD");
    let mut response = http::Response::new(());
    *response.status_mut() = told.status.try_into().unwrap();
    *response.headers_mut() = to_map(&told.fields);
    let sent = call.respond.send_response(response, body.is_none());
    if let Some(body) = body {
        send_h2(&mut sent.unwrap(), body, &told.trailers).await;
    }
}

async fn send_h2(stream: &mut h2::SendStream<Bytes>, body: Vec<u8>, trailers: &Fields) {
    let end = trailers.is_empty();
    let sent = http2::send(stream, Bytes::from(body), end).await;
    sent.unwrap();
    if !end {
        stream.send_trailers(to_map(trailers)).unwrap();
    }
}

#[track_caller]
fn ask_h1(client: &mut Client, method: &str, path: &str, told: &Told) -> Seen {
    let start = format!("{method} {path} HTTP/1.1\r\nhost: test");
    client.send(text(&start, told));
    let answer = client.answer_to(method);
    assert_eq!(answer.end, Ok(()));
    let Body {
        bytes, trailers, ..
    } = answer.body;
    let interim = answer.interim.iter().map(|head| {
        let status = head.word(1).parse().unwrap();
        (status, of_text(&head.fields))
    });
    Seen {
        start: answer.status.to_string(),
        host: String::new(),
        fields: of_text(&answer.head.fields),
        body: bytes,
        trailers: of_text(&trailers),
        interim: interim.collect(),
    }
}

#[track_caller]
fn ask_h2(client: &H2Client, method: &str, path: &str, told: &Told) -> Seen {
    let mut request = http2::request(method, path, &[]);
    *request.headers_mut() = to_map(&told.fields);
    if let Some(body) = told.body.as_ref().filter(|_| told.with_length) {
        let length = body.len().to_string();
        request
            .headers_mut()
            .append("content-length", length.parse().unwrap());
    }
    let mut exchange = client.open(request, told.body.is_none());
    if let Some(body) = told.body.clone() {
        let sending = send_h2(&mut exchange.upload, body, &told.trailers);
        wait("the body is taken", sending);
    }
    let answer = exchange.answer();
    let trailers = answer.end.expect("the body is complete");
    let interim = answer.interim.iter();
    Seen {
        start: answer.status.to_string(),
        host: String::new(),
        fields: of_map(&answer.fields),
        body: answer.body,
        trailers: of_map(&trailers),
        interim: interim
            .map(|(status, fields)| (*status, of_map(fields)))
            .collect(),
    }
}
