//! The handshake with a client.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
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
    watch.arm(Party::Client, timeout);
    let mut handshake = pin!(TlsAcceptor::from(tls).accept(socket));
    let stream = poll_fn(|cx| {
        if let Poll::Ready(result) = handshake.as_mut().poll(cx) {
            return Poll::Ready(result.ok());
        }
        if watch.is_over(Party::Client) {
            return Poll::Ready(None);
        }
        watch.wait(cx);
        Poll::Pending
    })
    .await?;
    watch.disarm(Party::Client);
    Some(Transport::Tls(Box::new(stream.into())))
}
