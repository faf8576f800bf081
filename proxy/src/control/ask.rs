//! Asks something outside whether a rollout may begin.
//!
//! A question is asked once: whoever waits for a yes decides whether to ask again.

use std::fmt;
use std::time::Duration;

use haldane_config::Remote;
use haldane_decide::weight::Weight;
use hyper::StatusCode;
use serde::Serialize;

use super::remote::{Failure, Message, exchange};
use crate::live::Live;

/// The form of a question. Raised when a field changes its meaning.
const SCHEMA: &str = "haldane.question/1";

/// How much of a reason is passed on.
const REASON_CHARS_MAX: usize = 200;

/// May this canary go from this weight to that?
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Question<'a> {
    pub(crate) route: &'a str,
    /// The canary.
    pub(crate) version: &'a str,
    pub(crate) stable_version: &'a str,
    pub(crate) generation: u32,
    pub(crate) from: Weight,
    pub(crate) to: Weight,
}

#[derive(Serialize)]
struct Body<'a> {
    schema: &'static str,
    #[serde(flatten)]
    question: Question<'a>,
}

/// Why the answer is not yes. Fits after "cannot begin:".
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It was answered, not with 2xx; and the beginning of what was said.
    Answered(StatusCode, String),
    /// It was not answered.
    Unanswered(Failure),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status, reason) if reason.is_empty() => write!(f, "{status}"),
            Self::Answered(status, reason) => write!(f, "{status}: {reason}"),
            Self::Unanswered(failure) => failure.fmt(f),
        }
    }
}

/// A yes.
#[derive(Debug)]
pub(crate) struct Yes {
    pub(crate) status: StatusCode,
    /// The beginning of what was said with it.
    pub(crate) said: String,
}

/// Asks, with a POST, and takes 2xx for yes.
///
/// # Errors
///
/// Anything else, within the time of `patience`.
pub(crate) async fn ask(
    remote: &Remote,
    question: Question<'_>,
    patience: Duration,
    live: &Live,
) -> Result<Yes, Refusal> {
    let body = Body {
        schema: SCHEMA,
        question,
    };
    // Texts and numbers are always JSON.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let message = Message {
        body: Some(body.into()),
        id: None,
        below: None,
    };
    let answer = exchange(remote, message, patience, live)
        .await
        .map_err(Refusal::Unanswered)?;
    let status = answer.status;
    let said = said(&answer.body, remote);
    if status.is_success() {
        Ok(Yes { status, said })
    } else {
        Err(Refusal::Answered(status, said))
    }
}

/// The beginning of a text that was answered, as far as it can be shown.
fn said(body: &[u8], remote: &Remote) -> String {
    let reason = String::from_utf8_lossy(body);
    let target = &*remote.url.first().target.0;
    // A page may quote the path, which may be a secret.
    if target.len() > 1 && reason.contains(target) {
        return String::new();
    }
    let printable = reason.trim().chars().filter(|letter| !letter.is_control());
    printable.take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread::JoinHandle;

    use haldane_config::{Overrides, Source, load};
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Clock;
    use crate::live::events::EventLog;
    use crate::tls::Tls;

    const QUESTION: Question<'_> = Question {
        route: "shop",
        version: "v2",
        stable_version: "v1",
        generation: 3,
        from: Weight::ZERO,
        to: Weight::FULL,
    };

    /// A process that would notify, and so could ask, whoever is at this URL.
    fn live(url: &str) -> (Arc<Live>, Remote) {
        let text = format!(
            "listen = \":0\"\n[[route]]\nstable = \"http://a\"\n[[notify]]\nurl = \"{url}\""
        );
        let name = "haldane.toml".to_owned();
        let config = load(Some(&Source { name, text }), &Overrides::default());
        let config = config.unwrap().config;
        let tls = Tls::load(&config, None).unwrap();
        let remote = config.notify[0].remote.clone();
        (
            Live::new(&config, tls, (1, Clock::start()), None, EventLog::default()),
            remote,
        )
    }

    /// Answers one request so; gives its first line and its body.
    fn answering(answer: &'static str) -> (String, JoinHandle<(String, Value)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/s3cret", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            socket.write_all(answer.as_bytes()).unwrap();
            (
                first.trim().to_owned(),
                serde_json::from_slice(&body).unwrap(),
            )
        });
        (url, served)
    }

    #[tokio::test]
    async fn two_hundred_and_something_is_yes_and_all_else_is_not() {
        for (answer, refusal) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None),
            ("HTTP/1.1 204 X\r\n\r\n", None),
            (
                "HTTP/1.1 409 X\r\ncontent-length: 8\r\n\r\n too\x08old",
                Some("409 Conflict: tooold"),
            ),
            (
                "HTTP/1.1 404 X\r\n\r\nno /s3cret here",
                Some("404 Not Found"),
            ),
            (
                "HTTP/1.1 302 X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
                Some("302 Found"),
            ),
        ] {
            let (url, served) = answering(answer);
            let (live, remote) = live(&url);
            let asked = ask(&remote, QUESTION, Duration::from_secs(10), &live).await;
            let asked = asked.err().map(|refusal| refusal.to_string());
            assert_eq!(asked.as_deref(), refusal);
            let (first, body) = served.join().unwrap();
            assert_eq!(first, "POST /s3cret HTTP/1.1");
            let expected = json!({
                "schema": "haldane.question/1", "route": "shop", "version": "v2",
                "stable_version": "v1", "generation": 3, "from": "0%", "to": "100%",
            });
            assert_eq!(body, expected);
        }
    }

    #[tokio::test]
    async fn whoever_does_not_answer_has_not_said_yes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/s3cret", listener.local_addr().unwrap());
        let (live, remote) = live(&url);
        let patience = Duration::from_millis(100);
        let refusal = ask(&remote, QUESTION, patience, &live).await.unwrap_err();
        assert_eq!(refusal.to_string(), "no answer in time");
        drop(listener);
        let refusal = ask(&remote, QUESTION, patience, &live).await.unwrap_err();
        assert_eq!(refusal.to_string(), "Connection refused (os error 111)");
    }
}
