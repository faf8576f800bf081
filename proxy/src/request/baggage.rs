//! `baggage` (<https://www.w3.org/TR/baggage/>): what services pass on to whatever they call,
//! and may copy into their spans.
//!
//! It becomes one line, since many libraries look at the first only. Members that a client
//! sent in the name of haldane are taken out; all else stays as it came, malformed or not.
//! haldane's own come last: where a key is there twice, the last one counts for most.

use std::iter;

use haldane_decide::role::Role;

/// The name of the field.
pub(crate) const NAME: &[u8] = b"baggage";

const ROLE: &[u8] = b"haldane.role";
const VERSION: &[u8] = b"haldane.version";

/// What everybody has to pass on; of more, members may be dropped, of one's own choice ("Limits"
/// there). Those are haldane's: who tags requests must not cost services what they have sent.
const MEMBERS_MAX: usize = 64;
const BYTES_MAX: usize = 8192;

/// The value for a request to this version that came with these lines of `baggage`. Empty if
/// there is none to be sent.
pub(crate) fn tagged<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    role: Role,
    version: &str,
) -> Vec<u8> {
    let (kept, members) = without_ours(lines);
    let mut value = kept.trim_ascii().to_vec();
    let length = value.len();
    if !value.is_empty() {
        value.push(b',');
    }
    for part in [ROLE, b"=", role.as_str().as_bytes(), b",", VERSION, b"="] {
        value.extend_from_slice(part);
    }
    encode(version, &mut value);
    if members + 2 > MEMBERS_MAX || value.len() > BYTES_MAX {
        value.truncate(length);
    }
    value
}

/// The lines as one, but for what only haldane says, and how many members that has.
fn without_ours<'a>(lines: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, usize) {
    let mut kept = Vec::new();
    let (mut pieces, mut members) = (0, 0);
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    for piece in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        if is_ours(piece) {
            continue;
        }
        if pieces > 0 {
            kept.push(b',');
        }
        kept.extend_from_slice(piece);
        pieces += 1;
        members += usize::from(!piece.trim_ascii().is_empty());
    }
    (kept, members)
}

/// Whether a member has a key of haldane, for those too who decode keys before they look.
fn is_ours(member: &[u8]) -> bool {
    let key = member.split(|byte| matches!(byte, b'=' | b';')).next();
    let key = key.unwrap_or_default();
    [ROLE, VERSION].into_iter().any(|ours| {
        let is_space = |byte: &u8| !byte.is_ascii_graphic();
        let mut bytes = decoded(key).skip_while(is_space);
        ours.iter().all(|byte| bytes.next() == Some(*byte)) && bytes.all(|byte| is_space(&byte))
    })
}

/// A key without percent-encoding; `+` is a space, as in forms.
fn decoded(mut key: &[u8]) -> impl Iterator<Item = u8> {
    iter::from_fn(move || {
        let (byte, rest) = match key {
            [] => return None,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (digit(*high) << 4 | digit(*low), rest)
            }
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        key = rest;
        Some(byte)
    })
}

/// The value of a hexadecimal digit.
const fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte.to_ascii_lowercase() - b'a') + 10,
    }
}

/// Appends a version, percent-encoded: all but what is unreserved (RFC 3986 §2.3). That is
/// more than has to be, but `+` is a space to some who decode.
fn encode(version: &str, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in version.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => out.extend([
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 0xf)],
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, proptest};
    use proptest::prop_oneof;

    use super::*;

    const OURS: &str = "haldane.role=canary,haldane.version=v2";

    fn of(lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| line.as_bytes());
        String::from_utf8(tagged(lines, Role::Canary, "v2")).expect("is text")
    }

    #[test]
    fn what_clients_send_stays_as_it_is_and_haldanes_own_comes_last() {
        for (lines, kept) in [
            (&[][..], ""),
            (&[""], ""),
            (&["a=1"], "a=1"),
            (
                &["a=1 , b = 2;p;q=\"3\",c=%2C"],
                "a=1 , b = 2;p;q=\"3\",c=%2C",
            ),
            (&["a=1", "", "b=2, a=3"], "a=1,b=2, a=3"),
            // Not haldane's, but nearly.
            (
                &["haldane.roles=1,xhaldane.role=1,haldane=1,Haldane.Role=1"],
                "haldane.roles=1,xhaldane.role=1,haldane=1,Haldane.Role=1",
            ),
            (&["a=1;haldane.role=x"], "a=1;haldane.role=x"),
            (&["a=haldane.role"], "a=haldane.role"),
            (&["haldane%20.role=1"], "haldane%20.role=1"),
            // Malformed.
            (&["a,=,;,a b=c,%zz=%"], "a,=,;,a b=c,%zz=%"),
            (&["a=\"1"], "a=\"1"),
        ] {
            let comma = if kept.is_empty() { "" } else { "," };
            assert_eq!(of(lines), format!("{kept}{comma}{OURS}"), "{lines:?}");
        }
    }

    #[test]
    fn nobody_else_says_what_haldane_says() {
        for (lines, kept) in [
            (&["haldane.role=stable"][..], ""),
            (&["haldane.version=v9;p=1,haldane.role=stable"], ""),
            (&["a=1,haldane.role=x, b=2"], "a=1, b=2"),
            (&["haldane.role=x, b=2"], "b=2"),
            (&["a=1", " haldane.role =x", "b=2"], "a=1,b=2"),
            (&["\thaldane.version\t= x ,b=2"], "b=2"),
            // Without a value, and without a value but with properties.
            (&["haldane.role,haldane.version;a=b"], ""),
            // As those write it who decode keys.
            (&["haldane%2Erole=x,%68aldane.rol%65=x,a=1"], "a=1"),
            (&["+haldane.role+=x,%20haldane.version%09=x,a=1"], "a=1"),
        ] {
            let comma = if kept.is_empty() { "" } else { "," };
            assert_eq!(of(lines), format!("{kept}{comma}{OURS}"), "{lines:?}");
        }
    }

    #[test]
    fn beyond_the_limits_clients_keep_what_they_have_sent() {
        let members = |count: usize| vec!["a=1"; count].join(",");
        assert!(of(&[&members(62)]).ends_with(OURS));
        assert_eq!(of(&[&members(63)]), members(63));
        assert_eq!(of(&[&members(100), "haldane.role=x"]), members(100));
        // Nothing is no member.
        assert!(of(&[&format!("{},,,", members(62))]).ends_with(OURS));
        let long = |bytes: usize| format!("a={}", "x".repeat(bytes - 2));
        let room = BYTES_MAX - OURS.len() - 1;
        assert_eq!(of(&[&long(room)]).len(), BYTES_MAX);
        assert_eq!(of(&[&long(room + 1)]), long(room + 1));
        assert_eq!(of(&[&long(BYTES_MAX * 2)]), long(BYTES_MAX * 2));
    }

    #[test]
    fn any_name_of_a_version_is_a_value() {
        let value = tagged(iter::empty(), Role::Stable, "v2+b 7;\"\\,%=~");
        let value = String::from_utf8(value).expect("is text");
        let expected = "haldane.role=stable,haldane.version=v2%2Bb%207%3B%22%5C%2C%25%3D~";
        assert_eq!(value, expected);
    }

    /// What a library that decodes keys takes a member for.
    fn key_of(member: &[u8]) -> String {
        let text = String::from_utf8_lossy(member).replace('+', " ");
        let key = text.split(['=', ';']).next().unwrap_or_default();
        let mut decoded = String::new();
        let mut rest = key;
        while let Some(character) = rest.chars().next() {
            let code = rest
                .strip_prefix('%')
                .and_then(|rest| rest.get(..2))
                .filter(|code| !code.contains('+'))
                .and_then(|code| u8::from_str_radix(code, 16).ok());
            let (shown, length) = match code {
                Some(byte) => (char::from(byte), 3),
                None => (character, character.len_utf8()),
            };
            decoded.push(shown);
            rest = &rest[length..];
        }
        decoded.trim().to_owned()
    }

    fn is_claim(member: &[u8]) -> bool {
        ["haldane.role", "haldane.version"].contains(&&*key_of(member))
    }

    /// Anything, and what looks like baggage.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            vec(any::<u8>(), 0..8),
            vec(any::<u8>(), 0..8),
            Just(b"haldane.role".to_vec()),
            Just(b"haldane%2eversion".to_vec()),
            Just(b"haldane.version".to_vec()),
            Just(b"a".to_vec()),
            Just(b"=".to_vec()),
            Just(b",".to_vec()),
            Just(b";".to_vec()),
            Just(b"% +".to_vec()),
        ];
        vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn whatever_clients_send_is_passed_on_and_tagged_once(lines in vec(line(), 0..6)) {
            let given = lines.iter().map(Vec::as_slice);
            let value = tagged(given.clone(), Role::Canary, "v2");
            let members = |lines: Vec<&[u8]>| -> Vec<Vec<u8>> {
                let pieces = lines.into_iter().flat_map(|line| line.split(|byte| *byte == b','));
                let pieces = pieces.map(|piece| piece.trim_ascii().to_vec());
                pieces.filter(|piece| !piece.is_empty()).collect()
            };
            let mut passed = members(vec![&value]);
            if let Some(rest) = value.strip_suffix(OURS.as_bytes()) {
                prop_assert!(rest.is_empty() || rest.ends_with(b","));
                passed.truncate(passed.len() - 2);
            } else {
                prop_assert!(passed.len() > 62 || value.len() + OURS.len() > 8191);
            }
            prop_assert!(!passed.iter().any(|member| is_claim(member)));
            let mut sent = members(given.collect());
            sent.retain(|member| !is_ours(member));
            prop_assert_eq!(passed, sent);
        }
    }
}
