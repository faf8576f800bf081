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

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::live::Live;
use crate::live::freeze::Frozen;
use crate::live::standing::Standing;

pub(crate) mod predecessor;
pub(crate) mod successor;
pub(crate) mod wire;

use predecessor::Link;

/// How often each side looks whether anything has happened that the other must know.
const LOOK: Duration = Duration::from_millis(10);

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
        /// Who has frozen rollouts, if somebody has.
        #[serde(default)]
        frozen: Option<Arc<Frozen>>,
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

/// Keeps in step with the process before, if there is one; never returns.
pub(crate) async fn follow(link: Option<Link>, live: &Arc<Live>) {
    if let Some(link) = link {
        match link.into_stream() {
            // Nothing has happened yet.
            Ok(stream) => keep_in_step(stream, live, 0).await,
            Err(error) => tracing::error!(%error, "cannot follow the process before"),
        }
    }
    std::future::pending::<()>().await;
}

/// Tells the other process what happens to releases here, and does what it tells, for
/// as long as it lives. It knows all up to the event `told`.
async fn keep_in_step(stream: UnixStream, live: &Arc<Live>, told: u64) {
    let (reader, writer) = stream.into_split();
    let ended = tokio::select! {
        ended = listen(reader, live) => ended,
        ended = tell(writer, live, told) => ended,
    };
    match ended {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            tracing::debug!(%error, "the hand-over is over");
        }
        Ok(()) | Err(_) => tracing::debug!("the hand-over is over"),
    }
}

async fn listen(mut reader: OwnedReadHalf, live: &Arc<Live>) -> io::Result<()> {
    loop {
        match wire::read(&mut reader).await? {
            Message::Standing { routes, frozen, .. } => {
                live.follow_freeze(frozen);
                live.follow(&routes);
            }
            other => return Err(unexpected(&other)),
        }
    }
}

async fn tell(mut writer: OwnedWriteHalf, live: &Arc<Live>, mut told: u64) -> io::Result<()> {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let last = live.events.last();
        if last == told {
            continue;
        }
        told = last;
        let standing = Message::Standing {
            routes: live.standing(),
            last_event: last,
            frozen: live.freeze.get(),
        };
        wire::write(&mut writer, &standing).await?;
    }
}

fn unexpected(message: &Message) -> io::Error {
    let message = format!("{message:?}");
    let start: String = message.chars().take(40).collect();
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected: {start}"))
}
