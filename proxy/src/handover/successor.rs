//! The side of the process before: offers its sockets, and goes when the next is ready.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;

use super::{InStep, Message, Offered, unexpected, wire};
use crate::accept_error::{Accepting, pause};
use crate::control::admin::socket::AdminSocket;
use crate::listeners::Listener;
use crate::live::Live;
use crate::live::freeze::Position;
use crate::unix_socket::{Claim, SocketFile};

/// How long the next process may take to be ready. It loads certificates and binds.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// What can be handed over.
pub(crate) struct Estate {
    listeners: watch::Receiver<Vec<Arc<Listener>>>,
    /// The other sockets.
    beside: Beside,
    /// Where the next process asks.
    door: SocketFile,
}

/// The sockets of the admin and ops listeners, as they are at any moment.
#[derive(Clone, Default)]
pub(crate) struct Beside(Arc<Mutex<Vec<Bequest>>>);

/// A socket that is no listener of workers, and its file if it has one.
pub(crate) struct Bequest {
    socket: OwnedFd,
    file: Option<Claim>,
}

impl Beside {
    /// These are all there are now.
    pub(crate) fn replace(&self, all: Vec<Bequest>) {
        *self.lock() = all;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bequest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bequest {
    /// A duplicate of a socket.
    pub(crate) fn of(socket: &AdminSocket) -> io::Result<Self> {
        Ok(Self {
            socket: socket.duplicate()?,
            file: socket.claim(),
        })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            file: self.file.clone(),
        })
    }
}

/// The next process, which is ready.
pub(crate) struct Successor {
    stream: UnixStream,
}

impl Estate {
    /// Everything that is listened on, for who asks at `door`.
    pub(crate) const fn new(
        door: SocketFile,
        listeners: watch::Receiver<Vec<Arc<Listener>>>,
        beside: Beside,
    ) -> Self {
        Self {
            listeners,
            beside,
            door,
        }
    }

    /// The files that go with the sockets.
    fn files(&self) -> Vec<Claim> {
        let beside = self.beside.lock();
        let files = beside.iter().filter_map(|bequest| bequest.file.clone());
        files.chain([self.door.claim()]).collect()
    }

    /// Waits for a process that asks for the sockets and then is ready.
    pub(crate) async fn successor(&self) -> Successor {
        let mut accepting = Accepting::default();
        let door = loop {
            let door = self.door.listener().try_clone();
            match door.and_then(tokio::net::UnixListener::from_std) {
                Ok(door) => break door,
                Err(error) => pause(accepting.failed(&error)).await,
            }
        };
        loop {
            let mut stream = match door.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause(accepting.failed(&error)).await;
                    continue;
                }
            };
            accepting.succeeded();
            match tokio::time::timeout(READY_TIMEOUT, self.offer(&mut stream)).await {
                Ok(Ok(taken)) => {
                    for file in self
                        .files()
                        .iter()
                        .filter(|file| taken.contains(&file.path))
                    {
                        file.give_up();
                    }
                    return Successor { stream };
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the next process did not get ready: going on");
                }
                Err(_) => {
                    tracing::warn!("the next process took too long: going on");
                    drop(wire::write(&mut stream, &Message::TooLate {}).await);
                }
            }
        }
    }

    async fn offer(&self, stream: &mut UnixStream) -> io::Result<Vec<PathBuf>> {
        let (mut sockets, mut descriptors): (Vec<Offered>, Vec<OwnedFd>) = Default::default();
        let listeners = self.listeners.borrow().clone();
        for listener in &listeners {
            for socket in listener.held()? {
                sockets.push(Offered {
                    configured: Some(listener.configured),
                });
                descriptors.push(socket.into());
            }
        }
        for bequest in &*self.beside.lock() {
            sockets.push(Offered { configured: None });
            descriptors.push(bequest.socket.try_clone()?);
        }
        sockets.push(Offered { configured: None });
        descriptors.push(self.door.listener().try_clone()?.into());
        let offer = Message::Offer {
            process: std::process::id(),
            sockets,
        };
        wire::write(stream, &offer).await?;
        wire::send_descriptors(stream, &descriptors).await?;
        match wire::read(stream).await? {
            Message::Ready { taken } => Ok(taken),
            other => Err(unexpected(&other)),
        }
    }
}

impl Successor {
    /// Says where the releases stand. From now on the next process accepts.
    pub(crate) async fn go(mut self, live: &Arc<Live>) -> Option<InStep> {
        // Before the standing is read: what happens in between is told again.
        let told = live.events.last();
        let standing = Message::Standing {
            routes: live.standing_with_evidence(),
            last_event: live.events.last(),
            freeze: Position::clone(&live.freeze.position()),
        };
        live.keeping.hand_in(live);
        live.keeping.close();
        if let Err(error) = wire::write(&mut self.stream, &standing).await {
            tracing::error!(%error, "the next process is gone");
            return None;
        }
        Some(InStep::start(self.stream, live, told))
    }
}
