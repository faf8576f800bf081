//! A configuration text and its name, read within limits.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Severity};

/// The most bytes that a configuration may have. A thousand routes need a third of it.
pub const SOURCE_BYTES_MAX: usize = 1024 * 1024;

/// A configuration text and the name it has in diagnostics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// What diagnostics call it, usually its path.
    pub name: String,
    /// TOML.
    pub text: String,
}

impl Source {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// One diagnostic if the file cannot be read, is larger than [`SOURCE_BYTES_MAX`]
    /// or is not UTF-8.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        let name = path.as_ref().display().to_string();
        let bytes = read_at_most(path.as_ref(), SOURCE_BYTES_MAX + 1)
            .map_err(|error| refuse(&name, format!("cannot read the file: {error}"), None))?;
        if bytes.len() > SOURCE_BYTES_MAX {
            return Err(too_large(&name));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..good]
                    .iter()
                    .filter(|&&byte| byte == b'\n')
                    .count()
                    + 1;
                let message = format!(
                    "the file is not UTF-8: first bad byte in line {line}, at offset {good}"
                );
                Err(refuse(
                    &name,
                    message,
                    Some("save the file as UTF-8".to_owned()),
                ))
            }
        }
    }
}

/// The first `limit` bytes of a file, however large or endless it is.
pub(crate) fn read_at_most(path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The refusal of a text that is longer than [`SOURCE_BYTES_MAX`].
pub(crate) fn too_large(name: &str) -> Diagnostics {
    let message = format!("the file is larger than {} KiB", SOURCE_BYTES_MAX / 1024);
    refuse(
        name,
        message,
        Some("this is probably not a haldane configuration".to_owned()),
    )
}

fn refuse(name: &str, message: String, hint: Option<String>) -> Diagnostics {
    let source = Arc::new(Source {
        name: name.to_owned(),
        text: String::new(),
    });
    Diagnostics(vec![Diagnostic {
        severity: Severity::Error,
        place: Place::whole(source),
        key: String::new(),
        message,
        allowed: None,
        hint,
    }])
}
