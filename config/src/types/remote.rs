//! What haldane tells or asks over HTTP besides its upstreams: where, and as whom.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Secret;
use crate::source::read_at_most;

/// Longer than any token is.
const TOKEN_BYTES_MAX: usize = 4096;

/// Longer than any URL is that people copy into a file.
pub(crate) const URL_BYTES_MAX: usize = 4096;

/// Something outside that is sent requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remote {
    /// Where it is.
    pub url: RemoteUrl,
    /// The file with the bearer token that it wants.
    pub token_file: Option<PathBuf>,
    /// Who signs its certificate; without it the system's roots do.
    pub ca: Option<PathBuf>,
}

/// Where the URL of something outside stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RemoteUrl {
    /// In a file, because it is a secret.
    File {
        /// The file.
        path: PathBuf,
        /// What was in it when the configuration was read.
        first: Url,
    },
    /// In the configuration.
    Written(Url),
}

/// A URL with `http` or `https`. Whoever knows the path of a webhook can use it, so no
/// message ever shows more than scheme, host and port.
#[derive(Clone, Eq, PartialEq)]
pub struct Url {
    /// It is reached over TLS: `https://`.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// Path and query, as they are sent.
    pub target: Secret,
}

/// Why a file cannot be used. Does not tell what is in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unusable {
    /// What cannot be done or is wrong.
    pub what: String,
    /// Why, or what it may be.
    pub why: Option<String>,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(f, "{}: {why}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Unusable {}

impl Unusable {
    fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: None,
        }
    }

    fn because(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: Some(why.into()),
        }
    }
}

impl Remote {
    /// The URL as it is now. May read a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or holds no URL.
    pub fn url_now(&self) -> Result<Url, Unusable> {
        match &self.url {
            RemoteUrl::File { path, .. } => read_url(path),
            RemoteUrl::Written(url) => Ok(url.clone()),
        }
    }

    /// The token as it is now, if one is wanted. Reads a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or holds no token.
    pub fn token_now(&self) -> Result<Option<Secret>, Unusable> {
        self.token_file.as_deref().map(read_token_again).transpose()
    }
}

impl RemoteUrl {
    /// The URL as it was when the configuration was read.
    #[must_use]
    pub const fn first(&self) -> &Url {
        match self {
            Self::File { first, .. } => first,
            Self::Written(url) => url,
        }
    }
}

impl Url {
    /// Host and port as a `Host` field has them: without the port that is the scheme's.
    #[must_use]
    pub fn authority(&self) -> String {
        let (host, port) = (&self.host, self.port);
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_string()
        };
        if port == if self.tls { 443 } else { 80 } {
            host
        } else {
            format!("{host}:{port}")
        }
    }
}

impl fmt::Display for Url {
    /// Without path and query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/…")
    }
}

/// [`read_token`] from a file that can be read more than once.
///
/// # Errors
///
/// As for [`read_token`], and if it is no such file.
pub(crate) fn read_token_again(path: &Path) -> Result<Secret, Unusable> {
    regular(path, "token")?;
    read_token(path)
}

/// The token in a file, without the white space around it.
///
/// # Errors
///
/// If the file cannot be read, or holds no token.
pub(crate) fn read_token(path: &Path) -> Result<Secret, Unusable> {
    let bytes = read(path, "token", TOKEN_BYTES_MAX)?;
    // The content is secret: no message quotes it.
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok("") => Err(Unusable::new("the token file is empty")),
        Ok(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret(token.into())),
        _ => Err(Unusable::because(
            "the token has characters that a header cannot carry",
            "expected visible ASCII characters, without spaces",
        )),
    }
}

/// The URL in a file, without the white space around it.
///
/// # Errors
///
/// If the file cannot be read, or holds no URL.
pub(crate) fn read_url(path: &Path) -> Result<Url, Unusable> {
    regular(path, "URL")?;
    let bytes = read(path, "URL", URL_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    crate::resolve::remote::url(text)
        .map_err(|misfit| Unusable::because("the file holds no URL", misfit.reason))
}

fn read(path: &Path, what: &str, most: usize) -> Result<Vec<u8>, Unusable> {
    let bytes = read_at_most(path, most + 1)
        .map_err(|error| Unusable::because(format!("cannot read the {what}"), error.to_string()))?;
    if bytes.len() > most {
        return Err(Unusable::new(format!(
            "the {what} is longer than {most} bytes"
        )));
    }
    Ok(bytes)
}

/// A pipe would block whoever reads it, and is empty the second time.
fn regular(path: &Path, what: &str) -> Result<(), Unusable> {
    let why = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => return Ok(()),
        Ok(_) => "it is no regular file".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Unusable::because(format!("cannot read the {what}"), why))
}
