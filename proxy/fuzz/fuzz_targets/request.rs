//! Requests in HTTP/1.1: what is passed on is understood as what came, and nothing that is
//! haldane's to say is said by a client.

#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use haldane::fuzz::http::{self, Forwarded, PEER, Route, VERSION};
use haldane_decide::weight::Weight;
use haldane_fuzz::{config, is_token, values};
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"
trusted_proxies = ["192.0.2.0/24", "2001:db8::/32"]
[[route]]
stable = "http://127.0.0.1:1"
canary = "http://127.0.0.1:2"
baggage = true
[route.sticky]
key = ["header:x-user-id", "cookie:session", "client-ip"]
on_missing = "stable"
force = { header = "x-force", from = ["192.0.2.0/24"] }
[route.flag]
header = "x-feature"
canary = "on"
stable = "off"
[[route.rule]]
match = { cookie = "beta" }
weight = "50%"
[[route.rule]]
match = { path = "/new/*" }
weight = "20%"
"#;

static ROUTE: LazyLock<Route> = LazyLock::new(|| Route::new(config(CONFIG)));

fuzz_target!(|data: &[u8]| {
    let whole = http::request(data, false);
    prefixes(data, &whole);
    if let Ok(Some(seen)) = &whole {
        assert!(is_token(&seen.first));
        assert!(!seen.target.iter().any(u8::is_ascii_whitespace));
        for (name, value) in &seen.fields {
            assert!(is_token(name));
            assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
        }
    }
    for trusted in [false, true] {
        if let Some(Ok(forwarded)) = ROUTE.forward(data, false, trusted) {
            passed_on(&forwarded, trusted);
        }
    }
    split(data);
});

/// What is no head does not become one by more bytes, and a head does not need them.
fn prefixes(data: &[u8], whole: &Result<Option<http::Seen>, String>) {
    let half = http::request(&data[..data.len() / 2], false);
    match (whole, half) {
        (Ok(Some(seen)), half) => {
            assert!(seen.length <= data.len());
            assert_eq!(http::request(&data[..seen.length], false), *whole);
            assert_eq!(http::request(&data[..seen.length - 1], false), Ok(None));
            assert!(half.is_ok());
        }
        (Ok(None), half) => assert_eq!(half, Ok(None)),
        (Err(_), _) => {}
    }
}

fn passed_on(forwarded: &Forwarded, trusted: bool) {
    let text = &forwarded.text;
    let seen = match http::request(text, true) {
        Ok(Some(seen)) => seen,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(text)),
    };
    assert_eq!(seen.length, text.len(), "more than a head");
    assert_eq!(
        (&seen.first, &seen.target),
        (&forwarded.method, &forwarded.target)
    );
    if !forwarded.switches {
        assert_eq!(
            http::request_framing(text).as_ref(),
            Some(&forwarded.framing)
        );
    }
    let of = |name: &str| values(&seen.fields, name);
    assert_eq!(of("host"), [&forwarded.host[..]]);
    assert_eq!(of("x-haldane-version"), [VERSION.as_bytes()]);
    assert_eq!(of("x-haldane-role"), [b"canary"]);
    assert!(of("content-length").len() + of("transfer-encoding").len() <= 1);
    assert!(
        of("x-force").is_empty()
            && of("keep-alive").is_empty()
            && of("proxy-authorization").is_empty()
    );
    let [hops] = of("x-forwarded-for")[..] else {
        panic!("not one x-forwarded-for");
    };
    assert!(hops.ends_with(PEER.as_bytes()));
    assert!(trusted || hops == PEER.as_bytes());
    for option in of("connection") {
        assert!(matches!(option, b"te" | b"upgrade"), "{option:?}");
    }
    // Another haldane would pass on the same.
    match ROUTE.forward(text, true, true) {
        Some(Ok(again)) => {
            assert_eq!(
                (&again.host, &again.target),
                (&forwarded.host, &forwarded.target)
            );
            assert_eq!(again.framing, forwarded.framing);
            assert_eq!(again.method, forwarded.method);
        }
        other => panic!("{other:?}: {}", String::from_utf8_lossy(text)),
    }
    if let Ok(message) = &forwarded.message {
        for name in [
            "connection",
            "keep-alive",
            "transfer-encoding",
            "upgrade",
            "host",
        ] {
            assert!(!message.headers().contains_key(name), "{name}");
        }
        let target = message.uri().path_and_query().map(|path| path.as_str());
        assert_eq!(target.map(str::as_bytes), Some(&forwarded.target[..]));
        // As many fields as in the text but for those that are about the connection.
        let text = seen.fields.iter().filter(|(name, _)| {
            let framing = [
                "connection",
                "host",
                "transfer-encoding",
                "upgrade",
                "sec-websocket-key",
            ];
            !framing
                .iter()
                .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
        });
        let key = message
            .headers()
            .get_all("sec-websocket-key")
            .iter()
            .count();
        assert_eq!(message.headers().len(), text.count() + key);
    }
}

fn split(data: &[u8]) {
    let weights: Vec<Weight> = [0, 1, 10_000, 250_000, 500_000, 999_999, 1_000_000]
        .into_iter()
        .filter_map(Weight::from_parts_per_million)
        .collect();
    let (proxy, stranger): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [203, 0, 113, 9].into());
    for peer in [proxy, stranger] {
        let Some(split) = ROUTE.split(data, peer, &weights) else {
            return;
        };
        assert!(
            split.client == peer || peer == proxy,
            "a stranger is believed"
        );
        if let Some(id) = split.id {
            assert!((3..=120).contains(&id.len()) && id.is_ascii());
        }
        // A growing weight takes no key from the canary, and none at all has none there.
        assert!(!split.on_canary[0]);
        assert!(split.on_canary.is_sorted(), "{:?}", split.on_canary);
    }
}
