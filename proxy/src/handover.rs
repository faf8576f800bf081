//! Hand-over: the next process gets the listening sockets of this one, and nothing is
//! refused or lost in between.
//!
//! | step | the process before ([`successor`]) | the next one ([`predecessor`]) |
//! |---|---|---|
//! | 1 | listens at `hand_over` | connects there when it starts |
//! | 2 | gives a duplicate of every listening socket, and goes on serving | binds only what is new, loads the rest |
//! | 3 | | says that it is ready, before it accepts anything |
//! | 4 | stops accepting, says where its releases stand, drains | goes on from there, and accepts |
//! | 5 | tells what happens to releases meanwhile, and is told | the same |
//!
//! Both have the same sockets, so connections that nobody accepts between steps 3 and 4
//! wait in their queues. If the next process ends before step 3, nothing has happened.
//!
//! While the process before drains, a rollback in either must reach the other: a
//! generation that is over is over for the last connections of the old one as well.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::live::Live;
use crate::live::freeze::Position;
use crate::live::standing::Standing;

pub(crate) mod predecessor;
pub(crate) mod successor;
pub(crate) mod wire;

use predecessor::Link;

/// How often each side looks whether anything has happened that the other must know.
const LOOK: Duration = Duration::from_millis(10);

/// How long a process that ends tries to tell what has happened last.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// What one side says to the other.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Message {
    /// Step 2, before as many sockets.
    Offer {
        /// Who offers.
        process: u32,
        sockets: Vec<Offered>,
    },
    /// Step 3.
    Ready {
        /// The files of Unix sockets that have a new owner now.
        taken: Vec<PathBuf>,
    },
    /// Steps 4 and 5.
    Standing {
        routes: Vec<Standing>,
        /// The number of the newest event.
        #[serde(default)]
        last_event: u64,
        /// Whether rollouts are frozen.
        #[serde(flatten)]
        freeze: Position,
    },
    /// In place of step 4: it took too long.
    TooLate {},
}

/// A socket as it goes with an offer.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Offered {
    /// What was asked for, if it was an address; its port may be 0.
    configured: Option<SocketAddr>,
}

/// Keeps in step with the process before.
pub(crate) fn follow(link: Link, live: &Arc<Live>) -> Option<InStep> {
    match link.into_stream() {
        // Nothing has happened yet.
        Ok(stream) => Some(InStep::start(stream, live, 0)),
        Err(error) => {
            tracing::error!(%error, "cannot follow the process before");
            None
        }
    }
}

/// Two processes that tell each other what happens to releases, and do what they are told,
/// for as long as both live.
pub(crate) struct InStep {
    over: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl InStep {
    /// Begins. The other knows all up to the event `told`.
    fn start(stream: UnixStream, live: &Arc<Live>, told: u64) -> Self {
        let (over, is_over) = oneshot::channel();
        let task = tokio::spawn(keep_in_step(stream, Arc::clone(live), told, is_over));
        Self { over, task }
    }

    /// Tells what has happened last; nothing will any more.
    pub(crate) async fn finish(self) {
        // An error means that the other is gone.
        let _ = self.over.send(());
        let ended = tokio::time::timeout(LAST_WORD_TIMEOUT, self.task).await;
        if ended.is_err() {
            tracing::warn!("the other process may not know what has happened last");
        }
    }
}

async fn keep_in_step(
    stream: UnixStream,
    live: Arc<Live>,
    told: u64,
    is_over: oneshot::Receiver<()>,
) {
    let (reader, writer) = stream.into_split();
    let tell = async {
        if let Err(error) = tell(writer, &live, told, is_over).await {
            // It may have gone, but not before it has said its last.
            tracing::debug!(%error, "the other process hears no more");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        Err(error) = listen(reader, &live) => {
            if error.kind() != io::ErrorKind::UnexpectedEof {
                tracing::debug!(%error, "the other process says no more");
            }
        }
        () = tell => {}
    }
}

async fn listen(mut reader: OwnedReadHalf, live: &Live) -> io::Result<Infallible> {
    loop {
        match wire::read(&mut reader).await? {
            Message::Standing { routes, freeze, .. } => {
                live.follow_freeze(freeze);
                live.follow(&routes);
            }
            other => return Err(unexpected(&other)),
        }
    }
}

/// Until it is over, and what happened until then.
async fn tell(
    mut writer: OwnedWriteHalf,
    live: &Live,
    mut told: u64,
    mut is_over: oneshot::Receiver<()>,
) -> io::Result<()> {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let is_last = tokio::select! {
            _ = looks.tick() => false,
            _ = &mut is_over => true,
        };
        let last = live.events.last();
        if last != told {
            told = last;
            let standing = Message::Standing {
                routes: live.standing(),
                last_event: last,
                freeze: Position::clone(&live.freeze.position()),
            };
            wire::write(&mut writer, &standing).await?;
        }
        if is_last {
            return Ok(());
        }
    }
}

fn unexpected(message: &Message) -> io::Error {
    let message = format!("{message:?}");
    let start: String = message.chars().take(40).collect();
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected: {start}"))
}
