//! The admin API from the outside.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Exit;
use super::output::{complain, tell};

mod stream;

pub(crate) use stream::Stream;

/// Where `run` puts the admin API unless it is told otherwise.
pub(crate) const DEFAULT_ADMIN: &str = "http://127.0.0.1:7411";

/// An admin listener is near: what takes longer than this to connect is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A whole exchange. The slowest answer is a few histograms.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// A status of a thousand routes has a few megabytes.
const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Whom to ask, and how to be believed.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Host and port as the `Host` field names them.
    authority: HeaderValue,
    place: Place,
    authorization: Option<HeaderValue>,
}

/// Where the API is reached.
#[derive(Clone, Debug)]
enum Place {
    /// Host and port.
    Tcp(String),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// Why there is no good answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It said no, and why.
    Refused(StatusCode, Problem),
    /// The command line names something that is not there.
    Request(String),
    /// Nothing answers, or something that is not haldane.
    Unreachable(String),
}

/// An error as the API describes it (RFC 9457).
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    title: String,
    detail: Option<String>,
    hint: Option<String>,
}

/// The JSON that came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply(Bytes);

impl Client {
    /// A client of the API at `url`, such as `http://127.0.0.1:7411` or
    /// `unix:/run/haldane/admin.sock`.
    pub(crate) fn new(url: &str, token_file: Option<&Path>) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::Request(format!("--admin {url}: {why}"));
        if let Some(path) = url.strip_prefix("unix:") {
            // `unix://` is what URLs make of it; the path is the same.
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(wrong("the path of a socket begins with a slash"));
            }
            return Ok(Self {
                place: Place::Unix(path.into()),
                authority: HeaderValue::from_static("localhost"),
                authorization: token_file.map(bearer).transpose()?,
            });
        }
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
            return Err(wrong("the admin API speaks http only"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("only scheme, host and port are expected"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self {
            place: Place::Tcp(format!("{}:{port}", authority.host())),
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| wrong("not a host"))?,
            authorization: token_file.map(bearer).transpose()?,
        })
    }

    /// Reads a resource.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply, Failure> {
        self.exchange(self.request(Method::GET, path, Bytes::new())?)
            .await
    }

    /// Asks for a change.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Reply, Failure> {
        self.exchange(self.request(method, path, body.to_string().into())?)
            .await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request
            .body(Full::new(body))
            .map_err(|error| Failure::Request(error.to_string()))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        timeout(EXCHANGE_TIMEOUT, self.exchange_unbounded(request))
            .await
            .unwrap_or_else(|_| Err(self.unreachable("no answer in time")))
    }

    async fn exchange_unbounded(&self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        match &self.place {
            Place::Tcp(address) => {
                let stream = self.connected(TcpStream::connect(address)).await?;
                self.exchange_on(stream, request).await
            }
            Place::Unix(path) => {
                let stream = self.connected(UnixStream::connect(path)).await?;
                self.exchange_on(stream, request).await
            }
        }
    }

    async fn connected<S>(
        &self,
        stream: impl Future<Output = io::Result<S>>,
    ) -> Result<S, Failure> {
        timeout(CONNECT_TIMEOUT, stream)
            .await
            .map_err(|_| self.unreachable("no connection in time"))?
            .map_err(|error| self.unreachable(error))
    }

    async fn exchange_on<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, Failure> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, REPLY_BYTES_MAX).collect().await;
            Ok::<_, hyper::Error>((head.status, body))
        };
        // The connection is polled beside the exchange and dropped with it.
        let (status, body) = tokio::select! {
            answer = answer => answer.map_err(|error| self.unreachable(error))?,
            never = keep(connection) => match never {},
        };
        let body = body.map_err(|error| self.unreachable(error))?.to_bytes();
        if status.is_success() {
            return Ok(Reply(body));
        }
        Err(self.refused(status, &body))
    }

    /// What an answer means that is none.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Failure {
        match serde_json::from_slice(body) {
            Ok(problem) => Failure::Refused(status, problem),
            Err(_) => self.unreachable(format_args!(
                "it answers {status}, but not as haldane's admin API"
            )),
        }
    }

    fn unreachable(&self, why: impl fmt::Display) -> Failure {
        Failure::Unreachable(format!("the admin API at {}: {why}", self.place))
    }
}

/// Drives a connection and never ends: a server that closes right after its answer must
/// not win against that answer, and one that closes before it shows in the exchange.
async fn keep<T: hyper::rt::Read + hyper::rt::Write + Unpin>(
    connection: http1::Connection<T, Full<Bytes>>,
) -> Infallible {
    drop(connection.await);
    std::future::pending().await
}

fn bearer(path: &Path) -> Result<HeaderValue, Failure> {
    let wrong = |why: &dyn fmt::Display| {
        Failure::Request(format!("--token-file {}: {why}", path.display()))
    };
    let token = std::fs::read_to_string(PathBuf::from(path)).map_err(|error| wrong(&error))?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| wrong(&"not a token"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Reply {
    /// The reply as a `T`.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.0)
            .map_err(|error| Failure::Unreachable(format!("the answer is not haldane's: {error}")))
    }

    /// The reply as it came.
    pub(crate) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.0.trim_ascii_end())
    }
}

impl Failure {
    /// Tells the person, and says what the process ends with.
    pub(crate) fn report(&self) -> Exit {
        complain(self);
        match self {
            Self::Refused(_, Problem { hint, .. }) => {
                if let Some(hint) = hint {
                    tell(format_args!("hint: {hint}"));
                }
            }
            Self::Request(_) => {}
            Self::Unreachable(_) => tell("hint: --admin URL or HALDANE_ADMIN names another one"),
        }
        match self {
            Self::Refused(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _)
            | Self::Unreachable(_) => Exit::Unreachable,
            Self::Refused(StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED, _) => {
                Exit::Precondition
            }
            Self::Refused(status, _) if status.is_server_error() => Exit::Runtime,
            Self::Refused(..) | Self::Request(_) => Exit::Usage,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_, Problem { title, detail, .. }) => match detail {
                Some(detail) => write!(f, "{title}: {detail}"),
                None => f.write_str(title),
            },
            Self::Request(why) => f.write_str(why),
            Self::Unreachable(why) => f.write_str(why),
        }
    }
}
