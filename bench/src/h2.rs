//! The little of HTTP/2 (RFC 9113) that short exchanges need, the same for client and upstream.

pub(crate) mod hpack;
mod huffman;

use std::ops::Range;

use crate::failure::Failure;
use hpack::{Decoder, TABLE_SIZE};

/// One connection: what came in and is not understood yet, and what has to go out.
#[derive(Debug)]
pub(crate) struct Session {
    input: Vec<u8>,
    /// Bytes of `input` that were taken.
    taken: usize,
    decoder: Decoder,
    /// To be written by whoever owns the socket.
    pub(crate) out: Vec<u8>,
    /// Bytes of bodies that the other side still takes on this connection.
    send_window: i64,
    /// The table that the other side has to keep for what is written here.
    table_least: u32,
    /// Bytes of bodies that came since the other side was last told to go on.
    received: u32,
    /// Of the last block of fields.
    pub(crate) fields: Fields,
}

/// What came for a stream.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Part of a body.
    Data {
        /// Whose.
        stream: u32,
        /// Where it is, for [`Session::bytes`].
        at: Range<usize>,
        /// The message ends here.
        end: bool,
    },
    /// A head or trailers; they are in [`Session::fields`].
    Head {
        /// Whose.
        stream: u32,
        /// The message ends here.
        end: bool,
    },
    /// The other side takes more than before.
    Room,
}

/// The fields that somebody here looks at; empty where there are none.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// `:status`.
    pub(crate) status: Vec<u8>,
    /// `:method`.
    pub(crate) method: Vec<u8>,
    /// `:path`.
    pub(crate) path: Vec<u8>,
    /// `content-length`.
    pub(crate) content_length: Vec<u8>,
    /// `grpc-status`.
    pub(crate) grpc_status: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Range<usize>,
}

impl Session {
    /// A connection on which nothing has happened; the first flight lies in `out`. Who has a
    /// preface is the client, and uses the table; upstreams write what needs none.
    pub(crate) fn new(preface: &[u8]) -> Self {
        let mut out = preface.to_vec();
        frame(SETTINGS, 0, 0, &first_settings(), &mut out);
        frame(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes(), &mut out);
        Self {
            input: Vec::new(),
            taken: 0,
            decoder: Decoder::new(),
            out,
            send_window: INITIAL_WINDOW,
            table_least: if preface.is_empty() { 0 } else { TABLE_SIZE },
            received: 0,
            fields: Fields::default(),
        }
    }

    /// Takes in what was read; [`Session::next`] then says what it means.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..std::mem::take(&mut self.taken));
        self.input.extend_from_slice(bytes);
    }

    /// What came next; `None` when more has to be read first.
    ///
    /// # Errors
    /// When the other side says something that nobody should say to a peer that behaves.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Failure> {
        while let Some(frame) = self.next_frame()? {
            let event = self.understand(&frame)?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// The bytes of an event, until the next [`Session::feed`].
    pub(crate) fn bytes(&self, at: &Range<usize>) -> &[u8] {
        self.input.get(at.clone()).unwrap_or_default()
    }

    /// Writes the head of a message, or its trailers.
    pub(crate) fn head(&mut self, stream: u32, block: &[u8], end: bool) {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        frame(HEADERS, flags, stream, block, &mut self.out);
    }

    /// Writes a whole body, when the other side has room for it; says whether it has.
    pub(crate) fn body(&mut self, stream: u32, body: &[u8], end: bool) -> bool {
        let len = body.len() as i64;
        if self.send_window < len {
            return false;
        }
        self.send_window -= len;
        frame(
            DATA,
            if end { END_STREAM } else { 0 },
            stream,
            body,
            &mut self.out,
        );
        true
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, Failure> {
        let Some(&[l0, l1, l2, kind, flags, s0, s1, s2, s3]) =
            self.input.get(self.taken..self.taken + FRAME_HEAD)
        else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if len > FRAME_MAX {
            return Err(Failure::violation(format!(
                "an HTTP/2 frame of {len} bytes"
            )));
        }
        let begin = self.taken + FRAME_HEAD;
        if self.input.len() < begin + len {
            return Ok(None);
        }
        self.taken = begin + len;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & STREAM_MASK;
        let payload = begin..begin + len;
        Ok(Some(Frame {
            kind,
            flags,
            stream,
            payload,
        }))
    }

    fn understand(&mut self, frame: &Frame) -> Result<Option<Event>, Failure> {
        let (stream, end) = (frame.stream, frame.flags & END_STREAM != 0);
        match frame.kind {
            DATA => {
                self.count(frame.payload.len());
                let at = self.unpadded(frame, 0)?;
                Ok(Some(Event::Data { stream, at, end }))
            }
            HEADERS => {
                self.decode(frame)?;
                Ok(Some(Event::Head { stream, end }))
            }
            SETTINGS => self.settings(frame).map(|()| None),
            PING if frame.flags & ACK == 0 => {
                let data = self.bytes(&frame.payload).to_vec();
                self::frame(PING, ACK, 0, &data, &mut self.out);
                Ok(None)
            }
            WINDOW_UPDATE if stream == 0 => {
                self.send_window += i64::from(number(self.bytes(&frame.payload))? & STREAM_MASK);
                Ok(Some(Event::Room))
            }
            RESET | GOAWAY => {
                let code = self
                    .bytes(&frame.payload)
                    .iter()
                    .map(|byte| format!("{byte:02x}"));
                let code: String = code.collect();
                let what = if frame.kind == RESET {
                    "a reset"
                } else {
                    "GOAWAY"
                };
                Err(Failure::violation(format!(
                    "{what} came for stream {stream}: {code}"
                )))
            }
            PUSH_PROMISE | CONTINUATION => Err(Failure::violation(format!(
                "an HTTP/2 frame of type {} came",
                frame.kind
            ))),
            _ => Ok(None),
        }
    }

    fn decode(&mut self, frame: &Frame) -> Result<(), Failure> {
        if frame.flags & END_HEADERS == 0 {
            return Err(Failure::violation("a small head came in several frames"));
        }
        let before = if frame.flags & PRIORITY != 0 {
            PRIORITY_LEN
        } else {
            0
        };
        let at = self.unpadded(frame, before)?;
        let Self {
            input,
            decoder,
            fields,
            ..
        } = self;
        fields.clear();
        decoder
            .decode(input.get(at).unwrap_or_default(), |name, value| {
                fields.take(name, value);
            })
            .ok_or_else(|| Failure::violation("a block of fields is not HPACK"))
    }

    /// Section 6.5: what others may ask, as far as anything here depends on it.
    fn settings(&mut self, frame: &Frame) -> Result<(), Failure> {
        if frame.flags & ACK != 0 {
            return Ok(());
        }
        for setting in self
            .input
            .get(frame.payload.clone())
            .unwrap_or_default()
            .chunks(6)
        {
            let &[k0, k1, ref value @ ..] = setting else {
                return Err(Failure::violation("a setting without a name"));
            };
            let (key, value) = (u16::from_be_bytes([k0, k1]), number(value)?);
            let least = match key {
                HEADER_TABLE_SIZE => self.table_least,
                MAX_CONCURRENT_STREAMS => 16,
                INITIAL_WINDOW_SIZE => BODY_MAX,
                _ => 0,
            };
            if value < least {
                return Err(Failure::violation(format!(
                    "the proxy allows {value} as HTTP/2 setting {key}, {least} are needed"
                )));
            }
        }
        self::frame(SETTINGS, ACK, 0, &[], &mut self.out);
        Ok(())
    }

    /// Section 6.9: the connection's window is opened again long before it closes.
    fn count(&mut self, len: usize) {
        self.received += len as u32;
        if self.received >= WINDOW / 2 {
            let received = std::mem::take(&mut self.received);
            frame(WINDOW_UPDATE, 0, 0, &received.to_be_bytes(), &mut self.out);
        }
    }

    fn unpadded(&self, frame: &Frame, before: usize) -> Result<Range<usize>, Failure> {
        let Range { mut start, mut end } = frame.payload;
        if frame.flags & PADDED != 0 {
            let padding = self.bytes(&frame.payload).first().copied().unwrap_or(0);
            start += 1;
            end = end.saturating_sub(usize::from(padding));
        }
        start += before;
        if start > end {
            return Err(Failure::violation(
                "an HTTP/2 frame shorter than its padding",
            ));
        }
        Ok(start..end)
    }
}

impl Fields {
    fn clear(&mut self) {
        for text in [
            &mut self.status,
            &mut self.method,
            &mut self.path,
            &mut self.content_length,
            &mut self.grpc_status,
        ] {
            text.clear();
        }
    }

    fn take(&mut self, name: &[u8], value: &[u8]) {
        let text = match name {
            b":status" => &mut self.status,
            b":method" => &mut self.method,
            b":path" => &mut self.path,
            b"content-length" => &mut self.content_length,
            b"grpc-status" => &mut self.grpc_status,
            _ => return,
        };
        text.extend_from_slice(value);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let [_, l0, l1, l2] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&[l0, l1, l2, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn first_settings() -> Vec<u8> {
    let mut settings = Vec::new();
    for (key, value) in [
        (MAX_CONCURRENT_STREAMS, 1000),
        (INITIAL_WINDOW_SIZE, WINDOW),
    ] {
        settings.extend_from_slice(&key.to_be_bytes());
        settings.extend_from_slice(&value.to_be_bytes());
    }
    settings
}

fn number(bytes: &[u8]) -> Result<u32, Failure> {
    let bytes = bytes
        .try_into()
        .map_err(|_| Failure::violation("an HTTP/2 frame is cut"))?;
    Ok(u32::from_be_bytes(bytes))
}

/// What a client begins with (section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest body here: a message of gRPC.
const BODY_MAX: u32 = 1024;

/// What the other side may send before it is told to go on: never less than half of it.
const WINDOW: u32 = 1 << 30;

/// What may be sent on a connection before the other side has said more (section 6.9.2).
const INITIAL_WINDOW: i64 = 65_535;

const FRAME_HEAD: usize = 9;

/// Nobody was allowed to send longer frames (section 4.2).
const FRAME_MAX: usize = 16_384;

const STREAM_MASK: u32 = 0x7fff_ffff;

const PRIORITY_LEN: usize = 5;

// Types of frames (section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

// Flags.
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

// Settings (section 6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Session, Session) {
        let mut client = Session::new(PREFACE);
        let mut server = Session::new(&[]);
        let out = std::mem::take(&mut client.out);
        server.feed(out.strip_prefix(PREFACE).unwrap());
        client.feed(&std::mem::take(&mut server.out));
        assert!(matches!(server.next().unwrap(), Some(Event::Room)));
        assert!(server.next().unwrap().is_none());
        assert!(matches!(client.next().unwrap(), Some(Event::Room)));
        assert!(client.next().unwrap().is_none());
        (client, server)
    }

    #[test]
    fn a_message_is_understood_however_it_is_cut() {
        let (mut client, mut server) = pair();
        client.out.clear();
        client.head(1, &[0x83, 0x86, 0x84], false);
        assert!(client.body(1, b"body", true));
        for byte in std::mem::take(&mut client.out) {
            server.feed(&[byte]);
            match server.next().unwrap() {
                Some(Event::Head { stream, end }) => {
                    assert_eq!((stream, end), (1, false));
                    assert_eq!(
                        (&server.fields.method[..], &server.fields.path[..]),
                        (&b"POST"[..], &b"/"[..])
                    );
                }
                Some(Event::Data { stream, at, end }) => {
                    assert_eq!((stream, end, server.bytes(&at)), (1, true, &b"body"[..]));
                    return;
                }
                Some(Event::Room) | None => {}
            }
        }
        panic!("the message did not end");
    }

    #[test]
    fn nothing_is_sent_beyond_the_window() {
        let mut session = Session::new(&[]);
        assert!(session.body(1, &[0; 65_535], true));
        assert!(!session.body(3, &[0], true));
        session.feed(&[0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(matches!(session.next().unwrap(), Some(Event::Room)));
        assert!(session.body(3, &[0], true));
        assert!(!session.body(5, &[0], true));
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let mut session = Session::new(&[]);
        session.feed(&[0, 0, 6, DATA, PADDED, 0, 0, 0, 1, 2, b'a', b'b', b'c', 0, 0]);
        let Some(Event::Data { at, end, .. }) = session.next().unwrap() else {
            panic!("no data")
        };
        assert_eq!((session.bytes(&at), end), (&b"abc"[..], false));
        let flags = END_HEADERS | END_STREAM | PRIORITY;
        session.feed(&[0, 0, 6, HEADERS, flags, 0, 0, 0, 1, 0, 0, 0, 0, 16, 0x88]);
        assert!(matches!(
            session.next().unwrap(),
            Some(Event::Head { end: true, .. })
        ));
        assert_eq!(session.fields.status, b"200");
    }

    #[test]
    fn what_must_not_come_is_a_violation() {
        for bytes in [
            &[0, 0, 4, RESET, 0, 0, 0, 0, 1, 0, 0, 0, 8][..],
            &[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 1, HEADERS, 0, 0, 0, 0, 1, 0x88],
            &[0, 0, 1, HEADERS, END_HEADERS, 0, 0, 0, 1, 0xff],
            &[0, 0, 1, DATA, PADDED, 0, 0, 0, 1, 9],
            &[0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            &[1, 0, 0, DATA, 0, 0, 0, 0, 1],
        ] {
            let mut session = Session::new(PREFACE);
            session.feed(bytes);
            assert!(session.next().is_err(), "{bytes:?}");
        }
    }
}
