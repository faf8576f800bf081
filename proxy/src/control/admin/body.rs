//! The body of a request: bounded in size and time, JSON or nothing.

use std::time::Duration;

use haldane_config::SOURCE_BYTES_MAX;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::{Problem, quoted};

/// More than any command needs.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// More than any configuration needs, also when it is written as a text of JSON.
pub(super) const CONFIG_BYTES_MAX: usize = 2 * SOURCE_BYTES_MAX;

/// So much more is read and thrown away, for the client to see why it was refused:
/// closing a connection on unread bytes can destroy the answer on its way.
const DISCARDED_BYTES_MAX: usize = 1024 * 1024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const ACTOR_BYTES_MAX: usize = 256;
const REASON_BYTES_MAX: usize = 1024;

/// Who gives a command, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    pub(super) actor: Option<String>,
    pub(super) reason: Option<String>,
}

impl Who {
    /// These texts are kept, logged and shown: they are short and on one line.
    pub(super) fn checked(self) -> Result<Self, Problem> {
        for (name, text, max) in [
            ("actor", &self.actor, ACTOR_BYTES_MAX),
            ("reason", &self.reason, REASON_BYTES_MAX),
        ] {
            let Some(text) = text else { continue };
            if text.len() > max || text.chars().any(char::is_control) {
                return Err(Problem::body(
                    format!("\"{name}\" is too long or has control characters"),
                    format!("write one line of at most {max} bytes"),
                ));
            }
        }
        Ok(self)
    }
}

/// JSON, or no type for no body. Forms and plain text are what a page of another
/// site can send without being asked first.
pub(super) fn check_content_type(head: &Parts) -> Result<(), Problem> {
    let mut types = head.headers.get_all(CONTENT_TYPE).iter();
    let is_json = match (types.next(), types.next()) {
        (None, _) => !announces_body(head),
        (Some(value), None) => {
            let essence = value.to_str().unwrap_or_default().split(';').next();
            essence.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/json"))
        }
        (Some(_), Some(_)) => false,
    };
    if is_json {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content-type",
        "the body must be JSON",
        "the content-type is not application/json",
        "send `content-type: application/json`",
    ))
}

fn announces_body(head: &Parts) -> bool {
    let length = head.headers.get(CONTENT_LENGTH);
    head.headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// The whole body, of at most `most` bytes.
pub(super) async fn read<B>(head: &Parts, body: B, most: usize) -> Result<Vec<u8>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = head.headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let discarded = most.max(DISCARDED_BYTES_MAX);
    if announced.is_some_and(|length| length > discarded as u64) {
        return Err(too_large(most));
    }
    match tokio::time::timeout(BODY_TIMEOUT, collect(body, most)).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow-body",
            "the body did not arrive in time",
            format!("it may take {} seconds", BODY_TIMEOUT.as_secs()),
            "send the request again",
        )),
    }
}

async fn collect<B>(mut body: B, most: usize) -> Result<Vec<u8>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut bytes = Vec::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::body("it broke off", "send the request again"))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        total += data.len();
        if total <= most {
            bytes.extend_from_slice(data);
        } else if total > most.max(DISCARDED_BYTES_MAX) {
            break;
        }
    }
    if total > most {
        return Err(too_large(most));
    }
    Ok(bytes)
}

fn too_large(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "the body is too large",
        format!("it may have {most} bytes"),
        "nothing here needs that much",
    )
}

/// The body as JSON of this form; what is unknown is refused.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let hint = "see the description of the endpoint for the fields it knows";
        // It repeats names and values of any length.
        Problem::body(quoted(&error.to_string()), hint)
    })
}

/// [`parse`] for commands whose body may be left out.
pub(super) fn parse_or_default(body: &[u8]) -> Result<Who, Problem> {
    if body.is_empty() {
        return Ok(Who::default());
    }
    parse::<Who>(body)?.checked()
}
