//! Where header fields are written to: text, or the fields of an HTTP/2 message.

use http::HeaderMap;

use crate::http2::message;

/// Takes fields one after another, each possibly in parts.
pub(crate) trait Fields {
    /// Appends a field whose value is these parts, one behind the other.
    fn add_parts<'a>(&mut self, name: &[u8], parts: impl Iterator<Item = &'a [u8]>);

    /// Appends a field.
    fn add(&mut self, name: &[u8], value: &[u8]) {
        self.add_parts(name, std::iter::once(value));
    }
}

/// Lines of HTTP/1.1.
impl Fields for Vec<u8> {
    fn add_parts<'a>(&mut self, name: &[u8], parts: impl Iterator<Item = &'a [u8]>) {
        self.extend_from_slice(name);
        self.extend_from_slice(b": ");
        for part in parts {
            self.extend_from_slice(part);
        }
        self.extend_from_slice(b"\r\n");
    }
}

impl Fields for HeaderMap {
    fn add_parts<'a>(&mut self, name: &[u8], parts: impl Iterator<Item = &'a [u8]>) {
        let value: Vec<u8> = parts.flatten().copied().collect();
        self.add(name, &value);
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        message::append(self, name, value);
    }
}
