//! A session after the protocol was switched: bytes in both directions until an end.
//!
//! A session counts once. It is a success when it ends well or has stood for a while,
//! and a failure of its version when that breaks it off.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use haldane_config::Timeouts;
use haldane_decide::outcome::FailureReason;

use super::exchange::Exchange;
use super::pump::{Broken, Pump};
use super::serve::{Next, Session};
use crate::clock::{Micros, micros};
use crate::deadline::{Guard, Party};
use crate::peer::Peer;
use crate::upstream::Connection;
use crate::websocket::{self, Frames};

/// A session that has stood for so long is a success: waiting for its end, which may
/// be days away, would leave its version without evidence.
const SETTLED: Micros = 10_000_000;

/// How often it is looked at what a session does not hear of by itself.
const LOOK: Duration = Duration::from_secs(1);

/// When one side has said all, the other gets this long without any progress.
const HALF_CLOSED: Duration = Duration::from_secs(10);

/// How long the end of a frame, and then the answer to a close frame, is waited for.
const CLOSING: Duration = Duration::from_secs(2);

/// A session and what is known of it.
pub(crate) struct Tunnel<'a, 'e> {
    pub(crate) exchange: &'a mut Exchange<'e>,
    pub(crate) timeouts: Timeouts,
    pub(crate) is_websocket: bool,
}

/// Both directions.
struct Flow {
    up: Pump,
    down: Pump,
    started: Micros,
    /// What had been moved when it was last looked at.
    seen: Option<(u64, u64, bool)>,
    /// When the session has to end: its canary has lost its traffic, or haldane drains.
    leave_by: Option<Micros>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The client went away.
    Abandoned,
    /// The upstream broke it off.
    Broken,
    /// Both have said all.
    Complete,
    /// It had to, and the grace is over.
    Evicted,
    /// Nothing has moved for too long.
    Idle,
}

impl Tunnel<'_, '_> {
    /// Relays until the session ends.
    pub(crate) async fn run(mut self, session: &mut Session, mut connection: Connection) -> Next {
        let frames = || self.is_websocket.then(Frames::default);
        let mut flow = Flow {
            up: Pump::tunnel(frames()),
            down: Pump::tunnel(frames()),
            started: session.worker.deadlines.now(),
            seen: None,
            leave_by: None,
        };
        let end = poll_fn(|cx| self.poll(cx, session, &mut connection.peer, &mut flow)).await;
        session.watch.disarm_all();
        let end = match end {
            // What both have closed is over, whoever lets go of it first, and however.
            End::Abandoned | End::Broken if flow.is_closed() => End::Complete,
            end => end,
        };
        match end {
            End::Complete | End::Idle => self.exchange.session_succeeded(),
            End::Broken => {
                self.exchange.fail(FailureReason::Truncated);
                self.exchange.client_sees_error();
            }
            End::Abandoned | End::Evicted => {}
        }
        session.notes.bytes(flow.up.moved, flow.down.moved);
        let whole = matches!(end, End::Complete | End::Idle);
        session.notes.note(|facts| facts.complete = whole);
        self.exchange.end();
        match end {
            End::Complete => {}
            End::Abandoned | End::Broken | End::Idle => connection.give_up(session.client.reason()),
            End::Evicted => {
                part(session, &mut connection.peer, &mut flow).await;
                connection.give_up(None);
            }
        }
        match end {
            End::Complete | End::Evicted | End::Idle => Next::Close,
            End::Abandoned | End::Broken => Next::Drop,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut Session,
        upstream: &mut Peer,
        flow: &mut Flow,
    ) -> Poll<End> {
        let (client, watch) = (&mut session.client, &session.watch);
        if let Some(end) = flow.poll_directions(cx, client, upstream) {
            return Poll::Ready(end);
        }
        let seen = Some((
            flow.up.moved,
            flow.down.moved,
            flow.up.is_done() || flow.down.is_done(),
        ));
        if std::mem::replace(&mut flow.seen, seen) != seen {
            let half = matches!(seen, Some((_, _, true)));
            let idle = if half {
                HALF_CLOSED
            } else {
                self.timeouts.idle_session
            };
            watch.arm(Party::Client, idle);
        } else if watch.is_over(Party::Client) {
            return Poll::Ready(End::Idle);
        }
        if !watch.is_armed(Party::Upstream) || watch.is_over(Party::Upstream) {
            watch.arm(Party::Upstream, LOOK);
            let now = watch.now();
            if now.saturating_sub(flow.started) >= SETTLED {
                self.exchange.session_succeeded();
            }
            flow.leave_by = self.leave_by(session, flow.leave_by, now);
            if flow.leave_by.is_some_and(|leave_by| leave_by <= now) {
                return Poll::Ready(End::Evicted);
            }
        }
        watch.wait(cx);
        Poll::Pending
    }

    /// When the session has to end, if it has to.
    fn leave_by(&self, session: &Session, before: Option<Micros>, now: Micros) -> Option<Micros> {
        let grace = micros(self.timeouts.session_grace);
        if session.worker.is_draining() {
            // Both sides are told before the drain is over.
            let timeout = session.worker.settings().drain.timeout;
            let left = micros(timeout.saturating_sub(2 * CLOSING + LOOK));
            let leave_by = now.saturating_add(grace.min(left));
            return before.or(Some(leave_by));
        }
        let leave_by = now.saturating_add(grace);
        self.exchange.standing().leave_by(before, leave_by)
    }
}

impl Flow {
    fn poll_directions(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Peer,
        upstream: &mut Peer,
    ) -> Option<End> {
        match poll_direction(cx, &mut self.down, upstream, client) {
            Poll::Ready(Err(Broken::Receiver)) => return Some(End::Abandoned),
            Poll::Ready(Err(Broken::Framing | Broken::Sender)) => return Some(End::Broken),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        match poll_direction(cx, &mut self.up, client, upstream) {
            Poll::Ready(Err(Broken::Framing | Broken::Sender)) => return Some(End::Abandoned),
            // What the upstream has still sent was read above.
            Poll::Ready(Err(Broken::Receiver)) if !self.down.is_done() => return Some(End::Broken),
            Poll::Ready(_) | Poll::Pending => {}
        }
        if let Peer::H2(stream) = client
            && stream.poll_given_up(cx).is_ready()
        {
            return Some(End::Abandoned);
        }
        if self.down.is_done() && self.broke_off() {
            return Some(End::Broken);
        }
        (self.up.is_done() && self.down.is_done()).then_some(End::Complete)
    }

    /// Whether both have sent a close frame.
    fn is_closed(&self) -> bool {
        let has_closed = |pump: &Pump| pump.frames().is_some_and(Frames::has_closed);
        has_closed(&self.up) && has_closed(&self.down)
    }

    /// Whether the upstream ended without having said so, nor having been asked to
    /// (RFC 6455 §7.1.5).
    fn broke_off(&self) -> bool {
        let has_closed = |pump: &Pump| pump.frames().is_none_or(Frames::has_closed);
        !has_closed(&self.down) && !has_closed(&self.up) && !self.up.is_done()
    }
}

/// Moves one direction; its end is passed on once all before it was.
fn poll_direction(
    cx: &mut Context<'_>,
    pump: &mut Pump,
    from: &mut Peer,
    to: &mut Peer,
) -> Poll<Result<(), Broken>> {
    std::task::ready!(pump.poll(cx, from, to))?;
    pump.finish(to);
    if let Peer::H1(wire) = to {
        let flushed = std::task::ready!(wire.poll_flush(cx));
        flushed.map_err(|_| Broken::Receiver)?;
        // An end that cannot be said any more is known to the other side.
        drop(std::task::ready!(wire.poll_shutdown(cx)));
    }
    Poll::Ready(Ok(()))
}

/// Ends a session so that both sides can tell why: a client may connect again.
async fn part(session: &mut Session, upstream: &mut Peer, flow: &mut Flow) {
    let Session { client, watch, .. } = session;
    // A close frame goes between two frames.
    let between = poll_fn(|cx| {
        while flow
            .down
            .frames()
            .is_some_and(|frames| !frames.is_between())
        {
            if std::task::ready!(flow.down.poll(cx, upstream, client)).is_err()
                || flow.down.is_done()
            {
                break;
            }
        }
        Poll::Ready(())
    });
    watch.within(Party::Client, CLOSING, between).await;
    let is_between = |pump: &Pump| !pump.is_done() && pump.frames().is_some_and(Frames::is_between);
    if is_between(&flow.down) {
        let frame = websocket::close_from_server(websocket::SERVICE_RESTART);
        say(client, watch, &frame).await;
    }
    if is_between(&flow.up) {
        let frame = websocket::close_from_client(websocket::GOING_AWAY);
        say(upstream, watch, &frame).await;
    }
    // The client answers with a close frame of its own, and need not.
    let answered = poll_fn(|cx| {
        while !flow.up.frames().is_none_or(Frames::has_closed) {
            let unread = client.input().len();
            client.consume(unread);
            match std::task::ready!(client.poll_fill(cx)) {
                Ok(read) if read > 0 => flow.up.follow(client.input()),
                Ok(_) | Err(_) => break,
            }
        }
        Poll::Ready(())
    });
    watch.within(Party::Client, CLOSING, answered).await;
    flow.down.finish(client);
    session.origin.leave();
}

async fn say(to: &mut Peer, watch: &Guard, frame: &[u8]) {
    let mut left = frame;
    let saying = poll_fn(|cx| {
        while !left.is_empty() {
            match std::task::ready!(to.poll_send(cx, left)) {
                Ok(sent) if sent > 0 => left = &left[sent..],
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
        to.poll_flush(cx).map(drop)
    });
    // Whoever does not take it will see the end.
    watch.within(Party::Client, CLOSING, saying).await;
}
