//! Clients that speak HTTP/2, and what drives all HTTP/2 of the tests.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

use super::eventually::PATIENCE;

/// What drives all connections of this file: a thread of its own.
pub(crate) fn driver() -> &'static Handle {
    static DRIVER: OnceLock<Handle> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("starts a runtime");
            tell.send(runtime.handle().clone()).expect("is waited for");
            runtime.block_on(std::future::pending::<()>());
        });
        told.recv().expect("the thread runs")
    })
}

/// Waits for what must come.
///
/// # Panics
///
/// If it does not within [`PATIENCE`].
#[track_caller]
pub(crate) fn wait<T>(what: &str, future: impl Future<Output = T>) -> T {
    let timed = async { tokio::time::timeout(PATIENCE, future).await };
    match driver().block_on(timed) {
        Ok(value) => value,
        Err(_) => panic!("never happened: {what}"),
    }
}

/// A connection of a client.
#[derive(Clone)]
pub(crate) struct H2Client {
    sender: SendRequest<Bytes>,
    /// How the connection ended.
    ended: Arc<Mutex<Option<Result<(), h2::Error>>>>,
    task: Arc<JoinHandle<()>>,
}

/// A request that was sent, or its head.
pub(crate) struct Exchange {
    pub(crate) response: ResponseFuture,
    pub(crate) upload: SendStream<Bytes>,
}

/// An answer whose body was not read.
pub(crate) struct Begun {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    /// Status and fields of what came before.
    pub(crate) interim: Vec<(u16, HeaderMap)>,
    pub(crate) body: RecvStream,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) interim: Vec<(u16, HeaderMap)>,
    pub(crate) body: Vec<u8>,
    /// The trailers, or why the body has no end.
    pub(crate) end: Result<HeaderMap, h2::Error>,
}

impl H2Client {
    /// Connects with prior knowledge.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_as(address, &h2::client::Builder::new())
    }

    /// Connects with prior knowledge and these settings.
    #[track_caller]
    pub(crate) fn connect_as(address: SocketAddr, builder: &h2::client::Builder) -> Self {
        let socket = wait("a connection", TcpStream::connect(address)).expect("connects");
        socket.set_nodelay(true).expect("sets TCP_NODELAY");
        Self::over(socket, builder)
    }

    /// Speaks over what is connected already.
    #[track_caller]
    pub(crate) fn over<T>(transport: T, builder: &h2::client::Builder) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let greeted = wait("a greeting", builder.handshake(transport));
        let (sender, connection) = greeted.expect("speaks HTTP/2");
        let ended = Arc::<Mutex<_>>::default();
        let end = Arc::clone(&ended);
        let task = driver().spawn(async move {
            let result = connection.await;
            *end.lock().unwrap() = Some(result);
        });
        Self {
            sender,
            ended,
            task: Arc::new(task),
        }
    }

    /// Sends a head, when there is room for another stream; `finished` if it is all.
    #[track_caller]
    pub(crate) fn open(&self, request: Request<()>, finished: bool) -> Exchange {
        let ready = wait("room for a stream", self.sender.clone().ready());
        let mut sender = ready.expect("the connection is open");
        let sent = sender.send_request(request, finished);
        let (response, upload) = sent.expect("is sent");
        Exchange { response, upload }
    }

    /// Sends a request, with a body unless it is empty, and reads the answer.
    #[track_caller]
    pub(crate) fn ask(&self, request: Request<()>, body: &[u8]) -> Answer {
        let mut exchange = self.open(request, body.is_empty());
        if !body.is_empty() {
            let body = Bytes::copy_from_slice(body);
            // Who has answered already need not take the body any more.
            drop(wait(
                "the body is taken",
                send(&mut exchange.upload, body, true),
            ));
        }
        exchange.answer()
    }

    /// Sends a GET and reads the answer, which must be complete.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.ask(request("GET", path, fields), b"");
        assert!(answer.end.is_ok(), "{answer:?}");
        answer
    }

    /// How the connection has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Result<(), String>> {
        let ended = self.ended.lock().unwrap();
        ended
            .as_ref()
            .map(|end| end.as_ref().copied().map_err(ToString::to_string))
    }

    /// Whether another stream could be opened.
    pub(crate) fn takes_streams(&self) -> bool {
        let mut sender = self.sender.clone();
        let ready = sender.poll_ready(&mut Context::from_waker(std::task::Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Whether the server has said that it takes tunnels (RFC 8441).
    pub(crate) fn may_tunnel(&self) -> bool {
        self.sender.is_extended_connect_protocol_enabled()
    }

    /// Ends the connection without a word.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }
}

impl Exchange {
    /// Waits for the head of the final response.
    pub(crate) async fn begun(self) -> Result<(Begun, SendStream<Bytes>), h2::Error> {
        let Self {
            mut response,
            upload,
        } = self;
        let mut interim = Vec::new();
        let response = poll_fn(|cx| {
            // The final one is asked for only once it is there: that passes over an interim one
            // which comes between the two questions.
            while let Some(early) = ready!(response.poll_informational(cx)) {
                let (parts, ()) = early?.into_parts();
                interim.push((parts.status.as_u16(), parts.headers));
            }
            Pin::new(&mut response).poll(cx)
        });
        let (parts, body) = response.await?.into_parts();
        let begun = Begun {
            status: parts.status.as_u16(),
            fields: parts.headers,
            interim,
            body,
        };
        Ok((begun, upload))
    }

    /// Waits for the head of the final response, which must come.
    #[track_caller]
    pub(crate) fn head(self) -> (Begun, SendStream<Bytes>) {
        wait("an answer", self.begun()).expect("is an answer")
    }

    /// Reads the answer.
    #[track_caller]
    pub(crate) fn answer(self) -> Answer {
        match wait("an answer", self.answered()) {
            Ok(answer) => answer,
            Err(error) => panic!("no answer: {error:?}"),
        }
    }

    /// Reads the answer, if one comes.
    pub(crate) async fn answered(self) -> Result<Answer, h2::Error> {
        // Kept: a stream that is dropped is reset.
        let (begun, _upload) = self.begun().await?;
        Ok(begun.rest().await)
    }
}

impl Begun {
    /// Reads the body.
    pub(crate) async fn rest(mut self) -> Answer {
        let (body, end) = read(&mut self.body).await;
        Answer {
            status: self.status,
            fields: self.fields,
            interim: self.interim,
            body,
            end,
        }
    }
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a field.
    pub(crate) fn one(&self, name: &str) -> Option<String> {
        one(&self.fields, name)
    }

    /// Why the body has no end.
    pub(crate) fn reset(&self) -> Option<Reason> {
        self.end.as_ref().err().and_then(h2::Error::reason)
    }
}

/// The value of a field that must not be there more than once.
#[track_caller]
pub(crate) fn one(fields: &HeaderMap, name: &str) -> Option<String> {
    let mut all = fields.get_all(name).iter();
    let value = all.next()?;
    assert!(all.next().is_none(), "{name} came more than once");
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// A request to the host `test`.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder()
        .method(method)
        .uri(format!("http://test{path}"));
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("is a request")
}

/// Sends data as far as the other end lets it.
pub(crate) async fn send(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    end: bool,
) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(capacity) = capacity.transpose()? else {
            return Err(Reason::STREAM_CLOSED.into());
        };
        let piece = data.split_to(capacity.min(data.len()));
        let last = end && data.is_empty();
        stream.send_data(piece, last)?;
        if last {
            return Ok(());
        }
    }
    if end {
        stream.send_data(Bytes::new(), true)?;
    }
    Ok(())
}

/// Reads a body: what came of it, and its trailers or why it has no end.
pub(crate) async fn read(body: &mut RecvStream) -> (Vec<u8>, Result<HeaderMap, h2::Error>) {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                all.extend_from_slice(&data);
                drop(body.flow_control().release_capacity(data.len()));
            }
            Err(error) => return (all, Err(error)),
        }
    }
    let trailers = body.trailers().await;
    (all, trailers.map(Option::unwrap_or_default))
}

/// Reads at least as much of a body.
pub(crate) async fn read_some(body: &mut RecvStream, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        let data = body.data().await.expect("goes on").expect("is not broken");
        drop(body.flow_control().release_capacity(data.len()));
        all.extend_from_slice(&data);
    }
    all
}
