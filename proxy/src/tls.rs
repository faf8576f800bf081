//! TLS towards clients and upstreams: certificates that are replaced while they serve.
//!
//! What is used is built from the contents of a few files. Whoever looks again builds
//! it anew only if the contents have changed, whatever happened to the files: written
//! in place, renamed over, or swapped behind a symbolic link as Kubernetes does. What
//! cannot be built changes nothing.

use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use haldane_config::{
    ClientTls, Config, Remote, ServerTls, UpstreamAddress, UpstreamProtocol, Version,
};
use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;
use rustls::{ClientConfig, ServerConfig};

mod client;
mod expiry;
mod pem;
mod server;

use expiry::Expiry;

/// What is spoken over TLS, as ALPN names it (RFC 7301, RFC 9113 §3.2).
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The TLS of a whole configuration.
pub(crate) struct Tls {
    /// By listener, in the order of the configuration.
    pub(crate) listeners: Vec<Option<Arc<Reloaded<ServerConfig>>>>,
    /// By route and role, in the order of the configuration.
    pub(crate) versions: Vec<VersionTls>,
    /// For others that are told or asked something, by who signs their certificates.
    remotes: Vec<RemoteTls>,
}

/// The TLS of a route's versions, by role.
pub(crate) type VersionTls = [Option<Arc<Reloaded<ClientConfig>>>; 2];

/// Who signs the certificates, if not those whom the system believes; and what is made of it.
type RemoteTls = (Option<PathBuf>, Arc<Reloaded<ClientConfig>>);

/// Something built from files, and what it was built from.
pub(crate) struct Reloaded<C> {
    recipe: Recipe<C>,
    current: ArcSwap<C>,
    /// The hash of the contents that were last looked at, or [`UNREADABLE`].
    seen: AtomicU64,
    /// The hash of the contents that `current` was built from.
    built: AtomicU64,
    /// Until when what haldane shows is valid.
    expiry: Expiry,
}

/// How something is built, and of what.
struct Recipe<C> {
    /// What it is for.
    what: String,
    files: Vec<PathBuf>,
    /// Of these, the certificates that haldane shows.
    shown: Vec<PathBuf>,
    /// What is spoken over it, where that is for haldane to say.
    protocol: Option<UpstreamProtocol>,
    build: Build<C>,
}

/// Makes something of the contents of files.
type Build<C> = Box<dyn Fn(&Contents<'_>) -> Result<C, TlsError> + Send + Sync>;

/// All roots of a system are a quarter of a megabyte.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Stands for contents that could not be read.
const UNREADABLE: u64 = 0;

/// What is in the files, as they were all read at one time.
struct Contents<'a> {
    files: Vec<(&'a Path, Vec<u8>)>,
}

/// Why TLS cannot be set up, or not anew.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file does not hold what it should.
    Content(PathBuf, String),
    /// Certificate and key do not work together, or cannot be used.
    Pair(PathBuf, rustls::Error),
    /// The system has no roots to verify upstreams with, and no `ca` was given.
    NoRoots(String),
    /// The library refuses.
    Setup(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Content(path, what) => write!(f, "{}: {what}", path.display()),
            Self::Pair(path, error) => write!(f, "cannot use {}: {error}", path.display()),
            Self::NoRoots(why) => write!(f, "the system has no root certificates: {why}"),
            Self::Setup(why) => write!(f, "cannot set up TLS: {why}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl Tls {
    /// Reads and checks everything that `config` names. What is made of the same files
    /// as `before` is the same, so that connections under it are used again.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be used.
    pub(crate) fn load(config: &Config, before: Option<&Self>) -> Result<Self, TlsError> {
        let known_servers: Vec<_> = before.map_or_else(Vec::new, |before| {
            before.listeners.iter().flatten().cloned().collect()
        });
        let known_clients: Vec<_> = before.map_or_else(Vec::new, |before| {
            before
                .versions
                .iter()
                .flatten()
                .flatten()
                .chain(before.remotes.iter().map(|(_, remote)| remote))
                .cloned()
                .collect()
        });
        let mut named: Vec<(Arc<ServerTls>, Arc<Reloaded<ServerConfig>>)> = Vec::new();
        let mut listeners = Vec::new();
        for listen in &config.listen {
            let Some(tls) = &listen.tls else {
                listeners.push(None);
                continue;
            };
            // Several listeners may use the same certificates.
            let known = named.iter().find(|(known, _)| known.name == tls.name);
            let reloaded = match known {
                Some((_, reloaded)) => Arc::clone(reloaded),
                None => Reloaded::server(tls).build_or_keep(&known_servers)?,
            };
            named.push((Arc::clone(tls), Arc::clone(&reloaded)));
            listeners.push(Some(reloaded));
        }
        let versions = config.routes.iter().map(|route| {
            let [stable, canary] = Role::ALL.map(|role| match route.version(role) {
                Some(version) if is_encrypted(version) => {
                    let what = format!("version {} of route {}", version.name, route.name);
                    let protocol = route.upstream_protocol;
                    let recipe = Reloaded::client(what, &version.tls, protocol);
                    recipe.build_or_keep(&known_clients).map(Some)
                }
                Some(_) | None => Ok(None),
            });
            Ok([stable?, canary?])
        });
        Ok(Self {
            listeners,
            versions: versions.collect::<Result<_, _>>()?,
            remotes: load_remotes(config, &known_clients)?,
        })
    }

    /// What `remote` is reached with, if it was `https://` when the configuration was read.
    pub(crate) fn of_remote(&self, remote: &Remote) -> Option<&Arc<Reloaded<ClientConfig>>> {
        let found = self.remotes.iter().find(|(ca, _)| *ca == remote.ca);
        found.map(|(_, tls)| tls)
    }

    /// Looks at all files again, and says in the log what became of it, and which
    /// certificates will not be valid for long.
    pub(crate) fn refresh(&self, now: Timestamp) {
        for server in self.listeners.iter().flatten() {
            server.refresh();
        }
        for client in self.versions.iter().flatten().flatten() {
            client.refresh();
        }
        for (_, remote) in &self.remotes {
            remote.refresh();
        }
        self.warn_of_expiry(now);
    }
}

fn load_remotes(
    config: &Config,
    known: &[Arc<Reloaded<ClientConfig>>],
) -> Result<Vec<RemoteTls>, TlsError> {
    let mut loaded: Vec<RemoteTls> = Vec::new();
    for remote in config.remotes().filter(|remote| remote.url.first().tls) {
        if loaded.iter().any(|(ca, _)| *ca == remote.ca) {
            continue;
        }
        let tls = ClientTls {
            ca: remote.ca.clone(),
            pair: None,
        };
        let what = "others that are told or asked something".to_owned();
        let recipe = Reloaded::client(what, &tls, UpstreamProtocol::Http1);
        loaded.push((remote.ca.clone(), recipe.build_or_keep(known)?));
    }
    Ok(loaded)
}

fn is_encrypted(version: &Version) -> bool {
    version.upstream.iter().any(UpstreamAddress::is_tls)
}

impl Reloaded<ServerConfig> {
    fn server(tls: &Arc<ServerTls>) -> Recipe<ServerConfig> {
        let pairs = tls
            .pairs
            .iter()
            .flat_map(|pair| [pair.cert.clone(), pair.key.clone()]);
        let files = pairs.chain(tls.client_ca.clone()).collect();
        let shown = tls.pairs.iter().map(|pair| pair.cert.clone()).collect();
        let tls = Arc::clone(tls);
        let what = format!("tls.{}", tls.name);
        Recipe {
            what,
            files,
            shown,
            protocol: None,
            build: Box::new(move |contents| server::build(&tls, contents)),
        }
    }
}

impl Reloaded<ClientConfig> {
    fn client(what: String, tls: &ClientTls, protocol: UpstreamProtocol) -> Recipe<ClientConfig> {
        let pair = tls
            .pair
            .iter()
            .flat_map(|pair| [pair.cert.clone(), pair.key.clone()]);
        let files = tls.ca.iter().cloned().chain(pair).collect();
        let shown = tls.pair.iter().map(|pair| pair.cert.clone()).collect();
        let tls = tls.clone();
        Recipe {
            what,
            files,
            shown,
            protocol: Some(protocol),
            build: Box::new(move |contents| client::build(&tls, protocol, contents)),
        }
    }
}

impl<C> Recipe<C> {
    /// Whether both make the same of the same contents.
    fn is_like(&self, other: &Self) -> bool {
        // The order of the files tells which is for what.
        let same_files = self.what == other.what && self.files == other.files;
        same_files && self.protocol == other.protocol
    }

    /// What was built by the same recipe before, or else something new.
    fn build_or_keep(self, known: &[Arc<Reloaded<C>>]) -> Result<Arc<Reloaded<C>>, TlsError> {
        let contents = Contents::read(&self.files)?;
        let hash = contents.hash();
        let same = known.iter().find(|known| known.recipe.is_like(&self));
        if let Some(same) = same {
            // It follows its files by itself. But a configuration that names files which
            // cannot be used is none that can.
            if same.built.load(Ordering::Relaxed) != hash {
                (self.build)(&contents).map(drop)?;
            }
            return Ok(Arc::clone(same));
        }
        let current = ArcSwap::from_pointee((self.build)(&contents)?);
        let expiry = Expiry::of(&self, &contents);
        drop(contents);
        Ok(Arc::new(Reloaded {
            recipe: self,
            current,
            seen: AtomicU64::new(hash),
            built: AtomicU64::new(hash),
            expiry,
        }))
    }
}

impl<C> Reloaded<C> {
    /// What is to be used for the next connection.
    pub(crate) fn current(&self) -> Arc<C> {
        self.current.load_full()
    }

    /// Builds anew if the contents have changed; connections that are open keep what
    /// they have. Bad contents are reported once.
    fn refresh(&self) {
        let Recipe {
            what, files, build, ..
        } = &self.recipe;
        let contents = Contents::read(files);
        let hash = contents.as_ref().map_or(UNREADABLE, Contents::hash);
        if self.seen.swap(hash, Ordering::Relaxed) == hash {
            return;
        }
        match contents.and_then(|contents| build(&contents).map(|new| (new, contents))) {
            Ok((new, contents)) => {
                self.current.store(Arc::new(new));
                self.expiry.replace(&self.recipe, &contents);
                self.built.store(hash, Ordering::Relaxed);
                tracing::info!(what, "certificates replaced");
            }
            Err(error) => {
                tracing::error!(what, %error, "certificates kept as they were");
            }
        }
    }
}

impl<'a> Contents<'a> {
    fn read(files: &'a [PathBuf]) -> Result<Self, TlsError> {
        let read = |path: &'a PathBuf| match read_regular(path) {
            Ok(content) => Ok((path.as_path(), content)),
            Err(error) => Err(TlsError::Read(path.clone(), error)),
        };
        Ok(Self {
            files: files.iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.files.hash(&mut hasher);
        hasher.finish()
    }

    fn of(&self, path: &Path) -> &[u8] {
        let found = self.files.iter().find(|(known, _)| *known == path);
        found.map_or(&[], |(_, content)| content)
    }
}

/// The content of a regular file: a pipe that took its place would block the reader.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    let most = FILE_BYTES_MAX + 1;
    File::open(path)?.take(most).read_to_end(&mut content)?;
    if content.len() as u64 == most {
        return Err(io::Error::other("it is too large for certificates"));
    }
    Ok(content)
}
