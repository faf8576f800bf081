//! Who is split otherwise than by the weight.

use std::sync::Arc;

use haldane_decide::gate::spec::{Exposure, GateRule, GateSpec, Promise};
use haldane_decide::split::rule::{InvalidRule, Rule};
use haldane_decide::weight::Weight;

use super::address::networks;
use super::names::{self, HEADER, NAME};
use super::route::{PATH, path};
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::types::{RuleMatch, TargetingRule};
use crate::unit::{self, Kind, Misfit, SHARE};

/// Every request is compared with all of them.
const RULES_MAX: usize = 32;
/// And with so many values.
const VALUES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 1024;

const COOKIE: Kind = Kind {
    what: "the name of a cookie",
    example: "\"beta\"",
    units: &[],
};
const VALUE: Kind = Kind {
    what: "a value to compare with",
    example: "\"internal\"",
    units: &["{}"],
};

/// `[[route.rule]]`; nobody is split otherwise without it.
pub(super) fn rules(route: &Table<'_>, report: &mut Report) -> Option<Vec<TargetingRule>> {
    let Some(value) = route.get("rule") else {
        return Some(Vec::new());
    };
    if !value.is_list() {
        let finding = Finding::new(format!("`rule` is not a list: found {}", value.describe()));
        return value.reject(
            report,
            finding
                .allowed("expected a list of tables")
                .hint("write `[[route.rule]]`, with two brackets"),
        );
    }
    let items = value.items(report, RULES_MAX)?;
    if route.get("canary").is_none() {
        let finding = Finding::new("rules never apply: there is no canary");
        report.warning(value.span.clone(), &value.path, finding);
    }
    let mut read: Vec<Option<TargetingRule>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let rule = rule(item, index, &read, report);
        read.push(rule);
    }
    read.into_iter().collect()
}

/// What a rule sends to the canary is only counted: something has to look at the counts.
pub(super) fn warn_unwatched(
    rules: &[TargetingRule],
    (gates, promise): (&[GateSpec], &Promise),
    route: &Table<'_>,
    report: &mut Report,
) {
    let counts = |gate: &GateSpec| matches!(gate.rule, GateRule::ConsecutiveFailures { .. });
    let is_watched = gates.iter().any(counts) || promise.exposure != Exposure::default();
    let is_exposed = rules.iter().any(|target| !target.rule.share().is_zero());
    if let (false, true, Some(value)) = (is_watched, is_exposed, route.get("rule")) {
        let finding = Finding::new(
            "nothing rolls back a canary that fails those whom rules send there: they are no \
             evidence",
        );
        let hint = "add a gate on consecutive_failures, or `exposure` in `[route.rollout]`";
        report.warning(value.span.clone(), &value.path, finding.hint(hint));
    }
}

fn rule(
    value: &Value<'_>,
    index: usize,
    before: &[Option<TargetingRule>],
    report: &mut Report,
) -> Option<TargetingRule> {
    let table = value.table(report, &keys::RULE)?;
    let before = || before.iter().flatten();
    let name: Option<Arc<str>> = match table.get("name") {
        None => Some(format!("rule-{}", index + 1).into()),
        Some(written) => written
            .parse(report, &NAME, |text| names::name(text).map(Into::into))
            .filter(|name: &Arc<str>| {
                let is_taken = before().any(|other| other.name == *name);
                if is_taken {
                    let finding = Finding::new(format!("another rule is named \"{name}\""));
                    written.reject::<()>(report, finding.hint("names are unique in a route"));
                }
                !is_taken
            }),
    };
    let written = table.require(report, "match", "{ header = \"x-tenant\" }");
    let matches = written.as_ref().and_then(|value| matches(value, report));
    if let (Some(matches), Some(written)) = (&matches, written)
        && let Some(other) = before().find(|other| other.matches == *matches)
    {
        let finding = Finding::new(format!(
            "this rule is never used: \"{}\" matches the same and comes first",
            other.name
        ));
        report.warning(written.span, &written.path, finding);
    }
    let rule = share(&table, report);
    Some(TargetingRule {
        name: name?,
        matches: matches?,
        rule: rule?,
    })
}

fn matches(value: &Value<'_>, report: &mut Report) -> Option<RuleMatch> {
    const KINDS: [&str; 4] = ["header", "cookie", "path", "client"];
    let table = value.table(report, &keys::RULE_MATCH)?;
    let given: Vec<&str> = KINDS
        .into_iter()
        .filter(|key| table.get(key).is_some())
        .collect();
    let [kind] = given[..] else {
        let (message, hint) = if given.is_empty() {
            let hint = "write for example { header = \"x-tenant\", values = [\"internal\"] }";
            ("it says nothing to match", hint)
        } else {
            (
                "it says more than one thing to match",
                "make a rule of each",
            )
        };
        let finding = Finding::new(message).allowed("expected one of header, cookie, path, client");
        return value.reject(report, finding.hint(hint));
    };
    let written = table.get(kind)?;
    let values = table.read(report, "values", Vec::new(), values);
    if let (Some(written), "path" | "client") = (table.get("values"), kind) {
        let finding = Finding::new(format!("`values` is not for `{kind}`"));
        return written.reject(report, finding.hint("it is for `header` and `cookie`"));
    }
    match kind {
        "header" => {
            let name = written.parse(report, &HEADER, names::header)?;
            let values = values?;
            Some(RuleMatch::Header { name, values })
        }
        "cookie" => {
            let name = written.parse(report, &COOKIE, |text| {
                names::token(text).map(str::to_owned)
            });
            let (name, values) = (name?, values?);
            Some(RuleMatch::Cookie { name, values })
        }
        "path" => written.parse(report, &PATH, path).map(RuleMatch::Path),
        _ => networks(&written, report).map(RuleMatch::Client),
    }
}

fn values(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let items = value.one_or_many(report, VALUES_MAX)?;
    let read: Vec<Option<String>> = items
        .iter()
        .map(|item| item.parse(report, &VALUE, compared))
        .collect();
    read.into_iter().collect()
}

fn compared(text: &str) -> Result<String, Misfit> {
    if text.is_empty() {
        let misfit = Misfit::new("it is empty");
        Err(misfit.hint("leave `values` out for any value"))
    } else if text.len() > VALUE_BYTES_MAX {
        Err(Misfit::new(format!(
            "it is longer than {VALUE_BYTES_MAX} bytes"
        )))
    } else if text.trim() != text || text.chars().any(char::is_control) {
        Err(Misfit::new(
            "no field has spaces at its ends, or control characters",
        ))
    } else {
        Ok(text.to_owned())
    }
}

fn share(table: &Table<'_>, report: &mut Report) -> Option<Rule> {
    let share = |value: &Value<'_>, report: &mut Report| value.parse(report, &SHARE, unit::share);
    let weight = table.require(report, "weight", "\"100%\"");
    let weight = weight.and_then(|value| share(&value, report));
    let from = table.read(report, "from_weight", Rule::FROM_ANY, share);
    let until = table.read(report, "until_weight", None, |value, report| {
        share(value, report).map(Some)
    });
    let (weight, from, until): (Weight, Weight, Option<Weight>) = (weight?, from?, until?);
    let invalid = match Rule::new(weight, from, until) {
        Ok(rule) => return Some(rule),
        Err(invalid) => invalid,
    };
    let (key, finding) = match invalid {
        InvalidRule::FromZero => (
            "from_weight",
            Finding::new("at a weight of 0% no request goes to the canary, by rules either")
                .hint("leave it out: then the rule holds from the smallest weight on"),
        ),
        InvalidRule::NeverInForce => (
            "until_weight",
            Finding::new(format!(
                "the rule is never in force: it begins at {from}, and ends before"
            )),
        ),
        InvalidRule::TakesAtBegin => (
            "from_weight",
            Finding::new(format!(
                "the rule would take clients from the canary when the weight of the route is \
                 raised to {from}: its own is {weight}"
            ))
            .hint(if weight.is_zero() {
                "leave it out: then the rule holds from the smallest weight on".to_owned()
            } else {
                format!("write at most \"{weight}\", or leave it out")
            }),
        ),
        InvalidRule::TakesAtEnd => (
            "until_weight",
            Finding::new(format!(
                "the rule would take clients from the canary when it ends: its own weight is \
                 {weight}"
            ))
            .hint(format!("write at least \"{weight}\"")),
        ),
    };
    table.reject_key(report, key, finding);
    None
}
