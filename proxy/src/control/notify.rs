//! Tells others what happens to releases.
//!
//! An event is put into the queue of everybody who wants to know of it; a task for each
//! sends what is there, in order. Nobody waits for a target but its own task.

use std::sync::Arc;
use std::time::Duration;

use haldane_config::NotifyTarget;
use hyper::header::HeaderValue;
use tokio::time::{sleep, timeout};

use super::remote::{Message, exchange};
use crate::live::Live;
use crate::live::events::{Event, Happening};
use crate::live::notices::{Fate, Notice, Outbox, Stage};

mod form;
mod news;
pub(crate) mod patience;

use news::News;
use patience::{Reply, TIMEOUT, pause};

/// What sends to a target and breaks at once must not spin.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Tells these from now on.
pub(super) fn follow(targets: &[NotifyTarget], live: &Arc<Live>) {
    for outbox in live.notices.follow(targets) {
        drop(tokio::spawn(keep_sending(outbox, Arc::clone(live))));
    }
}

/// Puts what has happened since the last time into the queues.
pub(super) fn announce(live: &Live) {
    live.notices.advance(|announced| {
        let outboxes = live.notices.outboxes();
        let mut last = announced;
        for event in live.events.since(announced) {
            last = event.seq;
            for outbox in outboxes.iter() {
                if let Some(notice) = notice(&event, &outbox.target(), live) {
                    outbox.put(notice);
                }
            }
        }
        last
    });
}

/// Leaves what happens from now on for another process to tell, which follows the same
/// releases.
pub(crate) fn retire(live: &Live) {
    announce(live);
    live.notices.retire();
}

/// Waits until everything has been told, for at most so long.
pub(crate) async fn finish(live: &Live, limit: Duration) {
    announce(live);
    if timeout(limit, live.notices.settle()).await.is_err() {
        let notices = live.notices.waiting();
        tracing::warn!(notices, "the process ends before everything was told");
    }
}

fn notice(event: &Event, target: &NotifyTarget, live: &Live) -> Option<Notice> {
    let Happening::Release(release) = &event.what else {
        return None;
    };
    let news = News::of(release)?;
    if !target.events.contains(&news.event) {
        return None;
    }
    let id = live.notices.id(event.seq);
    let body = form::write(&news, &id, &target.format)?;
    Some(Notice {
        id,
        event: news.event,
        body,
    })
}

/// Sends until the target is gone, also should the sending ever panic.
async fn keep_sending(outbox: Arc<Outbox>, live: Arc<Live>) {
    loop {
        match tokio::spawn(send_all(Arc::clone(&outbox), Arc::clone(&live))).await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(%error, "what tells others broke and starts again");
                outbox.done(Fate::Failed);
            }
        }
        sleep(RESTART_PAUSE).await;
    }
}

async fn send_all(outbox: Arc<Outbox>, live: Arc<Live>) {
    while let Some(notice) = outbox.next().await {
        let fate = deliver(&notice, &outbox, &live).await;
        outbox.done(fate);
    }
}

/// Tries until the target has it or will not have it.
async fn deliver(notice: &Notice, outbox: &Outbox, live: &Live) -> Fate {
    let (target, event, id) = (&*outbox.host(), notice.event.as_str(), &*notice.id);
    for tries in 1.. {
        let (reply, problem) = attempt(notice, outbox, live).await;
        let asked = match reply {
            Reply::Accepted if tries > 1 => {
                tracing::info!(target, event, id, tries, "told");
                return Fate::Delivered;
            }
            Reply::Accepted => return Fate::Delivered,
            Reply::Later(asked) => asked,
            Reply::Never => {
                tracing::warn!(target, event, id, problem, "cannot be told");
                return Fate::Failed;
            }
        };
        let stage = outbox.stage();
        if stage == Stage::Gone {
            return Fate::Dropped;
        }
        let pause = pause(tries, asked, fastrand::f64()).filter(|_| stage == Stage::Open);
        let Some(pause) = pause else {
            tracing::warn!(target, event, id, tries, problem, "was not told");
            return Fate::Failed;
        };
        if tries == 1 {
            tracing::warn!(
                target,
                event,
                id,
                problem,
                "cannot be told now, is tried again"
            );
        } else {
            tracing::debug!(target, event, id, tries, problem, "cannot be told yet");
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = outbox.hurried() => {}
        }
    }
    Fate::Failed
}

/// Tries once. What came of it, and what is wrong.
async fn attempt(notice: &Notice, outbox: &Outbox, live: &Live) -> (Reply, String) {
    let message = Message {
        body: Some(notice.body.clone()),
        id: HeaderValue::from_str(&notice.id).ok(),
        below: None,
    };
    match exchange(&outbox.target().remote, message, TIMEOUT, live).await {
        Ok(answer) => {
            let reply = Reply::of(answer.status, &answer.fields, live.clock.now());
            (reply, answer.status.to_string())
        }
        Err(failure) => (Reply::Later(None), failure.to_string()),
    }
}
