//! Frames where they do not belong, and frames that are none (§4 to §6).

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn frames_of_upstreams_follow_their_rules() {
    check(
        "GET",
        &[
            ("5.1 DATA before the head", finish, BROKEN, GONE),
            (
                "5.1 DATA on a stream of nobody",
                |raw, _| finish(raw, 7),
                BROKEN,
                GONE,
            ),
            (
                "5.1 a head on a stream of nobody",
                |raw, _| begin(raw, 7, &[STATUS]),
                BROKEN,
                GONE,
            ),
            (
                "5.1 RST_STREAM on a stream of nobody",
                |raw, _| reset(raw, 7, 8),
                BROKEN,
                GONE,
            ),
            (
                "5.1.1 a head on a stream of its own",
                |raw, _| word(raw, 2),
                BROKEN,
                GONE,
            ),
            (
                "6.1 DATA on the connection",
                |raw, stream| {
                    half(raw, stream);
                    finish(raw, 0);
                },
                Cut,
                GONE,
            ),
            (
                "6.2 a head on the connection",
                |raw, _| word(raw, 0),
                BROKEN,
                GONE,
            ),
            (
                "6.1 too much padding",
                |raw, stream| {
                    begin(raw, stream, &[STATUS]);
                    raw.try_send(DATA, PADDED | END_STREAM, stream, b"\x09word");
                },
                Cut,
                GONE,
            ),
            (
                "6.4 RST_STREAM on the connection",
                |raw, _| reset(raw, 0, 8),
                BROKEN,
                GONE,
            ),
            (
                "6.4 RST_STREAM of five bytes",
                |raw, stream| {
                    raw.try_send(RST_STREAM, 0, stream, &[0; 5]);
                },
                BROKEN,
                GONE,
            ),
            (
                "6.6 PUSH_PROMISE though push is off",
                |raw, stream| {
                    let promised = [&[0, 0, 0, 2][..], GET].concat();
                    raw.try_send(PUSH_PROMISE, END_HEADERS, stream, &promised);
                    word(raw, stream);
                },
                BROKEN,
                GONE,
            ),
            (
                "6.7 PING of seven bytes",
                |raw, _| {
                    raw.try_send(PING, 0, 0, &[0; 7]);
                },
                BROKEN,
                GONE,
            ),
            (
                "6.8 GOAWAY on a stream",
                |raw, stream| {
                    raw.try_send(GOAWAY, 0, stream, &[0; 8]);
                },
                BROKEN,
                GONE,
            ),
            (
                "6.9 WINDOW_UPDATE of nothing on the connection",
                |raw, _| {
                    raw.try_send(WINDOW_UPDATE, 0, 0, &[0; 4]);
                },
                BROKEN,
                GONE,
            ),
            (
                "6.9 WINDOW_UPDATE of nothing on a stream",
                |raw, stream| {
                    raw.try_send(WINDOW_UPDATE, 0, stream, &[0; 4]);
                },
                BROKEN,
                GONE,
            ),
            (
                "6.9.1 too large a window of the connection",
                |raw, _| {
                    raw.try_send(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
                },
                BROKEN,
                Told::GoAway(FLOW_CONTROL),
            ),
            (
                "6.9.1 too large a window of a stream",
                |raw, stream| {
                    raw.try_send(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]);
                    word(raw, stream);
                },
                WORD,
                Told::Nothing,
            ),
            (
                "6.10 CONTINUATION of nothing",
                |raw, stream| {
                    raw.try_send(CONTINUATION, END_HEADERS, stream, &[OK]);
                },
                BROKEN,
                GONE,
            ),
            (
                "6.10 a frame within a head",
                |raw, stream| {
                    raw.try_send(HEADERS, 0, stream, &[OK]);
                    raw.try_send(PING, 0, 0, &[0; 8]);
                },
                BROKEN,
                GONE,
            ),
            (
                "4.2 a frame beyond the largest",
                |raw, stream| {
                    begin(raw, stream, &[STATUS]);
                    raw.try_send(DATA, END_STREAM, stream, &[0; 20_000]);
                },
                Cut,
                Told::GoAway(FRAME_SIZE),
            ),
            (
                "4.3 a head that cannot be decoded",
                |raw, stream| {
                    raw.try_send(HEADERS, END_HEADERS, stream, &[0xff; 8]);
                },
                BROKEN,
                GONE,
            ),
            (
                "3.4 what is no frame",
                |raw, _| {
                    raw.wire.write("HTTP/1.1 400 Bad Request\r\n\r\n");
                },
                BROKEN,
                Told::GoAway(FRAME_SIZE),
            ),
            (
                "5.1 an unknown frame",
                |raw, stream| {
                    raw.try_send(0x16, 0xff, 0, b"what");
                    word(raw, stream);
                },
                WORD,
                Told::Nothing,
            ),
            (
                "5.1 DATA after the end",
                |raw, stream| {
                    word(raw, stream);
                    finish(raw, stream);
                },
                WORD,
                Told::Reset(STREAM_CLOSED),
            ),
        ],
    );
}
