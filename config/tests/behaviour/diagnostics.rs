//! What is wrong is told all at once, with line, caret and what helps.

use haldane_config::{Overrides, Severity, Source, known_keys, load};

/// Enough of a file for one thing to be wrong in it.
const GOOD: &str = "listen = \":1\"\n";
const ROUTE: &str = "[[route]]\nstable = \"http://a\"\ncanary = \"http://b\"\n";

fn source(text: &str) -> Source {
    Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    }
}

fn rendered(text: &str) -> String {
    match load(Some(&source(text)), &Overrides::default()) {
        Ok(loaded) => loaded.warnings.render(false),
        Err(diagnostics) => diagnostics.render(false),
    }
}

fn lines(text: &str) -> Vec<String> {
    match load(Some(&source(text)), &Overrides::default()) {
        Ok(loaded) => loaded.warnings.0.iter().map(ToString::to_string).collect(),
        Err(diagnostics) => diagnostics.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn snapshots() {
    let cases: [(&str, &str); 0] = [];
    for (text, expected) in cases {
        assert_eq!(rendered(text), expected.trim_matches('\n'), "{text}");
    }
}

/// Lines to be put behind a good top level, and what the only diagnostic must say.
#[test]
fn each_rule_of_the_top_level() {
    for (lines_of_file, expected) in [
        (
            "workers = 0",
            "workers: the number 0 is out of range (expected a whole number from 1 to 1024)",
        ),
        ("workers = 1.5", "workers: wrong type: found the number 1.5"),
        (
            "workers = \"2\"",
            "workers: wrong type: found the text \"2\"",
        ),
        ("trusted_proxies = []", "trusted_proxies: the list is empty"),
        (
            "trusted_proxies = [\"10.0.0.0/33\"]",
            "trusted_proxies: the text \"10.0.0.0/33\" is not a network",
        ),
        (
            "trusted_proxies = [\"::ffff:10.0.0.0/104\"]",
            "write it as IPv4",
        ),
        (
            "trusted_proxies = [\"10.1.0.0/8\"]",
            "warning: trusted_proxies: 10.1.0.0/8 has bits beyond",
        ),
        (
            "trusted_proxies = [\"::/0\"]",
            "warning: trusted_proxies: ::/0 is everybody",
        ),
        (
            "drain.linger = \"2h\"",
            "expected a duration from \"0s\" to \"1h\"",
        ),
        (
            "limits.connections = 0",
            "limits.connections: the number 0 is out of range",
        ),
        (
            "limits.header_timeout = \"0s\"",
            "limits.header_timeout: a duration of zero makes no sense here",
        ),
        (
            "limits.header_bytes = \"1023B\"",
            "expected a size from \"1KiB\" to \"1MiB\"",
        ),
        (
            "limits.header_bytes = 65536",
            "write \"65536B\" or \"65536KiB\"",
        ),
        (
            "limits.headers = 1001",
            "expected a whole number from 1 to 1000",
        ),
        (
            "limits.headrs = 1",
            "limits.headrs: unknown key `headrs` in `limits` (did you mean `headers`?",
        ),
        (
            "admin.listen = \"127.0.0.1\"",
            "it has no port (expected an address to listen on",
        ),
        (
            "admin.listen = \"127.0.0.1:1\"",
            "admin.listen: 127.0.0.1:1 is already taken by `listen` (0.0.0.0:1)",
        ),
        (
            "ops.listen = \":1\"",
            "ops.listen: 0.0.0.0:1 is already taken by `listen`",
        ),
        (
            "ops.listen = \"127.0.0.1:7411\"",
            "ops.listen: 127.0.0.1:7411 is already taken by `admin.listen`",
        ),
        (
            "ops.listen = \"1:2:3:4:5:6:7:8:80\"",
            "write \"[1:2:3:4:5:6:7:8]:80\"",
        ),
        ("ops.listen = \"http://a:80\"", "leave the scheme out"),
        (
            "ops.listen = \"a:80\"",
            "the part before the port is not an IP address",
        ),
        (
            "ops.listen = \":80000\"",
            "the port is not a number from 0 to 65535",
        ),
        ("ops = {}", "ops.listen: `listen` is missing"),
        ("log.format = \"JSON\"", "did you mean \"json\"?"),
        (
            "log.access = {}",
            "this version does not have `access` in `log` yet",
        ),
        (
            "state_dir = \"/x\"",
            "this version does not have `state_dir` at the top level yet",
        ),
        ("tls = {}", "this version does not have `tls`"),
        ("fleet = {}", "this version does not have `fleet`"),
        ("notify = []", "this version does not have `notify`"),
        (
            "banana = 1",
            "unknown key `banana` at the top level (known here: listen, ",
        ),
    ] {
        let found = lines(&format!("{GOOD}{lines_of_file}\n{ROUTE}"));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{lines_of_file}: {found:#?}"
        );
        assert!(found[0].starts_with("haldane.toml:2:"), "{found:?}");
    }
}

#[test]
fn each_rule_of_a_route() {
    for (lines_of_file, expected) in [
        ("name = \"Check Out\"", "write \"check-out\""),
        ("name = \"\"", "it is empty"),
        (
            "name = 5",
            "the bare number 5 is not a name (expected a name, such as \"checkout\"; write \"5\")",
        ),
        ("weight = \"101%\"", "a share is at most \"100%\""),
        ("weight = \"0.00001%\"", "0.0001% is the resolution"),
        (
            "weight = \"100%\"",
            "warning: route.weight: at 100% the gate \"errors\" has no stable to compare with",
        ),
        (
            "expose_version = \"yes\"",
            "expected `true` or `false`, without quotes",
        ),
        ("match.host = \"shop:80\"", "leave the port out"),
        ("match.host = \"https://shop\"", "leave the scheme out"),
        ("match.host = \"shop/a\"", "put the path into `path`"),
        ("match.host = \"a.*.b\"", "write \"*.example.com\""),
        (
            "match.host = \"a..b\"",
            "a part of the host between dots is empty",
        ),
        ("match.host = \"müller.de\"", "punycode"),
        (
            "match.host = \"1.2.3\"",
            "neither a name nor an IPv4 address",
        ),
        ("match.path = \"a\"", "it does not begin with \"/\""),
        ("match.path = \"/a*\"", "write \"/checkout/*\""),
        ("match.path = \"/a?b\"", "a path ends before"),
        ("match.path = \"/a b\"", "percent-encoded"),
        ("match.path = \"/a/../b\"", "segment"),
        ("timeouts.connect = 1", "write \"1s\" or \"1ms\""),
        (
            "timeouts.response = \"0s\"",
            "a duration of zero makes no sense here",
        ),
        (
            "timeouts.idle_body = \"25h\"",
            "the text \"25h\" is out of range (expected a duration from \"1ms\" to \"1d\")",
        ),
        (
            "rollout = {}",
            "this version does not have `rollout` in `route` yet",
        ),
        (
            "rule = []",
            "this version does not have `rule` in `route` yet",
        ),
        ("sticky.key = \"client_ip\"", "did you mean \"client-ip\"?"),
        ("sticky.key = \"headr:x\"", "did you mean \"header:x\"?"),
        ("sticky.key = \"header:\"", "the name is empty"),
        (
            "sticky.key = \"cookie:a b\"",
            "a character that is not allowed in it",
        ),
        (
            "sticky.key = \"header:Host\"",
            "about the connection or the message",
        ),
        (
            "sticky.key = [\"cookie:a\", \"cookie:a\"]",
            "this source is already in the list",
        ),
        (
            "sticky.key = [\"client-ip\", \"cookie:a\"]",
            "warning: route.sticky.key[1]: this source is never used",
        ),
        (
            "sticky.on_missing = \"stable\"",
            "warning: route.sticky.on_missing: `on_missing` never applies",
        ),
        (
            "sticky.on_missing = \"canary\"",
            "expected one of \"random\", \"stable\", \"cookie\"",
        ),
        ("sticky.salt = \"\"", "is not a salt: it is empty"),
        ("sticky.salt = \"\\u0000\"", "control characters"),
        ("sticky.force = { from = \"::1\" }", "`header` is missing"),
        ("sticky.force = { header = \"x\" }", "`from` is missing"),
        (
            "sticky.force = { header = \"x\", from = [] }",
            "route.sticky.force.from: the list is empty",
        ),
        ("gate = []", "route.gate: the list is empty"),
        ("gate = {}", "write `[[route.gate]]`, with two brackets"),
    ] {
        let file = format!("{GOOD}{ROUTE}{lines_of_file}\n");
        let mut found = lines(&file);
        // A key that is always present makes on_missing useless, whatever its value.
        found.retain(|line| {
            !lines_of_file.contains("\"canary\"") || !line.contains("never applies")
        });
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{lines_of_file}: {found:#?}"
        );
        assert!(found[0].starts_with("haldane.toml:5:"), "{found:?}");
    }
}

#[test]
fn each_rule_of_versions() {
    for (stable, canary, expected) in [
        (
            "\"https://a\"",
            "\"http://b\"",
            "this version does not have TLS to upstreams yet",
        ),
        ("\"ftp://a\"", "\"http://b\"", "the scheme is not \"http\""),
        ("\"a:80\"", "\"http://b\"", "write \"http://a:80\""),
        ("\"http://a/\"", "\"http://b\"", "write \"http://a\""),
        (
            "\"http://a?x\"",
            "\"http://b\"",
            "an upstream has no path or query",
        ),
        (
            "\"http://u:p@a\"",
            "\"http://b\"",
            "an upstream has no user or password",
        ),
        (
            "\"http://a:0\"",
            "\"http://b\"",
            "the port is not a number from 1 to 65535",
        ),
        (
            "\"http://a:+80\"",
            "\"http://b\"",
            "the port is not a number from 1 to 65535",
        ),
        ("\"http://:80\"", "\"http://b\"", "the host is empty"),
        (
            "\"http://::1\"",
            "\"http://b\"",
            "an IPv6 address needs brackets",
        ),
        ("\"http://[::1\"", "\"http://b\"", "there is no \"]\""),
        (
            "\"http://[::g]\"",
            "\"http://b\"",
            "there is no IPv6 address in the brackets",
        ),
        (
            "\"http://[::1]80\"",
            "\"http://b\"",
            "after the address comes \":\" and a port",
        ),
        ("3000", "\"http://b\"", "write \"http://127.0.0.1:3000\""),
        ("[\"http://a\"]", "\"http://b\"", "wrong type: found a list"),
        (
            "{ version = \"v1\" }",
            "\"http://b\"",
            "route.stable.upstream: `upstream` is missing",
        ),
        (
            "{ upstream = [] }",
            "\"http://b\"",
            "route.stable.upstream: the list is empty",
        ),
        (
            "{ upstream = [\"http://a\", \"http://a:80\"] }",
            "\"http://b\"",
            "this upstream is already in the list",
        ),
        (
            "{ upstream = \"http://a\", ca = \"/x\" }",
            "\"http://b\"",
            "this version does not have `ca` in `route.stable` yet",
        ),
        (
            "\"http://a\"",
            "{ version = \"stable\", upstream = \"http://b\" }",
            "both named \"stable\"",
        ),
        (
            "\"http://a\"",
            "{ version = \" \", upstream = \"http://b\" }",
            "it begins or ends with a space",
        ),
        (
            "\"http://a\"",
            "{ version = \"\\n1\", upstream = \"http://b\" }",
            "it begins or ends with a space",
        ),
        (
            "\"http://a\"",
            "{ version = \"v\\n1\", upstream = \"http://b\" }",
            "printable ASCII only",
        ),
        (
            "\"http://a\"",
            "{ version = 1.2, upstream = \"http://b\" }",
            "write \"1.2\"",
        ),
        (
            "\"http://A:80\"",
            "\"http://a\"",
            "warning: route.canary: stable and canary both have the upstream a:80",
        ),
    ] {
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
    for (gate, expected) in [
        (
            "metric = \"ttfb\"\nrollback.p99 = \"2s\"",
            "route.gate.name: `name` is missing",
        ),
        (
            "name = \"a\"\nrollback = \"1%\"",
            "route.gate.metric: `metric` is missing",
        ),
        (
            "name = \"a\"\nmetric = \"error_rate\"",
            "add `rollback = \"stable + 0.1pp\"`",
        ),
        (
            "name = \"a\"\nmetric = \"ttfb\"",
            "add `rollback = { p99 = \"2x stable\" }`",
        ),
        (
            "name = \"a\"\nmetric = \"consecutive_failures\"",
            "add `rollback = 10`",
        ),
        (
            "name = \"a\"\nmetric = \"error-rates\"\nrollback = 1",
            "did you mean \"error_rate\"?",
        ),
        (
            "name = \"a\"\nmetric = \"signal:orders\"\nrollback = 1",
            "this version does not have gates on signals yet",
        ),
        (
            "name = \"a\"\nmetric = \"consecutive_failures\"\nrollback = 0",
            "the number 0 is out of range",
        ),
        (
            "name = \"a\"\nmetric = \"consecutive_failures\"\nrollback = \"1%\"",
            "expected a whole number",
        ),
        (
            "name = \"a\"\nmetric = \"error_rate\"\nrollback = [\"1%\", \"2pp\"]",
            "write \"stable + 2pp\"",
        ),
        (
            "name = \"a\"\nmetric = \"error_rate\"\nrollback = 0.01",
            "the bare number 0.01 has no unit",
        ),
        (
            "name = \"a\"\nmetric = \"error_rate\"\nrollback = { p99 = \"1s\" }",
            "wrong type: found a table",
        ),
        (
            "name = \"a\"\nmetric = \"duration\"\nrollback = \"2x stable\"",
            "a table from quantile to limit",
        ),
        (
            "name = \"a\"\nmetric = \"duration\"\nrollback = {}",
            "there is no limit",
        ),
        (
            "name = \"a\"\nmetric = \"duration\"\nrollback = { p99.9 = \"2s\" }",
            "a key with a dot in it needs quotes",
        ),
        (
            "name = \"a\"\nmetric = \"duration\"\nrollback = { 99 = \"2s\" }",
            "write p99",
        ),
        (
            "name = \"a\"\nmetric = \"duration\"\nrollback = { p50 = \"2s\", \"p50.0\" = \"3s\" }",
            "the same as another one",
        ),
        (
            "name = \"a\"\nmetric = \"duration\"\nrollback = { p50 = \"2s\", p60 = 5 }",
            "write \"5x stable\" or \"5ms\"",
        ),
        (
            "name = \"a\"\nmetric = \"error_rate\"\nrollback = \"1%\"\nadvance = \"1%\"",
            "does not have `advance`",
        ),
    ] {
        let found = lines(&format!("{GOOD}{ROUTE}[[route.gate]]\n{gate}\n"));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{gate}: {found:#?}"
        );
    }
}

#[test]
fn latency_limits_of_a_route_are_counted_together() {
    let gate = |name: &str, limits: usize| {
        let limits: Vec<String> = (1..=limits).map(|n| format!("p{n} = \"2s\"")).collect();
        format!(
            "[[route.gate]]\nname = \"{name}\"\nmetric = \"ttfb\"\nrollback = {{ {} }}\n",
            limits.join(", ")
        )
    };
    assert_eq!(
        lines(&format!("{GOOD}{ROUTE}{}{}", gate("a", 8), gate("b", 8))),
        [""; 0]
    );
    let found = lines(&format!("{GOOD}{ROUTE}{}{}", gate("a", 8), gate("b", 9)));
    assert!(
        found.len() == 1 && found[0].contains("expected at most 16 together"),
        "{found:#?}"
    );
    let found = lines(&format!("{GOOD}{ROUTE}{}{}", gate("a", 8), gate("a", 8)));
    assert!(
        found.len() == 1 && found[0].contains("another gate of this route is named \"a\""),
        "{found:#?}"
    );
}

#[test]
fn routes_differ_in_name_and_in_what_they_take() {
    let route = |name: &str, matches: &str| {
        format!("[[route]]\nname = \"{name}\"\nmatch = {{ {matches} }}\nstable = \"http://a\"\n")
    };
    let file = |left: &str, right: &str| format!("{GOOD}{left}{right}");
    let found = lines(&file(
        &route("a", "host = \"H\""),
        &route("b", "host = \"h\""),
    ));
    assert!(
        found.len() == 1 && found[0].contains("the same requests as the route \"a\""),
        "{found:#?}"
    );
    let found = lines(&file(&route("a", "path = \"/*\""), &route("b", "")));
    assert!(
        found.len() == 1 && found[0].contains("the same requests as the route \"a\""),
        "{found:#?}"
    );
    let found = lines(&file(
        &route("a", "host = \"h\""),
        &route("a", "host = \"g\""),
    ));
    assert!(
        found.len() == 1 && found[0].contains("another route is named \"a\""),
        "{found:#?}"
    );
    assert_eq!(
        lines(&file(
            &route("a", "path = \"/x\""),
            &route("b", "path = \"/x/*\"")
        )),
        [""; 0]
    );
}

#[test]
fn a_weight_needs_a_canary() {
    let found = lines(&format!(
        "{GOOD}[[route]]\nstable = \"http://a\"\nweight = \"1%\"\n"
    ));
    assert!(
        found.len() == 1 && found[0].contains("a weight of 1%, but there is no canary"),
        "{found:#?}"
    );
    assert_eq!(
        lines(&format!(
            "{GOOD}[[route]]\nstable = \"http://a\"\nweight = \"0%\"\n"
        )),
        [""; 0]
    );
}

/// A known key that nothing reads would be accepted and do nothing.
#[test]
fn every_known_key_is_read() {
    for key in known_keys() {
        let text = match key.strip_prefix("route.") {
            None if key == "route" => format!("{GOOD}{key} = 1979-05-27\n"),
            // `listen` once only, or the file is no TOML.
            None if key == "listen" => format!("{key} = 1979-05-27\n{ROUTE}"),
            None => format!("{GOOD}{key} = 1979-05-27\n{ROUTE}"),
            Some(below) => {
                let stable = if below.starts_with("stable") {
                    ""
                } else {
                    "stable = \"http://a\"\n"
                };
                let (gate, below) = match below.strip_prefix("gate.") {
                    Some("rollback") => (
                        "[[route.gate]]\nname = \"a\"\nmetric = \"error_rate\"\n",
                        "rollback",
                    ),
                    Some(below) => ("[[route.gate]]\n", below),
                    None => ("", below),
                };
                format!("{GOOD}[[route]]\n{stable}{gate}{below} = 1979-05-27\n")
            }
        };
        let diagnostics = load(Some(&source(&text)), &Overrides::default()).unwrap_err();
        assert!(
            diagnostics
                .0
                .iter()
                .any(|item| item.key == key && item.message.contains("found a date")),
            "{key}:\n{text}\n{diagnostics}"
        );
    }
}

#[test]
fn everything_is_told_at_once_in_the_order_of_the_file() {
    let text = "lisen = 1\nworkers = 0\n[limits]\nheaders = \"x\"\nidle_timeout = 5\n[[route]]\nweight = \"5%\"\nstable = \"a\"\n[[route.gate]]\nmetric = \"x\"\n";
    let diagnostics = load(Some(&source(text)), &Overrides::default()).unwrap_err();
    let places: Vec<_> = diagnostics
        .0
        .iter()
        .map(|item| (item.place.position(), item.key.as_str()))
        .collect();
    let expected = [
        (Some((1, 1)), "lisen"),
        (None, "listen"),
        (Some((2, 11)), "workers"),
        (Some((4, 11)), "limits.headers"),
        (Some((5, 16)), "limits.idle_timeout"),
        (Some((7, 10)), "route.weight"),
        (Some((8, 10)), "route.stable"),
        (Some((9, 1)), "route.gate.name"),
        (Some((9, 1)), "route.gate.rollback"),
        (Some((10, 10)), "route.gate.metric"),
    ];
    assert_eq!(places, expected, "{diagnostics}");
}

#[test]
fn a_flood_is_cut_and_counted_and_errors_come_before_warnings() {
    let unknown: String = (0..500).map(|n| format!("k{n} = 1\n")).collect();
    let diagnostics = load(
        Some(&source(&format!("{unknown}{GOOD}{ROUTE}"))),
        &Overrides::default(),
    )
    .unwrap_err();
    assert_eq!(diagnostics.0.len(), 101);
    assert_eq!(
        diagnostics.0[100].message,
        "400 more of the kind are not shown"
    );

    let proxies = vec!["\"10.1.0.0/8\""; 300].join(",");
    let text = format!("{GOOD}trusted_proxies = [{proxies}]\n{ROUTE}name = 5\n");
    let diagnostics = load(Some(&source(&text)), &Overrides::default()).unwrap_err();
    assert_eq!(diagnostics.errors(), 2, "the name, and that there is more");
    assert!(diagnostics.0.iter().any(|item| item.key == "route.name"));
    let loaded = load(
        Some(&source(&text.replace("name = 5\n", ""))),
        &Overrides::default(),
    )
    .unwrap();
    assert!(
        loaded
            .warnings
            .0
            .iter()
            .all(|item| item.severity == Severity::Warning)
    );
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let text = format!(
        "{GOOD}\"\\u001b[2J\" = 1\n[[route]]\nname = \"\\u001b[31m{}\"\nstable = \"http://a\"\n",
        "x".repeat(5000)
    );
    let diagnostics = load(Some(&source(&text)), &Overrides::default()).unwrap_err();
    assert_eq!(diagnostics.errors(), 2);
    assert!(
        !diagnostics.to_string().contains('\u{1b}')
            && !diagnostics.render(false).contains('\u{1b}')
    );
    assert!(
        diagnostics
            .0
            .iter()
            .all(|item| item.to_string().len() < 600),
        "{diagnostics}"
    );
}

#[test]
fn colour_adds_nothing_but_colour() {
    let diagnostics = load(Some(&source("lisen = 1")), &Overrides::default()).unwrap_err();
    let colored = diagnostics.render(true);
    assert!(colored.contains("\u{1b}["));
    let mut plain = String::new();
    for (index, part) in colored.split("\u{1b}[").enumerate() {
        plain.push_str(if index == 0 {
            part
        } else {
            part.split_once('m').map_or("", |(_, rest)| rest)
        });
    }
    assert_eq!(plain, diagnostics.render(false));
}
