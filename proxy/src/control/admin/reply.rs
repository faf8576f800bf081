//! The forms of a response.

use std::convert::Infallible;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::problem::Problem;
use crate::telemetry::metrics::Format;

/// Every response is whole when its head is sent, but streams.
pub(super) type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// For people and probes.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    reply(status, "text/plain; charset=utf-8", text.into())
}

/// For scrapers.
pub(super) fn metrics(format: Format, metrics: String) -> Reply {
    reply(StatusCode::OK, format.content_type(), metrics.into())
}

/// For programs.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Reply, Problem> {
    let mut body = serde_json::to_vec(value).map_err(|_| Problem::internal())?;
    body.push(b'\n');
    Ok(reply(StatusCode::OK, "application/json", body.into()))
}

/// Adds a field, unless its value is none that can be sent.
pub(super) fn with(mut reply: Reply, name: HeaderName, value: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
    reply
}

pub(super) fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body).boxed_unsync());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What a client wrote may stand in an answer: it is never to be shown as a page.
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    reply
}
