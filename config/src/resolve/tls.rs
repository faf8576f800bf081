//! Certificates and keys: which files, and that they are there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::names;
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::source::read_at_most;
use crate::suggest::nearest;
use crate::types::{ClientTls, Pair, ServerTls};
use crate::unit::{Kind, Misfit};

const PAIRS_MAX: usize = 100;

/// Certificates, keys and sets of roots are smaller than this.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

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
    tables: Vec<(Arc<ServerTls>, std::ops::Range<usize>, bool)>,
    /// A table could not be read, so that a name may be missing for no fault of its user.
    broken: bool,
}

impl Named {
    /// All tables below `tls`.
    pub(super) fn read(root: &Table<'_>, report: &mut Report) -> Self {
        let mut named = Self::default();
        let Some(value) = root.get("tls") else {
            return named;
        };
        let entries = value.entries(report, "tables, such as `[tls.edge]`");
        named.broken = entries.is_none();
        for (name, place, value) in entries.unwrap_or_default() {
            match server(name, &place, &value, report) {
                Some(tls) => named.tables.push((Arc::new(tls), place, false)),
                None => named.broken = true,
            }
        }
        named
    }

    /// The table that `value` names.
    pub(super) fn find(
        &mut self,
        value: &Value<'_>,
        report: &mut Report,
    ) -> Option<Arc<ServerTls>> {
        let name = value.text(report, &NAME)?;
        if let Some((tls, _, used)) = self.tables.iter_mut().find(|(tls, ..)| *tls.name == *name) {
            *used = true;
            return Some(Arc::clone(tls));
        }
        if self.broken {
            return None;
        }
        let known = self.tables.iter().map(|(tls, ..)| &*tls.name);
        let finding = Finding::new(format!(
            "there is no table `[tls.{}]`",
            crate::file::shortened(name)
        ));
        let finding = match nearest(name, known) {
            Some(known) => finding.allowed(format!("did you mean \"{known}\"?")),
            None => finding.hint("add it with `cert` and `key`"),
        };
        value.reject(report, finding)
    }

    /// Warns of tables that no listener uses.
    pub(super) fn warn_unused(&self, report: &mut Report) {
        for (tls, place, _) in self.tables.iter().filter(|(_, _, used)| !used) {
            let finding = Finding::new(format!("no listener uses `[tls.{}]`", tls.name));
            let hint = format!(
                "write `listen = {{ address = \"…\", tls = \"{}\" }}`",
                tls.name
            );
            report.warning(
                place.clone(),
                &format!("tls.{}", tls.name),
                finding.hint(hint),
            );
        }
    }
}

fn server(
    name: &str,
    place: &std::ops::Range<usize>,
    value: &Value<'_>,
    report: &mut Report,
) -> Option<ServerTls> {
    if let Err(misfit) = names::name(name) {
        report.error(
            place.clone(),
            &value.path,
            Finding::new(format!("this is no name: {}", misfit.reason)),
        );
        return None;
    }
    let table = value.table(report, &keys::TLS)?;
    let certs = files(&table, "cert", report);
    let keys = files(&table, "key", report);
    let client_ca = table.read(report, "client_ca", None, |value, report| {
        file(value, report).map(Some)
    });
    let (certs, keys) = (certs?, keys?);
    if certs.len() != keys.len() {
        let message = format!("{} certificates, but {} keys", certs.len(), keys.len());
        let finding = Finding::new(message)
            .hint("each certificate has its key at the same place of the list");
        report.error(table.span.clone(), &table.path, finding);
        return None;
    }
    let pairs = certs
        .into_iter()
        .zip(keys)
        .map(|(cert, key)| Pair { cert, key });
    Some(ServerTls {
        name: name.into(),
        pairs: pairs.collect(),
        client_ca: client_ca?,
    })
}

/// `ca`, `cert` and `key` of a version.
pub(super) fn client(table: &Table<'_>, report: &mut Report) -> Option<ClientTls> {
    let read = |key: &str, report: &mut Report| {
        table.read(report, key, None, |value, report| {
            file(value, report).map(Some)
        })
    };
    let (ca, cert, key) = (
        read("ca", report),
        read("cert", report),
        read("key", report),
    );
    let pair = match (cert?, key?) {
        (Some(cert), Some(key)) => Some(Pair { cert, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let finding = Finding::new("`cert` and `key` go together").hint("add the other one");
            report.error(table.span.clone(), &table.path, finding);
            return None;
        }
    };
    Some(ClientTls { ca: ca?, pair })
}

/// One path or a list of them.
fn files(table: &Table<'_>, key: &str, report: &mut Report) -> Option<Vec<PathBuf>> {
    let value = table.require(report, key, "\"/certs/…\"")?;
    let items = value.one_or_many(report, PAIRS_MAX)?;
    let read: Vec<_> = items.iter().map(|item| file(item, report)).collect();
    read.into_iter().collect()
}

/// The path of a file that can be read. What is in it is looked at when it is used.
fn file(value: &Value<'_>, report: &mut Report) -> Option<PathBuf> {
    value.parse(report, &PATH, |text| {
        let path = Path::new(text);
        match read_at_most(path, FILE_BYTES_MAX) {
            Ok(_) => Ok(path.to_owned()),
            Err(error) => Err(Misfit::new(format!("it cannot be read: {error}"))),
        }
    })
}
