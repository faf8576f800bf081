//! Each rule of versions and gates: something that breaks it, and what is said about it.

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
metric = "signal:orders"
rollback = 1"#,
        "this version does not have gates on signals yet",
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
    (
        r#"name = "a"
metric = "error_rate"
rollback = "1%"
advance = "1%""#,
        "does not have `advance`",
    ),
];

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
fn each_rule_of_gates() {
    for (gate, expected) in GATES {
        let found = lines(&format!("{GOOD}{ROUTE}[[route.gate]]\n{gate}\n"));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{gate}: {found:#?}"
        );
    }
}
