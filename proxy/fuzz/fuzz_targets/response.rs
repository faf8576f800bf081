//! Responses in HTTP/1.1: what a client gets ends where the upstream's answer ends.

#![no_main]

use haldane::fuzz::http::{self, Answered, VERSION};
use haldane_fuzz::{is_token, values};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((selector, data)) = data.split_first() else {
        return;
    };
    let method: &[u8] = [&b"GET"[..], b"HEAD", b"POST"][usize::from(selector % 3)];
    let http11 = selector & 0x80 == 0;
    let whole = http::response(data, false);
    match &whole {
        Ok(Some(seen)) => {
            assert_eq!(http::response(&data[..seen.length], false), whole);
            assert_eq!(http::response(&data[..seen.length - 1], false), Ok(None));
            assert!((100..1000).contains(&seen.status) || seen.status < 100);
            for (name, value) in &seen.fields {
                assert!(is_token(name));
                assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
            }
        }
        Ok(None) => assert_eq!(http::response(&data[..data.len() / 2], false), Ok(None)),
        Err(_) => {}
    }
    if let Some(Ok(answered)) = http::answer(data, method, http11) {
        passed_on(&answered, method, http11);
    }
});

fn passed_on(answered: &Answered, method: &[u8], http11: bool) {
    let text = &answered.text;
    let seen = match http::response(text, true) {
        Ok(Some(seen)) => seen,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(text)),
    };
    assert_eq!(seen.length, text.len(), "more than a head");
    assert_eq!(seen.status, answered.status);
    let of = |name: &str| values(&seen.fields, name);
    for name in [
        "keep-alive",
        "proxy-authenticate",
        "te",
        "trailer",
        "upgrade",
    ] {
        assert!(of(name).is_empty(), "{name}");
    }
    if (100..200).contains(&answered.status) {
        assert!(of("content-length").is_empty() && of("transfer-encoding").is_empty());
        return;
    }
    let framing = http::response_framing(text, method);
    let framing = framing.as_deref();
    match &*answered.delivery {
        "Chunked" => assert_eq!(framing, Some("Chunked")),
        "UntilClose" => {
            assert_eq!(framing, Some("UntilClose"));
            assert_eq!(of("connection"), [b"close"]);
        }
        _ => assert_eq!(framing, Some(&*answered.framing)),
    }
    assert!(http11 || of("transfer-encoding").is_empty());
    assert!(of("content-length").len() + of("transfer-encoding").len() <= 1);
    assert_eq!(of("date").len(), 1);
    assert_eq!(of("x-haldane-version"), [VERSION.as_bytes()]);
    assert!(of("x-haldane-role").is_empty());
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
        assert!(!answered.message.headers().contains_key(name), "{name}");
    }
    let text = seen.fields.iter().filter(|(name, value)| {
        let about = ["connection", "transfer-encoding"];
        // HTTP/2 says by its frames that there is no body.
        let told = name.eq_ignore_ascii_case(b"content-length") && value == b"0";
        !told
            && !about
                .iter()
                .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
    });
    let fields = answered.message.headers().iter();
    let fields = fields.filter(|(name, value)| *name != "content-length" || *value != "0");
    assert_eq!(fields.count(), text.count());
}
