//! Connections of HTTP/2 from their bytes: one of a client, and one to an upstream.

use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http::{Answered, Forwarded, LIMITS, Route, answered};
use crate::h1::head::Head;
use crate::http2::message::read_request;
use crate::http2::stream::{self, Stream};
use crate::http2::together::Announcer;
use crate::http2::{ANSWER_HEAD_BYTES, SHARED_WINDOW, STREAM_WINDOW};
use crate::request::http2::terms;

/// Streams that a client may have at once.
const STREAMS: u32 = 100;

/// What came over a connection until it ended.
#[derive(Debug, Default)]
pub struct Heard {
    /// Requests, or the only request's answers: as they are passed on, or why they are not.
    pub requests: Vec<Result<Forwarded, String>>,
    /// Answers, the interim ones too.
    pub answers: Vec<Result<Answered, String>>,
    /// Bytes of bodies.
    pub data: usize,
    /// The lines of all trailers.
    pub trailers: Vec<Vec<u8>>,
    /// Bytes that were said in return.
    pub written: usize,
}

/// Serves a client that says `bytes`, of which `part` can be read at once, and then nothing
/// any more. Every request is answered.
pub async fn serve(route: &Route, bytes: &[u8], part: usize) -> Heard {
    let mut heard = Heard::default();
    let mut written = 0;
    let wire = Wire::new(bytes, part, &mut written);
    if let Ok(mut connection) = terms(STREAMS, LIMITS.bytes).handshake(wire).await {
        let mut streams = Vec::new();
        poll_fn(|cx| {
            while let Poll::Ready(next) = connection.poll_accept(cx) {
                let Some(Ok((request, respond))) = next else {
                    return Poll::Ready(());
                };
                let (parts, body) = request.into_parts();
                let mut head = Head::default();
                let read = read_request(&mut head, &parts, !body.is_end_stream(), LIMITS);
                let read = read.map_err(|error| format!("{error:?}"));
                heard
                    .requests
                    .push(read.and_then(|()| route.forwarded(&head, false)));
                streams.push(Stream::accepted(body, respond));
                streams.retain_mut(|stream| is_going_on(stream, cx, &mut heard));
            }
            streams.retain_mut(|stream| is_going_on(stream, cx, &mut heard));
            Poll::Pending
        })
        .await;
    }
    heard.written = written;
    heard
}

/// Asks an upstream that says `bytes`, in the same way.
pub async fn ask(bytes: &[u8], part: usize) -> Heard {
    let mut heard = Heard::default();
    let mut written = 0;
    let handshake = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(SHARED_WINDOW)
        .max_header_list_size(ANSWER_HEAD_BYTES)
        .enable_push(false)
        .handshake(Wire::new(bytes, part, &mut written));
    if let Ok((mut sender, mut connection)) = handshake.await {
        let request = ::http::Request::get("http://upstream.example/");
        let request = request.body(());
        let opened =
            request.map(|request| stream::open(&mut sender, request, true, Announcer::default()));
        if let Ok(Ok(mut stream)) = opened {
            let mut is_final = false;
            poll_fn(|cx| {
                let is_over = Pin::new(&mut connection).poll(cx).is_ready();
                while !is_final {
                    let mut head = Head::default();
                    match stream.poll_head(cx, &mut head, LIMITS) {
                        Poll::Ready(Ok(())) => {
                            is_final = head.status >= 200;
                            heard.answers.push(answered(&head, 0, b"GET", true));
                        }
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Pending => break,
                    }
                }
                if is_over || is_final && read(&mut stream, cx, &mut heard).is_ready() {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        }
    }
    heard.written = written;
    heard
}

/// Reads what there is of a body, and answers at its end. `false` if nothing more is to be done.
fn is_going_on(stream: &mut Stream, cx: &mut Context<'_>, heard: &mut Heard) -> bool {
    if !stream.is_answered() && read(stream, cx, heard).is_ready() {
        if stream.respond(::http::Response::new(()), false).is_ok() {
            drop(stream.poll_send(cx, b"hello"));
        }
        let trailers = stream.trailers().to_vec();
        stream.finish(&trailers);
    }
    let is_over = stream.is_complete() || stream.poll_given_up(cx).is_ready();
    if is_over && !stream.is_complete() {
        stream.reset(Reason::INTERNAL_ERROR);
    }
    !is_over
}

/// Ready at the end of a body, whichever it is.
fn read(stream: &mut Stream, cx: &mut Context<'_>, heard: &mut Heard) -> Poll<()> {
    loop {
        match ready!(stream.poll_fill(cx)) {
            Ok(0) => {
                heard.trailers.push(stream.trailers().to_vec());
                return Poll::Ready(());
            }
            Ok(length) => {
                heard.data += length;
                stream.consume(length);
            }
            Err(_) => return Poll::Ready(()),
        }
    }
}

/// A connection that says what it was given in parts, and counts what it is told.
struct Wire<'a> {
    unread: &'a [u8],
    part: usize,
    /// Nothing can be read before something else was done.
    rests: bool,
    written: &'a mut usize,
}

impl<'a> Wire<'a> {
    fn new(unread: &'a [u8], part: usize, written: &'a mut usize) -> Self {
        let (part, rests) = (part.max(1), false);
        Self {
            unread,
            part,
            rests,
            written,
        }
    }
}

impl AsyncRead for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.rests = !self.rests;
        if !self.rests {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self.unread.len().min(self.part).min(buffer.remaining());
        let (said, unread) = self.unread.split_at(length);
        buffer.put_slice(said);
        self.unread = unread;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        *self.written += data.len();
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
