//! Connections of HTTP/2, byte by byte: whatever comes, they end, and what is understood of
//! them is passed on as one message each.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use haldane::fuzz::bodies::trailers;
use haldane::fuzz::frames::{Heard, ask, serve};
use haldane::fuzz::http::{self, Route};
use haldane_fuzz::{config, wait_for};
use libfuzzer_sys::fuzz_target;
use tokio::time::timeout;

static ROUTE: LazyLock<Route> = LazyLock::new(|| {
    Route::new(config(
        "[[route]]\nstable = \"http://127.0.0.1:1\"\ncanary = \"http://127.0.0.1:2\"\n",
    ))
});

/// What a client begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    let [selector, part, rest @ ..] = data else {
        return;
    };
    let (is_upstream, is_raw) = (selector & 1 == 1, selector & 2 == 2);
    let said = if is_raw { rest.to_vec() } else { framed(rest) };
    let part = 1 + usize::from(*part) * 8;
    let all = async {
        if is_upstream {
            ask(&said, part).await
        } else {
            serve(&ROUTE, &[PREFACE, &said].concat(), part).await
        }
    };
    let heard = wait_for(async { timeout(Duration::from_secs(5), all).await });
    let heard = heard.expect("ends");
    check(&heard, said.len());
});

/// Lengths that fit are hard to guess: each frame here is its type, its flags, its stream and
/// how many bytes of the rest it has.
fn framed(mut rest: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while let [kind, flags, stream, length, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*length)));
        frames.extend([0, 0, payload.len() as u8, *kind, *flags, 0, 0, 0, *stream]);
        frames.extend(payload);
        rest = after;
    }
    frames
}

fn check(heard: &Heard, said: usize) {
    assert!(heard.data <= said);
    // A frame has nine bytes at least, and none asks for much in return.
    assert!(
        heard.written <= 1024 + 64 * said,
        "{} for {said}",
        heard.written
    );
    assert!(heard.requests.len() <= said / 9);
    for forwarded in heard.requests.iter().flatten() {
        is_one(http::request(&forwarded.text, true), &forwarded.text);
    }
    for answered in heard.answers.iter().flatten() {
        is_one(http::response(&answered.text, true), &answered.text);
    }
    for lines in &heard.trailers {
        let (fields, again) = trailers(lines);
        assert_eq!(fields.len(), lines.split(|byte| *byte == b'\n').count() - 1);
        assert_eq!(trailers(&again).0, fields);
    }
}

fn is_one(head: Result<Option<http::Seen>, String>, text: &[u8]) {
    match head {
        Ok(Some(seen)) => assert_eq!(seen.length, text.len(), "more than a head"),
        other => panic!("{other:?} of {}", text.escape_ascii()),
    }
}
