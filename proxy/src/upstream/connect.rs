//! Opens connections to an upstream: names, TCP, TLS, and the time they may take.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use haldane_config::UpstreamAddress;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::{Connection, Lease, Upstream};
use crate::deadline::{Guard, Party};
use crate::h1::transport::Transport;
use crate::h1::wire::Wire;

/// Why no connection could be opened.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The address refused, is unreachable, or the name is not known.
    Failed(io::Error),
    /// Not within the configured time.
    TimedOut,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::TimedOut => f.write_str("not within the configured time"),
        }
    }
}

impl Upstream {
    /// Opens a new connection to an address.
    pub(crate) async fn connect(
        self: &Rc<Self>,
        endpoint: usize,
        timeout: Duration,
        watch: &Guard,
    ) -> Result<Connection, ConnectError> {
        let lease = Lease::new(self, endpoint);
        let opening = self.open(&self.addresses[endpoint].address);
        let transport = match watch.within(Party::Upstream, timeout, opening).await {
            Some(opened) => opened.map_err(ConnectError::Failed)?,
            None => return Err(ConnectError::TimedOut),
        };
        let wire = Wire::new(transport, Rc::clone(&self.buffers));
        Ok(Connection {
            wire,
            reused: false,
            lease,
        })
    }

    async fn open(&self, address: &UpstreamAddress) -> io::Result<Transport> {
        let socket = open_any(address).await?;
        let Some(tls) = self.tls.as_ref().filter(|_| address.tls) else {
            return Ok(Transport::Plain(socket));
        };
        let name = ServerName::try_from(address.host.to_string()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(tls.current())
            .connect(name, socket)
            .await?;
        Ok(Transport::Tls(Box::new(stream.into())))
    }
}

/// Tries the addresses of a name in turn. Names are resolved for each new
/// connection, so a change is followed as soon as connections are replaced.
async fn open_any(address: &UpstreamAddress) -> io::Result<TcpStream> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return open_at(SocketAddr::new(ip, address.port)).await;
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in lookup_host((&*address.host, address.port)).await? {
        match open_at(resolved).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn open_at(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
