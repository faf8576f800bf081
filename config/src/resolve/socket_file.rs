//! Unix sockets: for the admin and the ops listener, and for the hand-over.

use std::path::{Path, PathBuf};

use super::address::{Listener, listen_address};
use crate::file::{Table, Value, quoted};
use crate::report::{Finding, Report};
use crate::types::AdminAddress;
use crate::unit::{Kind, Misfit};

/// Linux has 108 bytes for a path with its final NUL (unix(7)).
const PATH_BYTES_MAX: usize = 107;

const PATH: Kind = Kind {
    what: "the path of a socket",
    example: "\"/run/haldane/hand-over.sock\"",
    units: &[],
};
const ADDRESS: Kind = Kind {
    what: "an address to listen on",
    example: "\"127.0.0.1:7411\" or \"unix:/run/haldane/admin.sock\"",
    units: &[],
};

/// A socket address, or `unix:` and a path.
pub(super) fn admin_address(
    value: &Value<'_>,
    report: &mut Report,
) -> Option<Listener<AdminAddress>> {
    let is_path = value.is_text()
        && value
            .text(report, &ADDRESS)
            .is_some_and(|text| text.starts_with("unix:"));
    if !is_path {
        let listener = listen_address(value, report)?;
        return Some(listener.map(|address| AdminAddress::Tcp(*address)));
    }
    let path = value.parse(report, &ADDRESS, |text| {
        socket_path(text.strip_prefix("unix:").unwrap_or(text))
    })?;
    Some(Listener {
        address: AdminAddress::Unix(path),
        written: Some(value.span.clone()),
        key: value.path.clone(),
    })
}

/// `hand_over` of the top level.
pub(super) fn hand_over(
    root: &Table<'_>,
    report: &mut Report,
) -> Option<Option<Listener<AdminAddress>>> {
    root.read(report, "hand_over", None, |value, report| {
        let path = value.parse(report, &PATH, socket_path)?;
        Some(Some(Listener {
            address: AdminAddress::Unix(path),
            written: Some(value.span.clone()),
            key: value.path.clone(),
        }))
    })
}

/// One file is one socket.
pub(super) fn check_paths(listeners: &[Listener<AdminAddress>], report: &mut Report) {
    for (index, listener) in listeners.iter().enumerate() {
        let AdminAddress::Unix(path) = &listener.address else {
            continue;
        };
        let same = |other: &&Listener<AdminAddress>| other.address == listener.address;
        if let Some(first) = listeners[..index].iter().find(same) {
            let path = quoted(&path.display().to_string());
            let finding = Finding::new(format!("{path} is already taken by `{}`", first.key));
            report.error(
                listener.written.clone().unwrap_or(0..0),
                &listener.key,
                finding.hint("use another path"),
            );
        }
    }
}

fn socket_path(text: &str) -> Result<PathBuf, Misfit> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(Misfit::new("the path is not absolute").hint("begin it with a slash"));
    }
    if text.len() > PATH_BYTES_MAX {
        let reason = format!("a socket's path has at most {PATH_BYTES_MAX} bytes");
        return Err(Misfit::new(reason));
    }
    if text.contains('\0') {
        return Err(Misfit::new("a path has no NUL"));
    }
    if text.ends_with('/') {
        return Err(Misfit::new("it names a directory").hint("add the name of a file"));
    }
    Ok(path.to_owned())
}
