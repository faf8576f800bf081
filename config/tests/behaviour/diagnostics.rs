//! What is wrong is told all at once, with line, caret and what helps.

use haldane_config::{Overrides, Severity, Source, known_keys, load};

/// Enough of a file for one thing to be wrong in it.
pub(crate) const GOOD: &str = "listen = \":1\"\n";
pub(crate) const ROUTE: &str = "[[route]]\nstable = \"http://a\"\ncanary = \"http://b\"\n";

fn source(text: &str) -> Source {
    Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    }
}

/// Everything that is said about a file, a line each.
pub(crate) fn lines(text: &str) -> Vec<String> {
    match load(Some(&source(text)), &Overrides::default()) {
        Ok(loaded) => loaded.warnings.0.iter().map(ToString::to_string).collect(),
        Err(diagnostics) => diagnostics.0.iter().map(ToString::to_string).collect(),
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
            None if key == "listen.address" => {
                format!("listen = {{ address = 1979-05-27 }}\n{ROUTE}")
            }
            None if key.starts_with("listen.") => {
                let key = key.trim_start_matches("listen.");
                format!("listen = {{ address = \":1\", {key} = 1979-05-27 }}\n{ROUTE}")
            }
            None if key.starts_with("notify.") => {
                let key = key.trim_start_matches("notify.");
                format!("{GOOD}[[notify]]\n{key} = 1979-05-27\n{ROUTE}")
            }
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
                    Some(below @ ("rollback" | "advance")) => (
                        "[[route.gate]]\nname = \"a\"\nmetric = \"error_rate\"\n",
                        below,
                    ),
                    Some("of") => (
                        "[[route.gate]]\nname = \"a\"\nmetric = \"latency_spike\"\n",
                        "of",
                    ),
                    Some(below @ ("url" | "url_file" | "interval" | "token_file" | "ca")) => {
                        ("[[route.gate]]\nname = \"a\"\nmetric = \"url\"\n", below)
                    }
                    Some("query") => (
                        "[[route.gate]]\nname = \"a\"\nmetric = \"promql\"\n",
                        "query",
                    ),
                    Some("objective") => (
                        "[[route.gate]]\nname = \"a\"\nmetric = \"burn_rate\"\n",
                        "objective",
                    ),
                    Some(below) => ("[[route.gate]]\n", below),
                    None => match below.strip_prefix("rule.") {
                        Some(below @ "match.values") => {
                            ("[[route.rule]]\nmatch.header = \"x\"\n", below)
                        }
                        Some(below) => ("[[route.rule]]\n", below),
                        None => ("", below),
                    },
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
