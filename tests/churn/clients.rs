//! One kind of client each: it goes on until it may not, and says what went wrong.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::support::client::{Client, request};
use super::super::support::wire::Wire;
use super::load::Load;
use super::servers::grpc_message;

/// Requests one after another, on connections that are used for as long as haldane lets it.
pub(super) fn keep_alive(load: &Load, address: SocketAddr) {
    while load.may_connect() {
        let mut client = Client::connect(address);
        let mut number = 0;
        while load.may_ask() {
            number += 1;
            let path = format!("/keep-alive/{number}");
            client.send(request("GET", &path, &[], ""));
            match client.try_answer_to("GET") {
                Ok(answer) if answer.status == 200 && answer.text() == path => {
                    load.success("keep-alive");
                    if answer.head.one("connection").as_deref() == Some("close") {
                        break;
                    }
                }
                other => {
                    load.failure(format!("keep-alive, request {number}: {other:?}"));
                    break;
                }
            }
        }
        if !load.may_ask() {
            return;
        }
    }
}

/// A connection for each request.
pub(super) fn close(load: &Load, address: SocketAddr) {
    while load.may_connect() {
        let mut client = Client::connect(address);
        client.send(request("GET", "/close", &[("connection", "close")], ""));
        match client.try_answer_to("GET") {
            Ok(answer) if answer.status == 200 && answer.text() == "/close" => {
                load.success("close");
            }
            other => load.failure(format!("close: {other:?}")),
        }
    }
}

/// Sessions in which everything comes back, for as long as haldane keeps them.
pub(super) fn websocket(load: &Load, address: SocketAddr) {
    while load.may_connect() {
        let mut wire = Wire::connect(address);
        let handshake = "GET /ws HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        if !wire.write(handshake) {
            load.failure("websocket: the handshake was not taken".to_owned());
            continue;
        }
        match wire.head() {
            Ok(head) if head.word(1) == "101" => {}
            other => {
                load.failure(format!("websocket: {other:?}"));
                continue;
            }
        }
        if let Err(problem) = echo(load, &mut wire) {
            load.failure(format!("websocket: {problem}"));
        }
        if !load.may_ask() {
            return;
        }
    }
}

/// `Ok` if the session ended as sessions end.
fn echo(load: &Load, wire: &mut Wire) -> Result<(), String> {
    for number in 0_u64.. {
        let leaving = !load.may_ask();
        let text = if leaving {
            String::new()
        } else {
            number.to_string()
        };
        let opcode = if leaving { 0x88 } else { 0x81 };
        let length = u8::try_from(text.len()).unwrap();
        let mut frame = vec![opcode, 0x80 | length, 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        // A close frame may have crossed with this one.
        let sent = wire.write(frame);
        let head = wire
            .read(2)
            .map_err(|broken| format!("message {number}: {broken:?}"))?;
        let payload = wire
            .read(usize::from(head[1]))
            .map_err(|broken| format!("within message {number}: {broken:?}"))?;
        match head[0] {
            0x88 if leaving => return Ok(()),
            0x88 if payload == 1012_u16.to_be_bytes() => {
                wire.write([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf4]);
                return Ok(());
            }
            0x81 if sent && payload == text.as_bytes() => load.success("websocket"),
            _ => return Err(format!("message {number}: {head:?} {payload:?}")),
        }
    }
    Ok(())
}

/// How a client with streams connects.
#[derive(Clone)]
pub(super) struct Secure {
    pub(super) address: SocketAddr,
    pub(super) config: Arc<ClientConfig>,
}

/// Streams side by side on connections over TLS: `kind` says what they ask for.
pub(super) fn streams(load: &Load, secure: &Secure, kind: Kind) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        while load.may_connect() {
            if let Err(problem) = connection(load, secure, kind).await {
                load.failure(format!("{kind:?}: {problem}"));
            }
            if !load.may_ask() {
                return;
            }
        }
    });
}

/// What streams ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A call with one message.
    Call,
    /// A call with many, each sent when the one before has come back.
    Conversation,
    /// A request.
    Get,
}

/// Streams that one connection has at a time.
const SIDE_BY_SIDE: usize = 4;

/// Messages of a conversation.
const MESSAGES: usize = 30;

/// `Ok` if the connection ended as connections end: haldane said that it would.
async fn connection(load: &Load, secure: &Secure, kind: Kind) -> Result<(), String> {
    let stream = TcpStream::connect(secure.address)
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::clone(&secure.config))
        .connect(name, stream)
        .await
        .map_err(|error| format!("no handshake: {error}"))?;
    let (sender, connection) = h2::client::handshake(stream)
        .await
        .map_err(|error| format!("no greeting: {error}"))?;
    let driving = async {
        // What goes wrong is seen by the streams.
        drop(connection.await);
    };
    let asking = async {
        let asker = || ask_on(load, sender.clone(), kind);
        let all: [_; SIDE_BY_SIDE] = std::array::from_fn(|_| asker());
        let [a, b, c, d] = all;
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        a.and(b).and(c).and(d)
    };
    tokio::pin!(driving);
    tokio::pin!(asking);
    tokio::select! {
        result = &mut asking => result,
        () = &mut driving => asking.await,
    }
}

/// `Ok` when no more streams may be opened.
async fn ask_on(
    load: &Load,
    mut sender: h2::client::SendRequest<Bytes>,
    kind: Kind,
) -> Result<(), String> {
    while load.may_ask() {
        // A connection that ends takes no more streams: that is no failure.
        let Ok(ready) = sender.clone().ready().await else {
            return Ok(());
        };
        sender = ready;
        let (path, content) = match kind {
            Kind::Get => ("/streams", "text/plain"),
            Kind::Call | Kind::Conversation => ("/calls/Echo", "application/grpc"),
        };
        let request = Request::post(format!("https://localhost{path}"))
            .header("content-type", content)
            .header("te", "trailers")
            .body(())
            .unwrap();
        let Ok((response, body)) = sender.send_request(request, kind == Kind::Get) else {
            return Ok(());
        };
        match exchange(kind, response, body).await {
            Ok(()) => load.success(match kind {
                Kind::Call => "call",
                Kind::Conversation => "conversation",
                Kind::Get => "stream",
            }),
            // haldane has told that it did not begin with it (RFC 9113 §6.8, §8.7).
            Err(Ended::Unprocessed) => {}
            Err(Ended::Wrong(problem)) => return Err(problem),
        }
    }
    Ok(())
}

/// How a stream ended that had no whole answer.
enum Ended {
    Unprocessed,
    Wrong(String),
}

impl From<h2::Error> for Ended {
    fn from(error: h2::Error) -> Self {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let gone = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        if error.is_remote() && (refused || gone) {
            Self::Unprocessed
        } else {
            Self::Wrong(format!("a stream ended: {error}"))
        }
    }
}

async fn exchange(
    kind: Kind,
    response: h2::client::ResponseFuture,
    mut body: h2::SendStream<Bytes>,
) -> Result<(), Ended> {
    let message = grpc_message("hello");
    let messages = match kind {
        Kind::Get => 0,
        Kind::Call => 1,
        Kind::Conversation => MESSAGES,
    };
    if messages > 0 {
        body.send_data(message.clone(), messages == 1)?;
    }
    let response = response.await?;
    let wrong = |what: String| Err(Ended::Wrong(what));
    if response.status() != 200 || response.headers().contains_key("grpc-status") {
        return wrong(format!("{response:?}"));
    }
    let mut incoming = response.into_body();
    let (mut received, mut sent) = (Vec::new(), messages.min(1));
    while let Some(data) = incoming.data().await {
        let data = data?;
        incoming.flow_control().release_capacity(data.len())?;
        received.extend_from_slice(&data);
        if sent < messages && received.len() == sent * message.len() {
            sent += 1;
            body.send_data(message.clone(), sent == messages)?;
        }
    }
    let expected = match kind {
        Kind::Get => b"/streams".to_vec(),
        Kind::Call | Kind::Conversation => message.repeat(messages),
    };
    if received != expected {
        return wrong(format!(
            "{} bytes came back of {}",
            received.len(),
            expected.len()
        ));
    }
    let trailers = incoming.trailers().await?;
    let status = trailers
        .as_ref()
        .and_then(|trailers| trailers.get("grpc-status"));
    match (kind, status) {
        (Kind::Get, None) => Ok(()),
        (Kind::Call | Kind::Conversation, Some(status)) if status == "0" => Ok(()),
        _ => wrong(format!("trailers {trailers:?}")),
    }
}
