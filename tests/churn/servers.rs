//! The versions behind the proxy: one for the web with WebSockets, one for gRPC calls.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::super::support::upstream::{Connection, Upstream};
use super::super::support::wire::Wire;

/// Answers requests, and echoes what comes over WebSockets.
pub(super) struct Web(Upstream);

impl Web {
    pub(super) fn start() -> Self {
        Self(Upstream::scripted(serve))
    }

    pub(super) fn url(&self) -> String {
        self.0.url()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.address
    }
}

fn serve(mut connection: Connection) {
    while let Some(head) = connection.request() {
        if head.one("upgrade").is_some() {
            // Nobody checks the key of a test.
            let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            if connection.wire.write(switch) {
                echo_frames(&mut connection.wire);
            }
            return;
        }
        let body = head.word(1).to_owned();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if !connection.wire.write(answer) {
            return;
        }
    }
}

/// Echoes short frames, masked ones as unmasked ones, until one of them is the last.
fn echo_frames(wire: &mut Wire) {
    while let Ok(head) = wire.read(2) {
        let length = usize::from(head[1] & 0x7f);
        let Ok(masked) = wire.read(4 + length) else {
            return;
        };
        let (mask, payload) = masked.split_at(4);
        let mut frame = vec![head[0], head[1] & 0x7f];
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        if !wire.write(frame) || head[0] & 0xf == 8 {
            return;
        }
    }
}

/// Echoes the messages of calls, each at once.
pub(super) struct Calls {
    address: SocketAddr,
}

impl Calls {
    pub(super) fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        // It ends with the process of the test.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve_calls(stream));
                }
            });
        });
        Self { address }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve_calls(stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(echo_call(request, respond));
    }
}

async fn echo_call(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Option<Infallible> {
    let mut incoming = request.into_body();
    let head = Response::builder().header("content-type", "application/grpc");
    let mut outgoing = respond.send_response(head.body(()).ok()?, false).ok()?;
    while let Some(Ok(message)) = incoming.data().await {
        incoming
            .flow_control()
            .release_capacity(message.len())
            .ok()?;
        // Connections on which many frames hold nothing are closed by h2.
        if !message.is_empty() {
            outgoing.send_data(message, false).ok()?;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    outgoing.send_trailers(trailers).ok()?;
    None
}

/// A message as it is framed in a call.
pub(super) fn grpc_message(text: &str) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(text.len()).unwrap());
    message.extend_from_slice(text.as_bytes());
    message.freeze()
}
