//! The chunked coding: in pieces as at once, and what is read can be written and read again.

#![no_main]

use haldane::fuzz::bodies::{chunks, trailers, write_chunks};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [part, taken, bytes @ ..] = data else {
        return;
    };
    let (part, taken) = (usize::from(*part), usize::from(*taken));
    let whole = chunks(bytes, bytes.len(), usize::MAX);
    let pieces = chunks(bytes, part, taken);
    assert_eq!(whole.length, pieces.length);
    assert_eq!(whole.trailers, pieces.trailers);
    assert_eq!(whole.is_bad, pieces.is_bad);
    assert_eq!(whole.data, pieces.data);
    if let Some(length) = whole.length {
        assert_eq!(chunks(&bytes[..length], length, usize::MAX), whole);
        assert!(
            chunks(&bytes[..length - 1], length, usize::MAX)
                .length
                .is_none()
        );
    }
    let written = write_chunks(&whole.data, part, &whole.trailers);
    let again = chunks(&written, written.len(), usize::MAX);
    assert_eq!(again.length, Some(written.len()));
    assert_eq!(again.data, whole.data);
    assert_eq!(again.trailers, whole.trailers);
    // In HTTP/2 they are the same fields.
    let lines = whole.trailers.split(|byte| *byte == b'\n').count() - 1;
    let (fields, lines_again) = trailers(&whole.trailers);
    assert_eq!(fields.len(), lines);
    assert_eq!(trailers(&lines_again).0, fields);
});
