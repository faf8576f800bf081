//! What each kind of frame may be (§6), by its section.

use super::*;
use crate::support::http2_raw::{PADDED, PRIORITY, WINDOW_UPDATE};

/// Sends one setting.
fn set(raw: &mut RawH2, name: u8, value: u32) {
    let payload = [&[0, name][..], &value.to_be_bytes()].concat();
    say(raw, SETTINGS, 0, 0, &payload);
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn frames_of_a_stream_follow_their_rules() {
    Bench::new().check(&[
        (
            "6.1 DATA on no stream",
            |raw| say(raw, DATA, END_STREAM, 0, b"word"),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.1 padding",
            |raw| {
                open(raw);
                say(raw, DATA, PADDED | END_STREAM, 1, b"\x02word\0\0");
            },
            &[Served],
        ),
        (
            "6.1 padding as long as the frame",
            |raw| {
                open(raw);
                say(raw, DATA, PADDED | END_STREAM, 1, b"\x05word");
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "6.1 padding without its length",
            |raw| {
                open(raw);
                say(raw, DATA, PADDED | END_STREAM, 1, b"");
            },
            &[GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.2 HEADERS on no stream",
            |raw| {
                say(raw, HEADERS, END_HEADERS | END_STREAM, 0, GET);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "6.2 padding as long as the frame",
            |raw| {
                let head = [&[GET.len() as u8 + 1][..], GET].concat();
                say(raw, HEADERS, PADDED | END_HEADERS | END_STREAM, 1, &head);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "6.2 padding",
            |raw| {
                let head = [&[3][..], GET, &[0; 3]].concat();
                say(raw, HEADERS, PADDED | END_HEADERS | END_STREAM, 1, &head);
            },
            &[Served],
        ),
        (
            "6.3 PRIORITY on no stream",
            |raw| say(raw, PRIORITY, 0, 0, &[0, 0, 0, 0, 9]),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.3 PRIORITY that is too short",
            |raw| {
                open(raw);
                say(raw, PRIORITY, 0, 1, &[0, 0, 0, 0]);
            },
            &[Reset(FRAME_SIZE), GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.4 RST_STREAM on no stream",
            |raw| say(raw, RST_STREAM, 0, 0, &[0, 0, 0, 8]),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.4 RST_STREAM that is too short",
            |raw| {
                open(raw);
                say(raw, RST_STREAM, 0, 1, &[0, 0, 8]);
            },
            &[GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.4 RST_STREAM that is too long",
            |raw| {
                open(raw);
                say(raw, RST_STREAM, 0, 1, &[0, 0, 0, 0, 8]);
            },
            &[GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.10 several CONTINUATION",
            |raw| {
                say(raw, HEADERS, END_STREAM, 1, &GET[..2]);
                say(raw, CONTINUATION, 0, 1, &GET[2..5]);
                say(raw, CONTINUATION, 0, 1, b"");
                say(raw, CONTINUATION, END_HEADERS, 1, &GET[5..]);
            },
            &[Served],
        ),
        (
            "6.10 CONTINUATION and then another kind",
            |raw| {
                say(raw, HEADERS, END_STREAM, 1, &GET[..2]);
                say(raw, CONTINUATION, 0, 1, &GET[2..]);
                say(raw, DATA, END_STREAM, 1, b"word");
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "6.10 CONTINUATION on no stream",
            |raw| {
                say(raw, HEADERS, END_STREAM, 1, &GET[..2]);
                say(raw, CONTINUATION, END_HEADERS, 0, &GET[2..]);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "6.10 CONTINUATION of another stream",
            |raw| {
                say(raw, HEADERS, END_STREAM, 1, &GET[..2]);
                say(raw, CONTINUATION, END_HEADERS, 3, &GET[2..]);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "6.10 CONTINUATION of a head that has ended",
            |raw| {
                say(raw, HEADERS, END_HEADERS, 1, POST);
                say(raw, CONTINUATION, END_HEADERS, 1, &GET[2..]);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "6.10 CONTINUATION after one that has ended the head",
            |raw| {
                say(raw, HEADERS, 0, 1, &POST[..2]);
                say(raw, CONTINUATION, END_HEADERS, 1, &POST[2..]);
                say(raw, CONTINUATION, END_HEADERS, 1, &GET[2..]);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "6.10 CONTINUATION after DATA",
            |raw| {
                open(raw);
                say(raw, DATA, 0, 1, b"word");
                say(raw, CONTINUATION, END_HEADERS, 1, &GET[2..]);
            },
            &[Gone(PROTOCOL)],
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn frames_of_a_connection_follow_their_rules() {
    Bench::new().check(&[
        (
            "6.5 an acknowledgement with settings",
            |raw| {
                say(raw, SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 9]);
            },
            &[GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.5 SETTINGS on a stream",
            |raw| say(raw, SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 9]),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.5 SETTINGS that are cut",
            |raw| say(raw, SETTINGS, 0, 0, &[0, 3, 0]),
            &[GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.5.2 ENABLE_PUSH that is neither",
            |raw| set(raw, 2, 2),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.5.2 INITIAL_WINDOW_SIZE beyond the most",
            |raw| set(raw, 4, 1 << 31),
            &[GoneUnnamed(FLOW_CONTROL)],
        ),
        (
            "6.5.2 MAX_FRAME_SIZE below the least",
            |raw| set(raw, 5, (1 << 14) - 1),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.5.2 MAX_FRAME_SIZE beyond the most",
            |raw| set(raw, 5, 1 << 24),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.5.2 ENABLE_CONNECT_PROTOCOL that is neither",
            |raw| set(raw, 8, 2),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.5.2 all that may be set",
            |raw| {
                for (name, value) in [(1, 0), (1, 4096), (2, 0), (3, 0), (4, 65_535), (6, 9)] {
                    set(raw, name, value);
                }
            },
            &[GoesOn],
        ),
        (
            "6.7 PING on a stream",
            |raw| say(raw, PING, 0, 1, &[0; 8]),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.7 PING that is too short",
            |raw| say(raw, PING, 0, 0, &[0; 6]),
            &[GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.7 PING that is too long",
            |raw| say(raw, PING, 0, 0, &[0; 9]),
            &[GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.8 GOAWAY on a stream",
            |raw| say(raw, GOAWAY, 0, 1, &[0; 8]),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.8 GOAWAY that is too short",
            |raw| say(raw, GOAWAY, 0, 0, &[0; 7]),
            &[GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.9 WINDOW_UPDATE by nothing",
            |raw| say(raw, WINDOW_UPDATE, 0, 0, &[0; 4]),
            &[Gone(PROTOCOL)],
        ),
        (
            "6.9 WINDOW_UPDATE by nothing on a stream",
            |raw| {
                half_closed(raw);
                say(raw, WINDOW_UPDATE, 0, 1, &[0; 4]);
            },
            &[Reset(PROTOCOL)],
        ),
        (
            "6.9 WINDOW_UPDATE that is too short",
            |raw| {
                say(raw, WINDOW_UPDATE, 0, 0, &[0, 0, 1]);
            },
            &[GoneUnnamed(FRAME_SIZE)],
        ),
        (
            "6.9.1 a window beyond the most",
            |raw| {
                say(raw, WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
                say(raw, WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
            },
            &[Gone(FLOW_CONTROL)],
        ),
        (
            "6.9.1 a window of a stream beyond the most",
            |raw| {
                half_closed(raw);
                say(raw, WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]);
                say(raw, WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]);
            },
            &[Reset(FLOW_CONTROL)],
        ),
        (
            "6.9.2 a setting that takes a window beyond the most",
            |raw| {
                half_closed(raw);
                say(raw, WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0, 0]);
                set(raw, 4, (1 << 31) - 1);
            },
            &[Gone(FLOW_CONTROL)],
        ),
    ]);
}

/// An acknowledgement is the same eight bytes, and has none itself (§6.7).
#[test]
fn a_ping_is_acknowledged_once() {
    let bench = Bench::new();
    let mut raw = RawH2::connect(bench.proxy.address);
    say(&mut raw, PING, 0xfe, 0, b"bytes 01");
    say(&mut raw, PING, ACK, 0, b"bytes 02");
    say(&mut raw, PING, 0, 0, b"bytes 03");
    for bytes in [b"bytes 01", b"bytes 03"] {
        let pong = raw.until(PING).expect("an acknowledgement");
        assert_eq!((pong.flags, &pong.payload[..]), (ACK, &bytes[..]));
    }
}

/// Reads the next DATA of stream 1.
fn data(raw: &mut RawH2) -> Vec<u8> {
    let frame = raw.until(DATA).expect("data");
    assert_eq!(frame.stream, 1);
    frame.payload
}

/// No more is sent than there is a window for, whatever it is changed to (§6.9.1, §6.9.2).
#[test]
fn windows_are_kept() {
    let bench = Bench::new();
    let mut raw = RawH2::connect(bench.proxy.address);
    // Of two values in one frame the later one holds (§6.5.3).
    say(
        &mut raw,
        SETTINGS,
        0,
        0,
        &[0, 4, 0, 0, 0, 99, 0, 4, 0, 0, 0, 2],
    );
    say(&mut raw, HEADERS, END_HEADERS | END_STREAM, 1, GET);
    assert_eq!(data(&mut raw), b"wo");
    // It is minus two, then nothing, then one.
    set(&mut raw, 4, 0);
    say(&mut raw, WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2]);
    say(&mut raw, PING, 0, 0, &[0; 8]);
    loop {
        let frame = raw.next().expect("goes on");
        assert_ne!(frame.kind, DATA, "{frame:?}");
        if frame.kind == PING {
            break;
        }
    }
    say(&mut raw, WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    assert_eq!(data(&mut raw), b"r");
    set(&mut raw, 4, 1);
    assert_eq!(data(&mut raw), b"d");
}
