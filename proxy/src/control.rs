//! What happens beside requests, on a thread of its own.

pub(crate) mod admin;
mod ask;
pub(crate) mod driver;
pub(crate) mod notify;
pub(crate) mod outside;
mod prepare;
mod reload;
pub(crate) mod remote;
pub(crate) mod state_file;
mod surfaces;
pub(crate) mod upstreams;

use std::sync::Arc;
use std::time::Duration;

use haldane_config::Config;
use tokio::sync::watch;

use crate::handover::successor::Beside;
use crate::listeners::Listener;
use crate::live::Live;
use crate::notify_socket;
use crate::origin::Origin;
use admin::socket::AdminSocket;
use reload::Reloader;

/// A driver that breaks at once must not spin.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A process that has what it listens on, as the control plane needs it.
pub(crate) struct Bound {
    pub(crate) live: Arc<Live>,
    /// Where the configuration is read again, if anywhere.
    pub(crate) origin: Option<Origin>,
    /// What is in force.
    pub(crate) config: Config,
    /// What workers listen on.
    pub(crate) listeners: watch::Sender<Vec<Arc<Listener>>>,
    pub(crate) admin: AdminSocket,
    pub(crate) ops: Option<AdminSocket>,
    /// Where the admin and ops listeners are to be found for the next process.
    pub(crate) beside: Beside,
    /// Says true when they are to be closed.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Runs the control plane for as long as the process serves.
pub(crate) async fn run(bound: Bound) {
    let live = Arc::clone(&bound.live);
    let mut stop = bound.stop.clone();
    notify::follow(&bound.config.notify, &live);
    // The admin and ops listeners are closed with it.
    let reloader = Reloader::start(bound);
    tokio::join!(
        keep_driving(&live),
        keep_looking_after(&live),
        keep_asking(&live),
        keep_preparing(&live),
        reloader.watch(),
        notify_socket::watchdog(),
        async {
            // An error means that nobody is left to say it.
            if stop.wait_for(|stop| *stop).await.is_ok() {
                reloader.close().await;
            }
        },
    );
}

/// Runs the driver, and runs it again should it ever panic: without it windows stand
/// still and nothing is logged, while requests go on.
async fn keep_driving(live: &Arc<Live>) {
    loop {
        if let Err(error) = tokio::spawn(driver::drive(Arc::clone(live))).await {
            tracing::error!(%error, "the driver broke and starts again");
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// The same for what looks after addresses.
async fn keep_looking_after(live: &Arc<Live>) {
    loop {
        if let Err(error) = tokio::spawn(upstreams::look_after(Arc::clone(live))).await {
            tracing::error!(%error, "what looks after upstreams broke and starts again");
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// The same for what asks for the answers that gates judge by.
async fn keep_asking(live: &Arc<Live>) {
    loop {
        if let Err(error) = tokio::spawn(outside::keep_asking(Arc::clone(live))).await {
            tracing::error!(%error, "what asks for answers broke and starts again");
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// The same for what comes before the first step of a rollout.
async fn keep_preparing(live: &Arc<Live>) {
    loop {
        if let Err(error) = tokio::spawn(prepare::look_after(Arc::clone(live))).await {
            tracing::error!(%error, "what prepares rollouts broke and starts again");
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}
