//! What a replay has shown.

use std::io;
use std::time::Duration;

use haldane_decide::gate::GateStatus;
use serde_json::json;

use super::super::output::{Form, Style, say};
use super::aa::Rollouts;
use super::judge::{Judged, Verdict};

/// Says what the gates have decided.
pub(super) fn judged(judged: &Judged, form: Form) {
    if form.is_json() {
        say(json(judged));
    } else {
        say(text(judged, Style::of(&io::stdout())));
    }
}

const NO_ROLLOUT: &str = "no row has a weight above zero, so there was no rollout to judge";

fn json(judged: &Judged) -> serde_json::Value {
    let (name, sentence) = match &judged.verdict {
        Verdict::Inconclusive(gates) => ("inconclusive", sentences(gates)),
        Verdict::NoRollout => ("inconclusive", NO_ROLLOUT.to_owned()),
        Verdict::Passed(gates) => ("passed", sentences(gates)),
        Verdict::RolledBack { breach, .. } => ("rolled_back", breach.to_string()),
    };
    let decided = match &judged.verdict {
        Verdict::RolledBack {
            row, at, breach, ..
        } => Some((&breach.gate, row, milliseconds(at.as_micros()))),
        Verdict::Inconclusive(_) | Verdict::NoRollout | Verdict::Passed(_) => None,
    };
    let (requests, failures) = judged.canary;
    json!({
        "schema": "haldane.replay/1",
        "verdict": name,
        "gate": decided.as_ref().map(|(gate, ..)| gate),
        "row": decided.as_ref().map(|(_, row, _)| row),
        "timestamp_ms": decided.as_ref().map(|(.., ms)| ms),
        "canary_requests": requests,
        "canary_failures": failures,
        "sentence": sentence,
    })
}

/// As rows are written: whole, unless there is more.
#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds since 1970 stay below 2^53 until 2255"
)]
fn milliseconds(micros: u64) -> serde_json::Value {
    if micros.is_multiple_of(1000) {
        json!(micros / 1000)
    } else {
        json!(micros as f64 / 1000.0)
    }
}

fn sentences(gates: &[GateStatus]) -> String {
    let sentences: Vec<&str> = gates.iter().map(|gate| gate.sentence.as_str()).collect();
    sentences.join("; ")
}

fn text(judged: &Judged, style: Style) -> String {
    let (requests, failures) = judged.canary;
    let canary = format!(
        "{} of the canary, {failures} failed",
        counted(requests, "request")
    );
    match &judged.verdict {
        Verdict::RolledBack {
            row, after, breach, ..
        } => format!(
            "{} at row {row}, {} after the start ({canary}): {breach}",
            style.bad("rolled back"),
            span(*after),
        ),
        Verdict::NoRollout => format!("{}: {NO_ROLLOUT}", style.verdict("", "inconclusive")),
        Verdict::Inconclusive(gates) => listed(
            &style.verdict("inconclusive", "inconclusive"),
            (judged.rows, &canary),
            (gates, style),
        ),
        Verdict::Passed(gates) => listed(
            &style.verdict("pass", "passed"),
            (judged.rows, &canary),
            (gates, style),
        ),
    }
}

fn listed(
    verdict: &str,
    (rows, canary): (u64, &str),
    (gates, style): (&[GateStatus], Style),
) -> String {
    let mut text = format!("{verdict} after {} ({canary}):", counted(rows, "row"));
    for gate in gates {
        let name = gate.verdict.as_str();
        let verdict = style.verdict(name, format_args!("{name:12}"));
        text.push_str(&format!("\n  {verdict}  {}", gate.sentence));
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A time as long as people read it.
fn span(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds if seconds < 7200.0 => format!("{:.1} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

/// Says how many rollouts were rolled back by mistake.
pub(super) fn rollouts(count: &Rollouts, form: Form) {
    let (low, high) = count.interval();
    if form.is_json() {
        say(json!({
            "schema": "haldane.replay.aa/1",
            "verdict": if count.is_too_many() { "above" } else { "within" },
            "rows": count.rows,
            "rollouts": count.rollouts,
            "rolled_back": count.rolled_back,
            "rate": count.rate(),
            "rate_low": low,
            "rate_high": high,
            "bound": count.bound,
            "by_gate": count.by_gate.iter().map(|(gate, count)| (gate.to_string(), json!(count)))
                .collect::<serde_json::Map<_, _>>(),
        }));
        return;
    }
    let percent = |rate: f64| format!("{:.3} %", rate * 100.0);
    let gates: Vec<String> = count
        .by_gate
        .iter()
        .map(|(gate, count)| format!("{gate} {count}"))
        .collect();
    let by = if gates.is_empty() {
        String::new()
    } else {
        format!(" (by {})", gates.join(", "))
    };
    let judgement = if count.is_too_many() {
        Style::of(&io::stdout()).bad("more than promised")
    } else {
        "which agrees with what is promised".to_owned()
    };
    say(format_args!(
        "{} of {} rollouts of a canary that is no other than stable were rolled back{by}: {}, with \
         95 % confidence between {} and {}; {judgement}, at most {}",
        count.rolled_back,
        count.rollouts,
        percent(count.rate()),
        percent(low),
        percent(high),
        percent(count.bound),
    ));
}
