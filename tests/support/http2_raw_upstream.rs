//! Upstreams that answer with frames as they are, for what no well-behaved server sends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::http2_raw::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PING, RawH2, SETTINGS, fields,
};
use super::upstream::Upstream;

/// What is said on a connection when it is opened, and to the first request.
pub(crate) type Greet = fn(&mut RawH2);
/// The number is that of the stream.
pub(crate) type Answer = fn(&mut RawH2, u32);

/// An upstream on a port of its own. It answers once as it is told, and then as it should.
pub(crate) struct RawUpstream {
    pub(crate) upstream: Upstream,
    heard: Arc<Mutex<Vec<Frame>>>,
}

impl RawUpstream {
    /// The greeting is that of the first connection, the answer that to the first request.
    /// All other requests are answered with a word.
    pub(crate) fn once(greet: Greet, answer: Answer) -> Self {
        let heard = Arc::<Mutex<Vec<Frame>>>::default();
        let (kept, is_answered) = (Arc::clone(&heard), AtomicBool::new(false));
        let upstream = Upstream::scripted(move |connection| {
            let is_first = connection.number == 0;
            let Some(mut raw) = RawH2::accept(connection.wire) else {
                return;
            };
            if is_first {
                greet(&mut raw);
            } else {
                settings(&mut raw, &[]);
            }
            while let Ok(frame) = raw.next() {
                if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
                    let echo = if frame.kind == PING {
                        &frame.payload[..]
                    } else {
                        b""
                    };
                    raw.try_send(frame.kind, ACK, 0, echo);
                }
                if frame.kind == HEADERS {
                    let is_asked_again = is_answered.swap(true, Ordering::Relaxed);
                    let answer = if is_asked_again { word } else { answer };
                    answer(&mut raw, frame.stream);
                }
                kept.lock().unwrap().push(frame);
            }
        });
        Self { upstream, heard }
    }

    /// All frames that came so far.
    pub(crate) fn heard(&self) -> Vec<Frame> {
        self.heard.lock().unwrap().clone()
    }
}

/// Says these settings.
pub(crate) fn settings(raw: &mut RawH2, settings: &[(u16, u32)]) {
    let pairs = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
    raw.try_send(SETTINGS, 0, 0, &pairs.collect::<Vec<_>>());
}

/// Says what a well-behaved upstream says.
pub(crate) fn politely(raw: &mut RawH2) {
    settings(raw, &[]);
}

/// Begins an answer with these fields.
pub(crate) fn begin(raw: &mut RawH2, stream: u32, head: &[(&str, &str)]) {
    raw.try_send(HEADERS, END_HEADERS, stream, &fields(head));
}

/// Sends a body, and ends the answer.
pub(crate) fn finish(raw: &mut RawH2, stream: u32) {
    raw.try_send(DATA, END_STREAM, stream, b"word");
}

/// An answer as it should be.
pub(crate) fn word(raw: &mut RawH2, stream: u32) {
    begin(raw, stream, &[(":status", "200")]);
    finish(raw, stream);
}
