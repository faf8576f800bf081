//! The handshake with a client.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::deadline::{Guard, Party};
use crate::h1::transport::Transport;

/// What the connection is carried by from now on. `None`: there was no handshake
/// within `timeout`, or one that failed; the client was told by an alert.
pub(crate) async fn shake_hands(
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    watch: &Guard,
    timeout: Duration,
) -> Option<Transport> {
    let Some(tls) = tls else {
        return Some(Transport::Plain(socket));
    };
    // An idle connection is not to keep the room that only this needs.
    let handshake = Box::pin(TlsAcceptor::from(tls).accept(socket));
    let stream = watch.within(Party::Client, timeout, handshake).await?;
    stream
        .ok()
        .map(|stream| Transport::Tls(Box::new(stream.into())))
}
