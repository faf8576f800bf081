//! What haldane must know of WebSocket (RFC 6455): where frames end, how a session is
//! closed, and how a handshake is answered.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the key of a handshake is hashed with (RFC 6455 §1.3).
const HANDSHAKE_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The opcode of a close frame (RFC 6455 §5.5.1).
const CLOSE: u8 = 0x8;

/// The server is restarting; the client may connect again
/// (IANA WebSocket Close Code Number Registry).
pub(crate) const SERVICE_RESTART: u16 = 1012;

/// The endpoint is going away (RFC 6455 §7.4.1).
pub(crate) const GOING_AWAY: u16 = 1001;

/// Follows the frames of one direction without looking at what is in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    state: State,
    closed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// In a frame's head: its first bytes, and how many have come.
    Head { bytes: [u8; 10], seen: usize },
    /// In the mask and the payload.
    Rest { left: u64 },
}

impl Default for State {
    fn default() -> Self {
        Self::Head {
            bytes: [0; 10],
            seen: 0,
        }
    }
}

impl Frames {
    /// Sees the next bytes.
    pub(crate) fn follow(&mut self, mut data: &[u8]) {
        while let Some((byte, rest)) = data.split_first() {
            match &mut self.state {
                State::Rest { left } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                    *left -= here as u64;
                    data = &data[here..];
                    if *left == 0 {
                        self.state = State::default();
                    }
                }
                State::Head { bytes, seen } => {
                    bytes[*seen] = *byte;
                    *seen += 1;
                    data = rest;
                    if *seen == head_bytes(bytes[1]) || (*seen > 1 && *seen == bytes.len()) {
                        self.closed |= bytes[0] & 0xf == CLOSE;
                        let left = rest_bytes(bytes);
                        self.state = if left == 0 {
                            State::default()
                        } else {
                            State::Rest { left }
                        };
                    }
                }
            }
        }
    }

    /// Whether a whole number of frames has come, so that another may be put in.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.state, State::Head { seen: 0, .. })
    }

    /// Whether a close frame has come.
    pub(crate) const fn has_closed(&self) -> bool {
        self.closed
    }
}

/// Length of a head without its mask. Before the second byte has come it is read as
/// zero, which asks for two.
fn head_bytes(second: u8) -> usize {
    match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// Bytes of mask and payload after this head.
fn rest_bytes(head: &[u8; 10]) -> u64 {
    let payload = match head[1] & 0x7f {
        126 => u64::from(u16::from_be_bytes([head[2], head[3]])),
        127 => {
            let [_, _, length @ ..] = *head;
            u64::from_be_bytes(length)
        }
        length => u64::from(length),
    };
    let mask = if head[1] & 0x80 == 0 { 0 } else { 4 };
    payload.saturating_add(mask)
}

/// A close frame as a server sends it.
pub(crate) fn close_from_server(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x80 | CLOSE, 2, high, low]
}

/// A close frame as a client sends it, with a mask that changes nothing: what it is
/// for, cache poisoning by scripts, needs a payload that a script has chosen.
pub(crate) fn close_from_client(code: u16) -> [u8; 8] {
    let [high, low] = code.to_be_bytes();
    [0x80 | CLOSE, 0x80 | 2, 0, 0, 0, 0, high, low]
}

/// The key of a handshake that haldane begins.
pub(crate) fn new_key() -> String {
    STANDARD.encode(fastrand::u128(..).to_be_bytes())
}

/// What a server answers to a key (RFC 6455 §4.2.2).
pub(crate) fn accept_of(key: &[u8]) -> String {
    let salted = [key, HANDSHAKE_GUID].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &salted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: u64, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match length {
            0..=125 => bytes.push(mask | u8::try_from(length).expect("short")),
            126..=0xffff => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(length).expect("medium").to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.resize(bytes.len() + usize::try_from(length).expect("fits"), 0x88);
        bytes
    }

    #[test]
    fn frames_are_followed_in_pieces_of_any_size() {
        let mut stream = Vec::new();
        let mut boundaries = vec![0];
        for (length, masked) in [
            (0, false),
            (0, true),
            (1, true),
            (125, false),
            (126, true),
            (65_536, false),
            (3, true),
        ] {
            stream.extend(frame(0x82, length, masked));
            boundaries.push(stream.len());
        }
        for step in [1, 2, 3, 7, 1000, stream.len()] {
            let (mut frames, mut at) = (Frames::default(), 0);
            for piece in stream.chunks(step) {
                frames.follow(piece);
                at += piece.len();
                assert_eq!(frames.is_between(), boundaries.contains(&at), "{step} {at}");
            }
            assert!(!frames.has_closed());
        }
    }

    #[test]
    fn a_close_frame_is_seen() {
        for close in [&close_from_server(1000)[..], &close_from_client(1000)] {
            let mut frames = Frames::default();
            frames.follow(&frame(0x81, 300, true));
            frames.follow(close);
            assert!(frames.has_closed() && frames.is_between());
        }
    }

    #[test]
    fn the_handshake_is_the_one_of_the_rfc() {
        assert_eq!(
            accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(new_key().len(), 24);
    }
}
