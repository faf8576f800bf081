//! Which listeners a worker accepts from: those that are wanted, and no others.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::listeners::Listener;
use crate::request::accept::{Entrance, accept};
use crate::worker::Worker;

/// The listeners that one worker accepts from. Those that are dropped are closed, after
/// what waits in their queues was let in; connections that are open live on.
pub(crate) struct Doors {
    worker: Rc<Worker>,
    /// Every connection holds a clone.
    connections: mpsc::Sender<()>,
    open: Vec<Door>,
}

struct Door {
    listener: Arc<Listener>,
    /// Says stop when it is dropped.
    _stop: watch::Sender<bool>,
}

impl Doors {
    /// None are open yet.
    pub(crate) const fn new(worker: Rc<Worker>, connections: mpsc::Sender<()>) -> Self {
        Self {
            worker,
            connections,
            open: Vec::new(),
        }
    }

    /// Opens what is wanted and not open, and closes what is not wanted any more.
    ///
    /// # Errors
    ///
    /// If a socket cannot be watched. The others are opened all the same.
    pub(crate) fn follow(&mut self, wanted: &[Arc<Listener>]) -> io::Result<()> {
        self.open.retain(|door| {
            let mut wanted = wanted.iter();
            wanted.any(|listener| Arc::ptr_eq(listener, &door.listener))
        });
        let mut result = Ok(());
        for listener in wanted {
            let mut open = self.open.iter();
            if !open.any(|door| Arc::ptr_eq(listener, &door.listener)) {
                let opened = self.open(listener);
                result = result.and(opened);
            }
        }
        result
    }

    fn open(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        let (stop, stopped) = watch::channel(false);
        for socket in listener.take(self.worker.id) {
            let entrance = Entrance {
                worker: Rc::clone(&self.worker),
                listener: Arc::clone(listener),
                open: self.connections.clone(),
            };
            let socket = TcpListener::from_std(socket)?;
            drop(tokio::task::spawn_local(accept(
                entrance,
                socket,
                stopped.clone(),
            )));
        }
        self.open.push(Door {
            listener: Arc::clone(listener),
            _stop: stop,
        });
        Ok(())
    }
}
