//! The rules of frames and streams (RFC 9113 §3 to §6 and §8) and of HPACK (RFC 7541), one row
//! for each: what is sent, and what may come back. The rows are those of h2spec and some more.

use crate::support::http2::H2Client;
use crate::support::http2_raw::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PADDED, PING,
    PUSH_PROMISE, RST_STREAM, RawH2, SETTINGS, WINDOW_UPDATE,
};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;
use crate::support::wire::{Broken, Wire};

/// How a connection begins, and what streams are told in which state.
mod connections;
/// What each kind of frame may be (§6).
mod frames;
/// Compressed heads (RFC 7541).
mod hpack;
/// What makes a request (§8).
mod messages;
/// What upstreams may not do, and what clients see of it.
mod upstreams;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION: u32 = 9;

/// The beginning of a POST that has a body: the stream stays open.
const POST: &[u8] = b"\x83\x84\x86\x41\x04test";

/// A GET of `/held`, which is not answered while anybody waits.
const HELD: &[u8] = b"\x82\x04\x05/held\x86\x41\x04test";

/// A GET of `/after`: shows that the connection goes on.
const AFTER: &[u8] = b"\x82\x04\x06/after\x86\x01\x04test";

/// `:status` in the static table of HPACK.
const OK: u8 = 0x88;
const BAD_REQUEST: u8 = 0x8c;

/// The stream of [`AFTER`].
const LAST: u32 = 1001;

/// What becomes of the connection, or of stream 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Nothing: the next request is served.
    GoesOn,
    /// GOAWAY with this code, and the end of the connection.
    Gone(u32),
    /// The same where the RFC wants this code, for the connection or for the stream: `h2` ends
    /// the connection with PROTOCOL_ERROR.
    GoneUnnamed(u32),
    /// The request is answered with 400 (§8.1.1), and the next one is served.
    Refused,
    /// RST_STREAM with this code, and the next request is served.
    Reset(u32),
    /// The request is answered with 200, and so is the next.
    Served,
}

use End::{GoesOn, Gone, GoneUnnamed, Refused, Reset, Served};

/// What is sent, by its section; how; and what may come of it.
type Row = (&'static str, fn(&mut RawH2), &'static [End]);

/// Whom the rows are tried on, and somebody else who is served all the time.
struct Bench {
    upstream: Upstream,
    proxy: Proxy,
    other: H2Client,
}

impl Bench {
    fn new() -> Self {
        let upstream = Upstream::scripted(|mut connection| {
            while let Some(head) = connection.request() {
                if head.word(1) == "/held" {
                    connection.wire.end();
                    return;
                }
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nword";
                if !connection.wire.write(answer) {
                    return;
                }
            }
        });
        let proxy = Setup::stable(&upstream)
            .top("workers = 1")
            .table("[limits]\nstreams = 8")
            .start();
        let other = H2Client::connect(proxy.address);
        Self {
            upstream,
            proxy,
            other,
        }
    }

    /// Plays all rows, and tells all that went otherwise.
    #[track_caller]
    fn check(&self, rows: &[Row]) {
        let mut wrong = Vec::new();
        for (what, play, may) in rows {
            let mut raw = RawH2::connect(self.proxy.address);
            play(&mut raw);
            self.look(what, &mut raw, may, &mut wrong);
        }
        self.conclude(&wrong);
    }

    /// What became of a row, and whether somebody else is served as before.
    #[track_caller]
    fn look(&self, what: &str, raw: &mut RawH2, may: &[End], wrong: &mut Vec<String>) {
        let end = verdict(raw, may);
        if !end.as_ref().is_ok_and(|end| is_allowed(*end, may)) {
            wrong.push(format!("{what}: {end:?}, not {may:?}"));
        }
        assert_eq!(self.other.get("/other", &[]).text(), "word", "{what}");
    }

    #[track_caller]
    fn conclude(&self, wrong: &[String]) {
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(self.other.ended().is_none());
        let failures = &self.proxy.status()["versions"]["stable"]["failures"];
        assert_eq!(*failures, 0, "what clients do is no failure of a version");
    }
}

/// What is an error of a stream may be made one of the connection (§5.4.1).
fn is_allowed(end: End, may: &[End]) -> bool {
    may.iter().any(|one| match (*one, end) {
        (Reset(code), Gone(told)) => code == told,
        (GoneUnnamed(_), Gone(told)) => told == PROTOCOL,
        (one, end) => one == end,
    })
}

/// Reads what comes back. Where the connection must end, nothing more is sent that could
/// end it.
fn verdict(raw: &mut RawH2, may: &[End]) -> Result<End, Broken> {
    let is_end = |end: &End| matches!(end, Gone(_) | GoneUnnamed(_));
    if !may.iter().all(is_end) {
        say(raw, HEADERS, END_HEADERS | END_STREAM, LAST, AFTER);
    }
    let (mut end, mut is_over, mut goes_on) = (GoesOn, !may.contains(&Served), false);
    while !(is_over && goes_on) {
        let frame = raw.next()?;
        let is_last = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
        match (frame.kind, frame.stream) {
            (GOAWAY, _) => {
                let code = code_in(&frame.payload[4..]);
                return match raw.wire.end() {
                    Broken::Closed | Broken::Reset => Ok(Gone(code)),
                    other => Err(other),
                };
            }
            (RST_STREAM, 1) if end == GoesOn => {
                (end, is_over) = (Reset(code_in(&frame.payload)), true);
            }
            (HEADERS, 1) if status_in(&frame.payload) == OK => end = Served,
            (HEADERS, 1) if status_in(&frame.payload) == BAD_REQUEST => end = Refused,
            (HEADERS, LAST) if status_in(&frame.payload) != OK => {
                return Err(Broken::Malformed(format!("{frame:?}")));
            }
            _ => {}
        }
        is_over |= is_last && frame.stream == 1;
        goes_on |= is_last && frame.stream == LAST;
    }
    Ok(end)
}

/// The index of the status, which what is said of the size of the table may precede.
fn status_in(mut payload: &[u8]) -> u8 {
    while let [0x20..0x40, rest @ ..] = payload {
        let is_long = payload[0] == 0x3f;
        let more = rest
            .iter()
            .position(|byte| *byte < 0x80)
            .map_or(0, |at| at + 1);
        payload = if is_long { &rest[more..] } else { rest };
    }
    payload.first().copied().unwrap_or(0)
}

fn code_in(payload: &[u8]) -> u32 {
    let code = payload.first_chunk().expect("a code");
    u32::from_be_bytes(*code)
}

/// Sends a frame to whoever may be gone.
fn say(raw: &mut RawH2, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    raw.try_send(kind, flags, stream, payload);
}

/// So many requests that the upstream holds, from stream 1 on.
fn hold(raw: &mut RawH2, streams: u32) {
    for number in 0..streams {
        say(raw, HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, HELD);
    }
}

/// Stream 1 is open: its body is to come.
fn open(raw: &mut RawH2) {
    say(raw, HEADERS, END_HEADERS, 1, POST);
}

/// Stream 1 is half-closed (remote): all was said, and nothing answered.
fn half_closed(raw: &mut RawH2) {
    say(raw, HEADERS, END_HEADERS | END_STREAM, 1, HELD);
}

/// Stream 1 is closed, since both sides have said all.
fn closed(raw: &mut RawH2) {
    say(raw, HEADERS, END_HEADERS | END_STREAM, 1, GET);
    while !is_end_of(&raw.next().expect("an answer"), 1) {}
}

/// Stream 1 is closed, since its client has reset it.
fn reset(raw: &mut RawH2) {
    open(raw);
    say(raw, RST_STREAM, 0, 1, &[0, 0, 0, 8]);
}

fn is_end_of(frame: &crate::support::http2_raw::Frame, stream: u32) -> bool {
    frame.stream == stream && frame.flags & END_STREAM != 0
}
