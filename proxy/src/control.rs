//! What happens beside requests, on a thread of its own.

pub(crate) mod admin;
pub(crate) mod driver;
pub(crate) mod upstreams;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use haldane_config::Config;

use crate::live::Live;
use admin::{Plane, Surface, listen};

/// A driver that breaks at once must not spin.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Runs the control plane for as long as the process serves.
pub(crate) async fn run(
    live: &Arc<Live>,
    config: &Config,
    admin: TcpListener,
    ops: Option<TcpListener>,
) {
    let plane = Arc::new(Plane::new(live, config, &admin));
    let serve_ops = async {
        if let Some(ops) = ops {
            listen::serve(ops, Arc::clone(&plane), Surface::Ops).await;
        }
    };
    tokio::join!(
        keep_driving(live),
        keep_looking_after(live),
        listen::serve(admin, Arc::clone(&plane), Surface::Admin),
        serve_ops,
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
