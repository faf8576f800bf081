//! Unix sockets to listen on: who may open the file, what a dead process left of it,
//! and that it goes with its owner.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

/// Only the owner may connect.
const MODE: u32 = 0o600;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket that is listened on, and its file, which is removed with it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: whether the file is still this socket's.
    identity: Option<(u64, u64)>,
    given_up: Arc<AtomicBool>,
}

/// Whether the file of a socket is this process's to remove.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// The file.
    pub(crate) path: PathBuf,
    given_up: Arc<AtomicBool>,
}

impl Claim {
    /// Leaves the file to whoever has the socket now.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Has the file from whoever had the socket before.
    pub(crate) fn accept(&self) {
        self.given_up.store(false, Ordering::Relaxed);
    }
}

impl SocketFile {
    /// Listens at `path`, whose file only its owner may open from the first moment on.
    /// The file of a socket where nobody answers is replaced.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if somebody answers there or something else has the name.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let listener = match listen(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left(path)? => {
                std::fs::remove_file(path)?;
                listen(path)
            }
            result => result,
        }?;
        let bound = Self::adopt(listener, path)?;
        bound.claim().accept();
        // The umask may have taken more away than others' permissions.
        std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
        Ok(bound)
    }

    /// Takes over a socket that another process has bound to `path`. The file stays that
    /// process's until [`Claim::accept`].
    pub(crate) fn adopt(listener: UnixListener, path: &Path) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            identity: identity(path),
            given_up: Arc::new(AtomicBool::new(true)),
        })
    }

    /// The socket.
    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Where its file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// That the file is this process's.
    pub(crate) fn claim(&self) -> Claim {
        Claim {
            path: self.path.clone(),
            given_up: Arc::clone(&self.given_up),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed, or be another's by now.
        let own = self.identity.is_some() && self.identity == identity(&self.path);
        if own && !self.given_up.load(Ordering::Relaxed) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Binding gives the file the permissions of the socket, so there is no moment in
    // which others could connect.
    fchmod(&socket, Mode::from_raw_mode(MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether `path` is a socket that nobody listens on.
fn is_left(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Ok(false),
        // It has just gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose queue is full must not hold the start up.
    socket.set_nonblocking(true)?;
    let refused = socket.connect(&SockAddr::unix(path)?);
    Ok(refused.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn path(name: &str) -> PathBuf {
        let name = format!("haldane-socket-{}-{name}", std::process::id());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn the_file_is_the_owners_alone_and_goes_with_the_socket() {
        let path = path("mode");
        let socket = SocketFile::bind(&path).expect("binds");
        let mode = std::fs::metadata(&path).expect("is there").mode();
        assert_eq!(mode & 0o7777, MODE);
        drop(UnixStream::connect(&path).expect("listens"));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_process_left_is_replaced_and_nothing_else() {
        let path = path("left");
        drop(UnixListener::bind(&path).expect("binds"));
        assert!(path.exists(), "the standard library leaves the file");
        let socket = SocketFile::bind(&path).expect("replaces it");
        let taken = SocketFile::bind(&path).expect_err("somebody answers");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(UnixStream::connect(&path).expect("still listens"));
        drop(socket);

        std::fs::write(&path, "precious").expect("writes");
        let taken = SocketFile::bind(&path).expect_err("is no socket");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).expect("reads"), b"precious");
        std::fs::remove_file(&path).expect("removes");
    }

    #[test]
    fn a_file_that_is_anothers_by_now_stays() {
        let path = path("other");
        let first = SocketFile::bind(&path).expect("binds");
        std::fs::remove_file(&path).expect("removes");
        let second = SocketFile::bind(&path).expect("binds");
        drop(first);
        drop(UnixStream::connect(&path).expect("listens"));
        second.claim().give_up();
        drop(second);
        assert!(path.exists());
        std::fs::remove_file(&path).expect("removes");
    }
}
