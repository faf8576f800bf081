//! The little of HTTP/1.1 heads that a checker has to read.

/// What the fields of a head say about the bytes that follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    /// `content-length`, when there is one.
    pub(crate) content_length: Option<usize>,
    /// Any `transfer-encoding`: nobody here sends one, so nobody may invent one.
    pub(crate) encoded: bool,
    /// `connection: close`.
    pub(crate) close: bool,
}

/// The length of the head with its empty line, when all of it is there.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// Reads the fields of a head.
///
/// # Errors
/// Says what is wrong with a length that is not a number or that differs from another one.
pub(crate) fn fields(head: &[u8]) -> Result<Fields, &'static str> {
    let mut fields = Fields::default();
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        // Most lines are told apart by their first byte.
        match line.first() {
            Some(b'c' | b'C') => {
                if let Some(value) = value(line, b"content-length") {
                    let length = number(value).ok_or("content-length is not a number")?;
                    if fields.content_length.is_some_and(|other| other != length) {
                        return Err("two different content-lengths");
                    }
                    fields.content_length = Some(length);
                } else if let Some(value) = value(line, b"connection") {
                    fields.close |= value.eq_ignore_ascii_case(b"close");
                }
            }
            Some(b't' | b'T') => fields.encoded |= value(line, b"transfer-encoding").is_some(),
            _ => {}
        }
    }
    Ok(fields)
}

fn value<'line>(line: &'line [u8], name: &[u8]) -> Option<&'line [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let rest = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| rest.trim_ascii())
}

fn number(digits: &[u8]) -> Option<usize> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_ends_after_the_empty_line() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody"), Some(27));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nhost: a\r\n\r"), None);
        assert_eq!(head_end(b""), None);
    }

    #[test]
    fn fields_are_found_in_any_case_and_spacing() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length:  128 \r\nCONNECTION: Close\r\nx: y\r\n\r\n";
        let expected = Fields {
            content_length: Some(128),
            encoded: false,
            close: true,
        };
        assert_eq!(fields(head), Ok(expected));
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding:chunked\r\ncontent-type: a\r\n\r\n";
        let expected = Fields {
            content_length: None,
            encoded: true,
            close: false,
        };
        assert_eq!(fields(head), Ok(expected));
    }

    #[test]
    fn the_first_line_is_not_a_field() {
        assert_eq!(
            fields(b"content-length: 5 HTTP/1.1\r\n\r\n"),
            Ok(Fields::default())
        );
    }

    #[test]
    fn bad_lengths_are_refused() {
        for lengths in ["x", "-1", "", "+5", "99999999999999999999999"] {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {lengths}\r\n\r\n");
            assert!(fields(head.as_bytes()).is_err(), "{lengths:?}");
        }
        let twice = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n";
        assert!(fields(twice).is_err());
    }
}
