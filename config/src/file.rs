//! The file as written: values and tables that know where they stand and read themselves.

use std::fmt::Write;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::Keys;
use crate::report::{Finding, Report};
use crate::suggest::nearest;
use crate::unit::{Kind, Misfit};

/// A list with more items than this is refused before anything is made of it.
const ITEMS_MAX: usize = 1000;

/// A value as written.
#[derive(Clone, Debug)]
pub(crate) struct Value<'a> {
    raw: &'a DeValue<'a>,
    pub(crate) span: Range<usize>,
    /// Its key, such as `route[1].weight`.
    pub(crate) path: String,
}

impl<'a> Value<'a> {
    fn new(raw: &'a Spanned<DeValue<'a>>, path: String) -> Self {
        Self {
            raw: raw.get_ref(),
            span: raw.span(),
            path,
        }
    }

    /// Reports what is wrong with this value; `None`, to be returned.
    pub(crate) fn reject<T>(&self, report: &mut Report, finding: Finding) -> Option<T> {
        report.error(self.span.clone(), &self.path, finding);
        None
    }

    fn reject_type<T>(&self, report: &mut Report, expected: &str) -> Option<T> {
        let finding = Finding::new(format!("wrong type: found {}", self.describe()));
        self.reject(report, finding.allowed(format!("expected {expected}")))
    }

    /// Whether a table stands there.
    pub(crate) const fn is_table(&self) -> bool {
        matches!(self.raw, DeValue::Table(_))
    }

    /// Whether a table stands there that has this key.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        matches!(self.raw, DeValue::Table(table) if table.contains_key(key))
    }

    /// Whether a text stands there.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self.raw, DeValue::String(_))
    }

    /// Whether a list stands there.
    pub(crate) const fn is_list(&self) -> bool {
        matches!(self.raw, DeValue::Array(_))
    }

    /// What stands there, in words.
    pub(crate) fn describe(&self) -> String {
        match self.raw {
            DeValue::String(text) => format!("the text {}", quoted(text)),
            DeValue::Integer(number) => format!("the number {}", shortened(number.as_str())),
            DeValue::Float(number) => format!("the number {}", shortened(number.as_str())),
            DeValue::Boolean(value) => format!("`{value}`"),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    /// A text of the kind. A bare number is told which units it may mean.
    pub(crate) fn text(&self, report: &mut Report, kind: &Kind) -> Option<&'a str> {
        let number = match self.raw {
            DeValue::String(text) => return Some(text),
            DeValue::Integer(number) => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                ""
            }
        };
        if number.is_empty() || kind.units.is_empty() {
            let finding = Finding::new(format!("wrong type: found {}", self.describe()));
            return self.reject(report, finding.allowed(kind.expected()));
        }
        let number = shortened(number);
        let finding = Finding::new(kind.without_unit(&number)).allowed(kind.expected());
        self.reject(report, finding.hint(kind.with_units(&number)))
    }

    /// A text of the kind, made into what it says.
    pub(crate) fn parse<T>(
        &self,
        report: &mut Report,
        kind: &Kind,
        parse: impl FnOnce(&str) -> Result<T, Misfit>,
    ) -> Option<T> {
        let text = self.text(report, kind)?;
        parse(text)
            .or_else(|misfit| self.misfit(report, kind, misfit).ok_or(()))
            .ok()
    }

    /// Reports a text that is not of the kind.
    pub(crate) fn misfit<T>(&self, report: &mut Report, kind: &Kind, misfit: Misfit) -> Option<T> {
        let found = self.describe();
        let finding = Finding::new(format!("{found} is not {}: {}", kind.what, misfit.reason));
        let finding = finding.allowed(kind.expected());
        let finding = match misfit.hint {
            Some(hint) => finding.hint(hint),
            None => finding,
        };
        self.reject(report, finding)
    }

    /// A whole number within `range`.
    pub(crate) fn integer(&self, report: &mut Report, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (range.start(), range.end());
        let expected = format!("a whole number from {least} to {most}");
        let DeValue::Integer(written) = self.raw else {
            return self.reject_type(report, &expected);
        };
        match u64::from_str_radix(written.as_str(), written.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let message = format!("the number {} is out of range", shortened(written.as_str()));
                self.reject(
                    report,
                    Finding::new(message).allowed(format!("expected {expected}")),
                )
            }
        }
    }

    /// A number from 0 to 1.
    pub(crate) fn fraction(&self, report: &mut Report) -> Option<f64> {
        let expected = "a number from 0 to 1, such as 0.01";
        let written = match self.raw {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            _ => return self.reject_type(report, expected),
        };
        match written {
            Some(number) if (0.0..=1.0).contains(&number) => Some(number),
            _ => {
                let finding = Finding::new(format!("{} is out of range", self.describe()));
                self.reject(report, finding.allowed(format!("expected {expected}")))
            }
        }
    }

    /// Any number, without a unit.
    pub(crate) fn number(&self, report: &mut Report) -> Option<f64> {
        let written = match self.raw {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            _ => return self.reject_type(report, "a number, such as 0.9"),
        };
        match written.filter(|number| number.is_finite()) {
            Some(number) => Some(number),
            None => {
                let finding = Finding::new(format!("{} is none to compare with", self.describe()));
                self.reject(report, finding.allowed("expected a number, such as 0.9"))
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, report: &mut Report) -> Option<bool> {
        match self.raw {
            DeValue::Boolean(value) => Some(*value),
            _ => self.reject_type(report, "`true` or `false`, without quotes"),
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, report: &mut Report, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<String> = choices
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let expected = format!("one of {}", words.join(", "));
        let DeValue::String(text) = self.raw else {
            return self.reject_type(report, &expected);
        };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| word == text) {
            return Some(*choice);
        }
        let finding = Finding::new(format!("{} is not known here", self.describe()));
        let finding = finding.allowed(format!("expected {expected}"));
        self.reject(
            report,
            match nearest(text, choices.iter().map(|(word, _)| *word)) {
                Some(word) => finding.hint(format!("did you mean \"{word}\"?")),
                None => finding,
            },
        )
    }

    /// Whether it is a list without items.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(self.raw, DeValue::Array(items) if items.is_empty())
    }

    /// The items of a list, or the value itself as the only one; at most `most`, at least one.
    pub(crate) fn one_or_many(&self, report: &mut Report, most: usize) -> Option<Vec<Self>> {
        match self.raw {
            DeValue::Array(_) => self.items(report, most),
            _ => Some(vec![self.clone()]),
        }
    }

    /// The items of a list; at most `most`, at least one.
    pub(crate) fn items(&self, report: &mut Report, most: usize) -> Option<Vec<Self>> {
        let most = most.min(ITEMS_MAX);
        let DeValue::Array(items) = self.raw else {
            return self.reject_type(report, "a list");
        };
        if items.is_empty() {
            return self.reject(
                report,
                Finding::new("the list is empty").allowed("expected at least one item"),
            );
        }
        if items.len() > most {
            let message = format!("the list has {} items", items.len());
            return self.reject(
                report,
                Finding::new(message).allowed(format!("expected at most {most}")),
            );
        }
        let path = |index: usize| {
            if items.len() == 1 {
                self.path.clone()
            } else {
                format!("{}[{index}]", self.path)
            }
        };
        Some(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| Value::new(item, path(index)))
                .collect(),
        )
    }

    /// The entries of a table whose keys are not known beforehand, with the place of each key.
    pub(crate) fn entries(
        &self,
        report: &mut Report,
        expected: &str,
    ) -> Option<Vec<(&'a str, Range<usize>, Self)>> {
        let DeValue::Table(table) = self.raw else {
            return self.reject_type(report, expected);
        };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let path = format!("{}.{}", self.path, shortened(key.get_ref()));
                (key.get_ref().as_ref(), key.span(), Value::new(value, path))
            })
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Some(entries)
    }

    /// The table that has `keys`; every other key in it is reported.
    pub(crate) fn table(&self, report: &mut Report, keys: &'static Keys) -> Option<Table<'a>> {
        match self.raw {
            DeValue::Table(entries) => Some(Table::open(
                entries,
                keys,
                (self.span.clone(), self.path.clone()),
                report,
            )),
            _ => self.reject_type(report, "a table"),
        }
    }
}

/// A table as written, all of whose keys are known.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    entries: &'a DeTable<'a>,
    keys: &'static Keys,
    pub(crate) span: Range<usize>,
    pub(crate) path: String,
}

impl<'a> Table<'a> {
    /// The top level of a document.
    pub(crate) fn root(document: &'a DeTable<'a>, report: &mut Report) -> Self {
        Self::open(document, &crate::keys::ROOT, (0..0, String::new()), report)
    }

    fn open(
        entries: &'a DeTable<'a>,
        keys: &'static Keys,
        (span, path): (Range<usize>, String),
        report: &mut Report,
    ) -> Self {
        let table = Self {
            entries,
            keys,
            span,
            path,
        };
        let mut unknown: Vec<_> = entries
            .keys()
            .filter(|key| !keys.known.contains(&key.get_ref().as_ref()))
            .collect();
        unknown.sort_by_key(|key| key.span().start);
        for key in unknown {
            // A suggestion that nobody sees is not worth its time.
            if report.is_full() {
                report.leave_out();
                continue;
            }
            let name = key.get_ref().as_ref();
            let path = table.path_of(&shortened(name));
            report.error(key.span(), &path, table.unknown(name));
        }
        table
    }

    fn unknown(&self, name: &str) -> Finding {
        let place = if self.keys.path.is_empty() {
            "at the top level".to_owned()
        } else {
            format!("in `{}`", self.keys.path)
        };
        if self.keys.reserved.contains(&name) {
            return Finding::new(format!("this version does not have `{name}` {place} yet"))
                .hint("remove it, or use a version that has it");
        }
        let mut known = String::new();
        for (index, key) in self.keys.known.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(known, "{comma}{key}");
        }
        let finding = Finding::new(format!("unknown key `{}` {place}", shortened(name)))
            .hint(format!("known here: {known}"));
        match nearest(name, self.keys.known.iter().copied()) {
            Some(key) => finding.allowed(format!("did you mean `{key}`?")),
            None => finding,
        }
    }

    /// Reports a key that the table has and should not.
    pub(crate) fn reject_key(&self, report: &mut Report, key: &str, finding: Finding) {
        let span = match self.entries.get_key_value(key) {
            Some((key, _)) => key.span(),
            None => self.span.clone(),
        };
        report.error(span, &self.path_of(key), finding);
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of a key that the table may have. What is not in [`Keys`] is not found,
    /// so that nothing can be read that would also be reported as unknown.
    pub(crate) fn get(&self, key: &str) -> Option<Value<'a>> {
        if !self.keys.known.contains(&key) {
            return None;
        }
        self.entries
            .get(key)
            .map(|value| Value::new(value, self.path_of(key)))
    }

    /// The value of `key` as `read` reads it, or `default` if there is none; `None` if it
    /// is there and wrong.
    pub(crate) fn read<T>(
        &self,
        report: &mut Report,
        key: &str,
        default: T,
        read: impl FnOnce(&Value<'a>, &mut Report) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(value) => read(&value, report),
            None => Some(default),
        }
    }

    /// The value of a key that must be there.
    pub(crate) fn require(
        &self,
        report: &mut Report,
        key: &str,
        example: &str,
    ) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            let finding = Finding::new(format!("`{key}` is missing"));
            let finding = if report.has_file() {
                finding.hint(format!("add `{key} = {example}`"))
            } else {
                finding.hint(format!(
                    "give `--{key}`, or a file with `{key} = {example}`"
                ))
            };
            // What flags have made has no place of its own.
            if self.span.is_empty() {
                report.error_of_all(key, finding);
            } else {
                report.error(self.span.clone(), &self.path_of(key), finding);
            }
        }
        value
    }
}

/// A text in quotes, without control characters and not too long for a message.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

/// A text without control characters and not too long for a message.
pub(crate) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut shown: String = text
        .chars()
        .take(CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
