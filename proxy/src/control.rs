//! What happens beside requests, on a thread of its own.

pub(crate) mod driver;

use std::net::TcpListener;
use std::sync::Arc;

use haldane_config::Config;

use crate::live::Live;

/// Runs the control plane for as long as the process serves.
pub(crate) async fn run(
    live: &Arc<Live>,
    _config: &Config,
    _admin: TcpListener,
    _ops: Option<TcpListener>,
) {
    driver::drive(Arc::clone(live)).await;
}
