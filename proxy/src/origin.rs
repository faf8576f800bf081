//! Where the configuration comes from: read once at the start, and again for reloads.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use haldane_config::{AdminAddress, Diagnostics, Loaded, Overrides, Source, load};

use crate::telemetry::access::AccessError;
use crate::tls::{Tls, TlsError};

/// A file, if there is one, and what is laid over it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Flags and environment.
    pub overrides: Overrides,
}

/// A configuration that was checked as far as that goes without binding anything.
pub(crate) struct Candidate {
    pub(crate) loaded: Loaded,
    pub(crate) tls: Tls,
}

/// What a configuration was made of, to see whether that has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fingerprint(u64);

/// Why a configuration cannot be put in force.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The access log cannot be written.
    Access(AccessError),
    /// It breaks rules.
    Configuration(Diagnostics),
    /// An address cannot be listened on.
    Listen(AdminAddress, io::Error),
    /// There is no file to read.
    NoFile,
    /// The file can be read only once.
    NotRegular(PathBuf),
    /// A certificate, a key or the roots cannot be used.
    Tls(TlsError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(error) => error.fmt(f),
            Self::Configuration(diagnostics) => diagnostics.fmt(f),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::NoFile => f.write_str("there is no configuration file, only flags"),
            Self::NotRegular(path) => {
                write!(f, "{} is no regular file", path.display())
            }
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl Origin {
    /// Reads the file, if there is one, and lays the rest over it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the result.
    pub fn load(&self) -> Result<Loaded, Diagnostics> {
        let source = match &self.file {
            Some(file) => Some(Source::read(file)?),
            None => None,
        };
        load(source.as_ref(), &self.overrides)
    }

    /// What it is called, for people.
    #[must_use]
    pub fn name(&self) -> String {
        let file = self.file.as_ref();
        file.map_or_else(
            || "the command line".to_owned(),
            |file| file.display().to_string(),
        )
    }

    /// Loads, and checks the certificates that are named. What is made of the same files
    /// as `before` is taken over.
    pub(crate) fn candidate(&self, before: Option<&Tls>) -> Result<Candidate, Refusal> {
        Candidate::of(self.load().map_err(Refusal::Configuration)?, before)
    }

    /// [`Self::candidate`] with this text in the place of the file.
    pub(crate) fn candidate_of_text(
        &self,
        text: String,
        before: &Tls,
    ) -> Result<Candidate, Refusal> {
        let source = Source {
            name: "request".to_owned(),
            text,
        };
        let loaded = load(Some(&source), &self.overrides).map_err(Refusal::Configuration)?;
        Candidate::of(loaded, Some(before))
    }

    /// What the files hold now.
    ///
    /// # Errors
    ///
    /// If there is no file that can be read more than once: a pipe would block whoever
    /// reads it, and is empty the second time.
    pub(crate) fn fingerprint(&self, token_file: Option<&Path>) -> Result<Fingerprint, Refusal> {
        let file = self.file.as_ref().ok_or(Refusal::NoFile)?;
        if std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Refusal::NotRegular(file.clone()));
        }
        let mut hasher = DefaultHasher::new();
        match Source::read(file) {
            Ok(source) => source.text.hash(&mut hasher),
            Err(diagnostics) => diagnostics.to_string().hash(&mut hasher),
        }
        let is_regular =
            |path: &&Path| std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        let token = token_file.filter(is_regular).map(read_token);
        token.and_then(Result::ok).hash(&mut hasher);
        Ok(Fingerprint(hasher.finish()))
    }
}

/// More than a token may have.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

fn read_token(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(TOKEN_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Candidate {
    fn of(loaded: Loaded, before: Option<&Tls>) -> Result<Self, Refusal> {
        let tls = Tls::load(&loaded.config, before).map_err(Refusal::Tls)?;
        Ok(Self { loaded, tls })
    }
}
