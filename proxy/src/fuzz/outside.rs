//! What others answer when they are asked or told something.

use std::time::Duration;

use haldane_decide::time::Timestamp;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use crate::control::notify::patience::{Reply, pause};
use crate::control::outside::answer::{of_prometheus, of_url, path_of};
use crate::control::remote::Answer;

/// The number in an answer: of a URL, and of Prometheus.
pub fn numbers(status: u16, body: &[u8], now: u64) -> [Result<f64, String>; 2] {
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
        fields: HeaderMap::new(),
        body: Bytes::copy_from_slice(body),
    };
    let now = Timestamp::from_micros(now);
    [
        of_url(&answer),
        of_prometheus(&answer, Duration::from_secs(10), now),
    ]
}

/// The path with a query of Prometheus.
#[must_use]
pub fn query_path(query: &str) -> String {
    path_of(query)
}

/// How long to wait after `tries` attempts, the last of which was answered with 503 and this
/// `Retry-After`.
#[must_use]
pub fn retry_pause(field: &[u8], tries: u32, chance: f64, now: u64) -> Option<Duration> {
    let mut fields = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(field) {
        fields.insert(RETRY_AFTER, value);
    }
    let now = Timestamp::from_micros(now);
    let asked = match Reply::of(StatusCode::SERVICE_UNAVAILABLE, &fields, now) {
        Reply::Later(asked) => asked,
        Reply::Accepted | Reply::Never => None,
    };
    pause(tries, asked, chance)
}
