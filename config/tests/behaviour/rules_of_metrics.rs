//! Each rule of what gates on one metric take, and where and how it is said.

use super::diagnostics::{GOOD, ROUTE, lines};

/// The metric and other lines of a gate with a name, and the one diagnostic, as it starts
/// and as it ends.
const BY_METRIC: &[(&str, &str, &str, &str)] = &[
    (
        "error_rate",
        r#"advance = "service + 0.01pp""#,
        "5:1: error: route.gate.rollback: `rollback` is missing",
        r#"(add `rollback = "stable + 0.1pp"`)"#,
    ),
    (
        "error_rate",
        "rollback = \"1%\"\nadvance = \"1%\"",
        r#"9:11: error: route.gate.advance: the text "1%" is not a margin for a failure rate: a margin is a difference"#,
        r#"(expected a margin for a failure rate, such as "service + 0.01pp" or "stable + 0.1pp"; write "service + 0.01pp")"#,
    ),
    (
        "error_rate",
        "rollback = \"1%\"\nadvance = 0.01",
        "9:11: error: route.gate.advance: the bare number 0.01 is not a margin for a failure rate",
        r#"write "service + 0.01pp" or "stable + 0.01pp")"#,
    ),
    (
        "error_rate",
        "rollback = \"1%\"\nadvance = [\"service + 1pp\"]",
        "9:11: error: route.gate.advance: wrong type: found a list",
        r#"or "stable + 0.1pp")"#,
    ),
    (
        "error_rate",
        "rollback = [\"stable + 1pp\", \"stable + 0.5pp hard\", \"0.1%\"]\nadvance = \"stable + 0.6pp\"",
        r#"9:11: error: route.gate.advance: this margin is looser than the limit "stable + 0.5pp" in `rollback`"#,
        r#"(expected at most "stable + 0.5pp"; or a canary could be rolled back for what it may advance with)"#,
    ),
    (
        "ttfb",
        r#"advance = { p99 = "1.2x stable" }"#,
        "5:1: error: route.gate.rollback: `rollback` is missing",
        r#"(add `rollback = { p99 = "2x stable" }`)"#,
    ),
    (
        "ttfb",
        "rollback = { p99 = \"2x stable\" }\nadvance = \"1.2x stable\"",
        r#"9:11: error: route.gate.advance: wrong type: found the text "1.2x stable""#,
        r#"(expected a table from quantile to limit, such as { p99 = "1.2x stable" })"#,
    ),
    (
        "ttfb",
        "rollback = { p99 = \"2x stable\" }\nadvance = {}",
        "9:11: error: route.gate.advance: there is no limit",
        r#"(expected at least one, such as p99 = "1.2x stable")"#,
    ),
    (
        "duration",
        "rollback = { p99 = \"2x stable\" }\nadvance = { p99 = \"800ms\" }",
        r#"9:19: error: route.gate.advance.p99: the text "800ms" is not a margin for a latency: a margin is a multiple of stable's latency"#,
        r#"(expected a margin for a latency, such as "1.05x stable"; write "1.05x stable")"#,
    ),
    (
        "duration",
        "rollback = { p99 = \"2x stable\" }\nadvance = { p99 = 1.2 }",
        "9:19: error: route.gate.advance.p99: the bare number 1.2 has no unit",
        r#"write "1.2x stable")"#,
    ),
    (
        "duration",
        "rollback = { p99 = \"2x stable\" }\nadvance = { p99 = \"0.9x stable\" }",
        "9:19: error: route.gate.advance.p99: ",
        r#"such as "1.05x stable")"#,
    ),
    (
        "duration",
        "rollback = { p99 = \"2x stable\" }\nadvance = { p99 = [\"1.1x stable\"] }",
        "9:19: error: route.gate.advance.p99: wrong type: found a list",
        r#"(expected a margin for a latency, such as "1.05x stable")"#,
    ),
    (
        "duration",
        "rollback = { p99 = \"2x stable\" }\nadvance = { 99 = \"1.1x stable\" }",
        r#"9:13: error: route.gate.advance.99: "99" is not a quantile"#,
        "write p99)",
    ),
    (
        "duration",
        "rollback = { p50 = \"1.2x stable\", p99 = [\"2x stable\", \"1.5x stable\", \"1s\"] }\nadvance = { p50 = \"1.2x stable\", p99 = \"1.6x stable\" }",
        r#"9:40: error: route.gate.advance.p99: this margin is looser than the limit "1.5x stable" in `rollback`"#,
        r#"(expected at most "1.5x stable"; or a canary could be rolled back for what it may advance with)"#,
    ),
    (
        "consecutive_failures",
        r#"rollback = "Auto""#,
        r#"8:12: error: route.gate.rollback: the text "Auto" is not known here"#,
        r#"(expected a whole number from 1 to 1000000, or "auto")"#,
    ),
    (
        "consecutive_failures",
        "rollback = 1_000_001",
        "8:12: error: route.gate.rollback: the number 1000001 is out of range",
        "(expected a whole number from 1 to 1000000)",
    ),
    (
        "consecutive_failures",
        "rollback = 3\nadvance = 2",
        r#"9:1: error: route.gate.advance: `advance` is not for gates on "consecutive_failures""#,
        "(remove it; they have: name, metric, rollback)",
    ),
    (
        "new_errors",
        "rollback = 1",
        r#"8:1: error: route.gate.rollback: `rollback` is not for gates on "new_errors""#,
        "(remove it; they have: name, metric)",
    ),
    (
        "new_errors",
        r#"advance = "stable + 1pp""#,
        r#"8:1: error: route.gate.advance: `advance` is not for gates on "new_errors""#,
        "(remove it; they have: name, metric)",
    ),
    (
        "error_trend",
        r#"rollback = "1%""#,
        r#"8:1: error: route.gate.rollback: `rollback` is not for gates on "error_trend""#,
        "(remove it; they have: name, metric)",
    ),
    (
        "error_trend",
        r#"of = "ttfb""#,
        r#"8:1: error: route.gate.of: `of` is not for gates on "error_trend""#,
        "(remove it; they have: name, metric)",
    ),
    (
        "latency_spike",
        "",
        r#"7:10: error: route.gate.metric: no gate of this route has the metric "ttfb""#,
        r#"(spikes are seen in what such a gate counts; add a gate with `metric = "ttfb"`)"#,
    ),
    (
        "latency_spike",
        r#"of = "duration""#,
        r#"8:6: error: route.gate.of: no gate of this route has the metric "duration""#,
        r#"(spikes are seen in what such a gate counts; add a gate with `metric = "duration"`)"#,
    ),
    (
        "latency_spike",
        r#"of = "durations""#,
        r#"8:6: error: route.gate.of: the text "durations" is not known here"#,
        r#"(expected one of "ttfb", "duration"; did you mean "duration"?)"#,
    ),
    (
        "burn_rate",
        "",
        "5:1: error: route.gate.objective: `objective` is missing",
        r#"(add `objective = "99.9%"`)"#,
    ),
    (
        "burn_rate",
        r#"objective = "100%""#,
        r#"8:13: error: route.gate.objective: the text "100%" is not an objective: it must lie between 0% and 100%"#,
        r#"(expected an objective, such as "99.9%")"#,
    ),
    (
        "burn_rate",
        r#"objective = "0%""#,
        r#"8:13: error: route.gate.objective: the text "0%" is not an objective: it must lie between 0% and 100%"#,
        r#"(expected an objective, such as "99.9%")"#,
    ),
    (
        "burn_rate",
        "objective = 99.9",
        "8:13: error: route.gate.objective: the bare number 99.9 has no unit",
        r#"(expected an objective, such as "99.9%"; write "99.9%")"#,
    ),
    (
        "burn_rate",
        "objective = \"99%\"\nrollback = 10",
        r#"9:1: error: route.gate.rollback: `rollback` is not for gates on "burn_rate""#,
        "(remove it; they have: name, metric, objective)",
    ),
    (
        "signal:orders",
        "",
        "5:1: error: route.gate: a gate on a signal needs `rollback` or `advance`",
        r#"(add `advance = "stable - 1pp"`)"#,
    ),
    (
        "signal:orders",
        r#"advance = "1%""#,
        r#"8:11: error: route.gate.advance: the text "1%" is not a limit for a signal: a signal is compared by a difference"#,
        r#"(expected a limit for a signal, such as "stable - 1pp"; write "stable - 1pp")"#,
    ),
    (
        "signal:orders",
        r#"rollback = "stable + 5pp""#,
        r#"8:12: error: route.gate.rollback: the text "stable + 5pp" is not a limit for a signal: after "stable" comes "-" and a difference"#,
        r#"write "stable - 1pp")"#,
    ),
    (
        "signal:orders",
        "rollback = \"stable - 1pp\"\nadvance = \"stable - 1.1pp\"",
        r#"9:11: error: route.gate.advance: this margin is looser than the limit "stable - 1pp" in `rollback`"#,
        r#"(expected at most "stable - 1pp"; or a canary could be rolled back for what it may advance with)"#,
    ),
    (
        "signal:orders",
        "rollback = \"stable - 1pp\"\nobjective = \"99%\"",
        r#"9:1: error: route.gate.objective: `objective` is not for gates on "signal:orders""#,
        "(remove it; they have: name, metric, rollback, advance)",
    ),
    (
        "signal:",
        r#"rollback = "stable - 1pp""#,
        r#"7:10: error: route.gate.metric: the text "signal:" is not a metric: the name of a signal is wrong: it is empty"#,
        r#"(expected a metric, such as "error_rate")"#,
    ),
    (
        "signal:Order Completed",
        r#"rollback = "stable - 1pp""#,
        r#"7:10: error: route.gate.metric: the text "signal:Order Completed" is not a metric: the name of a signal is wrong: it may have a-z, 0-9, _ and -"#,
        r#"write "signal:order-completed")"#,
    ),
    (
        "signals:orders",
        r#"rollback = "stable - 1pp""#,
        r#"7:10: error: route.gate.metric: the text "signals:orders" is not known here"#,
        r#""latency_spike", "burn_rate", "url", "promql", "signal:NAME")"#,
    ),
];

#[test]
fn each_rule_of_each_metric() {
    for (metric, rest, start, end) in BY_METRIC {
        let gate = format!("name = \"g\"\nmetric = \"{metric}\"\n{rest}\n");
        let found = lines(&format!("{GOOD}{ROUTE}[[route.gate]]\n{gate}"));
        let start = format!("haldane.toml:{start}");
        assert!(
            found.len() == 1 && found[0].starts_with(&start) && found[0].ends_with(end),
            "{gate}: {found:#?}"
        );
    }
}
