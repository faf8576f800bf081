//! Certificates and keys: which files, and that they are there.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::names;
use crate::file::{Table, Value, quoted, shortened};
use crate::keys;
use crate::report::{Finding, Report};
use crate::source::read_at_most;
use crate::suggest::nearest;
use crate::types::{ClientTls, Pair, ServerTls};
use crate::unit::Kind;

/// More than the listeners there can be; a mistyped name is compared with all of them.
const TABLES_MAX: usize = 256;
const PAIRS_MAX: usize = 100;

const PATH: Kind = Kind {
    what: "a path",
    example: "\"/certs/tls.crt\"",
    units: &[],
};
const NAME: Kind = Kind {
    what: "the name of a table `[tls.NAME]`",
    example: "\"edge\"",
    units: &[],
};

/// Every `[tls.NAME]`, and who uses it.
#[derive(Debug, Default)]
pub(super) struct Named {
    tables: Vec<Entry>,
    /// `tls` as a whole could not be read, so a name may be missing for no fault of its user.
    broken: bool,
}

/// One `[tls.NAME]`.
#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    /// Where the name was written.
    place: Range<usize>,
    /// `None` if something is wrong with it, which was reported.
    tls: Option<Arc<ServerTls>>,
    used: bool,
}

impl Named {
    /// All tables below `tls`.
    pub(super) fn read(root: &Table<'_>, report: &mut Report) -> Self {
        let Some(value) = root.get("tls") else {
            return Self::default();
        };
        let broken = Self {
            tables: Vec::new(),
            broken: true,
        };
        let Some(entries) = value.entries(report, "tables, such as `[tls.edge]`") else {
            return broken;
        };
        if entries.len() > TABLES_MAX {
            let finding = Finding::new(format!("there are {} tables", entries.len()));
            value.reject::<()>(
                report,
                finding.allowed(format!("expected at most {TABLES_MAX}")),
            );
            return broken;
        }
        let tables = entries.into_iter().map(|(name, place, value)| Entry {
            name: name.into(),
            tls: server(name, &place, &value, report).map(Arc::new),
            place,
            used: false,
        });
        Self {
            tables: tables.collect(),
            broken: false,
        }
    }

    /// The table that `value` names.
    pub(super) fn find(
        &mut self,
        value: &Value<'_>,
        report: &mut Report,
    ) -> Option<Arc<ServerTls>> {
        let name = value.text(report, &NAME)?;
        if let Some(entry) = self.tables.iter_mut().find(|entry| *entry.name == *name) {
            entry.used = true;
            return entry.tls.clone();
        }
        if self.broken {
            return None;
        }
        let known = self.tables.iter().map(|entry| &*entry.name);
        let finding = Finding::new(format!("there is no table `[tls.{}]`", shortened(name)));
        let Some(meant) = nearest(name, known).map(ToOwned::to_owned) else {
            return value.reject(report, finding.hint("add it with `cert` and `key`"));
        };
        // One mistake, one message: it would not be unused.
        for entry in &mut self.tables {
            entry.used |= *entry.name == meant;
        }
        value.reject(
            report,
            finding.hint(format!("did you mean {}?", quoted(&meant))),
        )
    }

    /// Warns of good tables that no listener uses.
    pub(super) fn warn_unused(&self, report: &mut Report) {
        let unused = |entry: &&Entry| !entry.used && entry.tls.is_some();
        for entry in self.tables.iter().filter(unused) {
            let name = shortened(&entry.name);
            let finding = Finding::new(format!("no listener uses `[tls.{name}]`"));
            let hint = format!("write `listen = {{ address = \"…\", tls = \"{name}\" }}`");
            report.warning(
                entry.place.clone(),
                &format!("tls.{name}"),
                finding.hint(hint),
            );
        }
    }
}

fn server(
    name: &str,
    place: &Range<usize>,
    value: &Value<'_>,
    report: &mut Report,
) -> Option<ServerTls> {
    let good = names::name(name);
    if let Err(misfit) = &good {
        let finding = Finding::new(format!("{} is not a name: {}", quoted(name), misfit.reason));
        report.error(place.clone(), &value.path, finding);
    }
    let table = value.table(report, &keys::TLS)?;
    let certs = files(&table, "cert", report);
    let keys = files(&table, "key", report);
    let client_ca = optional_file(&table, "client_ca", report);
    let (certs, keys) = (certs?, keys?);
    if certs.len() != keys.len() {
        let message = format!("`cert` names {}, but `key` {}", certs.len(), keys.len());
        let finding = Finding::new(message)
            .hint("each certificate has its key at the same place of the list");
        report.error(value.span.clone(), &value.path, finding);
        return None;
    }
    let pairs = certs.into_iter().zip(keys);
    Some(ServerTls {
        name: good.ok()?.into(),
        pairs: pairs.map(|(cert, key)| Pair { cert, key }).collect(),
        client_ca: client_ca?,
    })
}

/// `ca`, `cert` and `key` of a version.
pub(super) fn client(table: &Table<'_>, report: &mut Report) -> Option<ClientTls> {
    let ca = optional_file(table, "ca", report);
    let cert = optional_file(table, "cert", report);
    let key = optional_file(table, "key", report);
    // What is written counts here, or a path that is wrong would hide the one that lacks.
    let (lone, other) = match (table.get("cert"), table.get("key")) {
        (Some(cert), None) => (Some(cert), "key"),
        (None, Some(key)) => (Some(key), "cert"),
        (Some(_), Some(_)) | (None, None) => (None, ""),
    };
    if let Some(lone) = lone {
        let finding = Finding::new("`cert` and `key` go together");
        return lone.reject(report, finding.hint(format!("add `{other} = \"…\"`")));
    }
    let pair = cert?.zip(key?).map(|(cert, key)| Pair { cert, key });
    Some(ClientTls { ca: ca?, pair })
}

/// Reports what is for TLS in a version that has no upstream over TLS.
pub(super) fn reject_useless(table: &Table<'_>, report: &mut Report) {
    for value in ["ca", "cert", "key"]
        .into_iter()
        .filter_map(|key| table.get(key))
    {
        let finding = Finding::new("no upstream of this version begins with \"https://\"");
        value.reject::<()>(report, finding.hint("use TLS, or remove this key"));
    }
}

/// One path or a list of them.
fn files(table: &Table<'_>, key: &str, report: &mut Report) -> Option<Vec<PathBuf>> {
    let value = table.require(report, key, &format!("\"/certs/tls.{key}\""))?;
    let items = value.one_or_many(report, PAIRS_MAX)?;
    let read: Vec<_> = items.iter().map(|item| file(item, report)).collect();
    read.into_iter().collect()
}

/// The path at `key`, if there is one.
pub(super) fn optional_file(
    table: &Table<'_>,
    key: &str,
    report: &mut Report,
) -> Option<Option<PathBuf>> {
    table.read(report, key, None, |value, report| {
        file(value, report).map(Some)
    })
}

/// The path of a file that can be read. What is in it is looked at when it is used.
fn file(value: &Value<'_>, report: &mut Report) -> Option<PathBuf> {
    let path = Path::new(value.text(report, &PATH)?);
    match try_read(path) {
        Ok(()) => Some(path.to_owned()),
        Err(error) => value.reject(
            report,
            Finding::new("cannot read the file").allowed(error.to_string()),
        ),
    }
}

/// It is read again whenever it may have been replaced, so it must be there to stay; a
/// pipe would also block whoever opens it.
fn try_read(path: &Path) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    read_at_most(path, 1).map(drop)
}
