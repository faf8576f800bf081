//! The access log: whatever clients send, a request is one line, and `replay` reads it.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use haldane::fuzz::records::{Logged, lines, rows};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Request<'a> {
    ended: u64,
    duration: u64,
    client: [u8; 16],
    is_v4: bool,
    method: &'a [u8],
    target: &'a [u8],
    host: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    referer: Option<&'a [u8]>,
    traceparent: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    version: Option<&'a str>,
    forced: Option<&'a str>,
    key: Option<u64>,
    status: Option<u16>,
    is_failure: bool,
}

/// Up to the year 2255: later ones are no whole numbers of microseconds when they are read.
const MICROS_MAX: u64 = 1 << 53;

fuzz_target!(|data: &[u8]| {
    let Ok(request) = Request::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let [a, b, c, d, ..] = request.client;
    let status = request.status.map(|status| 100 + status % 900);
    let logged = Logged {
        ended: request.ended % MICROS_MAX,
        duration: request.duration % 86_400_000_000,
        client: if request.is_v4 {
            [a, b, c, d].into()
        } else {
            request.client.into()
        },
        method: request.method,
        target: request.target,
        host: request.host,
        user_agent: request.user_agent,
        referer: request.referer,
        traceparent: request.traceparent,
        id: request.id,
        version: request.version,
        forced: request.forced,
        key: request.key,
        status,
        reason: request.is_failure.then_some("reset"),
    };
    let (object, combined) = lines(&logged);
    is_one_object(&logged, &object);
    is_one_line(&logged, &combined);
});

fn is_one_object(logged: &Logged<'_>, line: &[u8]) {
    let text = std::str::from_utf8(line).expect("is text");
    let hidden = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}');
    assert!(!text.contains(hidden), "{text:?}");
    let object: serde_json::Value = serde_json::from_str(text).expect("is JSON");
    let id = object["trace_id"].as_str();
    assert!(id.is_none_or(|id| id.len() == 32 && logged.traceparent.is_some()));
    if let Ok(target) = std::str::from_utf8(logged.target)
        && target.len() <= 4096
    {
        assert_eq!(object["path"].as_str(), Some(target));
    }
    let (rows, bad) = rows(line, line.len(), None);
    assert_eq!(bad, None);
    match &rows[..] {
        [row] => {
            assert_eq!(row.at / 1000, logged.ended / 1000);
            assert_eq!(row.latency, logged.duration);
            assert_eq!(row.role, "canary");
            let status = logged.status.unwrap_or_default();
            let failed = logged.reason.is_some() && status < 500;
            assert_eq!(row.status, if failed { 0 } else { status });
        }
        [] => {
            assert!(logged.version.is_none() || logged.status.is_none() && logged.reason.is_none())
        }
        _ => panic!("{rows:?}"),
    }
}

fn is_one_line(logged: &Logged<'_>, line: &[u8]) {
    assert!(line.iter().all(|byte| matches!(byte, b' '..=b'~')));
    // Only the six quotes of the format are not behind a backslash.
    let mut quotes = 0;
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => quotes += 1,
            _ => {}
        }
    }
    assert_eq!(quotes, 6);
    let version = logged.version.unwrap_or("-").is_empty();
    let words = line.rsplit(|byte| *byte == b'"').next().map_or(0, |rest| {
        rest.split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
            .count()
    });
    assert_eq!(words, if version { 1 } else { 2 });
}
