//! A report as Markdown, for people. What others have written in it stays text.

use std::fmt::Write as _;

use serde_json::Value;

use super::facts::{Counts, Report, Version};
use crate::cli::output::harmless;
use crate::cli::status::time;
use crate::cli::view::{EstimateView, GateView};

/// What stands where nothing is known.
const NOTHING: &str = "–";

/// One of the times of a version.
type Time = fn(&Counts) -> Option<f64>;

const TIMES: [(&str, Time); 4] = [
    ("mean", |counts| counts.ttfb_seconds.mean),
    ("p50", |counts| counts.ttfb_seconds.p50),
    ("p95", |counts| counts.ttfb_seconds.p95),
    ("p99", |counts| counts.ttfb_seconds.p99),
];

/// The whole report.
pub(super) fn markdown(report: &Report) -> String {
    let phase = report.outcome.replace('_', " ");
    let mut text = format!(
        "## {}, generation {}: {}\n\n**{}**\n",
        escaped(&report.route),
        report.generation,
        escaped(&phase),
        escaped(&report.headline)
    );
    let mut add = |part: Option<String>| {
        if let Some(part) = part {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\n{part}");
        }
    };
    add(Some(times(report)));
    add(Some(versions(report)));
    add(gates(&report.gates));
    add(users(report));
    add(Some(timeline(report)));
    add(report.failing_requests.as_deref().and_then(failing));
    add(next(report));
    text.truncate(text.trim_end().len());
    text
}

fn times(report: &Report) -> String {
    let mut lines = Vec::new();
    if let Some(began_at) = &report.began_at {
        let span = report.seconds.map(span).unwrap_or_default();
        lines.push(match &report.ended_at {
            Some(ended_at) => format!("began {began_at}, ended {ended_at} after {span}"),
            None => format!("began {began_at}, goes on; so far {span}"),
        });
    } else if let Some(ended_at) = &report.ended_at {
        lines.push(format!("ended {ended_at}"));
    }
    if let Some(rollback) = &report.rollback {
        if let Some(seconds) = rollback.seconds_from_first_failure {
            lines.push(format!(
                "from the first request that the canary failed until the weight was zero: {}",
                span(seconds)
            ));
        }
        if let Some(micros) = rollback.micros {
            lines.push(format!(
                "from the response that decided until the weight was zero: {micros} µs"
            ));
        }
        lines.push(match (rollback.verified, &rollback.unverified_because) {
            (Some(true), _) => format!(
                "verified{}: the canary gets nothing, and stable is there",
                rollback
                    .verified_after_seconds
                    .map_or_else(String::new, |seconds| format!(" after {}", span(seconds)))
            ),
            (Some(false), Some(why)) => format!("not verified: {}", escaped(why)),
            (Some(false), None) => "not verified".to_owned(),
            (None, _) => "not verified yet".to_owned(),
        });
    }
    list(&lines)
}

fn versions(report: &Report) -> String {
    let (stable, canary) = (&report.versions.stable, report.versions.canary.as_ref());
    let mut rows = vec![["", "stable", "canary", "difference"].map(str::to_owned)];
    let mut row =
        |name: &str, of: &dyn Fn(&Version) -> Option<String>, difference: Option<String>| {
            let cells = [of(stable), canary.and_then(of)];
            if cells.iter().any(Option::is_some) {
                let [stable, canary] = cells.map(|cell| cell.unwrap_or_else(|| NOTHING.to_owned()));
                rows.push([
                    name.to_owned(),
                    stable,
                    canary,
                    difference.unwrap_or_default(),
                ]);
            }
        };
    row("version", &|version| Some(escaped(&version.version)), None);
    row(
        "commit",
        &|version| version.sha.as_deref().map(escaped),
        None,
    );
    row(
        "owner",
        &|version| version.owner.as_deref().map(escaped),
        None,
    );
    let counts = |of: fn(&Counts) -> Option<String>| {
        move |version: &Version| version.counts.as_ref().and_then(of)
    };
    let both = stable.counts.zip(canary.and_then(|canary| canary.counts));
    row(
        "requests",
        &counts(|counts| Some(counts.requests.to_string())),
        None,
    );
    row(
        "failures",
        &counts(|counts| {
            let rate = counts
                .failure_rate
                .map(|rate| format!(" ({:.2}%)", rate * 100.0));
            Some(format!("{}{}", counts.failures, rate.unwrap_or_default()))
        }),
        both.and_then(|(stable, canary)| {
            let difference = canary.failure_rate? - stable.failure_rate?;
            Some(format!("{:+.2}pp", difference * 100.0))
        }),
    );
    for (name, of) in TIMES {
        row(
            name,
            &|version| {
                let seconds = version.counts.as_ref().and_then(of)?;
                Some(time(Some(seconds)))
            },
            both.and_then(|(stable, canary)| {
                let (stable, canary) = (of(&stable)?, of(&canary)?);
                (stable > 0.0).then(|| format!("{:+.1}%", (canary / stable - 1.0) * 100.0))
            }),
        );
    }
    let mut text = table(&rows);
    if stable.counts.is_some() {
        text.push_str("\nCounted since haldane started; times are until the first byte.\n");
    }
    text
}

fn gates(gates: &[Value]) -> Option<String> {
    let mut rows = vec![
        [
            "gate",
            "verdict",
            "canary",
            "stable",
            "evidence",
            "what it says",
        ]
        .map(str::to_owned),
    ];
    for gate in gates {
        let Ok(gate) = serde_json::from_value::<GateView>(gate.clone()) else {
            continue;
        };
        let evidence = gate.evidence.filter(|evidence| *evidence > 0.0);
        rows.push([
            escaped(&gate.name),
            escaped(&gate.verdict),
            estimate(gate.canary),
            estimate(gate.stable),
            evidence.map_or_else(|| NOTHING.to_owned(), |evidence| format!("{evidence:.2}x")),
            escaped(&gate.sentence),
        ]);
    }
    (rows.len() > 1).then(|| format!("### Gates\n\n{}", table(&rows)))
}

/// What was counted among how many. What it means is in the sentence beside it.
fn estimate(estimate: EstimateView) -> String {
    match estimate.samples {
        0 => NOTHING.to_owned(),
        samples => format!("{} of {samples}", estimate.count),
    }
}

fn users(report: &Report) -> Option<String> {
    let users = report.users.as_ref()?;
    let about = if users.exact { "" } else { "about " };
    let lines = [
        users
            .on_canary
            .map(|count| format!("users on the canary: {about}{count}")),
        users
            .saw_error
            .map(|count| format!("users who saw an error of it: {about}{count}")),
        users.shielded_requests.map(|count| {
            format!("requests that stable answered in its place, since haldane started: {count}")
        }),
    ];
    let lines: Vec<String> = lines.into_iter().flatten().collect();
    (!lines.is_empty()).then(|| format!("### What users saw\n\n{}", list(&lines)))
}

fn timeline(report: &Report) -> String {
    let mut rows = vec![["time", "what", "who", "why", "weight", "severity"].map(str::to_owned)];
    rows.extend(report.timeline.iter().map(|entry| {
        let or_nothing = |text: &Option<String>| text.as_deref().map(escaped).unwrap_or_default();
        [
            entry.at.clone(),
            escaped(&entry.what),
            or_nothing(&entry.who),
            or_nothing(&entry.why),
            or_nothing(&entry.weight),
            escaped(&entry.severity),
        ]
    }));
    if rows.len() == 1 {
        return "### Timeline\n\nNothing has happened that is still known.\n".to_owned();
    }
    format!("### Timeline\n\n{}", table(&rows))
}

fn failing(requests: &[Value]) -> Option<String> {
    let names = [
        "at", "method", "path", "status", "reason", "trace_id", "shielded",
    ];
    let titles = [
        "time",
        "method",
        "path",
        "status",
        "reason",
        "trace",
        "answered by stable",
    ];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(requests.iter().map(|request| {
        names.map(|name| match &request[name] {
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::Null => NOTHING.to_owned(),
            Value::String(text) => escaped(text),
            other => escaped(&other.to_string()),
        })
    }));
    (rows.len() > 1).then(|| format!("### Failing requests, the latest first\n\n{}", table(&rows)))
}

fn next(report: &Report) -> Option<String> {
    if !report.current || report.versions.canary.is_none() {
        return None;
    }
    let mut lines = Vec::new();
    if let Some(waits_for) = &report.next.waits_for {
        lines.push(format!("waits for {}", escaped(waits_for)));
    }
    let commands = report.next.commands.iter().map(|command| escaped(command));
    let commands: Vec<String> = commands.collect();
    if !commands.is_empty() {
        lines.push(format!("legal now: {}", commands.join(", ")));
    }
    (!lines.is_empty()).then(|| format!("### Next\n\n{}", list(&lines)))
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("- {line}\n")).collect()
}

/// A table whose first row is its head.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(N));
        }
    }
    text
}

/// A duration in the unit that suits it.
fn span(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else if seconds < 7200.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

/// A text that stays text in Markdown: in a cell, on one line, neither HTML nor a link nor
/// the name of somebody who would be called.
fn escaped(text: &str) -> String {
    // Joins words and is not seen: what follows `@` is no name then.
    const JOINER: char = '\u{2060}';
    let one_line = text.replace(char::is_whitespace, " ");
    let mut escaped = String::new();
    for character in harmless(&one_line).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.extend(['@', JOINER]),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' | '!' => {
                escaped.extend(['\\', character]);
            }
            _ => escaped.push(character),
        }
    }
    // What would be a link by itself.
    escaped.replace("://", ":\\//").replace("www.", "www\\.")
}

#[cfg(test)]
mod tests;
