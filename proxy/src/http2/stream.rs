//! One stream of an HTTP/2 connection, read and written like a connection of its own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};

use super::message::{self, trailers_of};
use super::together::Announcer;
use crate::h1::head::{Head, HeadLimits};

/// More than this is not handed to `h2` at once.
const SEND_MAX: usize = 16 * 1024;

/// What is smaller waits for nothing, and goes on with what has come after it.
const SMALL: usize = 1024;

/// One stream, of either side.
pub(crate) struct Stream {
    incoming: Option<RecvStream>,
    /// What was read of the body and not consumed.
    chunk: Bytes,
    /// The body was read to its end.
    ended: bool,
    /// The trailer fields that may be passed on, as lines.
    trailers: Vec<u8>,
    outgoing: Outgoing,
    /// What was taken for sending last. It is kept back for as long as more may come at once,
    /// since the last piece and the end behind it are one frame.
    held: Bytes,
    /// Nothing more will be sent.
    finished: bool,
    /// Towards an upstream, until the response has come.
    response: Option<Box<Awaited>>,
    /// Why the other end gave the stream up, if it did.
    given_up: Option<Reason>,
}

/// A response that has not come.
struct Awaited {
    response: ResponseFuture,
    announcer: Announcer,
    /// The task that waits, and what the announcer wakes it by.
    waiting: Option<(Waker, Waker)>,
}

enum Outgoing {
    /// Towards a client, before the head of the response.
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>),
}

/// Why there is no response head.
#[derive(Debug)]
pub(crate) enum NoHead {
    /// The stream or its connection ended.
    Ended(h2::Error),
    /// What came is none, or larger than is allowed.
    Refused,
}

impl Stream {
    /// The stream of a request that came in.
    pub(crate) fn accepted(incoming: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self::new(Some(incoming), Outgoing::Head(respond))
    }

    fn new(incoming: Option<RecvStream>, outgoing: Outgoing) -> Self {
        Self {
            incoming,
            chunk: Bytes::new(),
            ended: false,
            trailers: Vec::new(),
            outgoing,
            held: Bytes::new(),
            finished: false,
            response: None,
            given_up: None,
        }
    }

    /// Waits for the next response head, interim or final.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        limits: HeadLimits,
    ) -> Poll<Result<(), NoHead>> {
        let Some(Awaited {
            response,
            announcer,
            waiting,
        }) = self.response.as_deref_mut()
        else {
            return Poll::Ready(Err(NoHead::Ended(Reason::PROTOCOL_ERROR.into())));
        };
        let task = cx.waker();
        let (_, waker) = match waiting.take().filter(|(known, _)| known.will_wake(task)) {
            Some(known) => waiting.insert(known),
            None => waiting.insert((task.clone(), announcer.waker(task))),
        };
        let cx = &mut Context::from_waker(waker);
        // The final head is asked for only once it is there: that passes over interim ones.
        let parts = match ready!(response.poll_informational(cx)) {
            Some(interim) => interim.map(|interim| interim.into_parts().0),
            None => {
                let response = ready!(Pin::new(response).poll(cx));
                response.map(|response| {
                    let (parts, incoming) = response.into_parts();
                    self.incoming = Some(incoming);
                    self.response = None;
                    parts
                })
            }
        };
        let parts = match parts {
            Ok(parts) => parts,
            Err(error) => {
                self.note(&error);
                return Poll::Ready(Err(NoHead::Ended(error)));
            }
        };
        let is_open = self
            .incoming
            .as_ref()
            .is_some_and(|incoming| !incoming.is_end_stream());
        Poll::Ready(
            message::read_response(head, &parts, is_open, limits).map_err(|_| NoHead::Refused),
        )
    }

    /// What was read of the body and not consumed.
    pub(crate) fn input(&self) -> &[u8] {
        &self.chunk
    }

    /// Drops the first bytes of the input, and lets the other end send as many.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.chunk.len());
        self.chunk.advance(bytes);
        if let Some(incoming) = &mut self.incoming {
            // It fails only for more than was received.
            drop(incoming.flow_control().release_capacity(bytes));
        }
    }

    /// Reads more of the body; 0 is its end. The input must have been consumed.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(incoming) = self.incoming.as_mut().filter(|_| !self.ended) else {
            return Poll::Ready(Ok(0));
        };
        loop {
            let read = match ready!(incoming.poll_data(cx)) {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => {
                    self.chunk = gather(cx, incoming, chunk);
                    return Poll::Ready(Ok(self.chunk.len()));
                }
                Some(Err(error)) => Err(error),
                None => ready!(incoming.poll_trailers(cx)),
            };
            return Poll::Ready(match read {
                Ok(trailers) => {
                    self.ended = true;
                    match trailers.as_ref().map(message::trailer_lines) {
                        Some(Ok(lines)) => self.trailers = lines,
                        Some(Err(_)) => {
                            // Malformed (RFC 9113 §8.1.1, §8.2.1).
                            self.reset(Reason::PROTOCOL_ERROR);
                            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                        }
                        None => {}
                    }
                    Ok(0)
                }
                Err(error) => {
                    self.note(&error);
                    Err(io::Error::other(error))
                }
            });
        }
    }

    /// The trailer fields that may be passed on, once the body was read to its end.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes a part of `data` for sending, as far as the other end lets it. It is sent by
    /// the next call, by [`Stream::release`], or with the end.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.release()?;
        let Outgoing::Body(body) = &mut self.outgoing else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let wanted = data.len().min(SEND_MAX);
        body.reserve_capacity(wanted);
        let mut capacity = body.capacity();
        if capacity == 0 {
            capacity = match ready!(body.poll_capacity(cx)) {
                Some(Ok(capacity)) => capacity,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let sent = capacity.min(wanted);
        self.held = Bytes::copy_from_slice(&data[..sent]);
        Poll::Ready(Ok(sent))
    }

    /// Sends what is kept back.
    ///
    /// # Errors
    ///
    /// If the stream is gone.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        match &mut self.outgoing {
            Outgoing::Head(_) => Ok(()),
            Outgoing::Body(body) => body.send_data(held, false).map_err(io::Error::other),
        }
    }

    /// Ends what is sent, with these trailer lines. A stream that is gone is gone.
    pub(crate) fn finish(&mut self, trailers: &[u8]) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if !trailers.is_empty() {
            drop(self.release());
        }
        if let Outgoing::Body(body) = &mut self.outgoing {
            drop(if trailers.is_empty() {
                body.send_data(std::mem::take(&mut self.held), true)
            } else {
                body.send_trailers(trailers_of(trailers))
            });
        }
    }

    /// Sends the head of the final response; `finished` if nothing follows it.
    pub(crate) fn respond(&mut self, response: Response<()>, finished: bool) -> io::Result<()> {
        let Outgoing::Head(respond) = &mut self.outgoing else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        let body = respond
            .send_response(response, finished)
            .map_err(io::Error::other)?;
        self.outgoing = Outgoing::Body(body);
        self.finished = finished;
        Ok(())
    }

    /// Sends an interim response.
    pub(crate) fn inform(&mut self, response: Response<()>) -> io::Result<()> {
        match &mut self.outgoing {
            Outgoing::Head(respond) => respond
                .send_informational(response)
                .map_err(io::Error::other),
            Outgoing::Body(_) => Ok(()),
        }
    }

    /// A small body, whole, and the end.
    pub(crate) fn finish_with(&mut self, body: Bytes) {
        if let Outgoing::Body(sending) = &mut self.outgoing {
            // A client that is gone needs no answer.
            drop(sending.send_data(body, true));
            self.finished = true;
        }
    }

    /// Ready when the other end has given the stream up, or the connection has ended.
    pub(crate) fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.given_up.is_some() {
            return Poll::Ready(());
        }
        let reset = match &mut self.outgoing {
            Outgoing::Head(respond) => respond.poll_reset(cx),
            Outgoing::Body(body) => body.poll_reset(cx),
        };
        match ready!(reset) {
            Ok(reason) => self.given_up = Some(reason),
            Err(error) => self.note(&error),
        }
        Poll::Ready(())
    }

    /// Whether the head of the final response was sent.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.outgoing, Outgoing::Body(_))
    }

    /// Why the other end gave the stream up, if it did.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.given_up
    }

    /// Whether it was sent and received to the end.
    pub(crate) fn is_complete(&self) -> bool {
        self.finished
            && (self.ended
                || self
                    .incoming
                    .as_ref()
                    .is_some_and(RecvStream::is_end_stream))
    }

    /// Gives the stream up after what was taken for sending, as far as it can be written.
    pub(crate) async fn give_up(&mut self, reason: Reason) {
        drop(self.release());
        // A reset drops what still waits, which the connection writes by now.
        tokio::task::yield_now().await;
        self.reset(reason);
    }

    /// Gives the stream up at once.
    pub(crate) fn reset(&mut self, reason: Reason) {
        match &mut self.outgoing {
            Outgoing::Head(respond) => respond.send_reset(reason),
            Outgoing::Body(body) => body.send_reset(reason),
        }
    }

    fn note(&mut self, error: &h2::Error) {
        self.given_up = error.reason().filter(|_| error.is_reset());
    }
}

/// Puts together what has come in small pieces. Each would be a frame again, and who gets many
/// small ones that it has not read closes the connection, which is that of others too.
fn gather(cx: &mut Context<'_>, incoming: &mut RecvStream, first: Bytes) -> Bytes {
    if first.len() >= SMALL {
        return first;
    }
    let mut all = Vec::new();
    // The end, or why there is none, is told again.
    while let Poll::Ready(Some(Ok(more))) = incoming.poll_data(cx) {
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&more);
        if all.len() >= SEND_MAX {
            break;
        }
    }
    if all.is_empty() {
        first
    } else {
        Bytes::from(all)
    }
}

/// Opens a stream for a request on a connection that has room for it; `finished` if nothing
/// follows its head. `announcer` says that the response has come.
pub(crate) fn open(
    connection: &mut h2::client::SendRequest<Bytes>,
    request: Request<()>,
    finished: bool,
    announcer: Announcer,
) -> Result<Stream, h2::Error> {
    let (response, body) = connection.send_request(request, finished)?;
    let mut stream = Stream::new(None, Outgoing::Body(body));
    stream.finished = finished;
    stream.response = Some(Box::new(Awaited {
        response,
        announcer,
        waiting: None,
    }));
    Ok(stream)
}
