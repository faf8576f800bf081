//! What haldane knows of gRPC: which exchanges are calls, and how they ended
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use super::pump::Pump;
use crate::h1::head::Head;

/// The field that says how a call ended: a trailer, or in the head of an answer that
/// has nothing else.
const STATUS: &[u8] = b"grpc-status";

/// The status of a call that may be made again.
pub(crate) const UNAVAILABLE: u32 = 14;

/// The trailers of a call whose version was rolled back while it was answered.
pub(crate) const EVICTED: &[u8] =
    b"grpc-status: 14\r\ngrpc-message: The version of this call was rolled back.\r\n";

/// The status of a call that would have been answered with this one of HTTP
/// (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).
pub(crate) const fn status_for(http: u16) -> &'static [u8] {
    match http {
        400 | 431 => b"13",       // INTERNAL
        404 | 405 | 501 => b"12", // UNIMPLEMENTED
        408 | 504 => b"4",        // DEADLINE_EXCEEDED
        502 | 503 => b"14",       // UNAVAILABLE
        _ => b"2",                // UNKNOWN
    }
}

/// Whether a request is a call. gRPC-Web has its status in the body and is none.
pub(crate) fn is_call(request: &Head) -> bool {
    let Some(kind) = request.value_of(b"content-type") else {
        return false;
    };
    let prefix = b"application/grpc";
    let rest = match kind.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) => rest,
        _ => return false,
    };
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The status of a call whose answer is complete; `None` if it has none that is a number.
pub(crate) fn status(head: &Head, body: &Pump) -> Option<u32> {
    let text = body.trailer(STATUS).or_else(|| head.value_of(STATUS))?;
    number(text)
}

/// What a status says.
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::head::Version;

    #[test]
    fn only_grpc_is_a_call() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; x=y", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("app", false),
        ] {
            let mut head = Head::default();
            head.compose(Version::Http2)
                .field(b"content-type", kind.as_bytes());
            assert_eq!(is_call(&head), expected, "{kind}");
        }
        assert!(!is_call(&Head::default()));
    }
}
