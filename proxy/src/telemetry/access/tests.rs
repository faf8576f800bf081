//! Lines: what they say, and that nobody can forge one.

use std::net::IpAddr;

use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{any, proptest};
use serde_json::{Value, json};

use super::{Destination, Entry, FIELD_BYTES_MAX, Request, combined, json};

const REQUEST: Request<'static> = Request {
    method: b"GET",
    target: b"/a?b=c",
    protocol: "HTTP/1.1",
    host: Some(b"shop.example"),
    user_agent: Some(b"curl/8.5.0"),
    referer: None,
    traceparent: Some(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    id: Some(b"r-17"),
};

fn entry(request: Option<Request<'_>>) -> Entry<'_> {
    Entry {
        ended: Timestamp::from_micros(1_795_258_453_042_999),
        duration: 1500,
        ttfb: Some(1200),
        client: IpAddr::from([192, 0, 2, 1]),
        request,
        routed: Some(Destination {
            route: "default",
            role: Role::Canary,
            version: "v2",
            generation: 3,
            weight: Weight::from_parts_per_million(50_000).expect("is a share"),
            key: Some(0xab),
            rule: Some("internal"),
            forced: Some("x-version"),
        }),
        status: Some(200),
        grpc_status: None,
        reason: None,
        shielded: None,
        code: None,
        complete: true,
        request_bytes: 0,
        response_bytes: 17,
    }
}

fn line(write: fn(&mut Vec<u8>, &Entry<'_>), entry: &Entry<'_>) -> String {
    let mut out = Vec::new();
    write(&mut out, entry);
    String::from_utf8(out).expect("is text")
}

fn object(entry: &Entry<'_>) -> Value {
    serde_json::from_str(&line(json::write, entry)).expect("is JSON")
}

#[test]
fn json_has_everything_by_name() {
    let expected = json!({
        "time": "2026-11-21T10:54:13.042Z", "timestamp_ms": 1_795_258_453_042_u64,
        "route": "default", "role": "canary", "version": "v2", "generation": 3,
        "weight": 0.05, "rule": "internal", "forced": "x-version", "key": "00000000000000ab",
        "method": "GET", "host": "shop.example", "path": "/a?b=c", "protocol": "HTTP/1.1",
        "status": 200, "grpc_status": null, "reason": null, "shielded": null, "error": null, "complete": true,
        "request_bytes": 0, "response_bytes": 17,
        "ttfb_us": 1200, "duration_us": 1500, "latency_us": 1500,
        "client": "192.0.2.1", "user_agent": "curl/8.5.0", "referer": null,
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "request_id": "r-17",
    });
    assert_eq!(object(&entry(Some(REQUEST))), expected);
}

#[test]
fn what_is_not_there_is_null() {
    let nothing = Entry {
        routed: None,
        status: None,
        ttfb: None,
        ..entry(None)
    };
    let object = object(&nothing);
    for name in [
        "route",
        "role",
        "version",
        "generation",
        "weight",
        "key",
        "method",
        "host",
        "path",
        "protocol",
        "ttfb_us",
        "user_agent",
        "referer",
        "trace_id",
        "request_id",
    ] {
        assert_eq!(object.get(name), Some(&Value::Null), "{name}");
    }
    assert_eq!(object["status"], 0);
    assert_eq!(
        line(combined::write, &nothing),
        "192.0.2.1 - - [21/Nov/2026:10:54:13 +0000] \"-\" - 17 \"-\" \"-\" - -"
    );
}

#[test]
fn combined_is_that_of_apache_with_role_and_version() {
    assert_eq!(
        line(combined::write, &entry(Some(REQUEST))),
        "192.0.2.1 - - [21/Nov/2026:10:54:13 +0000] \"GET /a?b=c HTTP/1.1\" 200 17 \"-\" \"curl/8.5.0\" canary v2"
    );
    let odd = Request {
        target: b"/\"\\\xc3\xa9",
        referer: Some(b"a\"b\tc"),
        ..REQUEST
    };
    let line = line(combined::write, &entry(Some(odd)));
    assert!(line.contains(r#""GET /\"\\\xc3\xa9 HTTP/1.1""#), "{line}");
    assert!(line.contains(r#""a\"b\x09c""#), "{line}");
}

#[test]
fn only_a_trace_is_a_trace() {
    for (field, expected) in [
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            true,
        ),
        (
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            true,
        ),
        (
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            false,
        ),
        (
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            false,
        ),
        (
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            false,
        ),
        ("00-4bf92f3577b34da6-00f067aa0ba902b7-01", false),
        ("nonsense", false),
        ("", false),
    ] {
        let request = Request {
            traceparent: Some(field.as_bytes()),
            ..REQUEST
        };
        assert_eq!(
            object(&entry(Some(request)))["trace_id"].is_string(),
            expected,
            "{field}"
        );
    }
}

#[test]
fn long_fields_are_cut_and_say_so() {
    let long = [&b"/"[..], &[b'x'; 2 * FIELD_BYTES_MAX]].concat();
    let request = Request {
        target: &long,
        ..REQUEST
    };
    let path = object(&entry(Some(request)))["path"].clone();
    let path = path.as_str().expect("is text");
    assert_eq!(path.strip_suffix('…').map(str::len), Some(FIELD_BYTES_MAX));
    assert!(line(combined::write, &entry(Some(request))).contains("xxx... HTTP/1.1\""));
}

/// The nine parts of a combined line and the two that follow, as a parser that knows
/// nothing of haldane finds them. `None` if it is no such line.
fn parts(line: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (part, after) = match rest.as_bytes()[0] {
            b'"' => {
                let mut escaped = false;
                let end = rest[1..].find(|character| {
                    let ends = character == '"' && !escaped;
                    escaped = character == '\\' && !escaped;
                    ends
                })? + 1;
                (&rest[1..end], &rest[end + 1..])
            }
            b'[' => {
                let end = rest.find(']')?;
                (&rest[1..end], &rest[end + 1..])
            }
            _ => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
        };
        parts.push(part.to_owned());
        rest = match after.strip_prefix(' ') {
            Some(rest) => rest,
            None if after.is_empty() => "",
            None => return None,
        };
    }
    Some(parts)
}

proptest! {
    /// Whatever a client sends, its line is one line, and what it says is in its place.
    #[test]
    fn no_client_can_forge_a_line(
        method in vec(any::<u8>(), 0..20),
        target in vec(any::<u8>(), 0..200),
        host in option::of(vec(any::<u8>(), 0..50)),
        user_agent in option::of(vec(any::<u8>(), 0..200)),
        referer in option::of(vec(any::<u8>(), 0..200)),
        traceparent in option::of(vec(any::<u8>(), 0..60)),
        id in option::of(vec(any::<u8>(), 0..60)),
    ) {
        let request = Request {
            method: &method,
            target: &target,
            protocol: "HTTP/2.0",
            host: host.as_deref(),
            user_agent: user_agent.as_deref(),
            referer: referer.as_deref(),
            traceparent: traceparent.as_deref(),
            id: id.as_deref(),
        };
        let entry = entry(Some(request));
        for write in [json::write, combined::write] {
            let line = line(write, &entry);
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.contains(['\u{2028}', '\u{2029}', '\u{202e}']), "{line:?}");
        }
        let object = object(&entry);
        assert_eq!(object["path"], String::from_utf8_lossy(&target).as_ref());
        assert_eq!(object["role"], "canary");
        assert_eq!(object["status"], 200);
        let expected = user_agent.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(object["user_agent"], Value::from(expected));

        let found = parts(&line(combined::write, &entry)).expect("has parts");
        assert_eq!(found.len(), 11, "{found:?}");
        assert_eq!([&found[0], &found[5], &found[6]], ["192.0.2.1", "200", "17"]);
        assert_eq!([&found[9], &found[10]], ["canary", "v2"]);
    }

    /// Texts that are hard to write: what is read back is what was sent.
    #[test]
    fn json_loses_no_character(target in "[\\PC\\x00-\\x1f\u{7f}-\u{9f}\u{2028}-\u{202e}\"\\\\]{0,60}") {
        let request = Request {
            target: target.as_bytes(),
            ..REQUEST
        };
        assert_eq!(object(&entry(Some(request)))["path"], target);
    }
}
