//! `traceparent`: exactly what the recommendation calls valid names a trace.

#![no_main]

use haldane::fuzz::records::trace;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|field: &[u8]| {
    let found = trace(field);
    assert_eq!(found, named(field), "{}", String::from_utf8_lossy(field));
    let Some((id, is_sampled)) = found else {
        return;
    };
    assert!(id.len() == 32 && id != "0".repeat(32));
    // Nothing of it can be left out, no digit can be another character, and capitals are none.
    assert_eq!(trace(&field[1..]), None);
    assert_eq!(trace(&field[..54]), None);
    for place in 0..55 {
        let mut other = field.to_vec();
        other[place] = b'g';
        assert_eq!(trace(&other), None, "{place}");
    }
    // What other versions add is theirs; version 0 has nothing to add.
    let more = [field, b"-what-ever"].concat();
    let is_first = field.starts_with(b"00");
    assert_eq!(trace(&more), (!is_first).then_some((id, is_sampled)));
});

/// By place: `version "-" trace "-" parent "-" flags`
/// (<https://www.w3.org/TR/trace-context/#traceparent-header-field-values>).
fn named(field: &[u8]) -> Option<(String, bool)> {
    let (start, rest) = field.split_at_checked(55)?;
    for (place, byte) in start.iter().enumerate() {
        let is_dash = matches!(place, 2 | 35 | 52);
        let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if is_dash && *byte != b'-' || !is_dash && !is_digit {
            return None;
        }
    }
    let (version, id, parent) = (&start[..2], &start[3..35], &start[36..52]);
    let is_nothing = |digits: &[u8]| digits.iter().all(|digit| *digit == b'0');
    let may_follow = rest.is_empty() || version != b"00" && rest[0] == b'-';
    if version == b"ff" || is_nothing(id) || is_nothing(parent) || !may_follow {
        return None;
    }
    let odd = b"13579bdf".contains(&start[54]);
    Some((String::from_utf8_lossy(id).into_owned(), odd))
}
