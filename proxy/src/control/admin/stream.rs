//! What happens, as it happens: server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! `event: happened` is an entry of the log, with its number as id, so that a client that
//! comes back misses none that is still kept; `event: status` is every route as it stands,
//! once a second.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame};
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::counted::Lately;
use super::problem::Problem;
use super::reply::{Reply, reply};
use super::{seq, view};
use crate::live::Live;
use crate::telemetry::make_way;

/// How often every route is told.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// So many pieces wait for a client that reads slowly.
const QUEUED_MAX: usize = 2;

/// A client that lost its connection comes back after so many milliseconds.
const COME_BACK: &str = "retry: 1000\n\n";

/// The events after the one that the client has seen, and then all that come.
pub(super) fn open(live: &Arc<Live>, head: &Parts) -> Result<Reply, Problem> {
    let seen = seen(head, live)?;
    let mut answer = reply(StatusCode::OK, "text/event-stream", Bytes::new());
    // Whatever stands between must not collect what is to be seen at once.
    let unbuffered = HeaderValue::from_static("no");
    answer.headers_mut().insert("x-accel-buffering", unbuffered);
    if head.method == Method::HEAD {
        return Ok(answer);
    }
    let (sender, receiver) = mpsc::channel(QUEUED_MAX);
    tokio::spawn(tell(Arc::clone(live), seen, sender));
    *answer.body_mut() = Chunks(receiver).boxed_unsync();
    Ok(answer)
}

/// By `Last-Event-ID`, which a browser sends when it comes back, or `?since=SEQ`; from now
/// on without them.
fn seen(head: &Parts, live: &Live) -> Result<u64, Problem> {
    let query = seq(head, "since")?;
    let last = head.headers.get("last-event-id");
    let last = last.and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    Ok(last.or(query).unwrap_or_else(|| live.events.last()))
}

/// Sends until nobody listens any more. A client that does not read is not told what it
/// would not read: the log is looked at when there is room again.
async fn tell(live: Arc<Live>, mut seen: u64, sender: mpsc::Sender<String>) {
    let mut newest = live.events.subscribe();
    let mut ticks = tokio::time::interval(STATUS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lately = Lately::default();
    let mut text = COME_BACK.to_owned();
    loop {
        for event in live.events.recorded_since(seen) {
            seen = event.seq();
            if let Ok(data) = serde_json::to_string(&event) {
                // Writing to a `String` cannot fail.
                let _ = write!(text, "event: happened\nid: {seen}\ndata: {data}\n\n");
            }
        }
        if !text.is_empty() && sender.send(std::mem::take(&mut text)).await.is_err() {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            changed = newest.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            _ = ticks.tick() => {
                // All streams have their turn in the same moment.
                make_way();
                if let Ok(data) = serde_json::to_string(&view::routes_lately(&mut lately, &live)) {
                    let _ = write!(text, "event: status\ndata: {data}\n\n");
                }
            }
        }
    }
}

/// What is sent, piece by piece.
struct Chunks(mpsc::Receiver<String>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = std::task::ready!(self.0.poll_recv(cx));
        make_way();
        Poll::Ready(next.map(|text| Ok(Frame::data(text.into()))))
    }
}
