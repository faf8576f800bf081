//! A client that speaks HTTP/1.1: its requests one after another.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::error::ClientError;
use super::lobby::Guest;
use super::serve::{Arrival, LINGER, Next, Session};
use super::{reject, room};
use crate::deadline::{Guard, Party};
use crate::h1::head::Head;
use crate::h1::wire::Wire;
use crate::peer::Peer;

/// A connection that was let in at the end of the linger is about to be used: its
/// first request gets this long to come.
const NEW_GRACE: Duration = Duration::from_secs(1);

/// What a client with prior knowledge of HTTP/2 begins with (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why there is no next request.
enum End {
    /// It speaks HTTP/2.
    Http2,
    /// The client is done, or has been silent for too long.
    Quiet,
    /// What came is no request.
    Wrong(ClientError),
}

/// Serves a client until it leaves, breaks a rule, or haldane drains. Gives the
/// connection back if it turns out to speak HTTP/2, with what was read of it.
pub(crate) async fn serve(mut session: Box<Session>) -> Option<Arrival> {
    let mut silence = session.worker.limits().header_timeout;
    let mut is_new = true;
    let mut guest = Guest::default();
    loop {
        let next = match session.next_head(silence, is_new, &mut guest).await {
            Ok(head) => {
                session.origin.count();
                let (back, head, next) = room::handle(session, head).await;
                session = back;
                session.worker.give_head(head);
                next
            }
            Err(End::Quiet) => return None,
            Err(End::Http2) => return (*session).into_arrival(),
            Err(End::Wrong(error)) => reject::refuse(&mut session, &error.into()).await,
        };
        is_new = false;
        let Peer::H1(wire) = &mut session.client else {
            return None;
        };
        match next {
            Next::Drop => return None,
            Next::Close if wire.input().is_empty() && wire.is_quiet() => {
                finish(wire, &session.watch).await;
                return None;
            }
            // What comes now would make the system reset what the client has not read.
            Next::Close | Next::Linger => {
                linger(wire, &session.watch).await;
                return None;
            }
            Next::Request => silence = session.worker.limits().idle_timeout,
        }
    }
}

impl Session {
    fn into_arrival(self) -> Option<Arrival> {
        let Peer::H1(wire) = self.client else {
            return None;
        };
        let (transport, unread) = wire.into_parts();
        Some(Arrival {
            worker: self.worker,
            transport,
            unread,
            watch: self.watch,
            origin: self.origin,
        })
    }

    /// Waits for the next request head: `silence` for its first byte, and the
    /// configured time from there.
    async fn next_head(
        &mut self,
        silence: Duration,
        is_new: bool,
        guest: &mut Guest,
    ) -> Result<Box<Head>, End> {
        if let Peer::H1(wire) = &mut self.client {
            wire.rest();
        }
        let mut reading = Reading {
            is_new,
            guest,
            head: None,
            searched: 0,
            silence,
            timed: None,
            in_grace: false,
        };
        let result = poll_fn(|cx| self.poll_head(cx, &mut reading)).await;
        self.watch.set_idle(false);
        self.watch.disarm(Party::Client);
        result
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        reading: &mut Reading<'_>,
    ) -> Poll<Result<Box<Head>, End>> {
        loop {
            let Peer::H1(wire) = &mut self.client else {
                return Poll::Ready(Err(End::Quiet));
            };
            if reading.is_new && wire.input().starts_with(HTTP2_PREFACE) {
                return Poll::Ready(Err(End::Http2));
            }
            // Half a preface is half a request line too.
            let is_preface = reading.is_new && HTTP2_PREFACE.starts_with(wire.input());
            if !is_preface
                && reading.may_be_complete(wire.input(), || self.worker.limits().header_bytes)
            {
                let mut head = reading
                    .head
                    .take()
                    .unwrap_or_else(|| self.worker.take_head());
                match head.parse_request(wire.input(), self.worker.head_limits()) {
                    Ok(Some(length)) => {
                        wire.consume(length);
                        return Poll::Ready(Ok(head));
                    }
                    Ok(None) => reading.head = Some(head),
                    Err(error) => return Poll::Ready(Err(End::Wrong(error.into()))),
                }
            }
            // The first head on a connection, and one that has begun, wait for nobody.
            let filled = if reading.is_new || !wire.input().is_empty() {
                wire.poll_fill(cx)
            } else {
                let bell = reading.guest.bell(&self.worker.lobby, cx.waker());
                wire.poll_fill(&mut Context::from_waker(bell))
            };
            match filled {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(End::Quiet)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.poll_wait(cx, reading),
            }
        }
    }

    fn poll_wait(
        &mut self,
        cx: &Context<'_>,
        reading: &mut Reading<'_>,
    ) -> Poll<Result<Box<Head>, End>> {
        let Peer::H1(wire) = &self.client else {
            return Poll::Ready(Err(End::Quiet));
        };
        let started = !wire.input().is_empty();
        // A request that has just come, and that the runtime has not heard of, is served.
        let unused = !started && self.worker.is_draining() && wire.is_quiet();
        if unused && !reading.is_new {
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
                self.worker.limits().header_timeout
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
}

/// Closes where nothing can get lost. Under TLS that has to be said.
async fn finish(wire: &mut Wire, watch: &Guard) {
    let closing = poll_fn(|cx| wire.poll_goodbye(cx));
    // Whether it was told or not, there is nothing more to do.
    drop(watch.within(Party::Client, LINGER, closing).await);
}

/// Closes without losing what the client has not read yet.
async fn linger(wire: &mut Wire, watch: &Guard) {
    let draining = poll_fn(|cx| {
        if std::task::ready!(wire.poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        loop {
            let unread = wire.input().len();
            wire.consume(unread);
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(read)) if read > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    watch.within(Party::Client, LINGER, draining).await;
}

/// How far a head has come.
struct Reading<'a> {
    /// No request has come on the connection yet.
    is_new: bool,
    guest: &'a mut Guest,
    head: Option<Box<Head>>,
    /// Bytes of the input that were searched for the end of a head.
    searched: usize,
    silence: Duration,
    /// Whether the running time is the head's (`true`) or the silence before it.
    timed: Option<bool>,
    /// The connection is new and haldane drains: it gets [`NEW_GRACE`].
    in_grace: bool,
}

impl Reading<'_> {
    /// Whether it is worth parsing: the first time, and when an empty line has come
    /// since. A head that drips in is not parsed for every byte.
    fn may_be_complete(&mut self, input: &[u8], limit: impl FnOnce() -> usize) -> bool {
        if input.is_empty() {
            return false;
        }
        let from = std::mem::replace(&mut self.searched, input.len());
        if from == 0 || input.len() >= limit() {
            return true;
        }
        let tail = &input[from.saturating_sub(3).min(input.len())..];
        tail.windows(2).any(|pair| pair == b"\n\n")
            || tail.windows(3).any(|three| three == b"\n\r\n")
    }
}
