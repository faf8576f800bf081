//! One client connection: its requests one after another, with every limit by name.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::error::ClientError;
use super::forward::{Delivery, peer_text};
use super::{handle, reject, relay, tls};
use crate::deadline::{Guard, Party};
use crate::h1::head::Head;
use crate::h1::wire::Wire;
use crate::worker::Worker;

/// A client that is still sending gets this long to read the answer and stop,
/// before the connection is torn down under what it has not read (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);

/// A connection that was let in at the end of the linger is about to be used: its
/// first request gets this long to come.
const NEW_GRACE: Duration = Duration::from_secs(1);

/// One client connection.
pub(crate) struct Session {
    pub(crate) worker: Rc<Worker>,
    pub(crate) wire: Wire,
    pub(crate) watch: Guard,
    pub(crate) peer: IpAddr,
    pub(crate) peer_text: Box<str>,
    /// The peer is a trusted proxy.
    pub(crate) trusted: bool,
    /// What the client speaks: `http` or `https`.
    pub(crate) scheme: &'static str,
    /// No request has come on it yet.
    is_new: bool,
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

/// Why there is no next request.
enum End {
    /// The client is done, or has been silent for too long.
    Quiet,
    /// What came is no request.
    Wrong(ClientError),
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
    let handshake = tls::shake_hands(stream, tls, &watch, worker.limits.header_timeout);
    let Some(transport) = handshake.await else {
        return;
    };
    let peer = peer.ip().to_canonical();
    let mut session = Session {
        wire: Wire::new(transport, Rc::clone(&worker.buffers)),
        watch,
        peer,
        peer_text: peer_text(peer),
        trusted: worker.trusted_proxies.contains(peer),
        scheme,
        is_new: true,
        worker,
    };
    let mut silence = session.worker.limits.header_timeout;
    loop {
        let next = match session.next_head(silence).await {
            Ok(head) => {
                let next = handle::handle(&mut session, &head).await;
                session.worker.give_head(head);
                next
            }
            Err(End::Quiet) => return,
            Err(End::Wrong(error)) => reject::respond(&mut session, &error.into(), None).await,
        };
        match next {
            Next::Drop => return,
            Next::Close if session.wire.input().is_empty() && session.wire.is_quiet() => {
                return session.finish().await;
            }
            // What comes now would make the system reset what the client has not read.
            Next::Close | Next::Linger => return session.linger().await,
            Next::Request => silence = session.worker.limits.idle_timeout,
        }
    }
}

impl Session {
    /// Waits for the next request head: `silence` for its first byte, and the
    /// configured time from there.
    async fn next_head(&mut self, silence: Duration) -> Result<Head, End> {
        self.wire.rest();
        let mut reading = Reading {
            head: None,
            searched: 0,
            silence,
            timed: None,
            in_grace: false,
        };
        let result = poll_fn(|cx| self.poll_head(cx, &mut reading)).await;
        self.is_new = false;
        self.watch.set_idle(false);
        self.watch.disarm(Party::Client);
        result
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        reading: &mut Reading,
    ) -> Poll<Result<Head, End>> {
        loop {
            if reading.may_be_complete(self.wire.input(), self.worker.limits.header_bytes) {
                let mut head = reading
                    .head
                    .take()
                    .unwrap_or_else(|| self.worker.take_head());
                match head.parse_request(self.wire.input(), self.worker.head_limits()) {
                    Ok(Some(length)) => {
                        self.wire.consume(length);
                        return Poll::Ready(Ok(head));
                    }
                    Ok(None) => reading.head = Some(head),
                    Err(error) => return Poll::Ready(Err(End::Wrong(error.into()))),
                }
            }
            match self.wire.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(End::Quiet)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.poll_wait(cx, reading),
            }
        }
    }

    fn poll_wait(&mut self, cx: &Context<'_>, reading: &mut Reading) -> Poll<Result<Head, End>> {
        let started = !self.wire.input().is_empty();
        // A request that has just come, and that the runtime has not heard of, is served.
        let unused = !started && self.worker.is_draining() && self.wire.is_quiet();
        if unused && !self.is_new {
            return Poll::Ready(Err(End::Quiet));
        }
        if self.watch.is_over(Party::Client) {
            let end = if started {
                End::Wrong(ClientError::TooSlow)
            } else {
                End::Quiet
            };
            return Poll::Ready(Err(end));
        }
        // The first byte starts the time for the head, and no later one does.
        if reading.timed != Some(started) {
            reading.timed = Some(started);
            let timeout = if started {
                self.worker.limits.header_timeout
            } else {
                reading.silence
            };
            self.watch.arm(Party::Client, timeout);
        }
        if unused && !std::mem::replace(&mut reading.in_grace, true) {
            self.watch.arm(Party::Client, NEW_GRACE);
        }
        self.watch.set_idle(!started);
        self.watch.wait(cx);
        Poll::Pending
    }

    /// Writes what waits for the client.
    pub(crate) async fn flush(&mut self, timeout: Duration) -> io::Result<()> {
        relay::flush(&mut self.wire, &self.watch, timeout).await
    }

    /// Ends a response that broke off, so that the client cannot take it for complete:
    /// its framing stays unfinished, and where only the end of the connection would
    /// tell, the connection is reset.
    pub(crate) async fn cut(&mut self, delivery: Delivery, timeout: Duration) -> Next {
        if self.flush(timeout).await.is_ok() && delivery == Delivery::UntilClose {
            let socket = socket2::SockRef::from(self.wire.socket());
            if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
                tracing::debug!(%error, "cannot reset a connection");
            }
        }
        Next::Drop
    }

    /// Closes where nothing can get lost. Under TLS that has to be said.
    async fn finish(&mut self) {
        if self.scheme == "https" {
            let closing = poll_fn(|cx| self.wire.poll_shutdown(cx));
            // Whether it was told or not, there is nothing more to do.
            drop(self.watch.within(Party::Client, LINGER, closing).await);
        }
    }

    /// Closes without losing what the client has not read yet.
    async fn linger(&mut self) {
        let draining = poll_fn(|cx| {
            if std::task::ready!(self.wire.poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            loop {
                let unread = self.wire.input().len();
                self.wire.consume(unread);
                match self.wire.poll_fill(cx) {
                    Poll::Ready(Ok(read)) if read > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        self.watch.within(Party::Client, LINGER, draining).await;
    }
}

/// How far a head has come.
struct Reading {
    head: Option<Head>,
    /// Bytes of the input that were searched for the end of a head.
    searched: usize,
    silence: Duration,
    /// Whether the running time is the head's (`true`) or the silence before it.
    timed: Option<bool>,
    /// The connection is new and haldane drains: it gets [`NEW_GRACE`].
    in_grace: bool,
}

impl Reading {
    /// Whether it is worth parsing: the first time, and when an empty line has come
    /// since. A head that drips in is not parsed for every byte.
    fn may_be_complete(&mut self, input: &[u8], limit: usize) -> bool {
        if input.is_empty() {
            return false;
        }
        let from = std::mem::replace(&mut self.searched, input.len());
        if from == 0 || input.len() >= limit {
            return true;
        }
        let tail = &input[from.saturating_sub(3).min(input.len())..];
        tail.windows(2).any(|pair| pair == b"\n\n")
            || tail.windows(3).any(|three| three == b"\n\r\n")
    }
}
