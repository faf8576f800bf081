//! A client's socket, with TLS on it or not: reads and writes that never wait.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use mio::{Interest, Registry, Token, event::Event, net::TcpStream};
use rustls::{ClientConfig, ClientConnection};

use crate::{failure::Failure, tls};

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The proxy, or an upstream.
    pub(crate) address: SocketAddr,
    /// With TLS, when there is anything here.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A connection that stands or is being made.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Target {
    /// Without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

impl Wire {
    /// Dials; the first writable event says that the connection stands.
    pub(crate) fn connect(
        target: &Target,
        token: Token,
        registry: &Registry,
    ) -> Result<Self, Failure> {
        let mut stream =
            TcpStream::connect(target.address).map_err(Failure::io("connect to the proxy"))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry
            .register(&mut stream, token, interest)
            .and_then(|()| stream.set_nodelay(true))
            .map_err(Failure::io("register a client connection"))?;
        let tls = target.tls.as_ref().map(tls::connection).transpose()?;
        Ok(Self {
            stream,
            tls: tls.map(Box::new),
        })
    }

    /// As `read(2)` would; what TLS has to say meanwhile is said.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Whether anything is missing is known from the messages.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if tls.read_tls(&mut self.stream)? > 0 {
                tls.process_new_packets().map_err(io::Error::other)?;
                flush(tls, &mut self.stream)?;
            }
        }
    }

    /// As `writev(2)` would. What TLS could not write goes with [`Wire::flush`].
    pub(crate) fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.write_vectored(parts);
        };
        let taken = tls.writer().write_vectored(parts)?;
        flush(tls, &mut self.stream)?;
        match taken {
            0 => Err(ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    /// Writes what TLS holds back; to be called when the socket can be written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => flush(tls, &mut self.stream),
            None => Ok(()),
        }
    }

    /// Whether to read again after a read of `n` bytes: one record says nothing about the next.
    pub(crate) fn read_again(&self, n: usize, room: usize, event: &Event) -> bool {
        self.tls.is_some() || read_again(n, room, event)
    }
}

fn flush(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            // A connection that is not made yet says the latter.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether an edge-triggered socket has to be read again after a read of `n` bytes: a short read
/// has emptied it, but an end that came with the data gives no second edge.
pub(crate) fn read_again(n: usize, room: usize, event: &Event) -> bool {
    n == room || event.is_read_closed()
}
