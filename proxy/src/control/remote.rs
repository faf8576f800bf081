//! One request to something outside that is no upstream, over a connection of its own.
//!
//! Redirects are not followed: a secret in a path or a token is for the host that was
//! configured. No message names more of a URL than its host.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use haldane_config::{Remote, Secret, Unusable, Url};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::upstreams::resolve::{Lookup, System};
use crate::h1::transport::Transport;
use crate::live::Live;
use crate::live::endpoints::{Place, Socket};
use crate::upstream::dial::open;

/// How much of an answer is read. What is asked for are a few numbers, or a reason.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How haldane calls itself.
const USER_AGENT: &str = concat!("haldane/", env!("CARGO_PKG_VERSION"));

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// JSON for a POST; `None` is a GET.
    pub(super) body: Option<Bytes>,
    /// Names the message, if it may come more than once.
    pub(super) id: Option<HeaderValue>,
    /// What comes after the path of the URL, and takes the place of its query.
    pub(super) below: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug)]
pub(super) enum Failure {
    /// The answer is too long.
    Long,
    /// No answer in time.
    Late,
    /// The file with the URL or the token cannot be used.
    Unusable(Unusable),
    /// The connection cannot be opened or breaks, or what comes is no HTTP.
    Wire(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long => write!(f, "the answer is longer than {} KiB", BODY_BYTES_MAX / 1024),
            Self::Late => f.write_str("no answer in time"),
            Self::Unusable(error) => error.fmt(f),
            Self::Wire(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Wire(error)
    }
}

/// Sends `message` and waits so long for the whole answer.
///
/// # Errors
///
/// If none comes, or not in time. A bad status is an answer.
pub(super) async fn exchange(
    remote: &Remote,
    message: Message,
    patience: Duration,
    live: &Live,
) -> Result<Answer, Failure> {
    let exchange = async {
        let (url, token) = read(remote).await?;
        let request = request(&url, token, message)?;
        let transport = connect(&url, remote, live).await?;
        send(transport, request).await
    };
    timeout(patience, exchange)
        .await
        .unwrap_or(Err(Failure::Late))
}

/// URL and token as they are now, read where a file system that hangs holds nobody up.
async fn read(remote: &Remote) -> Result<(Url, Option<Secret>), Failure> {
    let remote = remote.clone();
    let read = spawn_blocking(move || Ok((remote.url_now()?, remote.token_now()?)));
    let read: Result<_, Unusable> = read.await.map_err(io::Error::other)?;
    read.map_err(Failure::Unusable)
}

fn request(
    url: &Url,
    token: Option<Secret>,
    message: Message,
) -> Result<Request<Full<Bytes>>, Failure> {
    let target = match &message.below {
        Some(below) => {
            let path = url.target.0.split('?').next().unwrap_or_default();
            format!("{}{below}", path.trim_end_matches('/'))
        }
        None => url.target.0.to_string(),
    };
    let mut request = Request::builder()
        .method(if message.body.is_some() {
            Method::POST
        } else {
            Method::GET
        })
        .uri(target)
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close");
    if message.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    if let Some(id) = message.id {
        request = request.header(HeaderName::from_static("idempotency-key"), id);
    }
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.0));
        let mut value = value.map_err(io::Error::other)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let body = Full::new(message.body.unwrap_or_default());
    Ok(request.body(body).map_err(io::Error::other)?)
}

/// Tries all addresses of the host, one after another.
async fn connect(url: &Url, remote: &Remote, live: &Live) -> io::Result<Transport> {
    let tls = url.tls.then(|| live.tls.load().of_remote(remote).cloned());
    let tls = match tls {
        Some(None) => {
            let why = "the URL has become https://, which takes effect with a reload";
            return Err(io::Error::other(why));
        }
        Some(tls) => tls,
        None => None,
    };
    let mut last = io::Error::other("the host has no address");
    for address in System.lookup(&url.host, url.port).await? {
        let place = Place {
            socket: Socket::Tcp(address),
            server_name: url.tls.then(|| url.host.clone()),
        };
        match open(&place, tls.as_deref()).await {
            Ok(transport) => return Ok(transport),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn send(transport: Transport, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(transport))
        .await
        .map_err(io::Error::other)?;
    let asked = async {
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failure::Long
            } else {
                Failure::Wire(io::Error::other(error))
            }
        });
        Ok(Answer {
            status: head.status,
            fields: head.headers,
            body: body?.to_bytes(),
        })
    };
    while_driven(asked, connection).await
}

/// What `asked` gives while `connection` is driven beside it.
pub(super) async fn while_driven<T>(asked: impl Future<Output = T>, connection: impl Future) -> T {
    let (mut asked, connection) = (pin!(asked), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut asked => answer,
        // What came before its end is there to be taken.
        _ = connection => asked.await,
    }
}
