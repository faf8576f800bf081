//! One client connection: who it is, what it speaks, and how it is answered.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use h2::Reason;
use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::conduct::Conduct;
use super::forward::{Delivery, Envelope, peer_text};
use super::notes::Notes;
use super::switch::Switch;
use super::{http1, http1_head, http2, http2_head, tls};
use crate::deadline::{Guard, Party};
use crate::h1::head::Head;
use crate::h1::transport::{ALPN_HTTP2, Transport};
use crate::h1::wire::Wire;
use crate::peer::Peer;
use crate::worker::Worker;

/// A client that is still sending gets this long to read the answer and stop,
/// before the connection is torn down under what it has not read (RFC 9112 §9.6).
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// A client on a connection of its own, or one of its streams.
pub(crate) struct Session {
    pub(crate) worker: Rc<Worker>,
    pub(crate) client: Peer,
    pub(crate) watch: Guard,
    pub(crate) origin: Rc<Origin>,
    /// What the access log wants to know of the request under way.
    pub(crate) notes: Notes,
}

/// Where a connection comes from; the same for all its requests.
pub(crate) struct Origin {
    pub(crate) peer: IpAddr,
    pub(crate) peer_text: Box<str>,
    /// What the client speaks: `http` or `https`.
    pub(crate) scheme: &'static str,
    /// How a client with many streams behaves.
    pub(crate) conduct: Conduct,
    /// Requests that came on the connection.
    requests: Cell<usize>,
    /// The client should go elsewhere with what comes next.
    leaving: Cell<bool>,
    /// The task that tells it.
    waker: RefCell<Option<Waker>>,
}

/// A connection that nobody serves yet.
pub(crate) struct Arrival {
    pub(crate) worker: Rc<Worker>,
    pub(crate) transport: Transport,
    /// What was read of it already.
    pub(crate) unread: Vec<u8>,
    pub(crate) watch: Guard,
    pub(crate) origin: Rc<Origin>,
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// It is dropped as it is.
    Drop,
    /// It is closed: the client has sent all that it was to send.
    Close,
    /// It is closed once the client, which may still be sending, has read the answer.
    Linger,
    /// It serves the next request.
    Request,
}

/// Serves a client until it leaves, breaks a rule, or haldane drains.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
) {
    let watch = worker.deadlines.register();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let handshake = tls::shake_hands(stream, tls, &watch, worker.limits().header_timeout);
    let Some(transport) = handshake.await else {
        return;
    };
    let peer = peer.ip().to_canonical();
    let origin = Rc::new(Origin {
        peer,
        peer_text: peer_text(peer),
        scheme,
        conduct: Conduct::default(),
        requests: Cell::new(0),
        leaving: Cell::new(false),
        waker: RefCell::new(None),
    });
    if transport.alpn() == Some(ALPN_HTTP2) {
        let arrival = Arrival {
            worker,
            transport,
            unread: Vec::new(),
            watch,
            origin,
        };
        return Box::pin(http2::serve(arrival)).await;
    }
    let session = Box::new(Session {
        client: Peer::H1(Box::new(Wire::new(
            transport,
            Rc::clone(&worker.means.buffers),
        ))),
        worker,
        watch,
        origin,
        notes: Notes::default(),
    });
    if let Some(arrival) = http1::serve(session).await {
        Box::pin(http2::serve(arrival)).await;
    }
}

impl Origin {
    /// Counts one more request.
    pub(crate) fn count(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
    }

    /// Whether the connection has had all the requests that it may have.
    pub(crate) fn is_spent(&self, worker: &Worker) -> bool {
        self.requests.get() >= worker.limits().connection_requests
    }

    /// The client is told to go elsewhere with what comes next, where the protocol
    /// can say it.
    pub(crate) fn leave(&self) {
        self.leaving.set(true);
        self.look();
    }

    /// Lets the task of the connection look at it again.
    pub(crate) fn look(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether the client is to be told; if not, the task is woken when it is.
    pub(crate) fn is_leaving(&self, cx: &Context<'_>) -> bool {
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        self.leaving.get()
    }
}

impl Session {
    /// Begins the final response: its head. With a `switch`, protocols are switched by it.
    pub(crate) fn respond(
        &mut self,
        head: &Head,
        envelope: &Envelope<'_>,
        switch: Option<&Switch<'_>>,
    ) -> io::Result<()> {
        match (&mut self.client, switch) {
            (Peer::H1(wire), None) => {
                http1_head::write_response(wire.output(), head, envelope);
                Ok(())
            }
            (Peer::H1(wire), Some(switch)) => {
                http1_head::write_switch(wire.output(), head, envelope, switch);
                Ok(())
            }
            (Peer::H2(stream), switch) => {
                let finished = envelope.is_all(head) && switch.is_none();
                stream.respond(http2_head::response(head, envelope, switch), finished)
            }
        }
    }

    /// Writes what waits for the client, for as long as it keeps reading.
    pub(crate) async fn flush(&mut self, timeout: Duration) -> io::Result<()> {
        let flushing = poll_fn(|cx| self.client.poll_flush(cx));
        let flushed = self.watch.within(Party::Client, timeout, flushing);
        flushed
            .await
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends a response that broke off, so that the client cannot take it for complete:
    /// its framing stays unfinished, and where only the end of the connection would
    /// tell, the connection is reset. `told` is why the upstream gave its stream up.
    pub(crate) async fn cut(
        &mut self,
        delivery: Delivery,
        told: Option<Reason>,
        timeout: Duration,
    ) -> Next {
        if let Peer::H2(stream) = &mut self.client {
            stream.give_up(passable(told)).await;
            return Next::Drop;
        }
        let flushed = self.flush(timeout).await;
        if let Peer::H1(wire) = &self.client
            && flushed.is_ok()
            && delivery == Delivery::UntilClose
        {
            let socket = wire.socket();
            if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
                tracing::debug!(%error, "cannot reset a connection");
            }
        }
        Next::Drop
    }
}

/// What a client may be told of why a response broke off. `NO_ERROR` would make it
/// look complete, and `REFUSED_STREAM` as if nothing had been processed.
fn passable(told: Option<Reason>) -> Reason {
    match told {
        Some(reason @ (Reason::CANCEL | Reason::ENHANCE_YOUR_CALM)) => reason,
        Some(_) | None => Reason::INTERNAL_ERROR,
    }
}
