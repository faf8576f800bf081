//! Each rule of versions and of what is promised: something that breaks it, and what is said about it.

use haldane_config::{Overrides, Source, advice, load};

use super::diagnostics::{GOOD, ROUTE, lines};

/// `stable`, `canary`, and what the only diagnostic says.
const VERSIONS: &[(&str, &str, &str)] = &[
    (
        r#""ftp://a""#,
        r#""http://b""#,
        r#"the scheme is neither "http" nor "https""#,
    ),
    (r#""a:80""#, r#""http://b""#, r#"write "http://a:80""#),
    (r#""http://a/""#, r#""http://b""#, r#"write "http://a""#),
    (r#""https://a/""#, r#""http://b""#, r#"write "https://a""#),
    (
        r#""http://a?x""#,
        r#""http://b""#,
        "an upstream has no path or query",
    ),
    (
        r#""http://u:p@a""#,
        r#""http://b""#,
        "an upstream has no user or password",
    ),
    (
        r#""http://a:0""#,
        r#""http://b""#,
        "the port is not a number from 1 to 65535",
    ),
    (
        r#""http://a:+80""#,
        r#""http://b""#,
        "the port is not a number from 1 to 65535",
    ),
    (r#""http://:80""#, r#""http://b""#, "the host is empty"),
    (
        r#""http://::1""#,
        r#""http://b""#,
        "an IPv6 address needs brackets",
    ),
    (r#""http://[::1""#, r#""http://b""#, r#"there is no "]""#),
    (
        r#""http://[::g]""#,
        r#""http://b""#,
        "there is no IPv6 address in the brackets",
    ),
    (
        r#""http://[::1]80""#,
        r#""http://b""#,
        r#"after the address comes ":" and a port"#,
    ),
    ("3000", r#""http://b""#, r#"write "http://127.0.0.1:3000""#),
    (
        r#"["http://a"]"#,
        r#""http://b""#,
        "wrong type: found a list",
    ),
    (
        r#"{ upstream = "http://a", commit_time = "yesterday" }"#,
        r#""http://b""#,
        r#"the text "yesterday" is not a moment: it is not of the form of RFC 3339"#,
    ),
    (
        r#"{ upstream = "http://a", commit_time = 2026-11-26T10:00:00Z }"#,
        r#""http://b""#,
        r#"found a date (expected a moment, such as "2026-11-26T10:00:00Z""#,
    ),
    (
        r#""http://a""#,
        r#"{ upstream = "http://b", commit_time = "2026-02-30T10:00:00Z" }"#,
        "there is no such day since 1970",
    ),
    (
        r#"{ upstream = "http://a", owner = " us" }"#,
        r#""http://b""#,
        "it begins or ends with a space",
    ),
    (
        r#"{ upstream = "http://a", owner = "" }"#,
        r#""http://b""#,
        "it is empty",
    ),
    (
        r#"{ upstream = "http://a", sha = "5f 1c" }"#,
        r#""http://b""#,
        "printable ASCII without spaces only",
    ),
    (
        r#"{ version = "v1" }"#,
        r#""http://b""#,
        "route.stable.upstream: `upstream` is missing",
    ),
    (
        "{ upstream = [] }",
        r#""http://b""#,
        "route.stable.upstream: the list is empty",
    ),
    (
        r#"{ upstream = ["http://a", "http://a:80"] }"#,
        r#""http://b""#,
        "this upstream is already in the list",
    ),
    (
        r#""http://a""#,
        r#"{ version = "stable", upstream = "http://b" }"#,
        r#"both named "stable""#,
    ),
    (
        r#""http://a""#,
        r#"{ version = " ", upstream = "http://b" }"#,
        "it begins or ends with a space",
    ),
    (
        r#""http://a""#,
        "{ version = \"\\n1\", upstream = \"http://b\" }",
        "it begins or ends with a space",
    ),
    (
        r#""http://a""#,
        "{ version = \"v\\n1\", upstream = \"http://b\" }",
        "printable ASCII only",
    ),
    (
        r#""http://a""#,
        r#"{ version = 1.2, upstream = "http://b" }"#,
        r#"write "1.2""#,
    ),
    (
        r#""http://A:80""#,
        r#""http://a""#,
        "warning: route.canary: stable and canary both have the upstream a:80",
    ),
];

/// A line of `[route.rollout]`, and what the only diagnostic says.
const ROLLOUTS: &[(&str, &str)] = &[
    (
        r#"false_rollback = "0%""#,
        r#"route.rollout.false_rollback: the text "0%" is not a probability: it must lie between 0% and 100% (expected a probability, such as "0.1%")"#,
    ),
    (r#"false_rollback = "20.1%""#, "it is more than 20%"),
    (r#"false_rollback = "100%""#, "between 0% and 100%"),
    (r#"false_rollback = "-1%""#, "no decimal number"),
    (r#"false_rollback = 0.001"#, r#"write "0.001%""#),
    (r#"false_rollback = "0.1""#, r#"write "0.1%""#),
    (r#"false_rollback = "never""#, "it has no unit"),
    ("false_rollback = nan", "the bare number nan has no unit"),
    (r#"false_advance = "0%""#, "between 0% and 100%"),
    (
        r#"false_advance = "50.5%""#,
        "route.rollout.false_advance: the text \"50.5%\" is not a probability: it is more than 50%",
    ),
    ("false_advance = true", "wrong type: found `true`"),
    (
        "exposure = 50",
        "wrong type: found the number 50 (expected a table)",
    ),
    (
        "exposure = { failed_requests = 0 }",
        "route.rollout.exposure.failed_requests: the number 0 is out of range (expected a whole number from 1 to ",
    ),
    (
        "exposure = { failed_requests = -1 }",
        "the number -1 is out of range",
    ),
    (
        "exposure = { failed_requests = 1.5 }",
        "wrong type: found the number 1.5",
    ),
    (
        "exposure = { affected_users = 9223372036854775807 }",
        "the number 9223372036854775807 is out of range",
    ),
    (
        r#"exposure = { affected_users = "20" }"#,
        r#"wrong type: found the text "20""#,
    ),
    (
        "exposure = { failed_request = 1 }",
        "unknown key `failed_request` in `route.rollout.exposure` (did you mean `failed_requests`?",
    ),
    ("false_rolback = 1", "did you mean `false_rollback`?"),
    (
        r#"plan = "fast""#,
        r#"the text "fast" is not known here (expected one of "standard", "conservative", "#,
    ),
    (
        r#"steps = ["5%", "100%"]"#,
        "route.rollout.steps[0]: the step has no hold",
    ),
    (
        r#"steps = ["5% for 1m", "1% for 1m", "100%"]"#,
        "route.rollout.steps[1]: the step has no more weight than the one before",
    ),
    (
        r#"steps = ["5% for 1m", "50% for 1m"]"#,
        "route.rollout.steps: the last step is not 100%",
    ),
    (
        r#"steps = ["5% for ever", "100%"]"#,
        r#"the text "5% for ever" is not a step: it needs a number in front"#,
    ),
    ("steps = []", "route.rollout.steps: the list is empty"),
    (
        r#"advance = "auto""#,
        "route.rollout.advance: `advance` is about steps, and there are none",
    ),
    (
        r#"max_hold = "4h""#,
        "route.rollout.max_hold: `max_hold` is about steps, and there are none",
    ),
    (
        r#"on_breach = "ignore""#,
        r#"expected one of "rollback", "pause", "observe""#,
    ),
    (
        r#"expires = "0s""#,
        "a duration of zero makes no sense here",
    ),
    (r#"bake = "1y""#, "\"y\" is no unit"),
    (
        r#"plan = "blue-green""#,
        "nobody can reach the canary in the first step",
    ),
    (
        r#"shield = "on""#,
        r#"route.rollout.shield: the text "on" is not known here (expected one of "idempotent", "off""#,
    ),
    (
        "shield = true",
        r#"wrong type: found `true` (expected one of "idempotent", "off")"#,
    ),
];

#[test]
fn each_rule_of_rollouts() {
    for (line, expected) in ROLLOUTS {
        let found = lines(&format!("{GOOD}{ROUTE}[route.rollout]\n{line}\n"));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{line}: {found:#?}"
        );
        assert!(found[0].starts_with("haldane.toml:6:"), "{found:?}");
    }
    for (plan, expected) in [
        (
            "plan = \"standard\"\nsteps = [\"100%\"]",
            "there are both `plan` and `steps`",
        ),
        ("weight = \"5%\"", "there are both a weight and a plan"),
    ] {
        let text = if plan.starts_with("weight") {
            format!("{GOOD}{ROUTE}{plan}\n[route.rollout]\nplan = \"standard\"\n")
        } else {
            format!("{GOOD}{ROUTE}[route.rollout]\n{plan}\n")
        };
        let found = lines(&text);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{plan}: {found:#?}"
        );
    }
    let found = lines(&format!("{GOOD}{ROUTE}rollout = []\n"));
    assert!(
        found.len() == 1 && found[0].contains("route.rollout: wrong type: found a list"),
        "{found:#?}"
    );
}

#[test]
fn each_rule_of_versions() {
    for (stable, canary, expected) in VERSIONS {
        let found = lines(&format!(
            "{GOOD}[[route]]\nstable = {stable}\ncanary = {canary}\n"
        ));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{stable} {canary}: {found:#?}"
        );
    }
    let long = "v".repeat(129);
    let found = lines(&format!(
        "{GOOD}[[route]]\nstable = {{ version = \"{long}\", upstream = \"http://a\" }}\n"
    ));
    assert!(
        found.len() == 1 && found[0].contains("longer than 128 bytes"),
        "{found:#?}"
    );
}

#[test]
fn a_budget_is_not_compared_with_gates_that_failures_do_not_move() {
    let text = r#"
listen = ":1"
[[route]]
stable = "http://a"
canary = "http://b"
weight = "5%"
[route.rollout]
exposure = { failed_requests = 20 }
[[route.gate]]
name = "orders"
metric = "signal:orders"
rollback = "stable - 5pp"
"#;
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    };
    let loaded = load(Some(&source), &Overrides::default()).unwrap();
    let advice = advice(&loaded.config, &source.name, None).to_string();
    assert!(!advice.contains("budget"), "{advice}");
}
