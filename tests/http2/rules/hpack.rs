//! Compressed heads (RFC 7541): what cannot be decoded ends the connection, since whatever
//! comes later depends on it (RFC 9113 §4.3).

use super::*;

/// Sends a GET with this at its end.
fn get_with(raw: &mut RawH2, rest: &[u8]) {
    let head = [GET, rest].concat();
    say(raw, HEADERS, END_HEADERS | END_STREAM, 1, &head);
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn a_head_that_cannot_be_decoded_ends_the_connection() {
    Bench::new().check(&[
        (
            "2.3.3 an index that is not in the table",
            |raw| get_with(raw, b"\xc6"),
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "2.3.3 a name that is not in the table",
            |raw| get_with(raw, b"\x7f\x07\x01a"),
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "4.2 another size of the table at the end",
            |raw| get_with(raw, b"\x20"),
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "4.2 another size of the table at the beginning",
            |raw| {
                let head = [b"\x20\x3f\xe1\x1f", GET].concat();
                say(raw, HEADERS, END_HEADERS | END_STREAM, 1, &head);
            },
            &[Served],
        ),
        (
            "5.1 a number that has no end",
            |raw| get_with(raw, b"\xff\xff\xff\xff\xff\xff\xff\x01"),
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "5.2 a text that is longer than the head",
            |raw| get_with(raw, b"\x00\x01x\x09y"),
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "5.2 more than seven bits of padding",
            |raw| {
                get_with(raw, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff");
            },
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "5.2 padding that is not of ones",
            |raw| {
                get_with(raw, b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90");
            },
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "5.2 the end of the text within it",
            |raw| {
                get_with(
                    raw,
                    b"\x00\x85\xf2\xb2\x4a\x84\xff\x88\x49\x51\xff\xff\xff\xfa\x7f\xff",
                );
            },
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "5.2 the same text as it should be",
            |raw| {
                get_with(raw, b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x9f");
            },
            &[Served],
        ),
        (
            "6.1 index zero",
            |raw| get_with(raw, b"\x80"),
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "6.3 a table that is larger than allowed",
            |raw| {
                let head = [b"\x3f\xe2\x1f", GET].concat();
                say(raw, HEADERS, END_HEADERS | END_STREAM, 1, &head);
            },
            &[GoneUnnamed(COMPRESSION)],
        ),
        (
            "RFC 9113 4.3 a head that stops within a field",
            |raw| get_with(raw, b"\x00\x05x"),
            &[GoneUnnamed(COMPRESSION)],
        ),
    ]);
}

/// A GET whose `:authority` and `x` are the two latest entries of the table: `test` and `y`.
const LATEST: &[u8] = b"\x82\x84\x86\xbf\xbe";

/// The same that puts them there.
const FIRST: &[u8] = b"\x82\x84\x86\x41\x04test\x40\x01x\x01y";

/// The table is the connection's: a head that is refused has its part in it like all others
/// (RFC 9113 §4.3).
#[test]
fn the_table_outlives_what_is_refused() {
    let bench = Bench::new();
    let malformed = [FIRST, b"\x00\x0aconnection\x05close"].concat();
    for streams in [0, 8] {
        let mut raw = RawH2::connect(bench.proxy.address);
        hold(&mut raw, streams);
        // Either it is malformed, or it is one too many.
        let head = if streams == 0 { &malformed } else { FIRST };
        say(&mut raw, HEADERS, END_HEADERS | END_STREAM, 31, head);
        assert_eq!(raw.until(RST_STREAM).expect("a refusal").stream, 31);
        if streams > 0 {
            say(&mut raw, RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        }
        say(&mut raw, HEADERS, END_HEADERS | END_STREAM, 33, LATEST);
        let answer = raw.until(HEADERS).expect("an answer");
        assert_eq!((answer.stream, answer.payload[0]), (33, OK));
    }
    let arrivals = bench.upstream.log.arrivals();
    let decoded = arrivals
        .iter()
        .filter(|arrival| arrival.head.word(1) == "/");
    let decoded: Vec<_> = decoded.map(|arrival| arrival.head.one("x")).collect();
    assert_eq!(decoded, [Some("y".to_owned()), Some("y".to_owned())]);
}
