//! Gates that ask something outside: whom, how often, and what is too much.

use std::time::Duration;

use haldane_config::{Config, RouteDifference};
use haldane_config::{Difference, Loaded, OutsideGate, Overrides, Part, Question, Source, load};
use haldane_decide::gate::spec::GateRule;

use super::diagnostics::{GOOD, ROUTE, lines};

fn text(metric: &str, rest: &str) -> String {
    format!("{GOOD}{ROUTE}[[route.gate]]\nname = \"cpu\"\nmetric = \"{metric}\"\n{rest}\n")
}

fn config(metric: &str, rest: &str) -> Config {
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text(metric, rest),
    };
    let Loaded { config, warnings } = load(Some(&source), &Overrides::default())
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert!(warnings.is_empty(), "{warnings}");
    config
}

#[test]
fn what_is_written_is_meant() {
    let config = config(
        "promql",
        "url = \"https://p/prometheus\"\nquery = \"up\"\nrollback = 1\nadvance = -0.5\ninterval = \"1m\"",
    );
    let route = &config.routes[0];
    let interval = Duration::from_secs(60);
    let expected = GateRule::Outside {
        rollback: Some(1.0),
        advance: Some(-0.5),
        interval,
    };
    assert_eq!(route.gates[0].rule, expected);
    let [
        OutsideGate {
            gate,
            remote,
            question,
            interval: asked,
        },
    ] = &route.outside[..]
    else {
        panic!("{:?}", route.outside)
    };
    assert_eq!((&**gate, *asked), ("cpu", interval));
    assert_eq!(*question, Question::Promql("up".to_owned()));
    assert_eq!(&*remote.url.first().target.0, "/prometheus");
    assert_eq!(config.remotes().collect::<Vec<_>>(), [remote]);
}

#[test]
fn little_is_needed() {
    let config = config("url", "url = \"http://a/cpu\"\nrollback = 0.9");
    let route = &config.routes[0];
    assert_eq!(route.outside[0].question, Question::Url);
    assert_eq!(route.outside[0].interval, Duration::from_secs(10));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let good = "url = \"http://a\"\n";
    for (metric, rest, says) in [
        (
            "url",
            "rollback = 1".to_owned(),
            "route.gate.url: `url` is missing",
        ),
        ("url", good.to_owned(), "needs `rollback` or `advance`"),
        (
            "url",
            format!("{good}rollback = \"1%\""),
            "expected a number, such as 0.9",
        ),
        (
            "url",
            format!("{good}rollback = inf"),
            "is none to compare with",
        ),
        (
            "url",
            format!("{good}rollback = 1\nadvance = 2"),
            "looser than the limit \"1\"",
        ),
        (
            "url",
            format!("{good}rollback = 1\nquery = \"up\""),
            "`query` is not for gates on \"url\"",
        ),
        (
            "url",
            format!("{good}rollback = 1\ninterval = \"1ms\""),
            "is out of range",
        ),
        (
            "url",
            format!("{good}rollback = 1\nca = \"/dev/null\""),
            "no regular file",
        ),
        (
            "promql",
            format!("{good}rollback = 1"),
            "`query` is missing",
        ),
        (
            "promql",
            format!("{good}rollback = 1\nquery = \" \""),
            "it is empty",
        ),
        (
            "new_errors",
            good.to_owned(),
            "`url` is not for gates on \"new_errors\"",
        ),
        (
            "error_rate",
            "rollback = \"1%\"\ninterval = \"1s\"".to_owned(),
            "`interval` is not for gates on",
        ),
    ] {
        let found = lines(&text(metric, &rest));
        assert!(
            found.iter().any(|line| line.contains(says)),
            "{metric} {rest}: {found:#?}"
        );
    }
}

#[test]
fn whom_a_gate_asks_is_part_of_the_gate() {
    let (one, other) = (
        config("url", "url = \"http://a/1\"\nrollback = 1"),
        config("url", "url = \"http://a/2\"\nrollback = 1"),
    );
    let expected = RouteDifference::Changed(vec![Part::Gates]);
    assert_eq!(Difference::between(&one, &other).routes[0].1, expected);
}
