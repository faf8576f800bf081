//! Whatever comes is answered: a head or a refusal, data or an error, and never a panic.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::body::Framing;
use super::chunked::ChunkReader;
use super::head::{Head, HeadLimits};
use crate::request::inbound::Inbound;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 512,
    target: 64,
    fields: 8,
};

const REQUEST: &[u8] =
    b"POST http://a:80/b?c HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\n\
    Content-Length: 5\r\nConnection: close, x\r\nExpect: 100-continue\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\
    Connection: x\r\nKeep-Alive: timeout=5\r\n\r\n";

const CHUNKS: &[u8] =
    b"5;a=b; c = \"d\\\"\"\r\nhello\r\n000a\r\n0123456789\r\n0\r\nA: b\r\nHost: c\r\n\r\n";

/// Nothing in a head that was accepted can be taken for another line.
fn is_sound(head: &Head, length: usize, bytes: &[u8]) {
    assert!(length <= bytes.len().min(LIMITS.bytes));
    assert!(bytes[..length].ends_with(b"\r\n\r\n"));
    let parts = [head.method(), head.target(), head.reason()];
    let fields = head.fields().flat_map(|field| [field.name, field.value]);
    for part in parts.into_iter().chain(fields) {
        assert!(
            !part.iter().any(|byte| b"\r\n\0".contains(byte)),
            "{part:?}"
        );
    }
    assert!(head.fields().count() <= LIMITS.fields);
    for field in head.fields() {
        assert!(!field.name.is_empty() && !field.name.iter().any(|byte| b" \t:".contains(byte)));
    }
}

fn read(bytes: &[u8]) {
    let mut head = Head::default();
    if let Ok(Some(length)) = head.parse_request(bytes, LIMITS) {
        is_sound(&head, length, bytes);
        assert!(head.target().len() <= LIMITS.target);
        if let Ok(inbound) = Inbound::check(&head) {
            assert!(!inbound.host.iter().any(|byte| b"@/?#, \\".contains(byte)));
            assert!(inbound.target == b"*" || inbound.target.starts_with(b"/"));
        }
    }
    if let Ok(Some(length)) = head.parse_response(bytes, LIMITS) {
        is_sound(&head, length, bytes);
        for method in [&b"GET"[..], b"HEAD"] {
            let framing = Framing::of_response(&head, method);
            let is_empty = framing.is_err() || framing == Ok(Framing::Empty);
            assert!(method != b"HEAD" || is_empty);
        }
    }
}

/// Reads chunks, in steps of so many bytes: how much was data, and whether it came to its end.
fn chunks(bytes: &[u8], step: usize) -> Option<usize> {
    let (mut reader, mut at, mut end, mut data) = (ChunkReader::new(), 0, 0, 0);
    while !reader.is_done() && end < bytes.len() {
        end = (end + step).min(bytes.len());
        loop {
            let piece = reader.next(&bytes[at..end]).ok()?;
            at += piece.framing + piece.data;
            assert!(at <= end);
            reader.used(piece.data);
            data += piece.data;
            if piece.data == 0 {
                break;
            }
        }
    }
    reader.is_done().then_some(data)
}

/// Some bytes of `text` are taken out and others put in their place.
fn changed(text: &[u8], at: Index, gone: usize, new: &[u8]) -> Vec<u8> {
    let at = at.index(text.len());
    let rest = &text[(at + gone).min(text.len())..];
    [&text[..at], new, rest].concat()
}

proptest! {
    #[test]
    fn any_bytes_are_a_head_or_refused(bytes in vec(any::<u8>(), 0..600)) {
        read(&bytes);
    }

    #[test]
    fn any_change_of_a_head_is_a_head_or_refused(
        at in any::<Index>(),
        gone in 0_usize..8,
        new in vec(any::<u8>(), 0..8),
    ) {
        for text in [REQUEST, RESPONSE] {
            read(&changed(text, at, gone, &new));
        }
    }

    #[test]
    fn any_lines_of_a_head_are_a_head_or_refused(
        lines in vec("[A-Za-z-]{0,20}[:; \t\r\n\0]{0,3}[ -~]{0,20}\r?\n", 0..12),
    ) {
        read(format!("GET / HTTP/1.1\r\n{}\r\n", lines.concat()).as_bytes());
    }

    #[test]
    fn any_change_of_chunks_reads_the_same_in_pieces_of_any_size(
        at in any::<Index>(),
        gone in 0_usize..4,
        new in vec(any::<u8>(), 0..4),
        step in 1_usize..20,
    ) {
        let bytes = changed(CHUNKS, at, gone, &new);
        prop_assert_eq!(chunks(&bytes, step), chunks(&bytes, bytes.len().max(1)));
    }
}
