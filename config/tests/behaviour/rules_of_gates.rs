//! Each rule of gates: something that breaks it, and what is said about it.

use super::diagnostics::{GOOD, ROUTE, lines};

/// The lines of a gate, and what the only diagnostic says.
const GATES: &[(&str, &str)] = &[
    (
        r#"metric = "ttfb"
rollback.p99 = "2s""#,
        "route.gate.name: `name` is missing",
    ),
    (
        r#"name = "a"
rollback = "1%""#,
        "route.gate.metric: `metric` is missing",
    ),
    (
        r#"name = "a"
metric = "error_rate""#,
        r#"add `rollback = "stable + 0.1pp"`"#,
    ),
    (
        r#"name = "a"
metric = "ttfb""#,
        r#"add `rollback = { p99 = "2x stable" }`"#,
    ),
    (
        r#"name = "a"
metric = "consecutive_failures""#,
        "add `rollback = 10`",
    ),
    (
        r#"name = "a"
metric = "error-rates"
rollback = 1"#,
        r#"did you mean "error_rate"?"#,
    ),
    (
        r#"name = "a"
metric = "consecutive_failures"
rollback = 0"#,
        "the number 0 is out of range",
    ),
    (
        r#"name = "a"
metric = "consecutive_failures"
rollback = "1%""#,
        "expected a whole number",
    ),
    (
        r#"name = "a"
metric = "error_rate"
rollback = ["1%", "2pp"]"#,
        r#"write "stable + 2pp""#,
    ),
    (
        r#"name = "a"
metric = "error_rate"
rollback = 0.01"#,
        "the bare number 0.01 has no unit",
    ),
    (
        r#"name = "a"
metric = "error_rate"
rollback = { p99 = "1s" }"#,
        "wrong type: found a table",
    ),
    (
        r#"name = "a"
metric = "duration"
rollback = "2x stable""#,
        "a table from quantile to limit",
    ),
    (
        r#"name = "a"
metric = "duration"
rollback = {}"#,
        "there is no limit",
    ),
    (
        r#"name = "a"
metric = "duration"
rollback = { p99.9 = "2s" }"#,
        "a key with a dot in it needs quotes",
    ),
    (
        r#"name = "a"
metric = "duration"
rollback = { 99 = "2s" }"#,
        "write p99",
    ),
    (
        r#"name = "a"
metric = "duration"
rollback = { p50 = "2s", "p50.0" = "3s" }"#,
        "the same as another one",
    ),
    (
        r#"name = "a"
metric = "duration"
rollback = { p50 = "2s", p60 = 5 }"#,
        r#"write "5x stable" or "5ms""#,
    ),
];

#[test]
fn each_rule_of_gates() {
    for (gate, expected) in GATES {
        let found = lines(&format!("{GOOD}{ROUTE}[[route.gate]]\n{gate}\n"));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{gate}: {found:#?}"
        );
    }
}

/// A gate of this name, with this metric and these lines.
fn gate(name: &str, metric: &str, rest: &str) -> String {
    format!("[[route.gate]]\nname = \"{name}\"\nmetric = \"{metric}\"\n{rest}\n")
}

#[test]
fn a_spike_is_seen_by_what_another_gate_counts() {
    let limits = "rollback.p99 = \"2x stable\"";
    let spikes = gate("a", "latency_spike", "");
    for (gates, expected) in [
        (format!("{spikes}{}", gate("b", "ttfb", limits)), ""),
        (
            format!("{spikes}{}", gate("b", "duration", limits)),
            "add a gate with `metric = \"ttfb\"`, or write `of = \"duration\"`",
        ),
        // The gate is there, and what is wrong with it is enough.
        (
            format!("{spikes}{}", gate("b", "ttfb", "rollback.p99 = 2")),
            "the bare number 2 has no unit",
        ),
        // Nobody knows what this one would have been.
        (
            format!("{spikes}{}", gate("b", "tfb", limits)),
            "did you mean \"ttfb\"?",
        ),
    ] {
        let found = lines(&format!("{GOOD}{ROUTE}{gates}"));
        if expected.is_empty() {
            assert_eq!(found, [""; 0], "{gates}");
        } else {
            assert!(
                found.len() == 1 && found[0].contains(expected),
                "{gates}: {found:#?}"
            );
        }
    }
}

#[test]
fn gates_on_latency_are_counted() {
    let gates = |count: usize| {
        let gate = |n| gate(&format!("g{n}"), "ttfb", "rollback.p99 = \"2x stable\"");
        let gates: String = (0..count).map(gate).collect();
        lines(&format!("{GOOD}{ROUTE}{gates}"))
    };
    assert_eq!(gates(4), [""; 0]);
    let expected = "haldane.toml:21:1: error: route.gate[4]: with this gate the route has 5 gates on latency or more (expected at most 4)";
    assert_eq!(gates(5), [expected]);
    assert_eq!(gates(6), [expected], "told once");
}

/// The levels that quantiles take: one for a low one, two for others, two more for the
/// highest.
#[test]
fn levels_of_a_gate_are_counted() {
    let with = |limits: &[(&str, &str)], margins: &[(&str, &str)]| {
        let table = |entries: &[(&str, &str)]| {
            let entries = entries
                .iter()
                .map(|(quantile, limit)| format!("\"{quantile}\" = \"{limit} stable\""));
            entries.collect::<Vec<_>>().join(", ")
        };
        let advance = if margins.is_empty() {
            String::new()
        } else {
            format!("advance = {{ {} }}", table(margins))
        };
        let rest = format!("rollback = {{ {} }}\n{advance}", table(limits));
        lines(&format!("{GOOD}{ROUTE}{}", gate("g", "ttfb", &rest)))
    };
    let twice = |quantiles: &[&'static str]| -> Vec<(&'static str, &'static str)> {
        quantiles.iter().map(|quantile| (*quantile, "2x")).collect()
    };
    // 4 + 2 + 4 + 2.
    let most = twice(&["p10", "p25", "p50", "p74", "p75", "p97", "p99"]);
    assert_eq!(with(&most, &[]), [""; 0]);
    assert_eq!(with(&most, &[("p99.0", "1.1x"), ("p10", "1x")]), [""; 0]);
    let found = with(&most, &[("p20", "1.1x")]);
    assert_eq!(
        found,
        [
            "haldane.toml:5:1: error: route.gate: with these quantiles the gate compares at 13 levels (expected at most 12; a quantile below p75 takes 1, any other 2, and the highest 2 more from p97 on; put some into another gate)"
        ]
    );
    let six = twice(&["p75", "p80", "p85", "p90", "p95", "p96.9"]);
    assert_eq!(with(&six, &[]), [""; 0]);
    assert!(with(&six, &[("p97", "1.1x")])[0].contains("at 16 levels"));
}
