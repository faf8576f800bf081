//! What happens beside requests, on a thread of its own.

pub(crate) mod admin;
mod ask;
pub(crate) mod beat;
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
use beat::Beats;
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
pub(crate) async fn run(bound: Bound, beats: &Beats) {
    let live = Arc::clone(&bound.live);
    let mut stop = bound.stop.clone();
    notify::follow(&bound.config.notify, &live);
    // The admin and ops listeners are closed with it.
    let reloader = Reloader::start(bound);
    tokio::join!(
        keep("the driver", driver::drive, &live, beats),
        keep(
            "what looks after upstreams",
            upstreams::look_after,
            &live,
            beats
        ),
        keep("what asks for answers", outside::keep_asking, &live, beats),
        keep("what prepares rollouts", prepare::look_after, &live, beats),
        reloader.watch(beats),
        notify_socket::watchdog(),
        async {
            // An error means that nobody is left to say it.
            if stop.wait_for(|stop| *stop).await.is_ok() {
                reloader.close().await;
            }
        },
    );
}

/// Runs `start` again should it ever panic. Without the driver windows would stand still and
/// nothing would be logged, while requests go on; and so it is with the others.
async fn keep<F>(what: &str, start: impl Fn(Arc<Live>, Beats) -> F, live: &Arc<Live>, beats: &Beats)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        if let Err(error) = tokio::spawn(start(Arc::clone(live), beats.clone())).await {
            tracing::error!(%error, "{what} broke and starts again");
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}
