//! Exchanges in HTTP/2, side by side on one connection.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use tokio::{net::TcpStream, task::spawn_local};

use super::exchange::{Request, Trouble, judge_fields};
use crate::case::Version;

/// A connection with prior knowledge (RFC 9113 §3.3).
pub(crate) struct Multiplexed {
    sender: h2::client::SendRequest<Bytes>,
    driver: tokio::task::JoinHandle<()>,
}

/// An answer that is to come.
pub(crate) struct Pending {
    request: Request,
    response: h2::client::ResponseFuture,
}

impl Multiplexed {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let (sender, connection) = h2::client::handshake(stream)
            .await
            .map_err(io::Error::other)?;
        let driver = spawn_local(async move { drop(connection.await) });
        Ok(Self { sender, driver })
    }

    /// Sends the head of a request.
    ///
    /// # Errors
    /// If the connection takes no more.
    pub(crate) async fn send(&mut self, request: Request) -> Result<Pending, Trouble> {
        let head = http::Request::get(format!(
            "http://soak/get/{}/{}",
            request.seed, request.length
        ))
        .header("x-user", request.user.to_string())
        .body(())
        .map_err(|error| Trouble::Wrong(error.to_string()))?;
        let ready = self.sender.clone().ready().await.map_err(untouched)?;
        self.sender = ready;
        let (response, _) = self.sender.send_request(head, true).map_err(untouched)?;
        Ok(Pending { request, response })
    }
}

impl Drop for Multiplexed {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Pending {
    /// Reads the whole answer.
    pub(crate) async fn answer(self) -> Result<Version, Trouble> {
        let (head, mut body) = self.response.await.map_err(broken)?.into_parts();
        let mut all = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(broken)?;
            all.extend_from_slice(&data);
            body.flow_control()
                .release_capacity(data.len())
                .map_err(broken)?;
        }
        let field = |name: &str| head.headers.get(name)?.to_str().ok();
        judge_fields(&self.request, head.status.as_u16(), field, &all)
    }
}

/// What was not begun may be asked again (RFC 9113 §8.7).
fn broken(error: h2::Error) -> Trouble {
    let untouched = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    Trouble::Broken {
        untouched,
        error: io::Error::other(error),
    }
}

fn untouched(error: h2::Error) -> Trouble {
    Trouble::Broken {
        untouched: true,
        error: io::Error::other(error),
    }
}
