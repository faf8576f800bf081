//! What names, hosts and header fields may look like.

use std::net::Ipv4Addr;

use crate::unit::{Kind, Misfit};

pub(super) const NAME: Kind = Kind {
    what: "a name",
    example: "\"checkout\"",
    units: &["{}"],
};
pub(super) const HEADER: Kind = Kind {
    what: "the name of a header field",
    example: "\"x-user-id\"",
    units: &[],
};

/// A name for metrics and URLs: 1 to 64 of `a-z`, `0-9`, `_` and `-`.
pub(super) fn name(text: &str) -> Result<&str, Misfit> {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    if text.is_empty() {
        Err(Misfit::new("it is empty"))
    } else if text.len() > 64 {
        Err(Misfit::new("it is longer than 64 characters"))
    } else if text.bytes().all(plain) {
        Ok(text)
    } else {
        let misfit = Misfit::new("it may have a-z, 0-9, _ and -");
        let lower = text.to_ascii_lowercase().replace([' ', '.', '/'], "-");
        Err(if lower.bytes().all(plain) {
            misfit.hint(format!("write \"{lower}\""))
        } else {
            misfit
        })
    }
}

/// A field or cookie name (`token` of RFC 9110, 5.6.2), at most 256 bytes.
pub(super) fn token(text: &str) -> Result<&str, Misfit> {
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() {
        Err(Misfit::new("the name is empty"))
    } else if text.len() > 256 {
        Err(Misfit::new("the name is longer than 256 bytes"))
    } else if text.bytes().all(in_token) {
        Ok(text)
    } else {
        Err(Misfit::new(
            "the name has a character that is not allowed in it",
        ))
    }
}

/// The name of a header field that means the same for a request all the way, in lower case.
pub(super) fn header(text: &str) -> Result<String, Misfit> {
    const OF_THE_CONNECTION: [&str; 10] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let lower = token(text.trim())?.to_ascii_lowercase();
    if OF_THE_CONNECTION.contains(&lower.as_str()) {
        return Err(Misfit::new(
            "this field is about the connection or the message, not about the user",
        ));
    }
    Ok(lower)
}

/// A host name in lower case, or an IPv4 address: labels of 1 to 63 letters, digits, `-`
/// and `_`, together at most 253. Underscores are not for hosts on the internet, but
/// service names have them.
pub(super) fn host(text: &str) -> Result<String, Misfit> {
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if text.is_empty() {
        return Err(Misfit::new("the host is empty"));
    }
    if text.len() > 253 {
        return Err(Misfit::new("the host is longer than 253 characters"));
    }
    if !text.is_ascii() {
        return Err(Misfit::new("the host has letters outside ASCII")
            .hint("write it in punycode: \"xn--…\""));
    }
    for label in text.split('.') {
        if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
            return Err(Misfit::new(
                "a part of the host between dots is empty, too long, or begins or ends with \"-\"",
            ));
        }
        if !label.bytes().all(in_label) {
            return Err(Misfit::new(
                "the host has a character that is not allowed in it",
            ));
        }
    }
    let numeric = text
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric && text.parse::<Ipv4Addr>().is_err() {
        return Err(Misfit::new(
            "the host is neither a name nor an IPv4 address",
        ));
    }
    Ok(text.to_ascii_lowercase())
}
