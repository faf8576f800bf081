//! Where header fields are written to: text, or the fields of an HTTP/2 message.

use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::h1::field::Kind;
use crate::h1::head::FieldRef;
use crate::http2::message;

// Names of fields that haldane adds.
pub(crate) static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) static ROLE: HeaderName = HeaderName::from_static("x-haldane-role");
pub(crate) static VERSION: HeaderName = HeaderName::from_static("x-haldane-version");

/// Takes fields one after another, each possibly in parts.
pub(crate) trait Fields {
    /// Appends a field whose value is these parts, one behind the other.
    fn add_parts<'a>(&mut self, name: &[u8], parts: impl Iterator<Item = &'a [u8]>);

    /// Appends a field.
    fn add(&mut self, name: &[u8], value: &[u8]) {
        self.add_parts(name, std::iter::once(value));
    }

    /// Appends a field that was read.
    fn pass(&mut self, field: &FieldRef<'_>) {
        self.add(field.name, field.value);
    }

    /// Appends a field whose name is known.
    fn add_own(&mut self, name: &HeaderName, value: &[u8]) {
        self.add(name.as_str().as_bytes(), value);
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

    fn pass(&mut self, field: &FieldRef<'_>) {
        match field.line {
            Some(line) => self.extend_from_slice(line),
            None => self.add(field.name, field.value),
        }
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

    fn pass(&mut self, field: &FieldRef<'_>) {
        match field.kind {
            Kind::ContentLength => self.add_own(&CONTENT_LENGTH, field.value),
            Kind::Date => self.add_own(&DATE, field.value),
            _ => self.add(field.name, field.value),
        }
    }

    fn add_own(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.append(name, value);
        }
    }
}
