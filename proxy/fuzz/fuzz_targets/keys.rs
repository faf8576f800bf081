//! Split keys: of header, cookie and address the one counts that the configuration names first
//! and the request has, and nobody says another who is not believed.

#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use haldane::fuzz::http::Route;
use haldane_decide::split::Salt;
use haldane_decide::weight::Weight;
use haldane_fuzz::config;
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"
trusted_proxies = ["192.0.2.0/24"]
[[route]]
stable = "http://127.0.0.1:1"
canary = "http://127.0.0.1:2"
[route.sticky]
key = ["header:x-user-id", "cookie:session", "client-ip"]
force = { header = "x-force", from = ["192.0.2.0/24"] }
"#;

/// Whoever has no key gets a cookie, or is known by the address.
static ROUTES: LazyLock<[Route; 2]> = LazyLock::new(|| {
    let issues = CONFIG.replace(", \"client-ip\"]", "]\non_missing = \"cookie\"");
    [issues, CONFIG.to_owned()].map(|text| Route::new(config(&text)))
});

const NAMES: [&str; 4] = ["cookie", "x-user-id", "x-forwarded-for", "x-force"];

type Fields<'a> = [(&'static str, &'a [u8])];

/// More of what a request has once: which one counts.
const TWICE: &[u8] = b"\n@session=a; session=b\n@session=c\nB198.51.100.1, 192.0.2.7";

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&[data, TWICE].concat());
});

fn check(data: &[u8]) {
    // A field in each line: its name, and its value.
    let mut head = b"GET / HTTP/1.1\r\nhost: a\r\n".to_vec();
    let mut fields = Vec::new();
    for line in data.split(|byte| *byte == b'\n').take(20) {
        if let Some((name, value)) = line.split_first() {
            let name = NAMES[usize::from(*name) % NAMES.len()];
            head.extend([name.as_bytes(), b":", value, b"\r\n"].concat());
            fields.push((name, value));
        }
    }
    head.extend(b"\r\n");
    let (proxy, stranger): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [203, 0, 113, 9].into());
    for (index, route) in ROUTES.iter().enumerate() {
        for peer in [proxy, stranger] {
            let Some(split) = route.split(&head, peer, &[Weight::ZERO, Weight::FULL]) else {
                return;
            };
            let (is_believed, by_address) = (peer == proxy, index == 1);
            let client = if is_believed {
                client(&fields, peer)
            } else {
                peer
            };
            assert_eq!(split.client, client);
            let word = first(&fields, "x-force").filter(|_| is_believed);
            if let Some(word @ (b"canary" | b"stable")) = word {
                assert_eq!(split.key, None);
                assert_eq!(split.on_canary, [false, word == b"canary"]);
                continue;
            }
            let key = key(&fields, by_address.then_some(client));
            let key = Salt::from_bits(7).split_key(&key).to_bits();
            assert_eq!(split.key, Some(key));
            assert_eq!(split.on_canary, [false, true]);
        }
    }
}

fn trimmed<'a>(text: &'a [u8], spaces: &[u8]) -> &'a [u8] {
    let is_in = |byte: &u8| !spaces.contains(byte);
    let start = text.iter().position(is_in).unwrap_or(text.len());
    let end = text.iter().rposition(is_in).map_or(start, |last| last + 1);
    &text[start..end]
}

fn all<'a>(fields: &Fields<'a>, name: &str) -> Vec<&'a [u8]> {
    let fields = fields.iter().filter(|(own, _)| *own == name);
    fields.map(|(_, value)| trimmed(value, b" \t")).collect()
}

fn first<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a [u8]> {
    all(fields, name).first().copied()
}

/// Whom the last of those names that was told by somebody who is trusted.
fn client(fields: &Fields<'_>, peer: IpAddr) -> IpAddr {
    let told = all(fields, "x-forwarded-for").join(&b","[..]);
    let mut client = peer;
    for member in told.rsplit(|byte| *byte == b',') {
        let member = trimmed(member, b" \t");
        if member.is_empty() {
            continue;
        }
        let Ok(Ok(address)) = std::str::from_utf8(member).map(str::parse::<IpAddr>) else {
            break;
        };
        client = address.to_canonical();
        if !matches!(client, IpAddr::V4(address) if address.octets()[..3] == [192, 0, 2]) {
            break;
        }
    }
    client
}

/// What is hashed.
fn key(fields: &Fields<'_>, client: Option<IpAddr>) -> Vec<u8> {
    let found = first(fields, "x-user-id").filter(|id| !id.is_empty());
    let found = found.or_else(|| cookie(fields, b"session"));
    if let Some(found) = found {
        return found.to_vec();
    }
    match client {
        Some(IpAddr::V4(address)) => address.to_ipv6_mapped().octets().to_vec(),
        Some(IpAddr::V6(address)) => address.octets().to_vec(),
        None => cookie(fields, b"haldane-key")
            .unwrap_or(b"8000000000000000")
            .to_vec(),
    }
}

/// The value of the first cookie of this name, unless that is empty (RFC 6265 §4.2.1).
fn cookie<'a>(fields: &Fields<'a>, name: &[u8]) -> Option<&'a [u8]> {
    let lines = all(fields, "cookie");
    let pairs = lines
        .iter()
        .flat_map(|line| line.split(|byte| *byte == b';'));
    for pair in pairs {
        let pair = pair.trim_ascii();
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        if pair[..equals] == *name {
            let value = match &pair[equals + 1..] {
                [b'"', inner @ .., b'"'] => inner,
                value => value,
            };
            return Some(value).filter(|value| !value.is_empty());
        }
    }
    None
}
