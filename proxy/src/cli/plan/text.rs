//! A forecast for people.

use haldane_decide::forecast::{Detection, Ending, Fault, Forecast, Shown, StepForecast, Traffic};

/// The whole of it, at most 100 columns wide.
pub(super) fn plan(forecast: &Forecast, traffic: &Traffic) -> String {
    let mut lines = vec![
        format!(
            "{} requests/s, {} of them fail, half take up to {}, 99% up to {}",
            number(traffic.requests_per_second),
            percent(traffic.failure_rate),
            span(traffic.median.as_secs_f64()),
            span(traffic.p99.as_secs_f64()),
        ),
        promised(forecast),
    ];
    for step in &forecast.steps {
        lines.push(String::new());
        lines.extend(self::step(step, traffic));
    }
    lines.join("\n")
}

fn promised(forecast: &Forecast) -> String {
    let mut text = if forecast.false_rollback > 0.0 {
        format!(
            "a canary that is no worse is rolled back in at most {} of all rollouts",
            percent(forecast.false_rollback)
        )
    } else {
        "no gate here rests on evidence".to_owned()
    };
    if forecast.by_chance > 1e-6 {
        text.push_str(&format!(
            "\na run of failures comes by chance in {} of them",
            percent(forecast.by_chance)
        ));
    }
    text
}

fn step(step: &StepForecast, traffic: &Traffic) -> Vec<String> {
    let hold = step.step.hold.map_or_else(String::new, |hold| {
        format!(" for {}", span(hold.as_secs_f64()))
    });
    let mut lines = vec![format!(
        "at {}{hold}: {} canary requests/s",
        step.step.weight,
        number(step.canary_per_second)
    )];
    let mut rows = vec![
        [
            "a canary that",
            "is found by",
            "after requests",
            "after",
            "users hit",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(step.detections.iter().map(|one| detection(one, traffic)));
    lines.extend(table(&rows));
    if !step.shown.is_empty() {
        let mut rows = vec![
            [
                "a good one is shown to be",
                "by",
                "after requests",
                "after",
                "",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        rows.extend(step.shown.iter().map(shown));
        lines.extend(table(&rows));
        lines.push(format!("  {}", advance(step)));
    }
    lines
}

/// When a good canary may advance, and whether that is in time.
fn advance(step: &StepForecast) -> String {
    let seconds = step.shown_seconds();
    if seconds.is_infinite() {
        return "never advances by evidence: there is no stable to compare with".to_owned();
    }
    let hold = step.step.hold.map(|hold| hold.as_secs_f64());
    let longest = step.step.longest().map(|longest| longest.as_secs_f64());
    match hold {
        Some(hold) if seconds > hold && longest > Some(seconds) => {
            format!(
                "may advance after about {}: it waits beyond its hold for that",
                span(seconds)
            )
        }
        Some(_) if longest > hold && longest < Some(seconds) => format!(
            "may advance after about {}: the plan pauses before, after {}",
            span(seconds),
            span(longest.unwrap_or_default())
        ),
        Some(hold) if seconds > hold => format!(
            "may advance after about {}: the hold of {} is too short to show that",
            span(seconds),
            span(hold)
        ),
        Some(_) | None => format!("may advance after about {}", span(seconds)),
    }
}

fn detection(one: &Detection, traffic: &Traffic) -> Vec<String> {
    let fault = match one.fault {
        Fault::Failing { times } => {
            let rate = percent(times * traffic.failure_rate);
            format!("fails {} times as often ({rate})", number(times))
        }
        Fault::FailingAlways => "fails always".to_owned(),
        Fault::Slower { quantile, times } => {
            format!("is {} times slower at {quantile}", number(times))
        }
    };
    let gate = one.gate.as_deref().unwrap_or("-");
    let gate = match one.ending {
        Ending::Held => format!("{gate} (holds)"),
        Ending::RolledBack => gate.to_owned(),
        Ending::Unseen => "nothing".to_owned(),
    };
    vec![
        fault,
        gate,
        whole(one.canary_requests),
        span(one.seconds),
        whole(one.users),
    ]
}

fn shown(one: &Shown) -> Vec<String> {
    let what = match one.quantile {
        Some(quantile) => format!("at most {} times slower at {quantile}", number(one.margin)),
        None => format!("at most {}pp worse", number(one.margin * 100.0)),
    };
    vec![
        what,
        one.gate.to_string(),
        whole(one.canary_requests),
        span(one.seconds),
        String::new(),
    ]
}

/// Texts to the left, numbers to the right.
fn table(rows: &[Vec<String>]) -> Vec<String> {
    const WIDTHS: [usize; 5] = [38, 21, 15, 11, 11];
    let line = |row: &Vec<String>| {
        let mut line = " ".to_owned();
        for (index, (cell, width)) in row.iter().zip(WIDTHS).enumerate() {
            let cell = if index < 2 {
                format!(" {:<width$}", cut(cell, width), width = width - 1)
            } else {
                format!(" {cell:>width$}", width = width - 1)
            };
            line.push_str(&cell);
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() < width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(2)).collect();
    cut.push('…');
    cut
}

/// A number of requests or users, with the digits in threes.
fn whole(value: f64) -> String {
    if !value.is_finite() {
        return "never".to_owned();
    }
    if value >= 1e10 {
        return format!("{value:.1e}");
    }
    let digits = format!("{:.0}", value.ceil());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits, without zeros at the end.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.01 => 4,
        _ => 6,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn percent(ratio: f64) -> String {
    format!("{}%", number(ratio * 100.0))
}

/// A time in the unit that suits it.
fn span(seconds: f64) -> String {
    match seconds {
        seconds if !seconds.is_finite() => "never".to_owned(),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{} s", number(seconds)),
        seconds if seconds < 7200.0 => format!("{} min", number(seconds / 60.0)),
        seconds if seconds < 172_800.0 => format!("{} h", number(seconds / 3600.0)),
        seconds => format!("{} d", whole(seconds / 86_400.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_need_to_be() {
        for (value, text) in [
            (1234.5, "1234"),
            (12.34, "12.3"),
            (1.25, "1.25"),
            (0.2, "0.2"),
        ] {
            assert_eq!(number(value), text);
        }
        for (value, text) in [
            (0.2, "1"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1_234_567.2, "1,234,568"),
            (f64::INFINITY, "never"),
        ] {
            assert_eq!(whole(value), text);
        }
        for (seconds, text) in [
            (0.08, "80 ms"),
            (9.5, "9.5 s"),
            (600.0, "10 min"),
            (36_000.0, "10 h"),
            (864_000.0, "10 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(cut("a gate with a very long name", 10), "a gate w…");
    }
}
