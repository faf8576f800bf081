//! Listening sockets: each address has queues of its own for each worker.
//!
//! Nothing here accepts. A [`Listener`] is bound (or made of sockets that somebody else
//! bound), each worker takes its sockets from it, and when it is no longer wanted each
//! worker closes what it took with [`close`].

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::Reloaded;

/// Connections that wait to be accepted, for each listening socket.
const BACKLOG: i32 = 4096;

/// Where clients connect: one address, its sockets, and what is spoken there.
pub(crate) struct Listener {
    /// As the configuration says it; its port may be 0.
    pub(crate) configured: SocketAddr,
    /// As it is.
    pub(crate) address: SocketAddr,
    /// The certificates, if clients speak TLS here. May change while it is listened on.
    pub(crate) tls: ArcSwapOption<Reloaded<ServerConfig>>,
    /// Whether connections from trusted proxies begin with a PROXY header. May change too.
    pub(crate) proxy_protocol: AtomicBool,
    /// By worker, until that worker takes them.
    sockets: Box<[Mutex<Vec<TcpListener>>]>,
    /// Duplicates of all sockets, to be handed over. The queue of a socket lasts for as
    /// long as any duplicate of it.
    held: Mutex<Vec<TcpListener>>,
}

impl Listener {
    /// The sockets of a worker, the first time it asks. Every one of them has a queue
    /// that must be accepted from.
    pub(crate) fn take(&self, worker: usize) -> Vec<TcpListener> {
        let Some(sockets) = self.sockets.get(worker) else {
            return Vec::new();
        };
        std::mem::take(&mut *sockets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps duplicates of all sockets. To be called before workers take them.
    pub(crate) fn hold(&self) -> io::Result<()> {
        let mut held = Vec::new();
        for sockets in &self.sockets {
            for socket in &*sockets.lock().unwrap_or_else(PoisonError::into_inner) {
                held.push(socket.try_clone()?);
            }
        }
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    /// Duplicates of the sockets that are held.
    pub(crate) fn held(&self) -> io::Result<Vec<TcpListener>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(TcpListener::try_clone).collect()
    }

    /// Ends [`Listener::hold`]. Without it nobody is refused when workers close theirs,
    /// and nobody served.
    pub(crate) fn release(&self) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn new(configured: SocketAddr, address: SocketAddr, sockets: Vec<Vec<TcpListener>>) -> Self {
        Self {
            configured,
            address,
            tls: ArcSwapOption::empty(),
            proxy_protocol: AtomicBool::new(false),
            sockets: sockets.into_iter().map(Mutex::new).collect(),
            held: Mutex::default(),
        }
    }
}

/// Listens on an address, with one socket for each worker.
///
/// `own` are the addresses that this process listens on already: a new one may overlap
/// with them (all addresses of a port with one of them), never with those of others.
///
/// # Errors
///
/// If another process has the address, or it cannot be listened on.
pub(crate) fn bind(
    configured: SocketAddr,
    workers: usize,
    own: &[SocketAddr],
) -> io::Result<Listener> {
    ensure_free(configured, own)?;
    let mut address = configured;
    let mut sockets = Vec::new();
    for _ in 0..workers {
        let socket = bound_socket(address, Sharing::AmongWorkers)?;
        // Port 0 is given out once; the other workers share what was given.
        address = address_of(&socket)?;
        sockets.push(socket);
    }
    let sockets = sockets.into_iter().map(|socket| Ok(vec![listen(socket)?]));
    let sockets = sockets.collect::<io::Result<_>>()?;
    Ok(Listener::new(configured, address, sockets))
}

/// Listens on an address with a single socket.
///
/// # Errors
///
/// As for [`bind`].
pub(crate) fn bind_alone(address: SocketAddr, own: &[SocketAddr]) -> io::Result<TcpListener> {
    ensure_free(address, own)?;
    listen(bound_socket(address, Sharing::AmongWorkers)?)
}

/// A listener of sockets that listen already, spread over the workers. Each socket has
/// a queue of its own, so there may be more of them for one worker; if there are fewer
/// than workers, some workers share one.
///
/// # Errors
///
/// If there is no socket, or the operating system does not tell its address or gives
/// no second descriptor for it.
pub(crate) fn inherit(
    configured: SocketAddr,
    workers: usize,
    inherited: Vec<TcpListener>,
) -> io::Result<Listener> {
    let first = inherited
        .first()
        .ok_or_else(|| io::Error::other("no socket was inherited"))?;
    let address = first.local_addr()?;
    let mut sockets: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for worker in inherited.len()..workers {
        let shared = inherited[worker % inherited.len()].try_clone()?;
        sockets[worker].push(shared);
    }
    for (index, socket) in inherited.into_iter().enumerate() {
        socket.set_nonblocking(true)?;
        sockets[index % workers].push(socket);
    }
    Ok(Listener::new(configured, address, sockets))
}

/// Closes a socket after everybody who has been let in by the operating system was
/// passed to `welcome`: they would be reset with the socket.
pub(crate) fn close(listener: &TcpListener, mut welcome: impl FnMut(TcpStream, SocketAddr)) {
    while let Ok((stream, peer)) = listener.accept() {
        welcome(stream, peer);
    }
}

/// How a socket treats others on its address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sharing {
    /// It has the address for itself.
    Alone,
    /// Several of this process have it; the kernel spreads connections over them.
    AmongWorkers,
}

/// Fails if another process has the address. Sockets that share theirs would take a
/// part of its connections without a word.
fn ensure_free(address: SocketAddr, own: &[SocketAddr]) -> io::Result<()> {
    if own.iter().any(|own| overlaps(*own, address)) {
        return Ok(());
    }
    bound_socket(address, Sharing::Alone).map(drop)
}

fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (any || one.ip() == other.ip())
}

fn bound_socket(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` is every address, also where the system has it otherwise by default.
        socket.set_only_v6(false)?;
    }
    if sharing == Sharing::AmongWorkers {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    // Small answers go out at once. What is accepted inherits this.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn address_of(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("the socket has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_PORT: &str = "127.0.0.1:0";

    #[test]
    fn each_worker_gets_its_socket_once() {
        let listener = bind(ANY_PORT.parse().unwrap(), 3, &[]).unwrap();
        for worker in 0..3 {
            let sockets = listener.take(worker);
            assert_eq!(sockets.len(), 1);
            assert_eq!(sockets[0].local_addr().unwrap(), listener.address);
            assert_eq!(listener.take(worker).len(), 0);
        }
        assert_eq!(listener.take(3).len(), 0);
    }

    #[test]
    fn an_address_that_others_have_is_refused_and_an_own_one_is_not() {
        let other = TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap();
        let taken = bind(other, 1, &[]).unwrap();
        assert!(bind(taken.address, 1, &[]).is_err());
        let wide = SocketAddr::from(([0, 0, 0, 0], taken.address.port()));
        assert!(bind(wide, 1, &[]).is_err());
        assert!(bind(wide, 1, &[taken.address]).is_ok());
    }

    #[test]
    fn every_inherited_socket_is_somebodys() {
        for (sockets, workers, expected) in [
            (1, 1, vec![1]),
            (1, 3, vec![1, 1, 1]),
            (2, 3, vec![1, 1, 1]),
            (5, 2, vec![3, 2]),
        ] {
            let bound = bind(ANY_PORT.parse().unwrap(), sockets, &[]).unwrap();
            let inherited = (0..sockets).flat_map(|worker| bound.take(worker)).collect();
            let listener = inherit(bound.configured, workers, inherited).unwrap();
            assert_eq!(listener.address, bound.address);
            let taken: Vec<_> = (0..workers)
                .map(|worker| listener.take(worker).len())
                .collect();
            assert_eq!(taken, expected);
        }
        assert!(inherit(ANY_PORT.parse().unwrap(), 1, Vec::new()).is_err());
    }

    #[test]
    fn closing_welcomes_who_was_let_in() {
        let listener = bind(ANY_PORT.parse().unwrap(), 1, &[]).unwrap();
        let _clients: Vec<_> = (0..5)
            .map(|_| TcpStream::connect(listener.address).unwrap())
            .collect();
        let mut welcomed = 0;
        for socket in listener.take(0) {
            close(&socket, |_, _| welcomed += 1);
        }
        assert_eq!(welcomed, 5);
    }
}
