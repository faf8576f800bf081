//! A line of the access log in Apache's combined format, with role and version at the end
//! (<https://httpd.apache.org/docs/2.4/logs.html#combined>).

use std::io::Write;

use super::{Entry, cut, date};

/// Writes the line, without its end: `%h - - [%t] "%r" %>s %b "%{Referer}i"
/// "%{User-agent}i" role version`.
pub(crate) fn write(out: &mut Vec<u8>, entry: &Entry<'_>) {
    // Writing to a Vec cannot fail.
    drop(write!(out, "{} - - [", entry.client));
    date::write_apache(out, entry.ended);
    out.extend_from_slice(b"] \"");
    match &entry.request {
        Some(request) => {
            escape(out, request.method);
            out.push(b' ');
            escape(out, request.target);
            out.push(b' ');
            out.extend_from_slice(request.protocol.as_bytes());
        }
        None => out.push(b'-'),
    }
    out.extend_from_slice(b"\" ");
    number(out, entry.status.map(u64::from));
    out.push(b' ');
    let bytes = entry.response_bytes;
    number(out, (bytes > 0).then_some(bytes));
    for field in [
        entry.request.and_then(|request| request.referer),
        entry.request.and_then(|request| request.user_agent),
    ] {
        out.extend_from_slice(b" \"");
        escape(out, field.filter(|field| !field.is_empty()).unwrap_or(b"-"));
        out.push(b'"');
    }
    let (role, version) = entry
        .routed
        .map_or(("-", "-"), |routed| (routed.role.as_str(), routed.version));
    out.push(b' ');
    out.extend_from_slice(role.as_bytes());
    out.push(b' ');
    escape_word(out, version.as_bytes());
}

fn number(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        None => out.push(b'-'),
    }
}

/// As Apache does it: visible ASCII as it is, quotes and backslashes behind a backslash,
/// everything else as `\xhh`.
fn escape(out: &mut Vec<u8>, field: &[u8]) {
    let (field, is_all) = cut(field);
    for byte in field {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => hex(out, *byte),
        }
    }
    if !is_all {
        out.extend_from_slice(b"...");
    }
}

/// The same for what stands without quotes.
fn escape_word(out: &mut Vec<u8>, word: &[u8]) {
    for byte in word {
        match byte {
            b'"' | b'\\' | b' ' => hex(out, *byte),
            b'!'..=b'~' => out.push(*byte),
            _ => hex(out, *byte),
        }
    }
}

fn hex(out: &mut Vec<u8>, byte: u8) {
    // Writing to a Vec cannot fail.
    drop(write!(out, "\\x{byte:02x}"));
}
