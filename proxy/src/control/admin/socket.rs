//! What the admin and the ops listener listen on: an address, or a Unix socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use haldane_config::AdminAddress;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::listeners;
use crate::unix_socket::{Claim, SocketFile};

/// A bound listener, before anybody accepts from it.
#[derive(Debug)]
pub(crate) enum AdminSocket {
    Tcp(TcpListener),
    Unix(SocketFile),
}

impl AdminSocket {
    /// Listens at `address`. `own` are the addresses that this process has already.
    pub(crate) fn bind(address: &AdminAddress, own: &[SocketAddr]) -> io::Result<Self> {
        match address {
            AdminAddress::Tcp(address) => listeners::bind_alone(*address, own).map(Self::Tcp),
            AdminAddress::Unix(path) => SocketFile::bind(path).map(Self::Unix),
        }
    }

    /// Where it listens: with the port that was given, where port 0 was asked for.
    pub(crate) fn address(&self) -> io::Result<AdminAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(AdminAddress::Tcp),
            Self::Unix(socket) => Ok(AdminAddress::Unix(socket.path().to_owned())),
        }
    }

    /// A second descriptor of it, to be handed over.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(match self {
            Self::Tcp(listener) => listener.try_clone()?.into(),
            Self::Unix(socket) => socket.listener().try_clone()?.into(),
        })
    }

    /// Its file, if it has one.
    pub(crate) fn claim(&self) -> Option<Claim> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(socket) => Some(socket.claim()),
        }
    }

    /// The same for accepting from.
    pub(super) fn into_accepting(self) -> io::Result<Acceptor> {
        Ok(match self {
            Self::Tcp(listener) => Acceptor::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Self::Unix(socket) => {
                let listener = socket.listener().try_clone()?;
                Acceptor::Unix(tokio::net::UnixListener::from_std(listener)?, socket)
            }
        })
    }
}

/// A listener that accepts.
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    /// With its file, which is there for as long as this is.
    Unix(tokio::net::UnixListener, SocketFile),
}

/// A connection, whatever carries it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Acceptor {
    /// Closes it after everybody who waits was passed to `welcome`.
    pub(super) fn close(self, mut welcome: impl FnMut(Box<dyn Stream>)) {
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else {
                    return;
                };
                listeners::close(&listener, |stream, _| {
                    let stream = stream.set_nonblocking(true).map(|()| stream);
                    if let Ok(stream) = stream.and_then(tokio::net::TcpStream::from_std) {
                        welcome(Box::new(stream));
                    }
                });
            }
            Self::Unix(_, socket) => {
                while let Ok((stream, _)) = socket.listener().accept() {
                    let stream = stream.set_nonblocking(true).map(|()| stream);
                    if let Ok(stream) = stream.and_then(tokio::net::UnixStream::from_std) {
                        welcome(Box::new(stream));
                    }
                }
            }
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                Ok(Box::new(stream))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok(Box::new(stream))
            }
        }
    }
}
