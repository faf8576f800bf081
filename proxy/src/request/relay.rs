//! Streams a request up and its response down at the same time, and sees how each ended.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use super::exchange::Exchange;
use super::pump::{Broken, End, Pump};
use crate::buffers::SMALL;
use crate::deadline::{Guard, Party};
use crate::h1::head::{Head, HeadLimits};
use crate::h1::wire::Wire;
use crate::http2::stream::NoHead;
use crate::peer::Peer;

/// A client that has closed its half of the connection waits for its answer, or has left:
/// both look the same. After so long it is asked, and then looked at as often.
const ASK_AFTER: Duration = Duration::from_millis(500);

/// Both ends of an exchange.
pub(crate) struct Relay<'a> {
    pub(crate) client: &'a mut Peer,
    pub(crate) upstream: &'a mut Peer,
    pub(crate) watch: &'a Guard,
    /// The request body.
    pub(crate) upload: &'a mut Upload,
    /// Without progress in either body for this long, whoever is waited for has failed.
    pub(crate) idle_body: Duration,
}

/// The request body on its way, and how it went.
pub(crate) struct Upload {
    pub(crate) pump: Pump,
    /// The upstream does not take any more; it may still answer.
    refused: bool,
    /// How far the last call had come, to see progress.
    seen: u64,
    /// The time until the response head is running.
    response_due: bool,
    /// The client sends nothing before the upstream has said `100 Continue`.
    pub(crate) awaits_continue: bool,
    /// How often the client may still be asked whether it is there.
    questions: u8,
}

/// Why there is no response head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HeadFailure {
    /// The client broke the framing of its body.
    ClientBody,
    /// The client left.
    ClientLeft,
    /// The client did not send on.
    ClientTooSlow,
    /// The upstream closed or reset the connection before the first byte of an answer.
    NoAnswer,
    /// The upstream will close the connection, and says that it has not begun with the
    /// request (RFC 9113 §6.8); so it is if the connection is still open.
    GoneAway,
    /// The upstream says that it has not begun with the request (RFC 9113 §8.7).
    Refused,
    /// The upstream broke off within the head.
    Reset,
    /// What came is no response head.
    Malformed,
    /// No head in time.
    Timeout,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// The client went away first: says nothing about the version.
    Abandoned,
    /// The upstream broke off: counts against the version.
    Broken,
    /// Every byte was read. `at_once` if the last came with the head.
    Complete { at_once: bool },
    /// The version has lost its traffic, and had its grace.
    Evicted,
    /// The upstream stopped sending.
    Stalled,
}

impl Upload {
    /// `reads_interim`: the client reads interim responses.
    pub(crate) fn new(pump: Pump, awaits_continue: bool, reads_interim: bool) -> Self {
        Self {
            pump,
            refused: false,
            seen: 0,
            response_due: false,
            awaits_continue,
            questions: u8::from(reads_interim),
        }
    }

    /// Begins again, towards another connection.
    pub(crate) fn rewind(&mut self) {
        self.pump.rewind();
        self.refused = false;
        self.seen = 0;
        self.response_due = false;
    }

    /// Whether the upstream has taken the whole body.
    pub(crate) fn is_complete(&self) -> bool {
        self.pump.is_done() && !self.refused
    }

    /// Whether it is the upstream's turn: the response is due.
    fn awaits_upstream(&self) -> bool {
        self.is_over() || (self.awaits_continue && self.pump.moved == 0)
    }

    fn is_over(&self) -> bool {
        self.pump.is_done() || self.refused
    }
}

impl Relay<'_> {
    /// Waits for the next response head, interim or final, while the request body
    /// goes up. `timeout` counts from the end of the request.
    pub(crate) async fn head(
        &mut self,
        head: &mut Head,
        limits: HeadLimits,
        timeout: Duration,
        exchange: &Exchange<'_>,
    ) -> Result<(), HeadFailure> {
        self.upload.response_due = false;
        let result = poll_fn(|cx| {
            let answered = self.poll_head(cx, head, limits);
            if answered.is_pending() {
                self.watch_head(timeout, exchange);
                self.watch.wait(cx);
            }
            answered
        })
        .await;
        self.watch.disarm_all();
        result
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        limits: HeadLimits,
    ) -> Poll<Result<(), HeadFailure>> {
        self.poll_upload(cx)?;
        let answered = match self.upstream {
            Peer::H1(wire) => poll_text(cx, wire, head, limits),
            Peer::H2(stream) => stream
                .poll_head(cx, head, limits)
                .map_err(HeadFailure::from),
        };
        if answered.is_ready() {
            return answered;
        }
        self.poll_client_left(cx, true)
            .map_err(|()| HeadFailure::ClientLeft)?;
        if self.watch.is_over(Party::Upstream) {
            return Poll::Ready(Err(HeadFailure::Timeout));
        }
        if self.watch.is_over(Party::Client) {
            if !self.has_client_ended() {
                return Poll::Ready(Err(HeadFailure::ClientTooSlow));
            }
            self.ask_client(cx).map_err(|_| HeadFailure::ClientLeft)?;
            self.watch.disarm(Party::Client);
        }
        Poll::Pending
    }

    fn has_client_ended(&self) -> bool {
        match &*self.client {
            Peer::H1(wire) => wire.has_ended(),
            Peer::H2(_) => false,
        }
    }

    /// Asks a client that writes nothing more whether it still reads, by an interim
    /// response that it may ignore (RFC 9110 §15.2.1). Where there is nobody the system
    /// of the client says so, which is seen the next time.
    fn ask_client(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Peer::H1(wire) = &mut *self.client else {
            return Ok(());
        };
        if let Some(error) = wire.socket().take_error()? {
            return Err(error);
        }
        if std::mem::take(&mut self.upload.questions) > 0 {
            wire.output()
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        match wire.poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    /// While the body goes up, whoever is waited for must go on. Then the time for the response runs.
    fn watch_head(&mut self, timeout: Duration, exchange: &Exchange<'_>) {
        if !self.upload.awaits_upstream() {
            // A client need not wait to be told to continue.
            self.upload.response_due = false;
            exchange.end_wait();
            let waits = match self.upload.pump.waits_for {
                End::Receiver => Party::Upstream,
                End::Sender => Party::Client,
            };
            let moved = self.upload.pump.moved;
            if std::mem::replace(&mut self.upload.seen, moved) != moved
                || !self.watch.is_armed(waits)
            {
                self.watch.arm_only(waits, self.idle_body);
            }
        } else if !std::mem::replace(&mut self.upload.response_due, true) {
            self.watch.arm_only(Party::Upstream, timeout);
            exchange.await_head(self.watch.now());
        }
        if self.upload.is_over() && self.has_client_ended() && !self.watch.is_armed(Party::Client) {
            self.watch.arm(Party::Client, ASK_AFTER);
        }
    }

    /// Moves the request body up. An upstream that refuses it may have answered already.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), HeadFailure> {
        if !self.upload.is_over() {
            match self.upload.pump.poll(cx, self.client, self.upstream) {
                Poll::Ready(Ok(())) => self.upload.pump.finish(self.upstream),
                Poll::Pending => {}
                Poll::Ready(Err(Broken::Framing)) => return Err(HeadFailure::ClientBody),
                Poll::Ready(Err(Broken::Sender)) => return Err(HeadFailure::ClientLeft),
                Poll::Ready(Err(Broken::Receiver)) => self.upload.refused = true,
            }
        }
        if self.upload.is_complete() && matches!(self.upstream.poll_flush(cx), Poll::Ready(Err(_)))
        {
            self.upload.refused = true;
        }
        Ok(())
    }

    /// Sees whether the client went away while nothing is expected from it. What it
    /// sends ahead is kept for the next request, up to one buffer. Before it was answered
    /// (`is_unanswered`) it may close its half of the connection, and not later.
    fn poll_client_left(&mut self, cx: &mut Context<'_>, is_unanswered: bool) -> Result<(), ()> {
        let wire = match self.client {
            Peer::H1(wire) => wire,
            Peer::H2(stream) => {
                let given_up = stream.poll_given_up(cx).is_ready();
                return if given_up { Err(()) } else { Ok(()) };
            }
        };
        while self.upload.is_over() && wire.has_room(SMALL) && !wire.has_ended() {
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(read)) if read > 0 || is_unanswered => {}
                Poll::Ready(_) => return Err(()),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Streams the response body down, and what is left of the request up. The client
    /// is not told yet that a body is complete.
    pub(crate) async fn body(&mut self, download: &mut Pump) -> Ending {
        let mut seen = None;
        let mut polls = 0_u32;
        let ending = poll_fn(|cx| {
            polls += 1;
            let ending = self.poll_body(cx, download, &mut seen);
            ending.map(|ending| match ending {
                Ending::Complete { .. } => Ending::Complete {
                    at_once: polls == 1,
                },
                other => other,
            })
        })
        .await;
        self.watch.disarm_all();
        ending
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        download: &mut Pump,
        seen: &mut Option<(u64, u64, End)>,
    ) -> Poll<Ending> {
        match download.poll(cx, self.upstream, self.client) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ending::Complete { at_once: false }),
            Poll::Ready(Err(Broken::Framing | Broken::Sender)) => {
                return Poll::Ready(Ending::Broken);
            }
            Poll::Ready(Err(Broken::Receiver)) => return Poll::Ready(Ending::Abandoned),
            Poll::Pending => {}
        }
        if self.poll_upload(cx).is_err() || self.poll_client_left(cx, false).is_err() {
            return Poll::Ready(Ending::Abandoned);
        }
        let waits = match download.waits_for {
            End::Receiver => Party::Client,
            End::Sender => Party::Upstream,
        };
        // Streams in both directions count as one: progress in either is progress.
        let now = Some((download.moved, self.upload.pump.moved, download.waits_for));
        if std::mem::replace(seen, now) != now {
            self.watch.arm_only(waits, self.idle_body);
        }
        if self.watch.is_over(Party::Upstream) {
            return Poll::Ready(Ending::Stalled);
        }
        if self.watch.is_over(Party::Client) {
            return Poll::Ready(Ending::Abandoned);
        }
        self.watch.wait(cx);
        Poll::Pending
    }
}

/// Reads a response head that comes as text.
fn poll_text(
    cx: &mut Context<'_>,
    upstream: &mut Wire,
    head: &mut Head,
    limits: HeadLimits,
) -> Poll<Result<(), HeadFailure>> {
    loop {
        if !upstream.input().is_empty() {
            match head.parse_response(upstream.input(), limits) {
                Ok(Some(length)) => {
                    upstream.consume(length);
                    return Poll::Ready(Ok(()));
                }
                Ok(None) => {}
                Err(_) => return Poll::Ready(Err(HeadFailure::Malformed)),
            }
        }
        match std::task::ready!(upstream.poll_fill(cx)) {
            Ok(read) if read > 0 => {}
            _ if upstream.input().is_empty() => return Poll::Ready(Err(HeadFailure::NoAnswer)),
            _ => return Poll::Ready(Err(HeadFailure::Reset)),
        }
    }
}

impl From<NoHead> for HeadFailure {
    fn from(none: NoHead) -> Self {
        match none {
            NoHead::Ended(error)
                if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) =>
            {
                Self::Refused
            }
            NoHead::Ended(error)
                if error.is_go_away()
                    && error.is_remote()
                    && error.reason() == Some(h2::Reason::NO_ERROR) =>
            {
                Self::GoneAway
            }
            // `h2` gave the stream up, for what came on it (RFC 9113 §8.1.1).
            NoHead::Ended(error) if error.is_reset() && error.is_library() => Self::Malformed,
            NoHead::Ended(error) if error.is_reset() => Self::Reset,
            NoHead::Ended(_) => Self::NoAnswer,
            NoHead::Refused => Self::Malformed,
        }
    }
}
