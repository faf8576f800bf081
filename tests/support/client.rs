//! A client that sends exactly the bytes it is told, and reads answers strictly.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::eventually::PATIENCE;
use super::wire::{Body, Broken, Framing, Head, Wire};

/// A connection to a server.
pub(crate) struct Client {
    pub(crate) wire: Wire,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Head,
    /// The heads that came before the final one.
    pub(crate) interim: Vec<Head>,
    pub(crate) body: Body,
    /// Whether its end came as announced.
    pub(crate) end: Result<(), Broken>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self {
            wire: Wire::connect(address),
        }
    }

    /// Sends these bytes.
    ///
    /// # Panics
    ///
    /// If the connection does not take them.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.wire.write(bytes), "the connection is gone");
    }

    /// Sends a GET with these fields, and reads the answer, which must be complete.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.request("GET", path, fields, "")
    }

    /// Sends a request, with a body unless it is empty, and reads the answer, which
    /// must be complete.
    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Response {
        self.send(request(method, path, fields, body));
        let response = self.answer_to(method);
        assert_eq!(response.end, Ok(()), "the body of {}", response.head.start);
        response
    }

    /// Reads the answer to a request with this method.
    #[track_caller]
    pub(crate) fn answer_to(&mut self, method: &str) -> Response {
        match self.try_answer_to(method) {
            Ok(response) => response,
            Err(broken) => panic!("no answer: {broken:?}"),
        }
    }

    /// Reads the answer to a request with this method, if one comes.
    pub(crate) fn try_answer_to(&mut self, method: &str) -> Result<Response, Broken> {
        let mut interim = Vec::new();
        let (head, status) = loop {
            let (head, status) = self.response_head()?;
            if status >= 200 {
                break (head, status);
            }
            interim.push(head);
        };
        let told = head.framing()?;
        let framing = match status {
            _ if method == "HEAD" => Framing::Length(0),
            204 | 304 => Framing::Length(0),
            _ => told.unwrap_or(Framing::UntilClose),
        };
        let (body, end) = self.wire.body(framing);
        Ok(Response {
            status,
            head,
            interim,
            body,
            end,
        })
    }

    /// Reads one head, interim or final, and its status.
    pub(crate) fn response_head(&mut self) -> Result<(Head, u16), Broken> {
        let head = self.wire.head()?;
        let status = head
            .start
            .strip_prefix("HTTP/1.1 ")
            .filter(|rest| rest.as_bytes().get(3) == Some(&b' '))
            .and_then(|rest| rest[..3].parse().ok());
        match status {
            Some(status) => Ok((head, status)),
            None => Err(Broken::Malformed(head.start)),
        }
    }

    /// Whether the server closes the connection, without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        if self.wire.has_more(PATIENCE) {
            return false;
        }
        matches!(self.wire.end(), Broken::Closed | Broken::Reset)
    }

    /// Whether the connection stays open and silent for this long.
    pub(crate) fn stays_open(&mut self, during: Duration) -> bool {
        self.wire.patience(during);
        let end = self.wire.end();
        self.wire.patience(PATIENCE);
        end == Broken::Silent
    }
}

impl Response {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }

    /// The code of an answer that haldane gave itself.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.head.one("x-haldane-error").unwrap_or_default()
    }
}

/// The bytes of a request to the host `test`.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text
}

/// A request to the admin API at this address, without a body where that is null.
pub(crate) fn admin_request(admin: SocketAddr, method: &str, path: &str, body: &Value) -> String {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {admin}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
