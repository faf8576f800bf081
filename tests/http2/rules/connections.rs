//! How a connection begins (§3.4), frames in general (§4), states of streams (§5.1) and errors
//! (§5.4).

use super::*;
use crate::support::http2_raw::{PRIORITY, PUSH_PROMISE, WINDOW_UPDATE};

/// A kind of frame that there is not.
const UNKNOWN: u8 = 0x16;

#[test]
fn a_connection_begins_with_its_preface() {
    let bench = Bench::new();
    // SETTINGS come without being asked for anything, and are acknowledged.
    let mut raw = RawH2::connect(bench.proxy.address);
    assert_eq!(raw.next().expect("settings").kind, SETTINGS);
    let acknowledged = raw.until(SETTINGS).expect("an acknowledgement");
    assert_eq!((acknowledged.flags, acknowledged.payload.len()), (ACK, 0));
    // What is no preface is HTTP/1.1, and no request there.
    for preface in [
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n\r\n\r\n\r\n",
        "INVALID CONNECTION PREFACE\r\n\r\n",
        "RPI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut wire = Wire::connect(bench.proxy.address);
        assert!(wire.write(preface));
        let answer = wire.head().expect("an answer");
        assert!(["400", "505"].contains(&answer.word(1)), "{answer:?}");
        assert!(matches!(wire.end(), Broken::Closed | Broken::Reset));
        assert_eq!(bench.other.get("/other", &[]).text(), "word");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn frames_are_as_large_as_they_may_be_and_known() {
    Bench::new().check(&[
        (
            "4.1 an unknown kind of frame",
            |raw| say(raw, UNKNOWN, 0, 0, &[0; 8]),
            &[GoesOn],
        ),
        (
            "4.1 an unknown kind of frame on a stream",
            |raw| {
                open(raw);
                say(raw, UNKNOWN, 0xff, 1, &[0; 8]);
                say(raw, DATA, END_STREAM, 1, b"word");
            },
            &[Served],
        ),
        (
            "4.1 flags that are not defined",
            |raw| {
                say(raw, HEADERS, 0xd2 | END_HEADERS | END_STREAM, 1, GET);
            },
            &[Served],
        ),
        (
            "4.1 the reserved bit",
            |raw| {
                say(raw, HEADERS, END_HEADERS | END_STREAM, 1 << 31 | 1, GET);
            },
            &[Served],
        ),
        (
            "4.2 DATA of the largest size",
            |raw| {
                open(raw);
                say(raw, DATA, END_STREAM, 1, &[b'x'; 1 << 14]);
            },
            &[Served],
        ),
        (
            "4.2 DATA beyond it",
            |raw| {
                open(raw);
                say(raw, DATA, END_STREAM, 1, &[b'x'; (1 << 14) + 1]);
            },
            &[Reset(FRAME_SIZE)],
        ),
        (
            "4.2 HEADERS beyond it",
            |raw| {
                let head = [GET, &[0; 1 << 14]].concat();
                say(raw, HEADERS, END_HEADERS | END_STREAM, 1, &head);
            },
            &[Gone(FRAME_SIZE)],
        ),
        (
            "4.2 SETTINGS beyond it",
            |raw| {
                let settings = [0, 9, 0, 0, 0, 0].repeat(2731);
                say(raw, SETTINGS, 0, 0, &settings);
            },
            &[Gone(FRAME_SIZE)],
        ),
        (
            "4.2 what is unknown beyond it",
            |raw| {
                say(raw, UNKNOWN, 0, 0, &[0; (1 << 14) + 1]);
            },
            &[Gone(FRAME_SIZE), GoesOn],
        ),
        (
            "4.3 another kind of frame within a head",
            |raw| {
                say(raw, HEADERS, END_STREAM, 1, GET);
                say(raw, PRIORITY, 0, 1, &[0, 0, 0, 0, 9]);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "4.3 the head of another stream within a head",
            |raw| {
                say(raw, HEADERS, END_STREAM, 1, GET);
                say(raw, HEADERS, END_HEADERS | END_STREAM, 3, GET);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "5.5 an unknown kind of frame within a head",
            |raw| {
                say(raw, HEADERS, END_STREAM, 1, GET);
                say(raw, UNKNOWN, 0, 1, &[0; 8]);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "5.5 an unknown setting",
            |raw| say(raw, SETTINGS, 0, 0, &[0, 0xff, 0, 0, 0, 1]),
            &[GoesOn],
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn a_stream_takes_what_its_state_allows() {
    Bench::new().check(&[
        (
            "5.1 idle, DATA",
            |raw| say(raw, DATA, END_STREAM, 1, b"word"),
            &[Gone(PROTOCOL)],
        ),
        (
            "5.1 idle, RST_STREAM",
            |raw| say(raw, RST_STREAM, 0, 1, &[0, 0, 0, 8]),
            &[Gone(PROTOCOL)],
        ),
        (
            "5.1 idle, WINDOW_UPDATE",
            |raw| say(raw, WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]),
            &[Gone(PROTOCOL)],
        ),
        (
            "5.1 idle, CONTINUATION",
            |raw| say(raw, CONTINUATION, END_HEADERS, 1, GET),
            &[Gone(PROTOCOL)],
        ),
        (
            "5.1 idle, PRIORITY",
            |raw| say(raw, PRIORITY, 0, 1, &[0, 0, 0, 0, 9]),
            &[GoesOn],
        ),
        (
            "5.1 half-closed, DATA",
            |raw| {
                half_closed(raw);
                say(raw, DATA, END_STREAM, 1, b"word");
            },
            &[GoneUnnamed(STREAM_CLOSED)],
        ),
        (
            "5.1 half-closed, HEADERS",
            |raw| {
                half_closed(raw);
                say(raw, HEADERS, END_HEADERS | END_STREAM, 1, GET);
            },
            &[GoneUnnamed(STREAM_CLOSED)],
        ),
        (
            "5.1 half-closed, CONTINUATION",
            |raw| {
                half_closed(raw);
                say(raw, CONTINUATION, END_HEADERS, 1, GET);
            },
            &[Gone(PROTOCOL), Gone(STREAM_CLOSED)],
        ),
        (
            "5.1 half-closed, what it may be sent",
            |raw| {
                half_closed(raw);
                say(raw, WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]);
                say(raw, PRIORITY, 0, 1, &[0, 0, 0, 0, 9]);
                say(raw, RST_STREAM, 0, 1, &[0, 0, 0, 8]);
            },
            &[GoesOn],
        ),
        (
            "5.1 closed by RST_STREAM, DATA",
            |raw| {
                reset(raw);
                say(raw, DATA, END_STREAM, 1, b"word");
            },
            &[Reset(STREAM_CLOSED)],
        ),
        (
            "5.1 closed by RST_STREAM, HEADERS",
            |raw| {
                reset(raw);
                say(raw, HEADERS, END_HEADERS | END_STREAM, 1, GET);
            },
            &[Reset(STREAM_CLOSED), Gone(PROTOCOL)],
        ),
        (
            "5.1 closed by RST_STREAM, CONTINUATION",
            |raw| {
                reset(raw);
                say(raw, CONTINUATION, END_HEADERS, 1, GET);
            },
            &[Gone(PROTOCOL), Gone(STREAM_CLOSED)],
        ),
        // What was on its way may be ignored, and a stream that is gone may be an error of all.
        (
            "5.1 closed, DATA",
            |raw| {
                closed(raw);
                say(raw, DATA, END_STREAM, 1, b"word");
            },
            &[Reset(STREAM_CLOSED)],
        ),
        (
            "5.1 closed, HEADERS",
            |raw| {
                closed(raw);
                say(raw, HEADERS, END_HEADERS | END_STREAM, 1, GET);
            },
            &[Reset(STREAM_CLOSED), Gone(PROTOCOL)],
        ),
        (
            "5.1 closed, CONTINUATION",
            |raw| {
                closed(raw);
                say(raw, CONTINUATION, END_HEADERS, 1, GET);
            },
            &[Gone(PROTOCOL), Gone(STREAM_CLOSED)],
        ),
        (
            "5.1 closed, what it may be sent",
            |raw| {
                closed(raw);
                say(raw, WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]);
                say(raw, PRIORITY, 0, 1, &[0, 0, 0, 0, 9]);
                say(raw, RST_STREAM, 0, 1, &[0, 0, 0, 8]);
            },
            &[GoesOn],
        ),
    ]);
}

#[test]
fn streams_are_numbered_and_no_more_than_allowed() {
    Bench::new().check(&[
        (
            "5.1.1 an even number",
            |raw| say(raw, HEADERS, END_HEADERS | END_STREAM, 2, GET),
            &[Gone(PROTOCOL)],
        ),
        (
            "5.1.1 a lower number",
            |raw| {
                say(raw, HEADERS, END_HEADERS | END_STREAM, 5, HELD);
                say(raw, HEADERS, END_HEADERS | END_STREAM, 3, GET);
            },
            &[Gone(PROTOCOL), Gone(STREAM_CLOSED)],
        ),
        (
            "5.1.1 numbers that are left out",
            |raw| {
                say(raw, HEADERS, END_HEADERS | END_STREAM, 41, GET);
                say(raw, HEADERS, END_HEADERS | END_STREAM, 99, GET);
            },
            &[GoesOn],
        ),
        (
            "5.3.1 a stream that depends on itself",
            |raw| {
                let head = [&[0, 0, 0, 1, 9], GET].concat();
                let flags = END_HEADERS | END_STREAM | crate::support::http2_raw::WITH_PRIORITY;
                say(raw, HEADERS, flags, 1, &head);
            },
            &[Reset(PROTOCOL), Served],
        ),
        (
            "5.3.1 a PRIORITY that depends on itself",
            |raw| {
                say(raw, PRIORITY, 0, 1, &[0, 0, 0, 1, 9]);
            },
            &[Reset(PROTOCOL), GoesOn],
        ),
        (
            "6.6 a push from a client",
            |raw| {
                open(raw);
                let promise = [&[0, 0, 0, 2], GET].concat();
                say(raw, PUSH_PROMISE, END_HEADERS, 1, &promise);
            },
            &[Gone(PROTOCOL)],
        ),
        (
            "6.6 a push on no stream",
            |raw| {
                let promise = [&[0, 0, 0, 2], GET].concat();
                say(raw, PUSH_PROMISE, END_HEADERS, 0, &promise);
            },
            &[Gone(PROTOCOL)],
        ),
    ]);
}

/// One more is refused, and nothing else is touched (§5.1.2).
#[test]
fn one_stream_too_many_is_refused_alone() {
    let bench = Bench::new();
    let mut raw = RawH2::connect(bench.proxy.address);
    hold(&mut raw, 9);
    let refused = raw.until(RST_STREAM).expect("a refusal");
    assert_eq!(refused.stream, 17);
    let code = code_in(&refused.payload);
    assert!([PROTOCOL, REFUSED_STREAM].contains(&code), "{code}");
    // Room for one more, and then it is served.
    say(&mut raw, RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    say(&mut raw, PING, 0, 0, &[0; 8]);
    raw.pong().expect("goes on");
    say(&mut raw, HEADERS, END_HEADERS | END_STREAM, 19, GET);
    let answer = raw.until(HEADERS).expect("an answer");
    assert_eq!((answer.stream, answer.payload[0]), (19, 0x88));
    assert_eq!(bench.other.get("/other", &[]).text(), "word");
}

/// Whatever comes after what has ended the connection is not looked at (§5.4.1).
#[test]
fn nothing_is_served_after_the_end() {
    let bench = Bench::new();
    let mut raw = RawH2::connect(bench.proxy.address);
    say(&mut raw, PING, 0, 0, &[0; 6]);
    for number in 0..4 {
        say(
            &mut raw,
            HEADERS,
            END_HEADERS | END_STREAM,
            2 * number + 1,
            GET,
        );
    }
    assert_eq!(verdict(&mut raw, &[Gone(PROTOCOL)]), Ok(Gone(PROTOCOL)));
    assert_eq!(bench.other.get("/other", &[]).text(), "word");
    let arrivals = bench.upstream.log.arrivals();
    assert!(
        arrivals
            .iter()
            .all(|arrival| arrival.head.word(1) == "/other")
    );
}
