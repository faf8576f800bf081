//! The side of the next process: asks the one before for its sockets, and goes on
//! where it stood.
//!
//! All of this is at the start, before anything runs, so it simply waits, with a limit.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Message, unexpected, wire};
use crate::inherited::Inherited;
use crate::live::freeze::Position;
use crate::live::standing::Standing;
use crate::unix_socket::Claim;

/// How long an answer may take. Far longer than one takes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The process before, which still serves.
pub(crate) struct Predecessor {
    stream: UnixStream,
    /// Its id.
    pub(crate) process: u32,
}

/// A process that has stopped accepting and drains.
pub(crate) struct Retired {
    /// Where its releases stood.
    pub(crate) routes: Vec<Standing>,
    /// The number of its newest event.
    pub(crate) last_event: u64,
    /// Whether rollouts are frozen.
    pub(crate) freeze: Position,
    /// The connection to it, for as long as it drains.
    pub(crate) link: Link,
}

/// A connection to a process that drains.
pub(crate) struct Link(UnixStream);

impl Predecessor {
    /// Asks whoever listens at `path` for its sockets, which are added to `inherited`.
    /// `None` if nobody does.
    ///
    /// # Errors
    ///
    /// If somebody answers, but not as a haldane does.
    pub(crate) fn ask(path: &Path, inherited: &mut Inherited) -> io::Result<Option<Self>> {
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let (process, sockets) = match wire::read_blocking(&stream)? {
            Message::Offer { process, sockets } => (process, sockets),
            other => return Err(unexpected(&other)),
        };
        let descriptors = wire::receive_descriptors(&stream, sockets.len())?;
        for (descriptor, offered) in descriptors.into_iter().zip(sockets) {
            inherited.add(descriptor, None, offered.configured)?;
        }
        Ok(Some(Self { stream, process }))
    }

    /// Says that everything is ready to serve. When this returns, the process before
    /// accepts nothing more.
    ///
    /// # Errors
    ///
    /// If it has given up waiting. One that has gone leaves its place.
    pub(crate) fn take_over(self, taken: &[Claim]) -> io::Result<Option<Retired>> {
        let ready = Message::Ready {
            taken: taken.iter().map(|file| file.path.clone()).collect(),
        };
        let answer = wire::write_blocking(&self.stream, &ready)
            .and_then(|()| wire::read_blocking(&self.stream));
        let retired = match answer {
            Ok(Message::Standing {
                routes,
                last_event,
                freeze,
            }) => Some(Retired {
                routes,
                last_event,
                freeze,
                link: Link(self.stream),
            }),
            Ok(Message::TooLate {}) => {
                let message = "the process before has given up waiting and goes on";
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            Ok(other) => return Err(unexpected(&other)),
            Err(error) if is_gone(&error) => {
                tracing::warn!(%error, process = self.process, "the process before is gone");
                None
            }
            Err(error) => return Err(error),
        };
        for file in taken {
            file.accept();
        }
        Ok(retired)
    }
}

impl Link {
    /// The connection, for [`super::keep_in_step`].
    pub(super) fn into_stream(self) -> io::Result<tokio::net::UnixStream> {
        self.0.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(self.0)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
