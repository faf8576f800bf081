//! Accepts connections, up to a limit, until the drain.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::proxy_protocol;
use super::serve::serve;
use crate::accept_error::Accepting;
use crate::listeners::{self, Listener};
use crate::live::Live;
use crate::worker::Worker;

/// An open client connection, counted over all workers.
struct Slot(Arc<Live>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where connections come in.
pub(crate) struct Entrance {
    pub(crate) worker: Rc<Worker>,
    /// Whose certificates clients see, if they speak TLS here.
    pub(crate) listener: Arc<Listener>,
    /// Every connection holds a clone.
    pub(crate) open: mpsc::Sender<()>,
}

/// Accepts until `stop` says true.
pub(crate) async fn accept(
    entrance: Entrance,
    socket: TcpListener,
    mut stop: watch::Receiver<bool>,
) {
    let mut accepting = Accepting::default();
    loop {
        tokio::select! {
            biased;
            // An error means that nobody is left to say stop: the process is ending.
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    accepting.succeeded();
                    entrance.welcome(stream, peer);
                }
                Err(error) => if let Some(pause) = accepting.failed(&error) {
                    entrance.worker.rest(pause).await;
                },
            },
        }
    }
    // The runtime may not have heard of all who were let in, so the system itself is asked.
    let Ok(socket) = socket.into_std() else {
        return;
    };
    listeners::close(&socket, |stream, peer| {
        if let Ok(stream) = from_std(stream) {
            entrance.welcome(stream, peer);
        }
    });
}

fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

impl Entrance {
    /// Serves a connection in a task of its own.
    fn welcome(&self, mut stream: TcpStream, peer: SocketAddr) {
        let Some(slot) = take_slot(&self.worker) else {
            return;
        };
        let (worker, open) = (Rc::clone(&self.worker), self.open.clone());
        // The certificates of this moment: a reload changes no connection.
        let tls = self.listener.tls.load().as_ref().map(|tls| tls.current());
        let expects_header = self.listener.proxy_protocol.load(Ordering::Relaxed)
            && worker.settings().trusted_proxies.contains(peer.ip());
        // A task moves what it was given when it begins and when it ends: that is to be small.
        drop(tokio::task::spawn_local(Box::pin(async move {
            let client = if expects_header {
                // Not every connection is to have room for what few will do.
                Box::pin(proxy_protocol::client(&worker, &mut stream, peer)).await
            } else {
                Some(peer)
            };
            if let Some(client) = client {
                serve(worker, stream, client, tls).await;
            }
            drop((slot, open));
        })));
    }
}

/// A place for one more connection, unless the configured limit is reached.
fn take_slot(worker: &Worker) -> Option<Slot> {
    let slot = Slot(Arc::clone(&worker.live));
    let before = worker.live.connections.fetch_add(1, Ordering::Relaxed);
    (before < worker.limits().connections).then_some(slot)
}
