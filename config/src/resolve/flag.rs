//! Header fields that stand for a role: what upstreams are told, and who may choose.

use haldane_decide::role::Role;

use super::address::networks;
use super::names::{self, HEADER};
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::types::{Flag, Force};
use crate::unit::{Kind, Misfit};

/// Every request that has the field is compared with all of them.
const WORDS_MAX: usize = 16;
const WORD_BYTES_MAX: usize = 256;

const WORD: Kind = Kind {
    what: "the value of a header field",
    example: "\"on\"",
    units: &["{}"],
};

/// `[route.flag]`; upstreams are told by haldane's own fields only without it.
pub(super) fn flag(route: &Table<'_>, report: &mut Report) -> Option<Option<Flag>> {
    route.read(report, "flag", None, |value, report| {
        let table = value.table(report, &keys::FLAG)?;
        let header = table
            .require(report, "header", "\"x-feature-new-checkout\"")
            .and_then(|value| value.parse(report, &HEADER, header_of_flag));
        let mut said = |key, default: &str| {
            table.read(report, key, default.to_owned(), |value, report| {
                value.parse(report, &WORD, word)
            })
        };
        let (canary, stable) = (said("canary", "on"), said("stable", "off"));
        let (canary, stable) = (canary?, stable?);
        if canary == stable {
            let finding = Finding::new(format!("the flag is \"{canary}\" for both roles"));
            return value.reject(report, finding.hint("give each a value of its own"));
        }
        Some(Some(Flag {
            header: header?,
            canary,
            stable,
        }))
    })
}

/// `force` of `[route.sticky]`.
pub(super) fn force(value: &Value<'_>, report: &mut Report) -> Option<Force> {
    let table = value.table(report, &keys::FORCE)?;
    let header = table
        .require(report, "header", "\"x-haldane-version\"")
        .and_then(|value| value.parse(report, &HEADER, names::header));
    let from = table
        .require(report, "from", "[\"10.0.0.0/8\"]")
        .and_then(|value| networks(&value, report));
    let mut named = |role: Role| {
        let default = vec![role.as_str().to_owned()];
        table.read(report, role.as_str(), default, words)
    };
    let (canary, stable) = (named(Role::Canary), named(Role::Stable));
    let (canary, stable) = (canary?, stable?);
    if let Some(word) = canary.iter().find(|word| stable.contains(word)) {
        let finding = Finding::new(format!("\"{word}\" names both roles"));
        return value.reject(report, finding.hint("leave it out of `canary` or `stable`"));
    }
    Some(Force {
        header: header?,
        canary,
        stable,
        from: from?,
    })
}

/// What is sent and honoured under one name is one flag, and has to mean the same.
pub(super) fn compare(flag: &Flag, force: &Force, route: &Table<'_>, report: &mut Report) {
    let Some(written) = route.get("flag").filter(|_| flag.header == force.header) else {
        return;
    };
    for role in Role::ALL {
        let value = flag.value(role);
        match force.role_of(value.as_bytes()) {
            Some(named) if named == role => {}
            Some(named) => {
                let finding = Finding::new(format!(
                    "\"{value}\" is sent for {role}, and asks for {named} by `sticky.force`"
                ));
                let hint = "let the values of one header mean the same in both";
                written.reject::<()>(report, finding.hint(hint));
            }
            None => {
                let finding = Finding::new(format!(
                    "\"{value}\" is sent for {role}, but asks for nothing by `sticky.force`, \
                     which has the same header"
                ));
                let hint = format!("add \"{value}\" to `{role}` there");
                report.warning(written.span.clone(), &written.path, finding.hint(hint));
            }
        }
    }
}

/// A field that is nobody else's: what clients send under its name is not passed on.
fn header_of_flag(text: &str) -> Result<String, Misfit> {
    const OF_HALDANE: [&str; 9] = [
        "baggage",
        "forwarded",
        "http2-settings",
        "proxy-authenticate",
        "proxy-authorization",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    const OF_SERVICES: [&str; 7] = [
        "authorization",
        "content-encoding",
        "content-type",
        "cookie",
        "date",
        "traceparent",
        "tracestate",
    ];
    let name = names::header(text)?;
    // Many servers read both as one name.
    let dashed = name.replace('_', "-");
    if OF_HALDANE.contains(&&*dashed) || dashed.starts_with("x-haldane-") {
        return Err(Misfit::new("haldane itself sets this field, or removes it"));
    }
    if OF_SERVICES.contains(&&*dashed) {
        return Err(Misfit::new(
            "this field means something else, and would be taken from clients",
        ));
    }
    Ok(name)
}

fn words(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let items = value.one_or_many(report, WORDS_MAX)?;
    let read: Vec<Option<String>> = items
        .iter()
        .map(|item| item.parse(report, &WORD, word))
        .collect();
    read.into_iter().collect()
}

fn word(text: &str) -> Result<String, Misfit> {
    if text.is_empty() {
        Err(Misfit::new("it is empty"))
    } else if text.len() > WORD_BYTES_MAX {
        Err(Misfit::new(format!(
            "it is longer than {WORD_BYTES_MAX} bytes"
        )))
    } else if text.trim() != text {
        Err(Misfit::new("it begins or ends with a space"))
    } else if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        Ok(text.to_owned())
    } else {
        Err(Misfit::new("it travels in a header: printable ASCII only"))
    }
}
