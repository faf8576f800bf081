//! Targeting rules: what they read as, and what breaks them.

use haldane_config::{Overrides, PathMatch, RuleMatch, Source, load};

use super::diagnostics::{GOOD, lines};

const ROUTE: &str = "[[route]]\nstable = \"http://127.0.0.1:3000\"\n\
    canary = \"http://127.0.0.1:3001\"\n";

/// A rule on one line, and what the only diagnostic says.
const RULES: &[(&str, &str)] = &[
    (
        r#"weight = "1%""#,
        "route.rule.match: `match` is missing (add `match = { header = \"x-tenant\" }`)",
    ),
    (
        r#"match = { header = "x" }"#,
        "route.rule.weight: `weight` is missing",
    ),
    (
        r#"match = {}, weight = "1%""#,
        "route.rule.match: it says nothing to match (expected one of header, cookie, path, client;",
    ),
    (
        r#"match = { header = "x", path = "/" }, weight = "1%""#,
        "it says more than one thing to match",
    ),
    (
        r#"match = { header = "Host" }, weight = "1%""#,
        "about the connection or the message",
    ),
    (
        r#"match = { cookie = "a b" }, weight = "1%""#,
        "route.rule.match.cookie: the text \"a b\" is not the name of a cookie",
    ),
    (
        r#"match = { path = "api" }, weight = "1%""#,
        r#"it does not begin with "/""#,
    ),
    (
        r#"match = { client = "10.0.0.0/33" }, weight = "1%""#,
        r#"route.rule.match.client: the text "10.0.0.0/33" is not a network"#,
    ),
    (
        r#"match = { path = "/", values = ["a"] }, weight = "1%""#,
        "route.rule.match.values: `values` is not for `path`",
    ),
    (
        r#"match = { header = "x", values = [] }, weight = "1%""#,
        "route.rule.match.values: the list is empty",
    ),
    (
        r#"match = { header = "x", values = ["a", ""] }, weight = "1%""#,
        "leave `values` out for any value",
    ),
    (
        r#"match = { header = "x", values = [" a"] }, weight = "1%""#,
        "no field has spaces at its ends",
    ),
    (
        r#"match = { header = "x", values = [1] }, weight = "1%""#,
        r#"the bare number 1 is not a value to compare with"#,
    ),
    (
        r#"match = { header = "x", value = "a" }, weight = "1%""#,
        "unknown key `value` in `route.rule.match` (did you mean `values`?",
    ),
    (
        r#"match = { header = "x" }, weight = "101%""#,
        r#"a share is at most "100%""#,
    ),
    (
        r#"match = { header = "x" }, weight = "1%", name = "A B""#,
        r#"write "a-b""#,
    ),
    (
        r#"match = { header = "x" }, weight = "1%", from_weight = "0%""#,
        "route.rule.from_weight: at a weight of 0% no request goes to the canary, by rules either",
    ),
    (
        r#"match = { header = "x" }, weight = "1%", from_weight = "2%""#,
        "would take clients from the canary when the weight of the route is raised to 2%",
    ),
    (
        r#"match = { header = "x" }, weight = "0%", from_weight = "2%""#,
        "leave it out",
    ),
    (
        r#"match = { header = "x" }, weight = "5%", until_weight = "2%""#,
        r#"route.rule.until_weight: the rule would take clients from the canary when it ends"#,
    ),
    (
        r#"match = { header = "x" }, weight = "5%", from_weight = "5%", until_weight = "5%""#,
        "the rule is never in force: it begins at 5%",
    ),
];

#[test]
fn each_rule_of_a_targeting_rule() {
    for (rule, expected) in RULES {
        let file = format!("{GOOD}{ROUTE}rule = [{{ {rule} }}]\n");
        let found = lines(&file);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{rule}: {found:#?}"
        );
        assert!(found[0].starts_with("haldane.toml:5:"), "{found:?}");
    }
}

#[test]
fn rules_that_do_nothing_are_pointed_at() {
    let twice = r#"{ match = { header = "X", values = "a" }, weight = "1%" }, { match = { header = "x", values = ["a"] }, weight = "2%" }"#;
    let found = lines(&format!("{GOOD}{ROUTE}rule = [{twice}]\n"));
    assert!(
        found.len() == 1 && found[0].contains("never used: \"rule-1\" matches the same"),
        "{found:?}"
    );
    let named = twice.replace("{ match", "{ name = \"one\", match");
    let found = lines(&format!("{GOOD}{ROUTE}rule = [{named}]\n"));
    assert!(
        found
            .iter()
            .any(|line| line.contains("another rule is named \"one\"")),
        "{found:?}"
    );
    let gate = "[[route.gate]]\nname = \"a\"\nmetric = \"new_errors\"\n";
    for (weight, more, warns) in [
        ("0%", gate.to_owned(), false),
        ("1%", gate.to_owned(), true),
        (
            "1%",
            format!("[route.rollout.exposure]\naffected_users = 3\n{gate}"),
            false,
        ),
    ] {
        let rule = format!("rule = [{{ match = {{ path = \"/\" }}, weight = \"{weight}\" }}]");
        let found = lines(&format!("{GOOD}{ROUTE}{rule}\n{more}"));
        assert_eq!(found.len(), usize::from(warns), "{found:?}");
        let expected = "warning: route.rule: nothing rolls back a canary that fails those";
        assert!(
            found.iter().all(|line| line.contains(expected)),
            "{found:?}"
        );
    }
    let alone = ROUTE.lines().take(2).collect::<Vec<_>>().join("\n");
    let rule = r#"rule = [{ match = { path = "/" }, weight = "1%" }]"#;
    let found = lines(&format!("{GOOD}{alone}\n{rule}\n"));
    assert!(
        found.len() == 1 && found[0].contains("warning: route.rule: rules never apply"),
        "{found:?}"
    );
}

#[test]
fn rules_read_as_they_are_written() {
    let rules = r#"
        [[route.rule]]
        name = "internal"
        match = { header = "X-Tenant", values = ["internal", "Staff"] }
        weight = "100%"
        [[route.rule]]
        match = { path = "/api/*" }
        weight = "50%"
        from_weight = "1%"
        until_weight = "60%"
    "#;
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: format!("{GOOD}{ROUTE}{rules}"),
    };
    let config = load(Some(&source), &Overrides::default()).unwrap().config;
    let [internal, api] = &config.routes[0].rules[..] else {
        panic!("{:?}", config.routes[0].rules)
    };
    assert_eq!(&*internal.name, "internal");
    let expected = RuleMatch::Header {
        name: "x-tenant".to_owned(),
        values: vec!["internal".to_owned(), "Staff".to_owned()],
    };
    assert_eq!(internal.matches, expected);
    assert_eq!(internal.rule.share().to_string(), "100%");
    assert_eq!(internal.rule.from().to_string(), "0.0001%");
    assert_eq!(internal.rule.until(), None);
    assert_eq!(&*api.name, "rule-2");
    let expected = RuleMatch::Path(PathMatch::Prefix("/api".to_owned()));
    assert_eq!(api.matches, expected);
    let until = api.rule.until().map(|weight| weight.to_string());
    assert_eq!(
        (api.rule.from().to_string(), until),
        ("1%".to_owned(), Some("60%".to_owned()))
    );
}
