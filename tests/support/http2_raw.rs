//! Frames of HTTP/2 as they are, for what no well-behaved client sends.

use std::net::SocketAddr;

use super::wire::{Broken, Wire};

/// A connection on which frames are written and read by hand.
pub(crate) struct RawH2 {
    pub(crate) wire: Wire,
}

/// One frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 1;
/// Of HEADERS.
pub(crate) const END_HEADERS: u8 = 4;
/// Of DATA and HEADERS.
pub(crate) const PADDED: u8 = 8;
/// Of HEADERS.
pub(crate) const WITH_PRIORITY: u8 = 0x20;
/// Of SETTINGS and PING.
pub(crate) const ACK: u8 = 1;

/// `GET / http test` in HPACK (RFC 7541).
pub(crate) const GET: &[u8] = b"\x82\x84\x86\x41\x04test";

impl RawH2 {
    /// Connects, and says which settings it has: none.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut wire = Wire::connect(address);
        assert!(wire.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        let mut raw = Self { wire };
        raw.send(SETTINGS, 0, 0, b"");
        raw
    }

    /// Sends a frame.
    #[track_caller]
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        assert!(
            self.try_send(kind, flags, stream, payload),
            "the connection is gone"
        );
    }

    /// Sends a frame; false if the other end does not take it.
    pub(crate) fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length.to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.wire.write(bytes)
    }

    /// Reads the next frame.
    pub(crate) fn next(&mut self) -> Result<Frame, Broken> {
        let head = self.wire.read(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.wire.read(length as usize)?;
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }

    /// Reads until a PING is acknowledged.
    pub(crate) fn pong(&mut self) -> Result<(), Broken> {
        loop {
            let frame = self.next()?;
            if frame.kind == PING && frame.flags & ACK != 0 {
                return Ok(());
            }
        }
    }

    /// Reads until a frame of this kind comes, and acknowledges what asks for it.
    pub(crate) fn until(&mut self, kind: u8) -> Result<Frame, Broken> {
        loop {
            let frame = self.next()?;
            if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
                let echo = if frame.kind == PING {
                    frame.payload.clone()
                } else {
                    Vec::new()
                };
                self.send(frame.kind, ACK, 0, &echo);
            }
            if frame.kind == kind {
                return Ok(frame);
            }
        }
    }
}
