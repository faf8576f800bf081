//! Heads that come in HTTP/2: nothing in them becomes a line of its own in HTTP/1.1.

#![no_main]

use std::sync::LazyLock;

use ::http as types;
use arbitrary::{Arbitrary, Unstructured};
use haldane::fuzz::http::{self, Route};
use haldane_fuzz::{config, values};
use libfuzzer_sys::fuzz_target;

static ROUTE: LazyLock<Route> = LazyLock::new(|| {
    Route::new(config(
        "[[route]]\nstable = \"http://127.0.0.1:1\"\ncanary = \"http://127.0.0.1:2\"\n",
    ))
});

#[derive(Debug, Arbitrary)]
struct Parts<'a> {
    method: &'a [u8],
    authority: Option<&'a [u8]>,
    target: &'a [u8],
    protocol: Option<&'a str>,
    status: u16,
    is_open: bool,
    fields: Vec<(Name<'a>, &'a [u8])>,
}

/// A name with a meaning, or any.
#[derive(Debug, Arbitrary)]
enum Name<'a> {
    Any(&'a [u8]),
    Connection,
    ContentLength,
    Cookie,
    Expect,
    Host,
    Te,
    TransferEncoding,
    Upgrade,
}

impl Name<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Any(name) => name,
            Self::Connection => b"connection",
            Self::ContentLength => b"content-length",
            Self::Cookie => b"cookie",
            Self::Expect => b"expect",
            Self::Host => b"host",
            Self::Te => b"te",
            Self::TransferEncoding => b"transfer-encoding",
            Self::Upgrade => b"upgrade",
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(parts) = Parts::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    if let Some(request) = request(&parts) {
        passed_on(&parts, request);
    }
    answered(&parts);
});

fn headers(parts: &Parts<'_>) -> types::HeaderMap {
    let mut headers = types::HeaderMap::new();
    for (name, value) in parts.fields.iter().take(200) {
        let name = types::HeaderName::from_bytes(name.bytes());
        let value = types::HeaderValue::from_bytes(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn request(parts: &Parts<'_>) -> Option<types::Request<()>> {
    let mut uri = types::uri::Parts::default();
    uri.path_and_query = types::uri::PathAndQuery::try_from(parts.target).ok();
    if let Some(authority) = parts.authority {
        uri.scheme = Some(types::uri::Scheme::HTTPS);
        uri.authority = Some(types::uri::Authority::try_from(authority).ok()?);
    }
    let mut request = types::Request::new(());
    *request.method_mut() = types::Method::from_bytes(parts.method).ok()?;
    *request.uri_mut() = types::Uri::from_parts(uri).ok()?;
    *request.headers_mut() = headers(parts);
    if let Some(protocol) = parts.protocol {
        let protocol = h2::ext::Protocol::from(protocol);
        request.extensions_mut().insert(protocol);
    }
    Some(request)
}

fn passed_on(parts: &Parts<'_>, request: types::Request<()>) {
    let Ok(forwarded) = ROUTE.forward_message(request, parts.is_open) else {
        return;
    };
    let text = &forwarded.text;
    let seen = match http::request(text, true) {
        Ok(Some(seen)) => seen,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(text)),
    };
    assert_eq!(seen.length, text.len(), "more than a head");
    assert_eq!(seen.target, forwarded.target);
    if !forwarded.switches {
        let framing = http::request_framing(text);
        // A method that has a body usually is told that there is none.
        let is_empty = |framing: &str| matches!(framing, "Empty" | "Length(0)");
        assert!(
            framing.as_ref() == Some(&forwarded.framing)
                || framing.as_deref().is_some_and(is_empty) && is_empty(&forwarded.framing),
            "{framing:?} of {}",
            forwarded.framing
        );
    }
    let of = |name: &str| values(&seen.fields, name);
    assert_eq!(of("host"), [&forwarded.host[..]]);
    assert!(of("cookie").len() <= 1);
    assert!(of("content-length").len() + of("transfer-encoding").len() <= 1);
    assert_eq!(of("x-haldane-role"), [b"canary"]);
}

fn answered(parts: &Parts<'_>) {
    let mut response = types::Response::new(());
    let Ok(status) = types::StatusCode::from_u16(parts.status) else {
        return;
    };
    *response.status_mut() = status;
    *response.headers_mut() = headers(parts);
    let Ok(answered) = http::answer_message(response, b"GET", parts.is_open) else {
        return;
    };
    match http::response(&answered.text, true) {
        Ok(Some(seen)) => {
            assert_eq!(
                (seen.length, seen.status),
                (answered.text.len(), parts.status)
            );
        }
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&answered.text)),
    }
}
