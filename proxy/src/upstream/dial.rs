//! Opens a connection to one address: TCP or a Unix socket, and TLS where it is asked for.

use std::io;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::h1::transport::Transport;
use crate::live::endpoints::{Place, Socket};
use crate::tls::Reloaded;

/// Opens a connection. `tls` is needed where the place has a server name.
///
/// # Errors
///
/// The operating system's, or that of a handshake that failed.
pub(crate) async fn open(
    place: &Place,
    tls: Option<&Reloaded<ClientConfig>>,
) -> io::Result<Transport> {
    let stream = match &place.socket {
        Socket::Tcp(address) => TcpStream::connect(address).await?,
        Socket::Unix(path) => return UnixStream::connect(path).await.map(Transport::Unix),
    };
    stream.set_nodelay(true)?;
    let Some(name) = &place.server_name else {
        return Ok(Transport::Plain(stream));
    };
    // What is meant to be encrypted is never sent in the clear.
    let tls = tls.ok_or_else(|| io::Error::other("there is no TLS for this address"))?;
    let name = ServerName::try_from(name.to_string()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(tls.current())
        .connect(name, stream)
        .await?;
    Ok(Transport::Tls(Box::new(stream.into())))
}

/// Whether this is the machine's or this process's lack, whoever was to be reached.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    // ENFILE, EMFILE and ENOBUFS, which have no kind of their own.
    const WITHOUT_KIND: [i32; 3] = [23, 24, 105];
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory
    ) || error
        .raw_os_error()
        .is_some_and(|code| WITHOUT_KIND.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_haldane_lacks_is_not_the_address_s_doing() {
        for code in [24, 23, 99, 105, 12] {
            assert!(is_exhaustion(&io::Error::from_raw_os_error(code)));
        }
        // Refused, unreachable, timed out, no such socket.
        for code in [111, 113, 110, 2] {
            assert!(!is_exhaustion(&io::Error::from_raw_os_error(code)));
        }
    }
}
