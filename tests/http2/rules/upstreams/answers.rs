//! Answers that are none (§8.1 to §8.3), and bodies that are not what was announced.

use super::*;
use crate::support::http2_raw::fields;

/// An answer with these fields and a word.
macro_rules! head {
    ($($field:expr),*) => {
        |raw, stream| {
            begin(raw, stream, &[$($field),*]);
            finish(raw, stream);
        }
    };
}

/// An answer of a word and these trailers.
macro_rules! trailers {
    ($($field:expr),*) => {
        |raw, stream| {
            begin(raw, stream, &[STATUS]);
            raw.try_send(DATA, 0, stream, b"word");
            raw.try_send(HEADERS, END_HEADERS | END_STREAM, stream, &fields(&[$($field),*]));
        }
    };
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn what_is_no_answer_becomes_a_502() {
    check(
        "GET",
        &[
            ("8.3.2 no status", head!(("x", "a")), NONE, RESET),
            ("8.3.2 no field at all", head!(), NONE, RESET),
            ("8.3.2 two statuses", head!(STATUS, STATUS), NONE, RESET),
            ("8.3.2 status 099", head!((":status", "099")), BROKEN, GONE),
            ("8.3.2 status 000", head!((":status", "000")), BROKEN, GONE),
            (
                "8.3.2 status 1000",
                head!((":status", "1000")),
                BROKEN,
                GONE,
            ),
            ("8.3.2 status 2 0", head!((":status", "2 0")), BROKEN, GONE),
            ("8.3.2 status +20", head!((":status", "+20")), BROKEN, GONE),
            ("8.3.2 status 20", head!((":status", "20")), BROKEN, GONE),
            (
                "8.3.2 an empty status",
                head!((":status", "")),
                BROKEN,
                GONE,
            ),
            (
                "8.3.2 status 600",
                head!((":status", "600")),
                NONE,
                Told::Whatever,
            ),
            (
                "8.3.2 status 999",
                head!((":status", "999")),
                NONE,
                Told::Whatever,
            ),
            (
                "8.3.2 status 101",
                head!((":status", "101")),
                NONE,
                Told::Whatever,
            ),
            (
                "8.3 a path",
                head!(STATUS, (":path", "/")),
                WORD,
                Told::Nothing,
            ),
            (
                "8.3 a method",
                head!((":method", "GET"), STATUS),
                WORD,
                Told::Nothing,
            ),
            (
                "8.3 an unknown pseudo field",
                head!(STATUS, (":test", "ok")),
                BROKEN,
                GONE,
            ),
            (
                "8.3 the status after others",
                head!(("x", "a"), STATUS),
                NONE,
                RESET,
            ),
            (
                "8.2.1 a name in upper case",
                head!(STATUS, ("X-A", "b")),
                BROKEN,
                GONE,
            ),
            (
                "8.2.1 a name with a quotation mark",
                head!(STATUS, ("x\"a", "b")),
                NONE,
                Told::Whatever,
            ),
            (
                "8.2.1 a name with a space",
                head!(STATUS, ("x a", "b")),
                BROKEN,
                GONE,
            ),
            (
                "8.2.1 a name with a colon",
                head!(STATUS, ("x:a", "b")),
                BROKEN,
                GONE,
            ),
            (
                "8.2.1 a name that is empty",
                head!(STATUS, ("", "b")),
                BROKEN,
                GONE,
            ),
            (
                "8.2.1 a name with a line break",
                head!(STATUS, ("x\r\na", "b")),
                BROKEN,
                GONE,
            ),
            (
                "8.2.1 CR in a value",
                head!(STATUS, ("x", "a\rb")),
                BROKEN,
                GONE,
            ),
            (
                "8.2.1 LF in a value",
                head!(STATUS, ("x", "a\nb")),
                BROKEN,
                GONE,
            ),
            (
                "8.2.1 NUL in a value",
                head!(STATUS, ("x", "a\0b")),
                BROKEN,
                GONE,
            ),
            (
                "8.2.1 an answer in a value",
                head!(STATUS, ("x", "a\r\n\r\nHTTP/1.1 200 OK")),
                BROKEN,
                GONE,
            ),
            (
                "8.2.2 transfer-encoding",
                head!(STATUS, ("transfer-encoding", "chunked")),
                NONE,
                RESET,
            ),
            (
                "8.2.2 connection",
                head!(STATUS, ("connection", "close")),
                NONE,
                RESET,
            ),
            (
                "8.2.2 keep-alive",
                head!(STATUS, ("keep-alive", "timeout=5")),
                NONE,
                RESET,
            ),
            (
                "8.2.2 upgrade",
                head!(STATUS, ("upgrade", "h2c")),
                NONE,
                RESET,
            ),
            (
                "8.1.1 two lengths",
                head!(STATUS, ("content-length", "4"), ("content-length", "5")),
                NONE,
                RESET,
            ),
            (
                "8.1.1 a length in a list",
                head!(STATUS, ("content-length", "4, 4")),
                NONE,
                RESET,
            ),
            (
                "8.1.1 a length with a sign",
                head!(STATUS, ("content-length", "+4")),
                NONE,
                RESET,
            ),
            (
                "8.1.1 a length that is none",
                head!(STATUS, ("content-length", "x")),
                NONE,
                RESET,
            ),
            (
                "8.1.1 a length that overflows",
                head!(STATUS, ("content-length", "18446744073709551616")),
                NONE,
                RESET,
            ),
            (
                "8.1.1 the same length twice",
                head!(STATUS, ("content-length", "4"), ("content-length", "4")),
                NONE,
                Told::Whatever,
            ),
            (
                "8.1 an answer",
                head!(STATUS, ("content-length", "4")),
                WORD,
                Told::Nothing,
            ),
        ],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn a_body_that_is_not_as_announced_never_looks_complete() {
    check(
        "GET",
        &[
            (
                "8.1.1 less than announced",
                head!(STATUS, ("content-length", "5")),
                Cut,
                RESET,
            ),
            (
                "8.1.1 more than announced",
                head!(STATUS, ("content-length", "3")),
                Cut,
                RESET,
            ),
            (
                "8.1.1 more than nothing",
                head!(STATUS, ("content-length", "0")),
                AsAnnounced(""),
                RESET,
            ),
            (
                "8.1.1 a head that ends what it announces",
                |raw, stream| {
                    let head = fields(&[STATUS, ("content-length", "4")]);
                    raw.try_send(HEADERS, END_HEADERS | END_STREAM, stream, &head);
                },
                NONE,
                Told::Nothing,
            ),
            (
                "8.1.1 an end without what was announced",
                |raw, stream| {
                    begin(raw, stream, &[STATUS, ("content-length", "4")]);
                    raw.try_send(DATA, END_STREAM, stream, b"");
                },
                Cut,
                RESET,
            ),
            (
                "8.1.1 less than announced, and trailers",
                |raw, stream| {
                    begin(raw, stream, &[STATUS, ("content-length", "5")]);
                    raw.try_send(DATA, 0, stream, b"word");
                    raw.try_send(
                        HEADERS,
                        END_HEADERS | END_STREAM,
                        stream,
                        &fields(&[("x-a", "b")]),
                    );
                },
                Cut,
                Told::Nothing,
            ),
            (
                "8.1 a second head",
                |raw, stream| {
                    begin(raw, stream, &[STATUS]);
                    begin(raw, stream, &[STATUS]);
                    finish(raw, stream);
                },
                Cut,
                RESET,
            ),
            (
                "8.1 an interim answer after the head",
                |raw, stream| {
                    begin(raw, stream, &[STATUS]);
                    begin(raw, stream, &[(":status", "103")]);
                    finish(raw, stream);
                },
                Cut,
                RESET,
            ),
            (
                "8.1 an interim answer that ends the stream",
                |raw, stream| {
                    let head = fields(&[(":status", "103")]);
                    raw.try_send(HEADERS, END_HEADERS | END_STREAM, stream, &head);
                },
                NONE,
                Told::Nothing,
            ),
            (
                "8.1 an interim answer with a body",
                |raw, stream| {
                    begin(raw, stream, &[(":status", "103")]);
                    finish(raw, stream);
                },
                BROKEN,
                GONE,
            ),
            (
                "8.1 a pseudo field in trailers",
                trailers!(("x-a", "b"), STATUS),
                Cut,
                RESET,
            ),
            (
                "8.1 a pseudo field first in trailers",
                trailers!(STATUS, ("x-a", "b")),
                Whole("word, x-a"),
                Told::Nothing,
            ),
            (
                "8.2.1 trailers in upper case",
                trailers!(("X-A", "b")),
                Cut,
                GONE,
            ),
            (
                "8.2.1 trailers with a quotation mark",
                trailers!(("x\"a", "b")),
                Cut,
                Told::Nothing,
            ),
            (
                "8.2.1 trailers with a line break",
                trailers!(("x-a", "a\r\nb: c")),
                Cut,
                GONE,
            ),
            (
                "8.2.2 trailers of the connection",
                trailers!(("transfer-encoding", "chunked")),
                Cut,
                RESET,
            ),
            (
                "8.1 a length in trailers",
                trailers!(("x-a", "b"), ("content-length", "9")),
                Whole("word, x-a"),
                Told::Nothing,
            ),
            (
                "8.1 trailers",
                trailers!(("x-a", "b")),
                Whole("word, x-a"),
                Told::Nothing,
            ),
            ("8.1 no trailers", trailers!(), WORD, Told::Nothing),
        ],
    );
}

#[test]
fn an_answer_without_a_body_may_announce_one() {
    check(
        "HEAD",
        &[
            (
                "8.1.1 to HEAD",
                |raw, stream| {
                    let head = fields(&[STATUS, ("content-length", "4")]);
                    raw.try_send(HEADERS, END_HEADERS | END_STREAM, stream, &head);
                },
                Whole(""),
                Told::Nothing,
            ),
            (
                "8.1.1 to HEAD, and an end",
                |raw, stream| {
                    begin(raw, stream, &[STATUS, ("content-length", "4")]);
                    raw.try_send(DATA, END_STREAM, stream, b"");
                },
                Whole(""),
                Told::Whatever,
            ),
        ],
    );
}
