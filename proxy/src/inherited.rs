//! Listening sockets that somebody else has bound: systemd, or the process before.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use haldane_config::AdminAddress;
use listenfd::ListenFd;
use socket2::SockRef;

use crate::control::admin::socket::AdminSocket;
use crate::listeners::{self, Listener};
use crate::unix_socket::{Claim, SocketFile};

/// The names that sockets may have for those that no address finds: `listen`,
/// `admin.listen` and `ops.listen`.
const DATA: &str = "http";
pub(crate) const ADMIN: &str = "admin";
pub(crate) const OPS: &str = "ops";

/// Sockets that listen already, until those who want them take them.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<Tcp>,
    unix: Vec<Unix>,
    /// The files of Unix sockets that were taken.
    taken: Vec<Claim>,
}

#[derive(Debug)]
struct Tcp {
    listener: TcpListener,
    address: SocketAddr,
    name: Option<String>,
    /// What the process before was told to listen on; its port may be 0.
    configured: Option<SocketAddr>,
}

#[derive(Debug)]
struct Unix {
    listener: UnixListener,
    path: PathBuf,
    name: Option<String>,
}

impl Inherited {
    /// The sockets that systemd gives by `LISTEN_FDS` (sd_listen_fds(3)). To be called
    /// once, while the process has one thread: it takes them out of the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut given = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..given.len() {
            let name = names.next().filter(|name| !name.is_empty());
            let fd = match given.take_tcp_listener(index) {
                Ok(Some(listener)) => Some(OwnedFd::from(listener)),
                Ok(None) => None,
                Err(_) => given
                    .take_unix_listener(index)
                    .ok()
                    .flatten()
                    .map(OwnedFd::from),
            };
            let added = match fd {
                Some(fd) => inherited.add(fd, name.clone(), None),
                None => Err(io::Error::other("neither TCP nor a Unix socket")),
            };
            if let Err(error) = added {
                tracing::warn!(index, name, %error, "cannot use a socket that was given");
            }
        }
        inherited
    }

    /// Adds a listening socket, which was asked for as `configured`.
    pub(crate) fn add(
        &mut self,
        fd: OwnedFd,
        name: Option<String>,
        configured: Option<SocketAddr>,
    ) -> io::Result<()> {
        let local = SockRef::from(&fd).local_addr()?;
        if let Some(address) = local.as_socket() {
            let listener = TcpListener::from(fd);
            SockRef::from(&listener).set_tcp_nodelay(true)?;
            listener.set_nonblocking(true)?;
            self.tcp.push(Tcp {
                listener,
                address,
                name,
                configured,
            });
            return Ok(());
        }
        let path = local
            .as_pathname()
            .ok_or_else(|| io::Error::other("its address is of no known kind"))?;
        self.unix.push(Unix {
            path: path.to_owned(),
            listener: fd.into(),
            name,
        });
        Ok(())
    }

    /// The sockets for each of these addresses; none for one that is to be bound.
    pub(crate) fn take_data(&mut self, wanted: &[SocketAddr]) -> Vec<Vec<TcpListener>> {
        let mut found: Vec<Vec<TcpListener>> = wanted
            .iter()
            .map(|wanted| self.take_tcp(|socket| socket.is(*wanted)))
            .collect();
        for (sockets, wanted) in found.iter_mut().zip(wanted) {
            if sockets.is_empty() {
                *sockets = self.take_tcp(|socket| socket.covers(*wanted));
            }
        }
        for sockets in found.iter_mut().filter(|sockets| sockets.is_empty()) {
            let named = |socket: &&Tcp| socket.name.as_deref() == Some(DATA);
            if let Some(address) = self.tcp.iter().find(named).map(|socket| socket.address) {
                *sockets = self.take_tcp(|socket| socket.address == address);
            }
        }
        found
    }

    /// What the admin or ops listener listens on, found by its address or else its name.
    pub(crate) fn take_admin(&mut self, wanted: &AdminAddress, name: &str) -> Option<AdminSocket> {
        let by_address = match wanted {
            AdminAddress::Tcp(address) => self.take_one(|socket| socket.is(*address)),
            AdminAddress::Unix(path) => self.take_file(path).map(AdminSocket::Unix),
        };
        by_address
            .or_else(|| self.take_one(|socket| socket.name.as_deref() == Some(name)))
            .or_else(|| {
                let named = |socket: &Unix| socket.name.as_deref() == Some(name);
                let index = self.unix.iter().position(named)?;
                self.take_unix(index).map(AdminSocket::Unix)
            })
    }

    /// The socket at this path.
    pub(crate) fn take_file(&mut self, path: &Path) -> Option<SocketFile> {
        let index = self.unix.iter().position(|socket| socket.path == path)?;
        self.take_unix(index)
    }

    /// The files of Unix sockets that were taken so far.
    pub(crate) fn taken(&self) -> &[Claim] {
        &self.taken
    }

    /// Says which sockets nobody wanted. They are closed.
    pub(crate) fn report_rest(self) {
        let addresses: HashSet<SocketAddr> = self.tcp.iter().map(|tcp| tcp.address).collect();
        for address in addresses {
            tracing::warn!(%address, "no listener is configured for a socket that was given");
        }
        for Unix { path, .. } in &self.unix {
            let path = path.display();
            tracing::warn!(%path, "no listener is configured for a socket that was given");
        }
    }

    fn take_tcp(&mut self, wanted: impl Fn(&Tcp) -> bool) -> Vec<TcpListener> {
        let found = self.tcp.extract_if(.., |socket| wanted(socket));
        found.map(|socket| socket.listener).collect()
    }

    fn take_one(&mut self, wanted: impl Fn(&Tcp) -> bool) -> Option<AdminSocket> {
        let index = self.tcp.iter().position(wanted)?;
        Some(AdminSocket::Tcp(self.tcp.remove(index).listener))
    }

    fn take_unix(&mut self, index: usize) -> Option<SocketFile> {
        let Unix { listener, path, .. } = self.unix.remove(index);
        let adopted = SocketFile::adopt(listener, &path).ok()?;
        self.taken.push(adopted.claim());
        Some(adopted)
    }
}

impl Tcp {
    fn is(&self, wanted: SocketAddr) -> bool {
        self.configured.unwrap_or(self.address) == wanted || self.address == wanted
    }

    /// It has every address, of both families, where only those of IPv4 are wanted:
    /// `ListenStream=8080` of systemd for `listen = ":8080"`.
    fn covers(&self, wanted: SocketAddr) -> bool {
        self.address.port() == wanted.port()
            && self.address.ip().is_unspecified()
            && wanted.ip().is_unspecified()
    }
}

/// Listens on an address: with the sockets that were inherited for it, or else anew.
pub(crate) fn listen(
    address: SocketAddr,
    workers: usize,
    sockets: Vec<TcpListener>,
    own: &[SocketAddr],
) -> io::Result<Listener> {
    if sockets.is_empty() {
        listeners::bind(address, workers, own)
    } else {
        listeners::inherit(address, workers, sockets)
    }
}
