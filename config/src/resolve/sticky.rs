//! What keeps a client on its version, and who may choose it.

use super::{flag, names};
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::suggest::nearest;
use crate::types::{KeySource, OnMissing, SaltSource, Sticky};
use crate::unit::{Kind, Misfit};

const KEYS_MAX: usize = 16;
const SALT_BYTES_MAX: usize = 256;

const KEY: Kind = Kind {
    what: "a source of a split key",
    example: "\"header:x-user-id\", \"cookie:session\" or \"client-ip\"",
    units: &[],
};
const SALT: Kind = Kind {
    what: "a salt",
    example: "\"auto\" or a fixed text",
    units: &["{}"],
};

/// `[route.sticky]`; by client address without it.
pub(super) fn sticky(route: &Table<'_>, report: &mut Report) -> Option<Sticky> {
    let default = Sticky {
        key: vec![KeySource::ClientIp],
        on_missing: OnMissing::Random,
        salt: SaltSource::Auto,
        force: None,
    };
    let Some(value) = route.get("sticky") else {
        return Some(default);
    };
    let table = value.table(report, &keys::STICKY)?;
    let key = table.read(report, "key", default.key, key_sources);
    let choices = [
        ("random", OnMissing::Random),
        ("stable", OnMissing::Stable),
        ("cookie", OnMissing::Cookie),
    ];
    let on_missing = table.read(report, "on_missing", default.on_missing, |value, report| {
        value.choice(report, &choices)
    });
    let salt = table.read(report, "salt", default.salt, |value, report| {
        value.parse(report, &SALT, salt)
    });
    let force = table.read(report, "force", None, |value, report| {
        flag::force(value, report).map(Some)
    });
    let key = key?;
    if let Some(written) = table.get("on_missing")
        && key.contains(&KeySource::ClientIp)
    {
        let finding =
            Finding::new("`on_missing` never applies: every request has a client address");
        let finding = finding.hint("leave \"client-ip\" out of `key`, or `on_missing`");
        report.warning(written.span.clone(), &written.path, finding);
    }
    Some(Sticky {
        key,
        on_missing: on_missing?,
        salt: salt?,
        force: force?,
    })
}

fn key_sources(value: &Value<'_>, report: &mut Report) -> Option<Vec<KeySource>> {
    let items = value.one_or_many(report, KEYS_MAX)?;
    let read: Vec<_> = items
        .iter()
        .map(|item| item.parse(report, &KEY, key_source))
        .collect();
    let mut always = false;
    for (index, item) in items.iter().enumerate() {
        if read[index].is_some() && read[..index].contains(&read[index]) {
            item.reject::<()>(report, Finding::new("this source is already in the list"));
        } else if always && read[index].is_some() {
            let finding =
                Finding::new("this source is never used: every request has a client address");
            report.warning(
                item.span.clone(),
                &item.path,
                finding.hint("put \"client-ip\" last"),
            );
        }
        always |= read[index] == Some(KeySource::ClientIp);
    }
    read.into_iter().collect()
}

fn key_source(text: &str) -> Result<KeySource, Misfit> {
    let text = text.trim();
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    match kind {
        "client-ip" if text == kind => Ok(KeySource::ClientIp),
        "client-ip" => Err(Misfit::new("nothing comes after \"client-ip\"")),
        "cookie" => names::token(name).map(|name| KeySource::Cookie(name.to_owned())),
        "header" => names::header(name).map(KeySource::Header),
        _ => {
            let misfit = Misfit::new("there is no such source");
            Err(match nearest(kind, ["client-ip", "cookie", "header"]) {
                Some("client-ip") => misfit.hint("did you mean \"client-ip\"?"),
                Some(kind) => misfit.hint(format!(
                    "did you mean \"{kind}:{}\"?",
                    crate::file::shortened(name)
                )),
                None => misfit,
            })
        }
    }
}

fn salt(text: &str) -> Result<SaltSource, Misfit> {
    match text {
        "auto" => Ok(SaltSource::Auto),
        "" => Err(Misfit::new("it is empty")),
        _ if text.len() > SALT_BYTES_MAX => Err(Misfit::new(format!(
            "it is longer than {SALT_BYTES_MAX} bytes"
        ))),
        _ if text.chars().any(char::is_control) => Err(Misfit::new("it has control characters")),
        _ => Ok(SaltSource::Fixed(text.to_owned())),
    }
}
