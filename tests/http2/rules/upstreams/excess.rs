//! Settings that are absurd, and more of everything than anybody needs (§6.5, §10.5).

use std::sync::mpsc;

use super::*;
use crate::support::http2_raw::{IN_SOCKETS_MAX, fields, literal};

const CALM: Told = Told::GoAway(11);

/// Says something until it is not taken any more, but not for ever.
fn flood(raw: &mut RawH2, mut say: impl FnMut(&mut RawH2) -> bool) {
    // Whoever is not read is not waited for.
    raw.wire.patience(Duration::from_millis(500));
    for _ in 0..20_000 {
        if !say(raw) {
            return;
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn settings_of_upstreams_are_what_they_may_be() {
    check_greeted(
        "GET",
        &[
            (
                "6.5.2 push that is neither on nor off",
                (|raw| settings(raw, &[(2, 2)]), word),
                REFUSED,
                GONE,
            ),
            (
                "6.5.2 push",
                (|raw| settings(raw, &[(2, 1)]), word),
                WORD,
                Told::Nothing,
            ),
            (
                "6.5.2 no streams",
                (|raw| settings(raw, &[(3, 0)]), word),
                LATE,
                Told::Nothing,
            ),
            (
                "6.5.2 too large a window",
                (|raw| settings(raw, &[(4, 1 << 31)]), word),
                REFUSED,
                GONE,
            ),
            (
                "6.5.2 no window",
                (|raw| settings(raw, &[(4, 0)]), word),
                WORD,
                Told::Nothing,
            ),
            (
                "6.5.2 too small frames",
                (|raw| settings(raw, &[(5, 16_383)]), word),
                REFUSED,
                GONE,
            ),
            (
                "6.5.2 too large frames",
                (|raw| settings(raw, &[(5, 1 << 24)]), word),
                REFUSED,
                GONE,
            ),
            (
                "6.5.2 no table",
                (|raw| settings(raw, &[(1, 0)]), word),
                WORD,
                Told::Nothing,
            ),
            (
                "6.5.2 a huge table",
                (|raw| settings(raw, &[(1, u32::MAX)]), word),
                WORD,
                Told::Nothing,
            ),
            (
                "6.5.2 no list of fields",
                (|raw| settings(raw, &[(6, 0)]), word),
                WORD,
                Told::Nothing,
            ),
            (
                "6.5.2 unknown settings",
                (|raw| settings(raw, &[(0xaaaa, 1)]), word),
                WORD,
                Told::Nothing,
            ),
            (
                "6.5 five bytes",
                (
                    |raw| {
                        raw.try_send(SETTINGS, 0, 0, &[0; 5]);
                    },
                    word,
                ),
                REFUSED,
                GONE,
            ),
            (
                "6.5 on a stream",
                (
                    |raw| {
                        raw.try_send(SETTINGS, 0, 1, &[]);
                    },
                    word,
                ),
                REFUSED,
                GONE,
            ),
            (
                "6.5.3 an acknowledgement of nothing",
                (
                    |raw| {
                        settings(raw, &[]);
                        raw.try_send(SETTINGS, ACK, 0, &[]);
                        raw.try_send(SETTINGS, ACK, 0, &[]);
                    },
                    word,
                ),
                REFUSED,
                GONE,
            ),
            (
                "3.4 no settings first",
                (
                    |raw| {
                        raw.try_send(PING, 0, 0, &[0; 8]);
                    },
                    word,
                ),
                WORD,
                Told::Nothing,
            ),
            (
                "3.4 another protocol",
                (
                    |raw| {
                        raw.wire.write("HTTP/1.1 400 Bad Request\r\n\r\n");
                    },
                    word,
                ),
                REFUSED,
                Told::GoAway(FRAME_SIZE),
            ),
            ("3.4 nothing", (|_| {}, word), WORD, Told::Nothing),
            (
                "3.4 an end",
                (|raw| raw.wire.finish(), word),
                REFUSED,
                Told::Nothing,
            ),
            (
                "6.5.3 other settings in between",
                (
                    |raw| settings(raw, &[(3, 1), (4, 1)]),
                    |raw, stream| {
                        settings(raw, &[(1, 0), (3, 0), (4, 0), (6, 0)]);
                        word(raw, stream);
                    },
                ),
                WORD,
                Told::Nothing,
            ),
        ],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn floods_of_upstreams_end_them() {
    check(
        "GET",
        &[
            (
                "a head without end",
                |raw, stream| {
                    raw.try_send(HEADERS, 0, stream, &[OK]);
                    let piece = literal("x", &"y".repeat(500)).repeat(30);
                    flood(raw, |raw| raw.try_send(CONTINUATION, 0, stream, &piece));
                },
                BROKEN,
                CALM,
            ),
            (
                "a head without end and without fields",
                |raw, stream| {
                    raw.try_send(HEADERS, 0, stream, &[OK]);
                    flood(raw, |raw| raw.try_send(CONTINUATION, 0, stream, &[]));
                },
                BROKEN,
                CALM,
            ),
            (
                "a head that unfolds",
                |raw, stream| {
                    let long = "a".repeat(3_000);
                    let table = [&[OK, 0x40][..], &literal("x", &long)[1..]].concat();
                    raw.try_send(HEADERS, 0, stream, &table);
                    flood(raw, |raw| {
                        raw.try_send(CONTINUATION, 0, stream, &[0xbe; 16_000])
                    });
                },
                BROKEN,
                CALM,
            ),
            (
                "a larger head than is taken",
                |raw, stream| {
                    raw.try_send(HEADERS, 0, stream, &fields(&[STATUS]));
                    let piece = literal("x", &"y".repeat(16_000));
                    for _ in 0..10 {
                        raw.try_send(CONTINUATION, 0, stream, &piece);
                    }
                    raw.try_send(CONTINUATION, END_HEADERS, stream, &piece);
                    finish(raw, stream);
                },
                NONE,
                Told::Whatever,
            ),
            (
                "more fields than are taken",
                |raw, stream| {
                    let many = literal("x", "y").repeat(1_000);
                    raw.try_send(HEADERS, END_HEADERS, stream, &[&[OK][..], &many].concat());
                    finish(raw, stream);
                },
                NONE,
                Told::Whatever,
            ),
            (
                "interim answers without end",
                |raw, stream| {
                    flood(raw, |raw| {
                        raw.try_send(HEADERS, END_HEADERS, stream, &fields(&[(":status", "103")]))
                    });
                },
                NONE,
                Told::Reset(8),
            ),
            (
                "empty data without end",
                |raw, stream| {
                    begin(raw, stream, &[STATUS]);
                    flood(raw, |raw| raw.try_send(DATA, 0, stream, &[]));
                },
                Cut,
                CALM,
            ),
            (
                "promises without end",
                |raw, stream| {
                    let mut number = 0_u32;
                    flood(raw, |raw| {
                        number += 2;
                        raw.try_send(
                            PUSH_PROMISE,
                            END_HEADERS,
                            stream,
                            &[&number.to_be_bytes()[..], GET].concat(),
                        )
                    });
                },
                BROKEN,
                GONE,
            ),
            (
                "trailers without end",
                |raw, stream| {
                    begin(raw, stream, &[STATUS]);
                    raw.try_send(DATA, 0, stream, b"word");
                    raw.try_send(HEADERS, END_STREAM, stream, b"");
                    let piece = literal("x", &"y".repeat(500)).repeat(30);
                    flood(raw, |raw| raw.try_send(CONTINUATION, 0, stream, &piece));
                },
                Cut,
                CALM,
            ),
        ],
    );
}

/// What has to be acknowledged is not read while acknowledgements are not.
#[test]
fn an_upstream_that_reads_no_acknowledgements_is_not_read() {
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, b"")] {
        let (tell, told) = mpsc::channel();
        let upstream = Upstream::scripted(move |connection| {
            let is_first = connection.number == 0;
            let mut raw = RawH2::accept(connection.wire).expect("speaks HTTP/2");
            politely(&mut raw);
            let asked = raw.until(HEADERS).expect("a request");
            if is_first {
                tell.send(raw.pour(kind, payload, IN_SOCKETS_MAX)).ok();
            } else {
                word(&mut raw, asked.stream);
                raw.wire.end();
            }
        });
        let proxy = Setup::stable_at(&upstream.url())
            .upstreams_in_h2()
            .top("workers = 1")
            .start();
        let client = H2Client::connect(proxy.address);
        let waiting = client.open(request("GET", "/", &[]), true);
        let taken = told.recv_timeout(PATIENCE * 3).expect("it is filled up");
        assert!(taken < IN_SOCKETS_MAX, "{taken} bytes of frame {kind}");
        assert_eq!(waiting.answer().status, 502);
        assert_eq!(client.get("/", &[]).text(), "word");
    }
}
