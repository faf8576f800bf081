//! An answer of the admin API that goes on for as long as somebody listens.

use http_body_util::{BodyExt, Full, Limited};
use hyper::Method;
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Client, EXCHANGE_TIMEOUT, Failure, Place, REPLY_BYTES_MAX};

/// The body of the answer, as it comes. The connection ends with it.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Incoming,
    /// Without it the connection would take its end for near.
    _sender: SendRequest<Full<Bytes>>,
}

impl Stream {
    /// The next piece of the answer; `None` at its end. What is dropped while it waits has
    /// lost nothing.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Client {
    /// Opens the stream of server-sent events at `path`, after the event with this number.
    pub(crate) async fn open(&self, path: &str, seen: u64) -> Result<Stream, Failure> {
        let mut request = self.request(Method::GET, path, Bytes::new())?;
        let fields = request.headers_mut();
        fields.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        fields.insert("last-event-id", HeaderValue::from(seen));
        let opened = async {
            match &self.place {
                Place::Tcp(address) => {
                    let stream = self.connected(TcpStream::connect(address)).await?;
                    self.open_on(stream, request).await
                }
                Place::Unix(path) => {
                    let stream = self.connected(UnixStream::connect(path)).await?;
                    self.open_on(stream, request).await
                }
            }
        };
        timeout(EXCHANGE_TIMEOUT, opened)
            .await
            .unwrap_or_else(|_| Err(self.unreachable("no answer in time")))
    }

    async fn open_on<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Stream, Failure> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error))?;
        // Ends with the stream; how it ends shows in the body.
        tokio::spawn(async { drop(connection.await) });
        let response = sender.send_request(request).await;
        let (head, body) = response
            .map_err(|error| self.unreachable(error))?
            .into_parts();
        if head.status.is_success() {
            return Ok(Stream {
                body,
                _sender: sender,
            });
        }
        let body = Limited::new(body, REPLY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.unreachable(error))?.to_bytes();
        Err(self.refused(head.status, &body))
    }
}
