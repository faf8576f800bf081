//! Lays flags and environment over the document, as if they had been written there.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::report::{Finding, Report, flags_from};
use crate::source::Source;

/// Values from flags or the environment; each replaces what the file says.
///
/// A diagnostic about one of them shows it as the flag that is named here. `stable`,
/// `canary` and `weight` are for the only route there is; without a route they make one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// `--listen`: replaces all of `listen` with one address.
    pub listen: Option<String>,
    /// `--workers`.
    pub workers: Option<String>,
    /// `--stable`: the URL of the only upstream of a version named `stable`.
    pub stable: Option<String>,
    /// `--canary`: the URL of the only upstream of a version named `canary`.
    pub canary: Option<String>,
    /// `--weight`.
    pub weight: Option<String>,
    /// `--admin-listen`: `admin.listen`.
    pub admin: Option<String>,
    /// `--token-file`: `admin.token_file`.
    pub token_file: Option<String>,
    /// `--ops-listen`: `ops.listen`.
    pub ops: Option<String>,
    /// `--log-format`: `log.format`.
    pub log_format: Option<String>,
}

/// A flag, the table it goes into, and its key there.
type Flag<'a> = (&'static str, &'static str, &'static str, Option<&'a str>);

impl Overrides {
    fn flags(&self) -> [Flag<'_>; 9] {
        [
            ("--listen", "", "listen", self.listen.as_deref()),
            ("--workers", "", "workers", self.workers.as_deref()),
            ("--stable", "route", "stable", self.stable.as_deref()),
            ("--canary", "route", "canary", self.canary.as_deref()),
            ("--weight", "route", "weight", self.weight.as_deref()),
            ("--admin-listen", "admin", "listen", self.admin.as_deref()),
            (
                "--token-file",
                "admin",
                "token_file",
                self.token_file.as_deref(),
            ),
            ("--ops-listen", "ops", "listen", self.ops.as_deref()),
            ("--log-format", "log", "format", self.log_format.as_deref()),
        ]
    }

    /// The flags that are set as one text, for diagnostics to point into.
    pub(crate) fn source(&self) -> Source {
        let mut text = String::new();
        self.each(|flag, value, _| {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(flag.0);
            text.push(' ');
            text.push_str(value);
        });
        Source {
            name: "command line".to_owned(),
            text,
        }
    }

    /// Calls `visit` with each flag that is set, its value, and where that stands in
    /// [`Self::source`].
    fn each<'a>(&'a self, mut visit: impl FnMut(Flag<'a>, &'a str, Range<usize>)) {
        let mut at = 0;
        for flag in self.flags() {
            if let Some(value) = flag.3 {
                let start = at + flag.0.len() + 1;
                let end = start + value.len();
                visit(flag, value, start..end);
                at = end + 1;
            }
        }
    }

    /// Puts the flags into `document`, which was read from `file`.
    pub(crate) fn apply<'a>(
        &'a self,
        document: &mut DeTable<'a>,
        file: &Source,
        report: &mut Report,
    ) {
        let base = flags_from(file);
        self.each(|(flag, table, key, _), value, span| {
            let span = base + span.start..base + span.end;
            let value = Spanned::new(span.clone(), written(key, value));
            match table {
                "" => insert(document, key, value),
                "route" => match only_route(document) {
                    Ok(Some(route)) => insert(route, key, value),
                    // Not a list of tables: reported when it is read.
                    Ok(None) => {}
                    Err(routes) => {
                        let message =
                            format!("`{flag}` is ambiguous: the file has {routes} routes");
                        let hint = format!("set `{key}` of each route in the file");
                        report.error(span, flag, Finding::new(message).hint(hint));
                    }
                },
                _ => {
                    if let Some(table) = subtable(document, table, span) {
                        insert(table, key, value);
                    }
                }
            }
        });
    }
}

/// A flag is text, but a number of workers is a number in the file.
fn written<'a>(key: &str, text: &'a str) -> DeValue<'a> {
    if key == "workers"
        && let Ok(value) = DeValue::parse(text)
        && value.get_ref().is_integer()
    {
        return value.into_inner();
    }
    DeValue::String(Cow::Borrowed(text))
}

fn insert<'a>(table: &mut DeTable<'a>, key: &'static str, value: Spanned<DeValue<'a>>) {
    table.insert(Spanned::new(value.span(), Cow::Borrowed(key)), value);
}

/// The table `name` of `document`, made if there is none; `None` if it is not a table.
fn subtable<'t, 'a>(
    document: &'t mut DeTable<'a>,
    name: &'static str,
    span: Range<usize>,
) -> Option<&'t mut DeTable<'a>> {
    if !document.contains_key(name) {
        insert(
            document,
            name,
            Spanned::new(span, DeValue::Table(DeTable::new())),
        );
    }
    match document.get_mut(name)?.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// The only route of `document`, made if there is none; the number of routes if there are
/// several; `None` if `route` is not a list of tables.
fn only_route<'t, 'a>(document: &'t mut DeTable<'a>) -> Result<Option<&'t mut DeTable<'a>>, usize> {
    if !document.contains_key("route") {
        // No place of its own: what it lacks is missing in the whole configuration.
        let mut routes = DeArray::new();
        routes.push(Spanned::new(0..0, DeValue::Table(DeTable::new())));
        insert(
            document,
            "route",
            Spanned::new(0..0, DeValue::Array(routes)),
        );
    }
    let Some(DeValue::Array(routes)) = document.get_mut("route").map(Spanned::get_mut) else {
        return Ok(None);
    };
    match routes.as_mut() {
        [route] => match route.get_mut() {
            DeValue::Table(table) => Ok(Some(table)),
            _ => Ok(None),
        },
        [] => Ok(None),
        several => Err(several.len()),
    }
}
