//! How a process ends: told to, or because the next one has taken over.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use haldane_config::Drain;
use tokio::sync::watch;

use crate::control::notify;
use crate::handover::InStep;
use crate::handover::successor::{Estate, Successor};
use crate::listeners::Listener;
use crate::live::Live;
use crate::notify_socket;

/// What workers are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Serving,
    /// Accept nothing more. Idle connections may still be used.
    Leaving,
    /// Close idle connections, finish what runs.
    Draining,
    /// Stop whatever runs.
    Stopping,
}

/// Those who must stop accepting.
pub(crate) struct Accepting<'a> {
    pub(crate) stage: &'a watch::Sender<Stage>,
    pub(crate) listeners: watch::Receiver<Vec<Arc<Listener>>>,
    /// Tells the admin and ops listeners to stop.
    pub(crate) control: &'a watch::Sender<bool>,
}

/// Waits for `shutdown`, or for a process that takes over what `estate` has, and drains.
/// Returns when the drain has taken too long. Until then `in_step` has what keeps this
/// process in step with the next, which hears of what happens last when that is finished.
pub(crate) async fn end(
    live: &Arc<Live>,
    accepting: Accepting<'_>,
    estate: Option<Estate>,
    in_step: &mut Option<InStep>,
    shutdown: impl Future<Output = ()>,
) {
    let taken_over = async {
        match &estate {
            Some(estate) => estate.successor().await,
            None => std::future::pending().await,
        }
    };
    let successor = tokio::select! {
        () = shutdown => None,
        successor = taken_over => Some(successor),
    };
    live.draining.store(true, Ordering::Relaxed);
    let drain = live.settings.load().drain;
    // From here on a socket ends with the last worker that closes it.
    drop(estate);
    for listener in accepting.listeners.borrow().iter() {
        listener.release();
    }
    match successor {
        None => stop(drain, &accepting).await,
        Some(successor) => make_way(live, drain, &accepting, successor, in_step).await,
    }
    let left = live.connections.load(Ordering::Relaxed);
    tracing::warn!(connections = left, "the drain timed out");
}

/// Readiness says no, new connections are still accepted for a while, then what runs is
/// finished.
async fn stop(drain: Drain, accepting: &Accepting<'_>) {
    notify_socket::stopping();
    notify_socket::status("draining");
    tracing::info!(linger = ?drain.linger, timeout = ?drain.timeout, "draining");
    tokio::time::sleep(drain.linger).await;
    accepting.stage.send_replace(Stage::Draining);
    tokio::time::sleep(drain.timeout).await;
}

/// New connections are the next process's at once. Clients that keep one are told with
/// their next answer to leave; who is silent for the linger is idle.
async fn make_way(
    live: &Arc<Live>,
    drain: Drain,
    accepting: &Accepting<'_>,
    successor: Successor,
    in_step: &mut Option<InStep>,
) {
    tracing::info!(timeout = ?drain.timeout, "the next process has taken over, draining");
    notify::retire(live);
    accepting.control.send_replace(true);
    accepting.stage.send_replace(Stage::Leaving);
    let leave = async {
        tokio::time::sleep(drain.linger).await;
        accepting.stage.send_replace(Stage::Draining);
        tokio::time::sleep(drain.timeout).await;
    };
    let go = async {
        *in_step = successor.go(live).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = go => {}
        () = leave => {}
    }
}
