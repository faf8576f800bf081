//! Answers from stable what the canary has failed, where nothing can be done twice by it.
//!
//! The failure has been charged to the canary before: a rollback is no later for it. What
//! is safe to repeat says RFC 9110 §9.2.2, unless nothing can have been processed at all.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use haldane_config::Shield as Setting;
use haldane_decide::refusal::StableReach;
use haldane_decide::role::Role;

use super::error::{ProxyError, Side, UpstreamError};
use super::exchange::{Exchange, Recall};
use super::inbound::wants_keep_alive;
use super::relay::Upload;
use super::replay::Replay;
use super::send::{Answer, Outbound, Processed, Sent, Unanswered};
use super::serve::Session;
use crate::h1::body::Framing;
use crate::h1::head::Head;
use crate::live::choice::Claim;
use crate::live::shard::FAILURE_STATUS;
use crate::upstream::Upstream;
use crate::worker::LocalRoute;

/// An answer that nobody gets is read to its end if no more of it than this is left, so
/// that its connection can be kept.
const SET_ASIDE_MAX: usize = 64 * 1024;

/// What is needed to send a request of the canary to stable.
pub(crate) struct Shield {
    /// Repeating the request does the same as sending it once.
    is_idempotent: bool,
    /// What was read of its body, if it has one.
    replay: Option<Rc<Replay>>,
}

impl Shield {
    /// The shield of a request that goes to a canary, if its route has one. Who names the
    /// canary wants to see the canary. The body is kept in `upload` from now on, up to
    /// `most` bytes.
    pub(crate) fn raise(
        outbound: &Outbound<'_>,
        claim: &Claim<'_>,
        upload: &mut Upload,
        most: usize,
    ) -> Option<Self> {
        let is_shielded =
            outbound.role == Role::Canary && outbound.local.route.config.shield != Setting::Off;
        if !is_shielded || matches!(claim, Claim::Forced(_)) {
            return None;
        }
        let most = match outbound.inbound.framing {
            Framing::Empty => None,
            // What is known to be too much is not worth keeping in part.
            Framing::Length(length) if length > most as u64 => Some(0),
            Framing::Chunked | Framing::Length(_) | Framing::UntilClose => Some(most),
        };
        let replay = most.map(|most| Rc::new(Replay::new(most)));
        if let Some(replay) = &replay {
            upload.pump.keep(Rc::clone(replay));
        }
        Some(Self {
            is_idempotent: outbound.inbound.is_idempotent(),
            replay,
        })
    }

    /// What `sending` gives, or why the canary is not waited for any more.
    pub(crate) async fn wait<F: Future>(
        &self,
        exchange: &Exchange<'_>,
        mut sending: Pin<&mut F>,
    ) -> Result<F::Output, Recall> {
        poll_fn(|cx| {
            if let Poll::Ready(output) = sending.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            // Whatever is waited for, the watch of the session wakes this task.
            match exchange.recall() {
                Some(recall) if self.may_recall(exchange) => Poll::Ready(Err(recall)),
                Some(_) | None => Poll::Pending,
            }
        })
        .await
    }

    /// Whether stable is to answer what became of the request, which the canary has been
    /// charged with. `upload` is its body so far.
    pub(crate) fn covers(
        &self,
        sent: &Sent,
        response: &Head,
        (upload, local): (&Upload, &LocalRoute),
    ) -> bool {
        let is_safe = match sent {
            Ok(answer) => {
                self.is_idempotent && !answer.switched && response.status >= FAILURE_STATUS
            }
            Err(unanswered) => {
                let is_failed = matches!(unanswered.error.side(), Side::Upstream(_));
                let is_kept = matches!(
                    unanswered.error,
                    ProxyError::Exhausted | ProxyError::Overloaded | ProxyError::RolledBack
                );
                (is_failed || is_kept)
                    && (self.is_idempotent || unanswered.processed == Processed::Nothing)
            }
        };
        is_safe && upload.pump.is_repeatable() && is_reachable(local)
    }

    /// The request is about to go to stable: nothing more is kept for another time.
    pub(crate) fn lower(&self, upload: &mut Upload) {
        if let Some(replay) = &self.replay {
            replay.close();
        }
        upload.rewind();
    }

    fn may_recall(&self, exchange: &Exchange<'_>) -> bool {
        let is_lost = self.replay.as_ref().is_some_and(|replay| replay.is_lost());
        self.is_idempotent && !is_lost && is_reachable(&exchange.local)
    }
}

impl From<Recall> for Unanswered {
    fn from(recall: Recall) -> Self {
        match recall {
            Recall::RolledBack => ProxyError::RolledBack.into(),
            Recall::Stalled => ProxyError::from(UpstreamError::Timeout).into(),
        }
    }
}

/// Whether stable may have an address that answers.
fn is_reachable(local: &LocalRoute) -> bool {
    local.route.stable_reach() == StableReach::Reachable
}

/// Does away with an answer that nobody gets. Its connection is kept if nothing of it is
/// left there.
pub(crate) fn set_aside(
    session: &Session,
    answer: Answer,
    response: &Head,
    (upload, exchange): (&Upload, &Exchange<'_>),
) {
    let Answer {
        mut connection,
        framing,
        ..
    } = answer;
    let mut reader = connection.peer.reader(framing);
    let mut left = SET_ASIDE_MAX;
    while !reader.is_done() {
        let Ok(piece) = reader.next(connection.peer.input()) else {
            break;
        };
        connection.peer.consume(piece.framing + piece.data);
        reader.used(piece.data);
        left = left.saturating_sub(piece.framing + piece.data);
        if left == 0 || reader.is_done() {
            break;
        }
        if piece.framing + piece.data > 0 {
            continue;
        }
        // Only what has come already.
        let cx = &mut Context::from_waker(Waker::noop());
        match connection.peer.poll_fill(cx) {
            Poll::Ready(Ok(0)) if reader.ends_at_close() => {}
            Poll::Ready(Ok(read)) if read > 0 => {}
            Poll::Ready(_) | Poll::Pending => break,
        }
    }
    if !reader.is_done() {
        return connection.give_up(None);
    }
    exchange.set_aside();
    let is_over = upload.is_complete() && framing != Framing::UntilClose;
    if is_over && connection.peer.input().is_empty() && wants_keep_alive(response) {
        Upstream::give_back(connection, session.worker.deadlines.now(), None);
    } else {
        connection.give_up(None);
    }
}
