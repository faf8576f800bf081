//! The floor: a relay that copies bytes between two sockets and understands none of them.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr},
};

use mio::{
    Events, Interest, Poll, Registry, Token,
    event::Event,
    net::{TcpListener, TcpStream},
};

use crate::failure::Failure;

/// Relays every connection to `listen` over a connection of its own to `upstream`, in one thread,
/// until it is ended from outside.
pub(crate) fn run(listen: SocketAddr, upstream: SocketAddr) -> Result<(), Failure> {
    let mut poll = Poll::new().map_err(Failure::io("create an epoll instance"))?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(listen).map_err(Failure::io("listen"))?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .map_err(Failure::io("listen"))?;
    let mut relay = Relay {
        upstream,
        pairs: Vec::new(),
        free: Vec::new(),
    };
    let mut scratch = vec![0; SCRATCH];
    loop {
        match poll.poll(&mut events, None) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::io("poll")(error)),
        }
        for event in events.iter() {
            if event.token() == LISTENER {
                relay.accept(&listener, poll.registry());
            } else {
                relay.handle(event, &mut scratch);
            }
        }
    }
}

struct Relay {
    upstream: SocketAddr,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
}

struct Pair {
    /// The client's and the upstream's.
    sockets: [TcpStream; 2],
    /// From the client, and from the upstream.
    flows: [Flow; 2],
}

#[derive(Default)]
struct Flow {
    /// Read, and not yet taken by the other side.
    pending: Vec<u8>,
    /// The source has announced its end: an end that came with data gives no second edge.
    ending: bool,
    ended: bool,
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, registry: &Registry) {
        // Whatever `accept` says, the next edge brings the listener back here.
        while let Ok((client, _)) = listener.accept() {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.pairs.push(None);
                self.pairs.len() - 1
            });
            match Pair::open(client, self.upstream, slot, registry) {
                Ok(pair) => self.pairs[slot] = Some(pair),
                Err(_) => self.free.push(slot),
            }
        }
    }

    fn handle(&mut self, event: &Event, scratch: &mut [u8]) {
        let (slot, side) = (event.token().0 / 2, event.token().0 % 2);
        let Some(Some(pair)) = self.pairs.get_mut(slot) else {
            return;
        };
        if event.is_read_closed() {
            pair.flows[side].ending = true;
        }
        let read = if event.is_readable() {
            pair.pump(side, scratch)
        } else {
            Ok(())
        };
        let written = if event.is_writable() && !pair.flows[1 - side].pending.is_empty() {
            pair.pump(1 - side, scratch)
        } else {
            Ok(())
        };
        let done = pair.flows.iter().all(|flow| flow.ended);
        if done || read.is_err() || written.is_err() {
            self.pairs[slot] = None;
            self.free.push(slot);
        }
    }
}

impl Pair {
    fn open(
        mut client: TcpStream,
        upstream: SocketAddr,
        slot: usize,
        registry: &Registry,
    ) -> std::io::Result<Self> {
        let mut server = TcpStream::connect(upstream)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut client, Token(slot * 2), both)?;
        registry.register(&mut server, Token(slot * 2 + 1), both)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok(Self {
            sockets: [client, server],
            flows: [Flow::default(), Flow::default()],
        })
    }

    /// Moves what can be moved from one side to the other.
    fn pump(&mut self, side: usize, scratch: &mut [u8]) -> std::io::Result<()> {
        let Self {
            sockets: [client, server],
            flows,
        } = self;
        let (from, to) = if side == 0 {
            (client, server)
        } else {
            (server, client)
        };
        let flow = &mut flows[side];
        loop {
            let pending = std::mem::take(&mut flow.pending);
            let taken = write(to, &pending)?;
            if taken < pending.len() {
                flow.pending = pending[taken..].to_vec();
                return Ok(());
            }
            if flow.ended {
                return Ok(());
            }
            match from.read(scratch) {
                Ok(0) => {
                    flow.ended = true;
                    return to.shutdown(Shutdown::Write);
                }
                Ok(n) => {
                    let taken = write(to, &scratch[..n])?;
                    flow.pending.extend_from_slice(&scratch[taken..n]);
                    if taken < n || (n < scratch.len() && !flow.ending) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn write(to: &mut TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match to.write(&bytes[taken..]) {
            Ok(n) => taken += n,
            // A connection that is not made yet says the same.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                break;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

const LISTENER: Token = Token(usize::MAX - 1);

/// Room for one read, as much as the driver reads at once.
const SCRATCH: usize = 256 << 10;
