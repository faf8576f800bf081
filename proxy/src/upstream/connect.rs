//! Opens connections to an upstream: names, TCP, TLS, and the time they may take.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use haldane_config::{UpstreamAddress, UpstreamProtocol};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::http2::Waited;
use super::{Lease, Link, Opened, Upstream};
use crate::clock::Micros;
use crate::deadline::{Guard, Party};
use crate::h1::transport::{ALPN_HTTP2, Transport};
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

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Upstream {
    /// Opens a new connection to an address, or shares one that somebody else has
    /// opened meanwhile.
    pub(crate) async fn connect(
        self: &Rc<Self>,
        endpoint: usize,
        timeout: Duration,
        watch: &Guard,
    ) -> Result<Opened, ConnectError> {
        let lease = Lease::new(self, endpoint);
        let now = watch.now();
        let opening = async {
            match self.protocol {
                UpstreamProtocol::Http1 => {
                    let transport = self.open(&self.addresses[endpoint].address).await?;
                    Ok(self.own(transport, lease))
                }
                UpstreamProtocol::H2 => self.share(endpoint, lease, now).await,
            }
        };
        let opened = watch.within(Party::Upstream, timeout, opening).await;
        opened.unwrap_or(Err(ConnectError::TimedOut))
    }

    fn own(&self, transport: Transport, lease: Lease) -> Opened {
        Opened {
            link: Link::Own(Wire::new(transport, Rc::clone(&self.buffers))),
            reused: false,
            lease,
        }
    }

    /// One request connects for all that come meanwhile.
    async fn share(
        &self,
        endpoint: usize,
        lease: Lease,
        now: Micros,
    ) -> Result<Opened, ConnectError> {
        let address = &self.addresses[endpoint];
        loop {
            if let Some(connection) = address.shared.find() {
                return Ok(Opened::shared(lease, connection, true));
            }
            let Some(mut connecting) = address.shared.begin() else {
                if address.shared.wait().await == Waited::Failed {
                    let error = io::Error::other("another request could not connect");
                    return Err(ConnectError::Failed(error));
                }
                continue;
            };
            let transport = match self.open(&address.address).await {
                Ok(transport) => transport,
                Err(error) => {
                    connecting.fail();
                    return Err(error.into());
                }
            };
            // Over TLS the other end has the last word.
            if transport.is_encrypted() && transport.alpn() != Some(ALPN_HTTP2) {
                return Ok(self.own(transport, lease));
            }
            return match connecting.start(transport, now).await {
                Ok(connection) => Ok(Opened::shared(lease, connection, false)),
                Err(error) => {
                    connecting.fail();
                    Err(ConnectError::Failed(io::Error::other(error)))
                }
            };
        }
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
