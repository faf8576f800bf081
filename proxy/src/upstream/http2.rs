//! Connections with many streams to one address: shared by the requests of a worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::Ping;
use h2::client::{Builder, SendRequest};
use http::Request;
use tokio::sync::Notify;

use super::pool::KEEP;
use crate::clock::Micros;
use crate::h1::transport::Transport;
use crate::http2::stream::{self, Stream};
use crate::http2::together::{Announcer, Together};
use crate::http2::{ANSWER_HEAD_BYTES, SEND_BUFFER, SHARED_WINDOW, STREAM_WINDOW};

/// A connection with many streams.
pub(crate) struct Multiplexed {
    sender: SendRequest<Bytes>,
    announcer: Announcer,
    /// For clients that upstreams may close connections for.
    apart: bool,
    /// The connection has ended.
    gone: Rc<Cell<bool>>,
    /// It gets no more requests: one of them had no answer in time.
    retired: Cell<bool>,
    streams: Rc<Cell<usize>>,
    /// When a stream was last seen on it.
    idle_since: Cell<Micros>,
}

/// Counts a stream of a connection for as long as it lives.
pub(crate) struct StreamLease {
    pub(crate) connection: Rc<Multiplexed>,
}

/// One worker's connections with streams to one address.
#[derive(Default)]
pub(crate) struct Shared {
    open: RefCell<Vec<Rc<Multiplexed>>>,
    /// Somebody is connecting, and whoever comes waits for that.
    connecting: Cell<bool>,
    /// Connections that could not be opened.
    failures: Cell<u64>,
    /// The last of them for want of what haldane needs to connect anywhere.
    exhausted: Cell<bool>,
    /// Told whenever somebody has stopped connecting.
    changed: Notify,
}

/// The right to connect, for one at a time.
pub(crate) struct Connecting<'a> {
    shared: &'a Shared,
    failed: bool,
}

/// How the wait for somebody else's connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waited {
    /// It could not be opened, and the address is not why.
    Exhausted,
    /// It could not be opened.
    Failed,
    /// Worth looking again.
    LookAgain,
}

impl Shared {
    /// A connection that has room for one more stream; `apart` from those of the others.
    pub(crate) fn find(&self, apart: bool) -> Option<Rc<Multiplexed>> {
        let mut open = self.open.borrow_mut();
        open.retain(|connection| connection.is_alive());
        open.iter()
            .find(|connection| connection.apart == apart && connection.has_room())
            .cloned()
    }

    /// The right to connect; `None` while somebody else does.
    pub(crate) fn begin(&self) -> Option<Connecting<'_>> {
        // Made only where it is used: dropped, it would tell that nobody connects.
        (!self.connecting.replace(true)).then(|| Connecting {
            shared: self,
            failed: false,
        })
    }

    /// Waits until whoever is connecting has stopped.
    pub(crate) async fn wait(&self) -> Waited {
        let failures = self.failures.get();
        self.changed.notified().await;
        if self.failures.get() == failures {
            Waited::LookAgain
        } else if self.exhausted.get() {
            Waited::Exhausted
        } else {
            Waited::Failed
        }
    }

    /// Gives up connections that have had no stream for too long.
    pub(crate) fn close_idle(&self, now: Micros) {
        self.open.borrow_mut().retain(|connection| {
            if connection.streams.get() > 0 {
                connection.idle_since.set(now);
            }
            connection.idle_since.get().saturating_add(KEEP) > now && connection.is_alive()
        });
    }
}

impl Connecting<'_> {
    /// Speaks HTTP/2 on a new connection and lets others use it, if they are as much
    /// `apart`.
    pub(crate) async fn start(
        &mut self,
        transport: Transport,
        now: Micros,
        (apart, together): (bool, &Together),
    ) -> Result<Rc<Multiplexed>, h2::Error> {
        let (sender, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(SHARED_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(ANSWER_HEAD_BYTES)
            .handshake(transport)
            .await?;
        let pings = connection.ping_pong();
        let gone = Rc::new(Cell::new(false));
        let ended = Rc::clone(&gone);
        let streams = Rc::new(Cell::new(0));
        together.add(&streams, async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an upstream's connection ended");
            }
            ended.set(true);
        });
        // The other end's settings come before anything else (RFC 9113 §3.4), and until
        // then nobody knows how many streams it takes, or whether it takes tunnels.
        if let Some(mut pings) = pings {
            pings.ping(Ping::opaque()).await?;
        }
        let connection = Rc::new(Multiplexed {
            sender,
            announcer: together.announcer(),
            apart,
            gone,
            retired: Cell::new(false),
            streams,
            idle_since: Cell::new(now),
        });
        let mut open = self.shared.open.borrow_mut();
        open.push(Rc::clone(&connection));
        Ok(connection)
    }

    /// Whoever waits need not try the same. `is_exhausted`: it was not the address.
    pub(crate) fn fail(mut self, is_exhausted: bool) {
        self.failed = true;
        self.shared.exhausted.set(is_exhausted);
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.shared.connecting.set(false);
        if self.failed {
            self.shared.failures.set(self.shared.failures.get() + 1);
        }
        self.shared.changed.notify_waiters();
    }
}

impl Multiplexed {
    fn is_alive(&self) -> bool {
        if self.gone.get() || self.retired.get() {
            return false;
        }
        let ready = self
            .sender
            .clone()
            .poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    fn has_room(&self) -> bool {
        self.streams.get() < self.sender.current_max_send_streams()
    }

    /// Whether the connection has ended, with whatever was under way.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Gives it no more requests; those under way go on.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
    }

    /// Whether tunnels can be opened (RFC 8441 §3).
    pub(crate) fn takes_tunnels(&self) -> bool {
        self.sender.is_extended_connect_protocol_enabled()
    }

    /// Sends the head of a request in a new stream; `finished` if nothing follows.
    pub(crate) fn open(&self, request: Request<()>, finished: bool) -> Result<Stream, h2::Error> {
        let sender = &mut self.sender.clone();
        stream::open(sender, request, finished, self.announcer.clone())
    }
}

impl StreamLease {
    pub(crate) fn new(connection: Rc<Multiplexed>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self { connection }
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        let streams = &self.connection.streams;
        streams.set(streams.get().saturating_sub(1));
    }
}
