//! Small formats of bytes: PROXY headers, frames of WebSocket, messages of a hand-over.

use std::net::IpAddr;

use haldane_config::Config;

use super::admin::live;
use crate::handover::{Message, wire};
use crate::request::proxy_protocol;
use crate::websocket::{Frames, close_from_client, close_from_server};

/// Whom a PROXY header names, if it is one: version 1 or 2.
#[must_use]
pub fn proxy_header(bytes: &[u8]) -> Option<Option<IpAddr>> {
    if bytes.starts_with(b"PROXY ") {
        proxy_protocol::parse_line(bytes)
    } else {
        proxy_protocol::parse_binary(bytes)
    }
}

/// Follows frames that come in these parts: whether they have ended at the end of one, and
/// whether a close frame was among them.
pub fn frames<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (bool, bool) {
    let mut frames = Frames::default();
    for part in parts {
        frames.follow(part);
    }
    (frames.is_between(), frames.has_closed())
}

/// Close frames with this code: a client's and a server's.
#[must_use]
pub fn close_frames(code: u16) -> (Vec<u8>, Vec<u8>) {
    let (client, server) = (close_from_client(code), close_from_server(code));
    (client.to_vec(), server.to_vec())
}

/// Reads one message of a hand-over, and writes it.
///
/// # Errors
///
/// If it is none.
pub async fn rewrite_message(mut bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let message = wire::read(&mut bytes).await?;
    let mut written = Vec::new();
    wire::write(&mut written, &message).await?;
    Ok(written)
}

/// Goes on where a message says that another process stands, and follows it where a second
/// one says; the share of the first route in parts per million after each. `None` if they
/// say no such thing.
pub async fn follow(config: &Config, mut bytes: &[u8]) -> Option<[u32; 2]> {
    let live = live(config, None);
    let share = || Some(live.routes().first()?.setting().weight.parts_per_million());
    let Message::Standing { routes, .. } = wire::read(&mut bytes).await.ok()? else {
        return None;
    };
    live.go_on_from(&routes);
    let before = share()?;
    if let Ok(Message::Standing { routes, freeze, .. }) = wire::read(&mut bytes).await {
        live.follow_freeze(freeze);
        live.follow(&routes);
    }
    Some([before, share()?])
}
