//! Streams that are reset, connections that are left, and those that end (§5.4, §6.4, §6.8).

use super::*;

fn go_away(raw: &mut RawH2, last: u32, code: u32) {
    raw.try_send(
        GOAWAY,
        0,
        0,
        &[last.to_be_bytes(), code.to_be_bytes()].concat(),
    );
}

/// The connection ends after what was said.
fn close(raw: &mut RawH2) {
    raw.wire.finish();
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn what_upstreams_break_off_never_looks_complete() {
    check(
        "GET",
        &[
            (
                "6.4 NO_ERROR before the head",
                |raw, stream| reset(raw, stream, 0),
                BROKEN,
                Told::Nothing,
            ),
            (
                "6.4 CANCEL before the head",
                |raw, stream| reset(raw, stream, 8),
                BROKEN,
                Told::Nothing,
            ),
            (
                "6.4 INTERNAL_ERROR before the head",
                |raw, stream| reset(raw, stream, 2),
                BROKEN,
                Told::Nothing,
            ),
            (
                "6.4 HTTP_1_1_REQUIRED before the head",
                |raw, stream| reset(raw, stream, 13),
                BROKEN,
                Told::Nothing,
            ),
            (
                "6.4 an unknown code before the head",
                |raw, stream| reset(raw, stream, 0xee),
                BROKEN,
                Told::Nothing,
            ),
            (
                "8.7 REFUSED_STREAM is asked again",
                |raw, stream| reset(raw, stream, 7),
                WORD,
                Told::Nothing,
            ),
            (
                "8.7 REFUSED_STREAM after an interim answer",
                |raw, stream| {
                    begin(raw, stream, &[(":status", "103")]);
                    reset(raw, stream, 7);
                },
                BROKEN,
                Told::Nothing,
            ),
            (
                "6.4 NO_ERROR in the body",
                |raw, stream| {
                    half(raw, stream);
                    reset(raw, stream, 0);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "6.4 CANCEL in the body",
                |raw, stream| {
                    half(raw, stream);
                    reset(raw, stream, 8);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "6.4 STREAM_CLOSED in the body",
                |raw, stream| {
                    half(raw, stream);
                    reset(raw, stream, 5);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "8.7 REFUSED_STREAM in the body",
                |raw, stream| {
                    half(raw, stream);
                    reset(raw, stream, 7);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "6.4 NO_ERROR before the body",
                |raw, stream| {
                    begin(raw, stream, &[STATUS]);
                    reset(raw, stream, 0);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "6.4 NO_ERROR with all announced, and no end",
                |raw, stream| {
                    begin(raw, stream, &[STATUS, ("content-length", "4")]);
                    raw.try_send(DATA, 0, stream, b"word");
                    reset(raw, stream, 0);
                },
                AsAnnounced("word"),
                Told::Nothing,
            ),
            (
                "8.1 NO_ERROR after the end",
                |raw, stream| {
                    word(raw, stream);
                    reset(raw, stream, 0);
                },
                WORD,
                Told::Nothing,
            ),
            (
                "8.1 CANCEL after the end",
                |raw, stream| {
                    word(raw, stream);
                    reset(raw, stream, 8);
                },
                WORD,
                Told::Nothing,
            ),
            (
                "6.8 GOAWAY before our stream",
                |raw, _| {
                    go_away(raw, 0, 0);
                },
                WORD,
                Told::Nothing,
            ),
            (
                "6.8 GOAWAY before our stream, with an error",
                |raw, _| {
                    go_away(raw, 0, 2);
                    close(raw);
                },
                BROKEN,
                Told::Nothing,
            ),
            (
                "6.8 GOAWAY with our stream, and an end",
                |raw, stream| {
                    go_away(raw, stream, 0);
                    close(raw);
                },
                BROKEN,
                Told::Nothing,
            ),
            (
                "6.8 GOAWAY with our stream, and an answer",
                |raw, stream| {
                    go_away(raw, stream, 0);
                    word(raw, stream);
                },
                WORD,
                Told::Nothing,
            ),
            (
                "6.8 GOAWAY with our stream, and half an answer",
                |raw, stream| {
                    go_away(raw, stream, 0);
                    half(raw, stream);
                    close(raw);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "6.8 GOAWAY in the body with an earlier stream",
                |raw, stream| {
                    half(raw, stream);
                    go_away(raw, 0, 0);
                    close(raw);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "6.8 GOAWAY with more streams than before",
                |raw, stream| {
                    go_away(raw, stream, 0);
                    go_away(raw, 101, 0);
                    word(raw, stream);
                },
                BROKEN,
                GONE,
            ),
            (
                "an end before the head",
                |raw, _| close(raw),
                BROKEN,
                Told::Nothing,
            ),
            (
                "an end within the first frame",
                |raw, _| {
                    raw.wire.write([0, 0, 4, 1]);
                    close(raw);
                },
                BROKEN,
                Told::Nothing,
            ),
            (
                "an end within the head",
                |raw, stream| {
                    raw.try_send(HEADERS, 0, stream, &[OK]);
                    close(raw);
                },
                BROKEN,
                Told::Nothing,
            ),
            (
                "an end after the head",
                |raw, stream| {
                    begin(raw, stream, &[STATUS]);
                    close(raw);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "an end within the body",
                |raw, stream| {
                    half(raw, stream);
                    close(raw);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "an end within a frame of the body",
                |raw, stream| {
                    half(raw, stream);
                    raw.wire.write(b"\0\0\x04\0\x01\0\0\0\x01rd");
                    close(raw);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "an end before a frame of no bytes that ends the body",
                |raw, stream| {
                    half(raw, stream);
                    raw.wire.write(b"\0\0\0\0\x01\0\0\0");
                    close(raw);
                },
                Cut,
                Told::Nothing,
            ),
            (
                "an end of the body, and one of the connection",
                |raw, stream| {
                    word(raw, stream);
                    close(raw);
                },
                WORD,
                Told::Nothing,
            ),
        ],
    );
}
