//! A client that speaks HTTP/2: its requests side by side.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;

use super::error::ClientError;
use super::notes::Notes;
use super::serve::{Arrival, LINGER, Next, Origin, Session};
use super::{reject, room};
use crate::deadline::{Guard, Party};
use crate::http2::message;
use crate::http2::rewound::Rewound;
use crate::http2::stream::Stream;
use crate::http2::{CONNECTION_WINDOW, SEND_BUFFER, SMALL_FRAMES, STREAM_WINDOW};
use crate::peer::Peer;
use crate::worker::Worker;

/// A connection with many streams.
struct Streams {
    worker: Rc<Worker>,
    connection: Connection<Rewound, Bytes>,
    watch: Guard,
    origin: Rc<Origin>,
    /// Requests under way.
    running: Rc<Cell<usize>>,
    stay: Stay,
}

/// What the client was told of its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stay {
    /// Nothing: it may open streams.
    Open,
    /// To open no more streams.
    Leaving,
    /// To go at once.
    Dismissed,
}

/// Counts a request as under way for as long as it lives.
struct Running {
    count: Rc<Cell<usize>>,
    origin: Rc<Origin>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
        // The connection may be idle now.
        self.origin.look();
    }
}

/// Serves a client until it leaves, breaks a rule, or haldane drains.
pub(crate) async fn serve(arrival: Arrival) {
    let Arrival {
        worker,
        transport,
        unread,
        watch,
        origin,
    } = arrival;
    let limits = worker.limits();
    let terms = terms(limits.streams, limits.header_bytes);
    let handshake = terms.handshake(Rewound::new(transport, unread));
    let greeted = watch.within(Party::Client, limits.header_timeout, handshake);
    let Some(Ok(connection)) = greeted.await else {
        return;
    };
    let mut streams = Streams {
        worker,
        connection,
        watch,
        origin,
        running: Rc::default(),
        stay: Stay::Open,
    };
    poll_fn(|cx| streams.poll(cx)).await;
}

/// What haldane asks of a client that may have so many streams and so large heads.
pub(crate) fn terms(streams: u32, header_bytes: usize) -> Builder {
    let mut terms = Builder::new();
    terms
        .enable_connect_protocol()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(SMALL_FRAMES)
        .max_concurrent_streams(streams)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER);
    terms
}

impl Streams {
    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.welcome(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a client's connection ended");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {
                    let stay = self.stay(cx);
                    if std::mem::replace(&mut self.stay, stay) == stay {
                        return self.poll_idle(cx);
                    }
                    // What is said is written by the next round.
                    match stay {
                        Stay::Open => {}
                        Stay::Leaving => self.connection.graceful_shutdown(),
                        Stay::Dismissed => {
                            tracing::debug!("a client gives up too many requests");
                            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                        }
                    }
                }
            }
        }
    }

    /// What the client is to be told, if it was not; it is never taken back.
    fn stay(&self, cx: &Context<'_>) -> Stay {
        let is_leaving = self.origin.is_leaving(cx) || self.worker.lets_clients_go();
        let now = self.worker.deadlines.now();
        if self.stay == Stay::Dismissed || self.origin.conduct.is_unbearable(now) {
            Stay::Dismissed
        } else if self.stay == Stay::Leaving || is_leaving || self.origin.is_spent(&self.worker) {
            Stay::Leaving
        } else {
            Stay::Open
        }
    }

    /// A connection on which nothing is under way is not kept for ever.
    fn poll_idle(&mut self, cx: &Context<'_>) -> Poll<()> {
        // Whatever is under way, a drain is to be heard of.
        self.watch.set_idle(true);
        if self.running.get() > 0 {
            self.watch.disarm(Party::Client);
        } else if !self.watch.is_armed(Party::Client) {
            let timeout = match self.stay {
                Stay::Open => self.worker.limits().idle_timeout,
                Stay::Leaving | Stay::Dismissed => LINGER,
            };
            self.watch.arm(Party::Client, timeout);
        } else if self.watch.is_over(Party::Client) {
            if self.stay != Stay::Open {
                return Poll::Ready(());
            }
            self.watch.disarm(Party::Client);
            self.origin.leave();
        }
        self.watch.wait(cx);
        Poll::Pending
    }

    /// Serves a request in a task of its own.
    fn welcome(&self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let running = Running {
            count: Rc::clone(&self.running),
            origin: Rc::clone(&self.origin),
        };
        running.count.set(running.count.get() + 1);
        self.origin.count();
        let worker = Rc::clone(&self.worker);
        // A task moves what it was given when it begins and when it ends: that is to be small.
        drop(tokio::task::spawn_local(Box::pin(async move {
            serve_stream(worker, &running.origin, request, respond).await;
            drop(running);
        })));
    }
}

async fn serve_stream(
    worker: Rc<Worker>,
    origin: &Rc<Origin>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (parts, body) = request.into_parts();
    let mut head = worker.take_head();
    let limits = worker.head_limits();
    let read = message::read_request(&mut head, &parts, !body.is_end_stream(), limits);
    drop(parts);
    let mut session = Box::new(Session {
        watch: worker.deadlines.register(),
        client: Peer::H2(Stream::accepted(body, respond)),
        origin: Rc::clone(origin),
        worker,
        notes: Notes::default(),
    });
    let begun = session.worker.deadlines.now();
    if session.client.is_given_up() {
        return origin.conduct.note(begun, begun, false);
    }
    let next = match read {
        Ok(()) => {
            let next;
            (session, head, next) = room::handle(session, head).await;
            next
        }
        Err(error) => {
            let error = ClientError::from(error).into();
            reject::refuse(&mut session, &error).await
        }
    };
    session.worker.give_head(head);
    let is_answered = session.client.is_answered();
    if is_answered || session.client.reason().is_some() {
        let now = session.worker.deadlines.now();
        origin.conduct.note(begun, now, is_answered);
    }
    if let (Next::Drop, Peer::H2(stream)) = (next, &mut session.client)
        && !stream.is_complete()
    {
        stream.give_up(Reason::INTERNAL_ERROR).await;
    }
}
