//! Ends calls of a canary that has lost its traffic: a grace later, like sessions.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use haldane_decide::role::Role;

use super::exchange::Exchange;
use crate::clock::micros;
use crate::deadline::Party;

/// How often it is looked at what a call does not hear of by itself.
const LOOK: Duration = Duration::from_secs(1);

/// What `going` gives; `None` if it is part of a call, and still goes on when the
/// canary of the call has been without traffic for the grace of sessions.
pub(crate) async fn outlast<F: Future>(
    exchange: &Exchange<'_>,
    is_call: bool,
    mut going: Pin<&mut F>,
) -> Option<F::Output> {
    if !is_call || exchange.role() == Role::Stable {
        return Some(going.await);
    }
    // Begins with its first poll: most calls are over before there is anything to see.
    let mut evicted = Box::pin(evicted(exchange));
    poll_fn(|cx| {
        if let Poll::Ready(output) = going.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        evicted.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Ready when the call has to end.
async fn evicted(exchange: &Exchange<'_>) {
    let watch = exchange.worker.deadlines.register();
    let grace = micros(exchange.local.route.config.timeouts.session_grace);
    let mut leave_by = None;
    loop {
        watch.within(Party::Upstream, LOOK, pending::<()>()).await;
        let now = watch.now();
        let soon = now.saturating_add(grace);
        leave_by = exchange.standing().leave_by(leave_by, soon);
        if leave_by.is_some_and(|leave_by| leave_by <= now) {
            return;
        }
    }
}
