//! Heads and trailers in HTTP/2, from and to what the rest of haldane knows.

use h2::ext::Protocol;
use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, request, response};

use crate::h1::field::{Kind, is_of_token};
use crate::h1::head::{Head, HeadError, HeadLimits, Version};

/// Reads a request. `is_open`: something follows the head.
///
/// # Errors
///
/// [`HeadError::Field`] if `:authority` and `host` disagree or the name of a field or of a
/// protocol is none, [`HeadError::TargetTooLong`], and [`HeadError::TooManyFields`].
pub(crate) fn read_request(
    head: &mut Head,
    parts: &request::Parts,
    is_open: bool,
    limits: HeadLimits,
) -> Result<(), HeadError> {
    if parts.headers.len() > limits.fields {
        return Err(HeadError::TooManyFields);
    }
    let target = match parts.uri.path_and_query() {
        Some(target) => target.as_str(),
        None => "",
    };
    if target.len() > limits.target {
        return Err(HeadError::TargetTooLong);
    }
    let protocol = parts
        .extensions
        .get::<Protocol>()
        .map_or("", Protocol::as_str);
    // It can be any text here, and in HTTP/1.1 it is the value of a field.
    if !protocol.bytes().all(is_of_protocol) {
        return Err(HeadError::Field);
    }
    let mut composer = head.compose(Version::Http2);
    composer.request(
        parts.method.as_str().as_bytes(),
        target.as_bytes(),
        protocol.as_bytes(),
    );
    composer.open(is_open);
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if let Some(authority) = authority {
        composer.field(b"host", authority.as_bytes());
    }
    for (name, value) in &parts.headers {
        let text = token(name)?;
        if name == HOST
            && let Some(authority) = authority
        {
            // Two names for one request are two requests (RFC 9113 §8.3.1).
            if !value.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) {
                return Err(HeadError::Field);
            }
        } else if name != COOKIE {
            composer.field(text, value.as_bytes());
        }
    }
    // Crumbs are one field everywhere else (RFC 9113 §8.2.3).
    let crumbs: Vec<&[u8]> = parts
        .headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if !crumbs.is_empty() {
        composer.field(b"cookie", &crumbs.join(&b"; "[..]));
    }
    Ok(())
}

/// Whether the name of a protocol, or its version behind a slash, may have this byte
/// (RFC 9110 §7.8).
fn is_of_protocol(byte: u8) -> bool {
    is_of_token(byte) || byte == b'/'
}

/// Reads a response. `is_open`: something follows the head.
///
/// # Errors
///
/// [`HeadError::Field`], [`HeadError::TooLarge`] and [`HeadError::TooManyFields`].
pub(crate) fn read_response(
    head: &mut Head,
    parts: &response::Parts,
    is_open: bool,
    limits: HeadLimits,
) -> Result<(), HeadError> {
    if parts.headers.len() > limits.fields {
        return Err(HeadError::TooManyFields);
    }
    // As long as it would be in HTTP/1.1.
    let lengths = parts.headers.iter();
    let lengths = lengths.map(|(name, value)| name.as_str().len() + value.len() + 4);
    if lengths.sum::<usize>() > limits.bytes {
        return Err(HeadError::TooLarge);
    }
    let mut composer = head.compose(Version::Http2);
    composer.status(parts.status.as_u16());
    composer.open(is_open);
    for (name, value) in &parts.headers {
        composer.field(token(name)?, value.as_bytes());
    }
    Ok(())
}

/// The name if it is a token (RFC 9110 §5.1), as it must be in HTTP/1.1. What `http` reads from
/// HTTP/2 may have one character more.
fn token(name: &HeaderName) -> Result<&[u8], HeadError> {
    let name = name.as_str().as_bytes();
    if name.contains(&b'"') {
        return Err(HeadError::Field);
    }
    Ok(name)
}

/// The trailers that may be passed on, as lines.
///
/// # Errors
///
/// [`HeadError::Field`].
pub(crate) fn trailer_lines(trailers: &HeaderMap) -> Result<Vec<u8>, HeadError> {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        let name = token(name)?;
        if Kind::may_trail(name) {
            for part in [name, b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
    }
    Ok(lines)
}

/// The fields in `lines`, which are well formed.
pub(crate) fn fields_in(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// Appends a field. What HTTP/1.1 allows in one, HTTP/2 allows too.
pub(crate) fn append(fields: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        fields.append(name, value);
    }
}

/// The trailers in `lines`.
pub(crate) fn trailers_of(lines: &[u8]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for (name, value) in fields_in(lines) {
        append(&mut trailers, name, value);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 1024,
        target: 1024,
        fields: 8,
    };

    fn read(request: request::Builder) -> Result<Head, HeadError> {
        let (parts, ()) = request.body(()).expect("request").into_parts();
        let mut head = Head::default();
        read_request(&mut head, &parts, false, LIMITS).map(|()| head)
    }

    fn get() -> request::Builder {
        http::Request::get("http://shop.example/a?b")
    }

    #[test]
    fn a_request_has_one_host() {
        let head = read(get()).expect("head");
        assert_eq!(
            head.values(Kind::Host).collect::<Vec<_>>(),
            [b"shop.example"]
        );
        assert_eq!((head.method(), head.target()), (&b"GET"[..], &b"/a?b"[..]));
        let same = read(get().header("host", "Shop.Example")).expect("head");
        assert_eq!(same.values(Kind::Host).count(), 1);
        let other = read(get().header("host", "bank.example"));
        assert_eq!(other.err(), Some(HeadError::Field));
    }

    #[test]
    fn crumbs_become_one_cookie() {
        let head = read(
            get()
                .header("cookie", "a=1")
                .header("x", "y")
                .header("cookie", "b=2"),
        );
        let head = head.expect("head");
        assert_eq!(head.values(Kind::Cookie).collect::<Vec<_>>(), [b"a=1; b=2"]);
    }

    #[test]
    fn fields_are_counted() {
        let mut request = get();
        for _ in 0..9 {
            request = request.header("x", "y");
        }
        assert_eq!(read(request).err(), Some(HeadError::TooManyFields));
    }

    #[test]
    fn trailers_survive_lines() {
        let mut trailers = HeaderMap::new();
        append(&mut trailers, b"grpc-status", b"0");
        append(&mut trailers, b"grpc-message", b"a: b");
        append(&mut trailers, b"x-empty", b"");
        let again = |trailers: &HeaderMap| trailers_of(&trailer_lines(trailers).expect("lines"));
        assert_eq!(again(&trailers), trailers);
        append(&mut trailers, b"content-length", b"5");
        assert_eq!(again(&trailers).len(), 3);
    }

    #[test]
    fn a_name_is_a_token() {
        for byte in 0..=u8::MAX {
            let name = [b'a', byte.to_ascii_lowercase()];
            let Ok(name) = HeaderName::from_lowercase(&name) else {
                continue;
            };
            assert_eq!(token(&name).is_ok(), is_of_token(byte), "{name}");
        }
    }
}
