//! Frames of HTTP/2 as they are, for what no well-behaved client sends.

use std::net::SocketAddr;
use std::time::Duration;

use super::eventually::PATIENCE;
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

/// More bytes than sockets hold, in both directions and at both ends.
pub(crate) const IN_SOCKETS_MAX: usize = 64 << 20;

impl RawH2 {
    /// Connects, and says which settings it has: none.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut wire = Wire::connect(address);
        assert!(wire.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        let mut raw = Self { wire };
        raw.send(SETTINGS, 0, 0, b"");
        raw
    }

    /// Takes a connection of a client. `None` if that does not begin with its preface.
    pub(crate) fn accept(mut wire: Wire) -> Option<Self> {
        let preface = wire.read(24).ok()?;
        preface
            .starts_with(b"PRI * HTTP/2.0")
            .then_some(Self { wire })
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
        self.wire.write(frame(kind, flags, stream, payload))
    }

    /// Sends a frame again and again, and reads nothing, until it is not taken any more; how
    /// many bytes were. Gives up after as many as `most`.
    pub(crate) fn pour(&mut self, kind: u8, payload: &[u8], most: usize) -> usize {
        let piece = frame(kind, 0, 0, payload).repeat(1000);
        // What waits to be read is to fill up soon.
        socket2::SockRef::from(self.wire.stream())
            .set_recv_buffer_size(64 * 1024)
            .expect("sets SO_RCVBUF");
        self.wire.patience(Duration::from_millis(500));
        let mut taken = 0;
        while taken < most && self.wire.write(&piece) {
            taken += piece.len();
        }
        self.wire.patience(PATIENCE);
        taken
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

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length.to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A literal field without an index, its name and value in plain.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        // RFC 7541 §5.1, with a prefix of seven bits.
        let mut length = text.len();
        if length < 0x7f {
            bytes.push(length as u8);
        } else {
            bytes.push(0x7f);
            length -= 0x7f;
            while length >= 0x80 {
                bytes.push(length as u8 | 0x80);
                length >>= 7;
            }
            bytes.push(length as u8);
        }
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// All of these, as literals.
pub(crate) fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let literals = list.iter().map(|(name, value)| literal(name, value));
    literals.collect::<Vec<_>>().concat()
}
