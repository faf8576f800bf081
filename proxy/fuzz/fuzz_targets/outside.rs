//! What others answer: a number is one, and whatever else they say is short and on one line.

#![no_main]

use std::time::Duration;

use haldane::fuzz::outside::{numbers, query_path, retry_pause};
use libfuzzer_sys::fuzz_target;

/// 2026-11-21T10:54:13Z, in microseconds.
const NOW: u64 = 1_795_258_453_000_000;

fuzz_target!(|data: &[u8]| {
    let [high, low, body @ ..] = data else {
        return;
    };
    let status = 100 + u16::from_be_bytes([*high, *low]) % 900;
    for number in numbers(status, body, NOW) {
        match number {
            Ok(number) => assert!(number.is_finite()),
            Err(why) => {
                assert!(!why.is_empty() && why.chars().count() <= 250, "{why:?}");
                assert!(!why.contains(char::is_control), "{why:?}");
            }
        }
    }
    if let Ok(query) = std::str::from_utf8(body) {
        let path = query_path(query);
        let coded = path
            .strip_prefix("/api/v1/query?query=")
            .expect("is a query");
        assert_eq!(decoded(coded).as_deref(), Some(query.as_bytes()));
    }
    let (tries, chance) = (u32::from(*high), f64::from(*low) / 255.0);
    if let Some(pause) = retry_pause(body, tries, chance, NOW) {
        assert!(tries < 8);
        assert!(pause <= Duration::from_secs(300), "{pause:?}");
        assert!(pause >= Duration::from_millis(500), "{pause:?}");
    }
});

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            rest = after;
            out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        } else {
            assert!(byte.is_ascii_alphanumeric() || b"-._~".contains(byte));
            out.push(*byte);
        }
    }
    Some(out)
}
