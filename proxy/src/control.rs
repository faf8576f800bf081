//! What happens beside requests, on a thread of its own.

pub(crate) mod admin;
pub(crate) mod driver;

use std::net::TcpListener;
use std::sync::Arc;

use haldane_config::Config;

use crate::live::Live;
use admin::{Plane, Surface, listen};

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
        driver::drive(Arc::clone(live)),
        listen::serve(admin, Arc::clone(&plane), Surface::Admin),
        serve_ops,
    );
}
