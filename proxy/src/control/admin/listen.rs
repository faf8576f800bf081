//! Accepts admin connections and serves them, whatever they do.
//!
//! ## Why the oldest connection goes when there are too many
//!
//! The kill switch must be reachable. If new connections were refused at the limit,
//! whoever holds that many silent ones would keep everybody out until they time out.
//! A command takes effect before its answer is written, and it takes microseconds,
//! so the oldest of many connections is hardly one that is being used.
//!
//! For the same reason a listener has a reserve of descriptors: clients may have all others.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::socket::{AdminSocket, Stream};
use super::{Plane, Surface, answer};
use crate::accept_error::{Accepting, pause};
use crate::descriptors::Reserve;
use crate::upstream::dial::is_exhaustion;

/// Connections of one listener; far more than people, pipelines and scrapers need.
const CONNECTIONS_MAX: usize = 256;

/// How long a request head may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may last: bounds those that never read their answer.
const LIFETIME: Duration = Duration::from_secs(120);

/// Bytes of a request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Accepts until the sender of `stopped` is dropped, and then whoever waits already.
/// Connections outlive it.
pub(in crate::control) async fn serve(
    socket: AdminSocket,
    plane: Arc<Plane>,
    surface: Surface,
    mut stopped: watch::Receiver<()>,
) {
    let listener = match socket.into_accepting() {
        Ok(listener) => listener,
        Err(error) => {
            // Traffic goes on without it.
            tracing::error!(%error, ?surface, "cannot serve");
            return;
        }
    };
    let mut accepting = Accepting::default();
    let mut open = Connections {
        plane,
        surface,
        tasks: VecDeque::new(),
        reserve: Arc::new(Reserve::new()),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            // Nothing is ever sent: the sender is gone.
            _ = stopped.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) => {
                accepting.succeeded();
                open.begin(stream);
            }
            Err(error) if is_exhaustion(&error) && open.reserve.give() => {}
            Err(error) => pause(accepting.failed(&error)).await,
        }
    }
    listener.close(|stream| open.begin(stream));
}

/// The connections of one listener.
struct Connections {
    plane: Arc<Plane>,
    surface: Surface,
    tasks: VecDeque<AbortHandle>,
    reserve: Arc<Reserve>,
}

impl Connections {
    /// Serves one more, and closes the oldest if there are too many.
    fn begin(&mut self, stream: Box<dyn Stream>) {
        self.tasks.retain(|connection| !connection.is_finished());
        if self.tasks.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.tasks.pop_front()
        {
            tracing::warn!(surface = ?self.surface, "too many connections, closing the oldest");
            oldest.abort();
        }
        self.reserve.refill();
        let connection = connection(stream, Arc::clone(&self.plane), self.surface);
        let reserve = Arc::clone(&self.reserve);
        let task = tokio::spawn(async move {
            connection.await;
            // Before those who wait for a descriptor look for one again.
            reserve.refill();
        });
        self.tasks.push_back(task.abort_handle());
    }
}

async fn connection(stream: Box<dyn Stream>, plane: Arc<Plane>, surface: Surface) {
    let service = service_fn(move |request| {
        let plane = Arc::clone(&plane);
        async move { Ok::<_, Infallible>(answer(&plane, surface, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(LIFETIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, ?surface, "connection ended"),
        Err(_) => tracing::debug!(?surface, "connection lasted too long"),
    }
}
